//! What a member has not read.

use yunque_kernel::auth::Caller;

use crate::dto::{ChatRoomUnreadOut, ChatUnreadOut};
use crate::entity::{member, room};
use crate::{Chat, ChatError, repo};

/// Messages of a room that a member has not read. `deleted_after_mark`: those of them that are deleted.
///
/// Own messages are not among them: sending moves the sender's mark.
pub(crate) fn unread_count(room: &room::Model, member: &member::Model, deleted_after_mark: i64) -> i64 {
    (room.last_ordinal - member.mark_ordinal - deleted_after_mark).max(0)
}

impl Chat {
    /// What the caller has not read in any of his rooms that are open, by two statements.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub async fn unread(&self, caller: &Caller) -> Result<ChatUnreadOut, ChatError> {
        self.admit(caller).await?;
        let reader = self.ctx().db.reader();
        let rooms = repo::list_rooms_of(reader, caller.user_id).await?;
        let deleted = repo::count_deleted_unread(reader, caller.user_id).await?;
        let mut rooms: Vec<ChatRoomUnreadOut> = rooms
            .into_iter()
            .filter_map(|(member, room)| Some((member, room.filter(|room| room.is_active)?)))
            .map(|(member, room)| ChatRoomUnreadOut {
                room_id: room.id,
                unread_count: unread_count(&room, &member, deleted.get(&room.id).copied().unwrap_or(0)),
                last_read_message_id: member.last_read_message_id,
            })
            .collect();
        rooms.sort_unstable_by_key(|room| std::cmp::Reverse(room.room_id));
        Ok(ChatUnreadOut {
            total: rooms.iter().map(|room| room.unread_count).sum(),
            rooms,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn deleted_messages_need_no_reading() {
        let room = room::Model {
            id: 1,
            name: "r".into(),
            description: None,
            room_type: "public".into(),
            created_by: None,
            is_active: true,
            max_members: 50,
            member_count: 2,
            last_seq: 20,
            notified_seq: 20,
            last_ordinal: 12,
            head_id: 20,
            last_message_id: Some(20),
            direct_key: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let member = member::Model {
            id: 1,
            room_id: 1,
            user_id: 1,
            role: "member".into(),
            joined_at: DateTime::UNIX_EPOCH,
            last_read_at: None,
            last_read_message_id: None,
            mark_id: 9,
            mark_ordinal: 5,
            is_muted: false,
            mute_until: None,
            is_banned: false,
            notify: "all".into(),
        };
        assert_eq!(unread_count(&room, &member, 0), 7);
        assert_eq!(unread_count(&room, &member, 3), 4);
        // A count that was read a moment later than the row.
        assert_eq!(unread_count(&room, &member, 8), 0);
    }
}
