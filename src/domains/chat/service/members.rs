//! Who is in a room, and what is done to them.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use yunque_accounts::values::name_key;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::announce::{BANNED, KICKED, Seen};
use super::join::Exit;
use crate::dto::{self, ChatMemberOut, ChatNameOut, ChatRoomDetailOut};
use crate::entity::member::{Column, Model};
use crate::entity::room;
use crate::kinds::{InviteStatus, Notify, Role};
use crate::policy::Standing;
use crate::repo::MemberFilter;
use crate::{Chat, ChatError, Core, frames, repo};

/// Briefs looked at together in a search; more than the members of any room, if not more than were
/// ever banned from one.
const CHUNK: usize = 2000;

/// Which members of a room to list.
#[derive(Clone, Debug, Default)]
pub struct MemberSearch {
    pub role: Option<Role>,
    pub online: Option<bool>,
    /// A part of the username.
    pub search: Option<String>,
    /// Only moderators are shown them.
    pub include_banned: bool,
}

/// What becomes of a member's voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    Off,
    On {
        until: Option<DateTime<Utc>>,
    },
    /// A mute that there is loses its end.
    Endless,
}

/// Changes of a member; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberChange {
    pub role: Option<Role>,
    pub mute: Option<Mute>,
    pub ban: Option<bool>,
}

impl Chat {
    /// A page of the members of a room, by time of joining.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`.
    pub async fn list_members(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        wanted: &MemberSearch,
        page: Page,
    ) -> Result<(Vec<ChatMemberOut>, u64), ChatError> {
        let standing = self.reader(caller, id).await?;
        let online = self.online(id.0).await;
        let filter = MemberFilter {
            role: wanted.role,
            users: wanted.online.map(|is_online| (online.clone(), is_online)),
            include_banned: wanted.include_banned && standing.moderate().is_ok(),
        };
        let reader = self.ctx().db.reader();
        let search = wanted.search.as_deref().map(name_key);
        let (rows, total) = match search.filter(|text| !text.is_empty()) {
            None => repo::list_members(reader, id.0, &filter, page).await?,
            Some(search) => {
                let all = repo::list_all_members(reader, id.0, &filter).await?;
                let found = self.named_like(all, &search).await?;
                let total = found.len() as u64;
                let skip = usize::try_from(page.offset()).unwrap_or(usize::MAX);
                let take = usize::try_from(page.limit()).unwrap_or(usize::MAX);
                (found.into_iter().skip(skip).take(take).collect(), total)
            }
        };
        let seen = Seen {
            people: self.core().people(rows.iter().map(Model::user)).await?,
            online,
            now: self.now(),
        };
        let shown = rows.iter().map(|row| match row.user() == caller.user_id {
            true => seen.own(row, &standing.room),
            false => seen.member(row, &standing.room),
        });
        Ok((shown.collect(), total))
    }

    /// Names belong to accounts, so they are compared here, out of the cache as a rule.
    async fn named_like(&self, rows: Vec<Model>, search: &str) -> Result<Vec<Model>, DbError> {
        let mut found = Vec::new();
        for chunk in rows.chunks(CHUNK) {
            let people = self.core().people(chunk.iter().map(Model::user)).await?;
            let fits = |row: &&Model| {
                let brief = people.get(&row.user());
                brief.is_some_and(|brief| name_key(&brief.username).contains(search))
            };
            found.extend(chunk.iter().filter(fits).cloned());
        }
        Ok(found)
    }

    /// Changes a member: admins anyone but admins, moderators members; roles are for admins to set.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`, `RoleTooLow`, `MemberNotFound`, `TargetsSelf`,
    /// `LastAdmin`, `RoomFull` for a ban that ends where there is no place.
    pub async fn update_member(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        target: UserId,
        change: MemberChange,
    ) -> Result<ChatMemberOut, ChatError> {
        self.admit(caller).await?;
        let seen = self.seen(id.0, [target]).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.update_member", move |tx: Tx| {
                let (core, by, seen) = (core.clone(), by.clone(), seen.clone());
                async move {
                    let mut standing = core.locked_standing(&tx, &by, id).await?;
                    let before = core.target(&tx, &standing, &by, target, change.role).await?;
                    let row = core
                        .change_member(&tx, &mut standing, before.clone(), change)
                        .await?;
                    let shown = seen.member(&row, &standing.room);
                    if row != before {
                        core.send_to_room(&tx, id, frames::member_updated(&shown));
                    }
                    if row.is_banned && !before.is_banned {
                        let room = &mut standing.room;
                        core.tell_change(&tx, room, frames::recheck(target)).await?;
                    }
                    Ok::<_, ChatError>(shown)
                }
            })
            .await
    }

    /// Removes a member, who may come back as anybody else may.
    ///
    /// # Errors
    /// As [`Chat::update_member`].
    pub async fn kick(&self, caller: &Caller, id: ChatRoomId, target: UserId) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let people = self.core().people([target]).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.kick", move |tx: Tx| {
                let (core, by, people) = (core.clone(), by.clone(), people.clone());
                async move {
                    let mut standing = core.locked_standing(&tx, &by, id).await?;
                    let row = core.target(&tx, &standing, &by, target, None).await?;
                    standing.act_on(row.role())?;
                    if row.is_banned {
                        return Err(ChatError::MemberNotFound);
                    }
                    core.notify_each(&tx, &standing.room, [target], KICKED).await?;
                    let room = &mut standing.room;
                    core.remove_member(&tx, room, &row, Exit::Kicked, &people).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Makes a member admin; the calling admin is an ordinary member from then on.
    ///
    /// # Errors
    /// As [`Chat::update_member`].
    pub async fn transfer_room(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        target: UserId,
    ) -> Result<ChatRoomDetailOut, ChatError> {
        self.admit(caller).await?;
        let seen = self.seen(id.0, [caller.user_id, target]).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        let standing = self
            .ctx()
            .db
            .write("chat.transfer", move |tx: Tx| {
                let (core, by, seen) = (core.clone(), by.clone(), seen.clone());
                async move {
                    let mut standing = core.locked_standing(&tx, &by, id).await?;
                    standing.administer()?;
                    let mut heir = core.target(&tx, &standing, &by, target, None).await?;
                    if heir.is_banned {
                        return Err(ChatError::MemberNotFound);
                    }
                    let room = &standing.room;
                    let mut changed = Vec::new();
                    if heir.role() != Role::Admin {
                        core.give_role(&tx, room, &mut heir, Role::Admin).await?;
                        changed.push(heir);
                    }
                    // A platform admin who is no member has nothing to give away.
                    if let Some(own) = standing.row.as_mut().filter(|row| row.role() == Role::Admin) {
                        core.give_role(&tx, room, own, Role::Member).await?;
                        changed.push(own.clone());
                    }
                    for row in &changed {
                        core.send_to_room(&tx, id, frames::member_updated(&seen.member(row, room)));
                    }
                    Ok(standing)
                }
            })
            .await?;
        self.record(caller, &standing).await?;
        Ok(self.detail(&standing).await?)
    }

    /// Who has a socket open in a room.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`.
    pub async fn list_online(&self, caller: &Caller, id: ChatRoomId) -> Result<Vec<ChatNameOut>, ChatError> {
        self.reader(caller, id).await?;
        let mut online = self.online(id.0).await;
        online.sort_unstable();
        let people = self.core().people(online.iter().copied()).await?;
        Ok(online.into_iter().map(|user| dto::name(&people, user)).collect())
    }

    /// Sets what the caller is notified of in a room.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`.
    pub async fn update_own_member(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        notify: Notify,
    ) -> Result<ChatMemberOut, ChatError> {
        self.admit(caller).await?;
        let seen = self.seen(id.0, [caller.user_id]).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.update_own_member", move |tx: Tx| {
                let (core, by, seen) = (core.clone(), by.clone(), seen.clone());
                async move {
                    let standing = core.locked_standing(&tx, &by, id).await?;
                    let mut row = standing.member().ok_or(ChatError::NotMember)?.clone();
                    if row.notify() != notify {
                        notify.as_str().clone_into(&mut row.notify);
                        let set = [(Column::Notify, Expr::value(notify.as_str()))];
                        repo::update_member(&tx, row.id, set).await?;
                    }
                    Ok::<_, ChatError>(seen.own(&row, &standing.room))
                }
            })
            .await
    }
}

impl Core {
    /// The row of somebody to whom something is to be done, banned or not.
    ///
    /// # Errors
    /// `NotMember`, `RoleTooLow`, `MemberNotFound`, `TargetsSelf`; `LastAdmin` for the only admin who
    /// wants to be less, because that says what to do about it.
    async fn target(
        &self,
        tx: &Tx,
        standing: &Standing,
        by: &Caller,
        target: UserId,
        role: Option<Role>,
    ) -> Result<Model, ChatError> {
        standing.moderate()?;
        if role.is_some() {
            standing.administer()?;
        }
        if target == by.user_id {
            if let (Some(role), Some(own)) = (role, standing.member()) {
                self.keep_an_admin(tx, own, role).await?;
            }
            return Err(ChatError::TargetsSelf);
        }
        let row = repo::find_member(tx, standing.room.id, target).await?;
        row.ok_or(ChatError::MemberNotFound)
    }

    /// # Errors
    /// `LastAdmin` if nobody would be admin any more.
    async fn keep_an_admin(&self, tx: &Tx, row: &Model, role: Role) -> Result<(), ChatError> {
        let steps_down = row.role() == Role::Admin && role != Role::Admin;
        if steps_down && repo::count_other_admins(tx, row.room_id, row.id).await? == 0 {
            return Err(ChatError::LastAdmin);
        }
        Ok(())
    }

    /// Changes a member of a locked room. A new role counts for the rest of the change: an admin may
    /// act on another one after making him less.
    async fn change_member(
        &self,
        tx: &Tx,
        standing: &mut Standing,
        mut row: Model,
        change: MemberChange,
    ) -> Result<Model, ChatError> {
        let MemberChange { role, mute, ban } = change;
        if ban == Some(false) {
            standing.act_on(row.role())?;
            if row.is_banned {
                self.unban(tx, &mut standing.room, &mut row).await?;
            }
        }
        if row.is_banned && (role.is_some() || mute.is_some()) {
            return Err(ChatError::MemberNotFound);
        }
        if let Some(role) = role.filter(|role| *role != row.role()) {
            self.keep_an_admin(tx, &row, role).await?;
            self.give_role(tx, &standing.room, &mut row, role).await?;
        }
        if let Some(mute) = mute {
            standing.act_on(row.role())?;
            self.mute(tx, &mut row, mute).await?;
        }
        if ban == Some(true) {
            standing.act_on(row.role())?;
            if !row.is_banned {
                self.ban(tx, &mut standing.room, &mut row).await?;
            }
        }
        Ok(row)
    }

    async fn mute(&self, tx: &Tx, row: &mut Model, mute: Mute) -> Result<(), DbError> {
        let before = (row.is_muted, row.mute_until);
        (row.is_muted, row.mute_until) = match mute {
            Mute::Off => (false, None),
            Mute::On { until } => (true, until),
            // One that ended by itself does not begin again.
            Mute::Endless => (row.is_muted_at(self.now()), None),
        };
        if (row.is_muted, row.mute_until) == before {
            return Ok(());
        }
        let set = [
            (Column::IsMuted, Expr::value(row.is_muted)),
            (Column::MuteUntil, Expr::value(row.mute_until)),
        ];
        repo::update_member(tx, row.id, set).await
    }

    /// The row stays and counts no more. A role does not outlive a ban.
    async fn ban(&self, tx: &Tx, room: &mut room::Model, row: &mut Model) -> Result<(), DbError> {
        row.is_banned = true;
        Role::Member.as_str().clone_into(&mut row.role);
        let set = [
            (Column::IsBanned, Expr::value(true)),
            (Column::Role, Expr::value(row.role.clone())),
        ];
        repo::update_member(tx, row.id, set).await?;
        if let Some(invite) = repo::find_pending(tx, room.id, row.user()).await? {
            repo::settle_invite(tx, invite.id, InviteStatus::Revoked).await?;
        }
        self.notify_each(tx, room, [row.user()], BANNED).await?;
        self.resize(tx, room, -1, self.now()).await
    }

    /// Back as one who has just come: what was said meanwhile is not unread.
    ///
    /// # Errors
    /// `RoomFull`.
    async fn unban(&self, tx: &Tx, room: &mut room::Model, row: &mut Model) -> Result<(), ChatError> {
        if room.is_full() {
            return Err(ChatError::RoomFull);
        }
        row.is_banned = false;
        row.joined_at = self.now();
        (row.mark_id, row.mark_ordinal) = (room.head_id, room.last_ordinal);
        let set = [
            (Column::IsBanned, Expr::value(false)),
            (Column::JoinedAt, Expr::value(row.joined_at)),
            (Column::MarkId, Expr::value(row.mark_id)),
            (Column::MarkOrdinal, Expr::value(row.mark_ordinal)),
        ];
        repo::update_member(tx, row.id, set).await?;
        Ok(self.resize(tx, room, 1, row.joined_at).await?)
    }
}
