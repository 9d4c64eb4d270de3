//! Coming into rooms and going. The row of the room is locked, so places are given out one by one
//! and `member_count` is the number of members at any time.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use yunque_kernel::auth::Caller;
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::announce::role_text;
use crate::dto::{self, People};
use crate::entity::{member, room};
use crate::kinds::{InviteStatus, Role, RoomType};
use crate::policy::Standing;
use crate::{Chat, ChatError, Core, frames, repo};

/// Members looked at together for one who can take over.
const HEIRS: u64 = 50;

/// How somebody goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Left,
    Kicked,
}

impl Exit {
    fn told(self, username: &str) -> String {
        match self {
            Exit::Left => format!("{username} 离开了房间"),
            Exit::Kicked => format!("{username} 被移出房间"),
        }
    }
}

impl Chat {
    /// Makes the caller a member. Nothing changes for one who is.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound` also for a closed room, `Banned`, `InviteRequired`,
    /// `RoomFull`.
    pub async fn join_room(&self, caller: &Caller, id: ChatRoomId) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let people = self.core().people([caller.user_id]).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.join", move |tx: Tx| {
                let (core, by, people) = (core.clone(), by.clone(), people.clone());
                async move {
                    let standing = core.locked_standing(&tx, &by, id).await?;
                    core.enter(&tx, standing, by.user_id, &people).await?;
                    Ok::<_, ChatError>(())
                }
            })
            .await
    }

    /// Takes the caller out of a room. The last admin's role goes to whoever has served longest; the
    /// last member closes the room. Nothing changes for one who is no member.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`.
    pub async fn leave_room(&self, caller: &Caller, id: ChatRoomId) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let people = self.core().people([caller.user_id]).await?;
        let (this, by) = (self.clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.leave", move |tx: Tx| {
                let (this, by, people) = (this.clone(), by.clone(), people.clone());
                async move {
                    let Standing { mut room, row, .. } = this.core().locked_standing(&tx, &by, id).await?;
                    let Some(row) = row.filter(|row| !row.is_banned) else {
                        return Ok(());
                    };
                    this.hand_on(&tx, &room, &row).await?;
                    this.core()
                        .remove_member(&tx, &mut room, &row, Exit::Left, &people)
                        .await?;
                    Ok::<_, ChatError>(())
                }
            })
            .await
    }

    /// Somebody is about to leave a locked room: if nobody else is an admin, the longest-serving
    /// moderator becomes one, else the longest-serving member. Those whose account is not active,
    /// who could do nothing with it, come after all others.
    pub(super) async fn hand_on(
        &self,
        tx: &Tx,
        room: &room::Model,
        leaver: &member::Model,
    ) -> Result<(), DbError> {
        if leaver.role() != Role::Admin || repo::count_other_admins(tx, room.id, leaver.id).await? > 0 {
            return Ok(());
        }
        let Some(mut heir) = self.heir_of(tx, room, leaver).await? else {
            return Ok(());
        };
        self.core().give_role(tx, room, &mut heir, Role::Admin).await?;
        self.announce_member(tx, room, heir);
        Ok(())
    }

    async fn heir_of(
        &self,
        tx: &Tx,
        room: &room::Model,
        leaver: &member::Model,
    ) -> Result<Option<member::Model>, DbError> {
        let (mut skip, mut first) = (0, None);
        loop {
            let some = repo::list_heirs(tx, room.id, leaver.id, skip, HEIRS).await?;
            let users: Vec<UserId> = some.iter().map(member::Model::user).collect();
            let active = self.core().accounts.active_among(tx, &users).await?;
            if let Some(heir) = some.iter().find(|row| active.contains(&row.user())) {
                return Ok(Some(heir.clone()));
            }
            let is_last = (some.len() as u64) < HEIRS;
            first = first.or(some.into_iter().next());
            if is_last {
                return Ok(first);
            }
            skip += HEIRS;
        }
    }
}

impl Core {
    /// Makes somebody a member of a locked room, if he may come in. His invitation is accepted by
    /// that, whatever the kind of the room.
    ///
    /// # Errors
    /// `RoomNotFound` for a closed room, `Banned`, `InviteRequired`, `RoomFull`.
    pub(super) async fn enter(
        &self,
        tx: &Tx,
        standing: Standing,
        user: UserId,
        people: &People,
    ) -> Result<room::Model, ChatError> {
        let Standing { mut room, row, .. } = standing;
        if !room.is_active {
            return Err(ChatError::RoomNotFound);
        }
        match row {
            Some(row) if row.is_banned => return Err(ChatError::Banned),
            Some(_) => return Ok(room),
            None => {}
        }
        let invite = repo::find_pending(tx, room.id, user).await?;
        let invite = invite.filter(|invite| invite.expires_at > self.now());
        if room.kind() != RoomType::Public && invite.is_none() {
            return Err(ChatError::InviteRequired);
        }
        if room.is_full() {
            return Err(ChatError::RoomFull);
        }
        // Into an empty room that was opened again: somebody has to run it.
        let role = match room.member_count {
            0 => Role::Admin,
            _ => Role::Member,
        };
        self.let_in(tx, &mut room, &[(user, role)], self.now()).await?;
        if let Some(invite) = invite {
            repo::settle_invite(tx, invite.id, InviteStatus::Accepted).await?;
        }
        self.say_came(tx, &mut room, user, people).await?;
        Ok(room)
    }

    /// Adds members to a locked room.
    pub(super) async fn let_in(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        users: &[(UserId, Role)],
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        repo::insert_members(tx, room, users, now).await?;
        for (user, _) in users {
            self.mute_again(tx, room, *user, now).await?;
        }
        let more = i32::try_from(users.len()).unwrap_or(i32::MAX);
        self.resize(tx, room, more, now).await
    }

    /// Leaving and coming back does not end a mute.
    async fn mute_again(
        &self,
        tx: &Tx,
        room: &room::Model,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let Some(mute) = repo::take_mute(tx, room.id, user).await? else {
            return Ok(());
        };
        let row = repo::find_member(tx, room.id, user).await?;
        let Some(row) = row.filter(|_| mute.mute_until.is_none_or(|until| until > now)) else {
            return Ok(());
        };
        let set = [
            (member::Column::IsMuted, Expr::value(true)),
            (member::Column::MuteUntil, Expr::value(mute.mute_until)),
        ];
        repo::update_member(tx, row.id, set).await
    }

    pub(super) async fn say_came(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        user: UserId,
        people: &People,
    ) -> Result<(), DbError> {
        let text = format!("{} 加入了房间", dto::name(people, user).username);
        self.say(tx, room, user, text, people).await
    }

    /// Removes a member from a locked room. His sockets end.
    pub(super) async fn remove_member(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        row: &member::Model,
        exit: Exit,
        people: &People,
    ) -> Result<(), DbError> {
        repo::delete_member(tx, row.id).await?;
        if row.is_muted_at(self.now()) {
            repo::insert_mute(tx, row).await?;
        }
        // Nothing is said in a closed room.
        if room.is_active {
            let text = exit.told(&dto::name(people, row.user()).username);
            self.say(tx, room, row.user(), text, people).await?;
        }
        self.resize(tx, room, -1, self.now()).await?;
        self.tell_change(tx, room, frames::recheck(row.user())).await
    }

    /// Moves the number of members of a locked room. One without members is closed.
    pub(super) async fn resize(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        by: i32,
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        room.member_count = room.member_count.saturating_add(by).max(0);
        room.updated_at = repo::later(room, now);
        let mut set = vec![
            (room::Column::MemberCount, Expr::value(room.member_count)),
            (room::Column::UpdatedAt, Expr::value(room.updated_at)),
        ];
        let is_closed = room.member_count == 0 && room.is_active;
        if is_closed {
            room.is_active = false;
            set.push((room::Column::IsActive, Expr::value(false)));
        }
        repo::update_room(tx, room.id, set).await?;
        if is_closed {
            self.tell_change(tx, room, frames::closed()).await?;
        }
        Ok(())
    }

    /// Gives a member of a locked room another role, of which he is told.
    pub(super) async fn give_role(
        &self,
        tx: &Tx,
        room: &room::Model,
        row: &mut member::Model,
        role: Role,
    ) -> Result<(), DbError> {
        role.as_str().clone_into(&mut row.role);
        let set = [(member::Column::Role, Expr::value(role.as_str()))];
        repo::update_member(tx, row.id, set).await?;
        self.notify_each(tx, room, [row.user()], &role_text(role)).await
    }
}
