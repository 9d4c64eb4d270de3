//! Invitations: who is asked into a room, and what he answers.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use serde::Serialize;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{Claim, Page};
use yunque_kernel::{ChatInviteId, ChatRoomId, DbError, Tx, UserId};

use super::rooms::creator;
use crate::dto::{self, ChatInviteOut, ChatInvitedOut, People};
use crate::entity::{invite, member, room};
use crate::kinds::{InviteStatus, NoticeType};
use crate::{Chat, ChatError, Core, repo};

/// How long an invitation can be accepted.
const LIFE: TimeDelta = TimeDelta::days(7);

/// What became of users to invite.
#[derive(Clone, Debug, Default)]
pub(super) struct Invited {
    pub invited: Vec<UserId>,
    pub already_members: Vec<UserId>,
}

impl Chat {
    /// The users that a client names by ids and names, in that order and each once. The fields are
    /// those where the client wrote them. Whoever is not active, or does not want to hear of `from`,
    /// is unknown.
    ///
    /// # Errors
    /// `UnknownUsers` with every one of them.
    pub(super) async fn find_invitees(
        &self,
        from: UserId,
        (id_field, ids): (&str, &[i64]),
        (name_field, names): (&str, &[String]),
    ) -> Result<Vec<UserId>, ChatError> {
        let people = self.core().people(ids.iter().copied().map(UserId)).await?;
        let accounts = &self.core().accounts;
        let named = accounts.named(names).await?;
        let by_id = ids.iter().map(|id| {
            let brief = people.get(&UserId(*id));
            let user = brief.filter(|brief| brief.is_active && !brief.is_purged);
            (id_field, id.to_string(), user.map(|brief| brief.id))
        });
        let by_name = names.iter().map(|name| {
            let user = named.get(name).map(|user| user.id);
            (name_field, name.clone(), user)
        });
        let asked: Vec<(&str, String, Option<UserId>)> = by_id.chain(by_name).collect();
        let found = asked.iter().filter_map(|(_, _, user)| *user);
        let mut seen = HashSet::new();
        let found: Vec<UserId> = found.filter(|user| seen.insert(*user)).collect();
        let others = found.iter().copied().filter(|user| *user != from).collect();
        let mut reached: HashSet<UserId> = accounts.contactable(from, others).await?.into_iter().collect();
        reached.insert(from);
        let unknown: Vec<(String, String)> = asked
            .into_iter()
            .filter(|(_, _, user)| user.is_none_or(|user| !reached.contains(&user)))
            .map(|(field, text, _)| (field.to_owned(), text))
            .collect();
        if unknown.is_empty() {
            Ok(found)
        } else {
            Err(ChatError::UnknownUsers(unknown))
        }
    }

    /// Invites users into a room, all or none. `answer` makes the stored idempotent answer.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`, `RoleTooLow`, `RoomInactive`, `UnknownUsers`.
    pub async fn invite<A: Serialize + Send + Sync>(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        (user_ids, usernames): (&[i64], &[String]),
        claim: Claim,
        answer: impl Fn(&ChatInvitedOut) -> A + Clone + Send + Sync + 'static,
    ) -> Result<ChatInvitedOut, ChatError> {
        // Before anything is said about users.
        self.standing(caller, id).await?.invite()?;
        let users = self
            .find_invitees(caller.user_id, ("user_ids", user_ids), ("usernames", usernames))
            .await?;
        let people = users.iter().copied().chain([caller.user_id]);
        let people = self.core().people(people).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.invite", move |tx: Tx| {
                let (core, by, users) = (core.clone(), by.clone(), users.clone());
                let (people, claim, answer) = (people.clone(), claim.clone(), answer.clone());
                async move {
                    let standing = core.locked_standing(&tx, &by, id).await?;
                    standing.invite()?;
                    let done = core
                        .invite_all(&tx, &standing.room, by.user_id, &users, &people)
                        .await?;
                    let names =
                        |users: &[UserId]| users.iter().map(|user| dto::name(&people, *user)).collect();
                    let shown = ChatInvitedOut {
                        invited: names(&done.invited),
                        already_members: names(&done.already_members),
                    };
                    claim.store(&tx, 200, &answer(&shown)).await?;
                    Ok::<_, ChatError>(shown)
                }
            })
            .await
    }

    /// A page of the invitations that the caller can accept, newest first.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub async fn list_invites(
        &self,
        caller: &Caller,
        page: Page,
    ) -> Result<(Vec<ChatInviteOut>, u64), ChatError> {
        self.admit(caller).await?;
        let reader = self.ctx().db.reader();
        let (rows, total) = repo::list_open_invites(reader, caller.user_id, self.now(), page).await?;
        let rows: Vec<(invite::Model, room::Model)> = rows
            .into_iter()
            .filter_map(|(invite, room)| Some((invite, room?)))
            .collect();
        let people = self.core().people(rows.iter().flat_map(around)).await?;
        let shown = rows
            .iter()
            .map(|(invite, room)| dto::invite(invite, room, &people));
        Ok((shown.collect(), total))
    }

    /// Comes into the room of an invitation. Once done it may be repeated, for as long as the caller
    /// is a member.
    ///
    /// # Errors
    /// `GroupRequired`; `InviteNotFound` for one of somebody else, and for one that is declined,
    /// revoked or too old; `RoomNotFound` for a closed room; `RoomFull`.
    pub async fn accept_invite(&self, caller: &Caller, id: ChatInviteId) -> Result<ChatInviteOut, ChatError> {
        self.answer_invite(caller, id, InviteStatus::Accepted).await
    }

    /// Turns an invitation down. May be repeated.
    ///
    /// # Errors
    /// `GroupRequired`, `InviteNotFound`.
    pub async fn decline_invite(
        &self,
        caller: &Caller,
        id: ChatInviteId,
    ) -> Result<ChatInviteOut, ChatError> {
        self.answer_invite(caller, id, InviteStatus::Declined).await
    }

    async fn answer_invite(
        &self,
        caller: &Caller,
        id: ChatInviteId,
        wanted: InviteStatus,
    ) -> Result<ChatInviteOut, ChatError> {
        self.admit(caller).await?;
        // The room of an invitation never changes; everything else is read again under its lock.
        let invite = repo::find_invite(self.ctx().db.reader(), id, caller.user_id).await?;
        let room = ChatRoomId(invite.ok_or(ChatError::InviteNotFound)?.room_id);
        let people = self.core().people([caller.user_id]).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        let answered = self
            .ctx()
            .db
            .write("chat.answer_invite", move |tx: Tx| {
                let (core, by, people) = (core.clone(), by.clone(), people.clone());
                async move {
                    let standing = core.locked_standing(&tx, &by, room).await?;
                    let invite = repo::find_invite(&tx, id, by.user_id).await?;
                    let mut invite = invite.ok_or(ChatError::InviteNotFound)?;
                    let is_member = standing.member().is_some();
                    match InviteStatus::from_stored(&invite.status) {
                        InviteStatus::Pending if invite.expires_at > core.now() => {}
                        InviteStatus::Accepted if wanted == InviteStatus::Accepted && is_member => {
                            return Ok((invite, standing.room));
                        }
                        InviteStatus::Declined if wanted == InviteStatus::Declined => {
                            return Ok((invite, standing.room));
                        }
                        _ => return Err(ChatError::InviteNotFound),
                    }
                    let enters = wanted == InviteStatus::Accepted && !is_member;
                    let room = if enters {
                        core.enter(&tx, standing, by.user_id, &people).await?
                    } else {
                        repo::settle_invite(&tx, invite.id, wanted).await?;
                        standing.room
                    };
                    wanted.as_str().clone_into(&mut invite.status);
                    Ok::<_, ChatError>((invite, room))
                }
            })
            .await?;
        let people = self.core().people(around(&answered)).await?;
        Ok(dto::invite(&answered.0, &answered.1, &people))
    }
}

/// Who is shown with an invitation.
fn around((invite, room): &(invite::Model, room::Model)) -> Vec<UserId> {
    let parties = [invite.inviter_id, invite.invitee_id].map(UserId);
    parties.into_iter().chain(creator(room)).collect()
}

impl Core {
    /// Invites users into a locked room, in a fixed number of statements besides their notifications.
    /// Who is asked again has longer to answer, and hears of it only when he could not answer any
    /// more. A banned user is passed over: that he is banned is not everybody's business.
    pub(super) async fn invite_all(
        &self,
        tx: &Tx,
        room: &room::Model,
        by: UserId,
        users: &[UserId],
        people: &People,
    ) -> Result<Invited, DbError> {
        if users.is_empty() {
            return Ok(Invited::default());
        }
        let pair = (room.id, users.iter().map(|user| user.0).collect());
        let rows: HashMap<UserId, member::Model> = repo::list_members_of(tx, &[pair])
            .await?
            .into_iter()
            .map(|row| (row.user(), row))
            .collect();
        let mut done = Invited::default();
        for user in users {
            match rows.get(user) {
                Some(row) if row.is_banned => {}
                Some(_) => done.already_members.push(*user),
                None => done.invited.push(*user),
            }
        }
        let now = self.now();
        let pending = repo::list_pending(tx, room.id, &done.invited).await?;
        let ids: Vec<i64> = pending.iter().map(|invite| invite.id).collect();
        repo::extend_invites(tx, &ids, now + LIFE).await?;
        let asked: HashMap<UserId, bool> = pending
            .iter()
            .map(|invite| (UserId(invite.invitee_id), invite.expires_at > now))
            .collect();
        let new = done
            .invited
            .iter()
            .copied()
            .filter(|user| !asked.contains_key(user));
        let new: Vec<UserId> = new.collect();
        repo::insert_invites(tx, room.id, by, &new, now, now + LIFE).await?;
        let told = done
            .invited
            .iter()
            .copied()
            .filter(|user| asked.get(user) != Some(&true));
        let title = format!("房间邀请：{}", room.name);
        let content = format!("{} 邀请您加入房间", dto::name(people, by).username);
        self.tell_each(tx, room, told, NoticeType::RoomInvite, &title, &content)
            .await?;
        Ok(done)
    }
}
