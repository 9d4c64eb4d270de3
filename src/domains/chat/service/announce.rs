//! What the members of a room are told when the room or one of them changes: frames for those who
//! have a socket open, after the commit, and notifications in the transaction itself.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use yunque_kernel::ws::Broadcast;
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::notify::Notice;
use crate::dto::{self, ChatMemberOut, People};
use crate::entity::{member, room};
use crate::kinds::{NoticeType, Role};
use crate::{Chat, Core, frames, repo};

/// What stands in notifications of a room; stored text keeps to Chinese.
pub(super) const CLOSED: &str = "房间已关闭";
pub(super) const KICKED: &str = "您已被移出房间";
pub(super) const BANNED: &str = "您已被该房间封禁";

/// The text of a notification of a new role.
pub(super) fn role_text(role: Role) -> String {
    let name = match role {
        Role::Admin => "管理员",
        Role::Moderator => "协管员",
        Role::Member => "普通成员",
    };
    format!("您的角色已变更为{name}")
}

/// What is shown around members. Looked up before a transaction, which awaits nothing but itself.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub people: People,
    /// Who has a socket open in the room.
    pub online: Vec<UserId>,
    pub now: DateTime<Utc>,
}

impl Seen {
    /// A member for somebody else.
    pub fn member(&self, row: &member::Model, room: &room::Model) -> ChatMemberOut {
        self.show(row, room, false)
    }

    /// A member for himself.
    pub fn own(&self, row: &member::Model, room: &room::Model) -> ChatMemberOut {
        self.show(row, room, true)
    }

    fn show(&self, row: &member::Model, room: &room::Model, is_own: bool) -> ChatMemberOut {
        let mut row = row.clone();
        if row.is_muted && !row.is_muted_at(self.now) {
            // It ended by itself; the row is none the wiser.
            (row.is_muted, row.mute_until) = (false, None);
        }
        let online = self.online.contains(&row.user());
        dto::member(&row, room, online, is_own, &self.people)
    }
}

impl Chat {
    pub(super) async fn seen(
        &self,
        room: i64,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Seen, DbError> {
        Ok(Seen {
            people: self.core().people(users).await?,
            online: self.online(room).await,
            now: self.now(),
        })
    }

    /// Tells a room how a member is now, when who it is came out only under the lock.
    pub(super) fn announce_member(&self, tx: &Tx, room: &room::Model, row: member::Model) {
        let (this, room) = (self.clone(), room.clone());
        tx.after_commit(move || {
            yunque_kernel::task::spawn(async move {
                // Who misses it finds it in the list of members.
                if let Ok(seen) = this.seen(room.id, [row.user()]).await {
                    let frame = frames::member_updated(&seen.member(&row, &room));
                    this.ctx()
                        .realtime
                        .publish(&frames::room_topic(room.key()), frame);
                }
            });
        });
    }
}

impl Core {
    /// Sends the sockets of a locked room something that none of them may miss, after the commit and
    /// in the order of commits.
    pub(super) async fn tell_change(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        broadcast: Broadcast,
    ) -> Result<(), DbError> {
        room.changes += 1;
        let set = [(room::Column::Changes, Expr::value(room.changes))];
        repo::update_room(tx, room.id, set).await?;
        self.send_to_room(tx, room.key(), broadcast.as_change(room.changes).encode());
        Ok(())
    }

    /// Sends a frame to the sockets of a room after the commit.
    pub(super) fn send_to_room(&self, tx: &Tx, room: ChatRoomId, frame: Bytes) {
        let hub = self.ctx.realtime.clone();
        tx.after_commit(move || hub.publish(&frames::room_topic(room), frame));
    }

    /// Tells users something about a locked room, by one statement.
    pub(super) async fn tell_each(
        &self,
        tx: &Tx,
        room: &room::Model,
        users: impl IntoIterator<Item = UserId>,
        kind: NoticeType,
        title: &str,
        content: &str,
    ) -> Result<(), DbError> {
        let notices = users.into_iter().map(|user| Notice {
            user,
            kind,
            title: title.to_owned(),
            content: content.to_owned(),
            room: Some(room),
            message: None,
        });
        self.tell(tx, notices.collect(), &People::new()).await
    }

    /// Tells users what became of them in a locked room, or of the room.
    pub(super) async fn notify_each(
        &self,
        tx: &Tx,
        room: &room::Model,
        users: impl IntoIterator<Item = UserId>,
        content: &str,
    ) -> Result<(), DbError> {
        let title = format!("房间通知：{}", room.name);
        self.tell_each(tx, room, users, NoticeType::System, &title, content)
            .await
    }

    /// A locked room was closed: its sockets end, and its members hear of it, but for the one who
    /// did it.
    pub(super) async fn room_closed(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        by: UserId,
    ) -> Result<(), DbError> {
        let members = repo::list_active(tx, &[room.id]).await?;
        let others = members.iter().map(member::Model::user).filter(|user| *user != by);
        self.notify_each(tx, room, others, CLOSED).await?;
        self.tell_change(tx, room, frames::closed()).await
    }
}
