//! Searching what was said.

use std::collections::HashMap;

use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;
use yunque_kernel::{ChatRoomId, DbError};

use crate::dto::{self, ChatMessageOut, ChatMessagePageOut};
use crate::entity::message;
use crate::{Chat, ChatError, Core, repo};

impl Chat {
    /// Messages that contain a text, newest first: of one room, or of all rooms where the caller is a
    /// member. Deleted ones are left out.
    ///
    /// # Errors
    /// `GroupRequired`; `RoomNotFound` and `NotMember` of a room that is named.
    pub(crate) async fn search_messages(
        &self,
        caller: &Caller,
        room: Option<ChatRoomId>,
        text: &str,
        page: Page,
    ) -> Result<ChatMessagePageOut, ChatError> {
        match room {
            Some(room) => drop(self.reader(caller, room).await?),
            None => self.admit(caller).await?,
        }
        let reader = self.ctx().db.reader();
        let room = room.map(|room| room.0);
        let (rows, total) = repo::search_messages(reader, caller.user_id, room, text, page).await?;
        Ok(ChatMessagePageOut {
            messages: self.core().present_found(&rows).await?,
            page: page.page,
            page_size: page.size,
            total,
        })
    }
}

impl Core {
    /// Messages of any rooms as they are shown, by a fixed number of statements.
    async fn present_found(&self, rows: &[message::Model]) -> Result<Vec<ChatMessageOut>, DbError> {
        let reader = self.ctx.db.reader();
        let mut rooms: Vec<i64> = rows.iter().map(|row| row.room_id).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let rooms: HashMap<i64, _> = repo::list_rooms_by_ids(reader, &rooms)
            .await?
            .into_iter()
            .map(|room| (room.id, room))
            .collect();
        let replied: Vec<i64> = rows.iter().filter_map(|row| row.reply_to_id).collect();
        let replies: HashMap<i64, _> = repo::list_messages_by_ids(reader, &replied)
            .await?
            .into_iter()
            .map(|reply| (reply.id, reply))
            .collect();
        let shown = rows.iter().chain(replies.values()).map(message::Model::sender);
        let people = self.people(shown).await?;
        let present = |row: &message::Model| {
            let reply = row.reply_to_id.and_then(|id| replies.get(&id));
            Some(dto::message(row, rooms.get(&row.room_id)?, reply, &people))
        };
        Ok(rows.iter().filter_map(present).collect())
    }
}
