//! What a member has not read.

use yunque_kernel::auth::Caller;

use crate::dto::{ChatRoomUnreadOut, ChatUnreadOut};
use crate::{Chat, ChatError, repo};

/// Messages of a room that a member has not read: of those that were said, not those up to the mark
/// and not those behind it that are deleted.
///
/// Own messages are not among them: sending moves the sender's mark.
pub(crate) fn unread_count(last_ordinal: i64, mark_ordinal: i64, deleted_after_mark: i64) -> i64 {
    (last_ordinal - mark_ordinal - deleted_after_mark).max(0)
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
                unread_count: unread_count(
                    room.last_ordinal,
                    member.mark_ordinal,
                    deleted.get(&room.id).copied().unwrap_or(0),
                ),
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
    use super::*;

    #[test]
    fn deleted_messages_need_no_reading() {
        assert_eq!(unread_count(12, 5, 0), 7);
        assert_eq!(unread_count(12, 5, 3), 4);
        // A count that was read a moment later than the row.
        assert_eq!(unread_count(12, 5, 8), 0);
    }
}
