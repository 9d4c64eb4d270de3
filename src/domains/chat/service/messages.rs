//! Reading messages.

use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;
use yunque_kernel::ws::Broadcast;
use yunque_kernel::{ChatMessageId, ChatRoomId, DbError};

use crate::dto::{self, ChatMessageOut, ChatMessagePageOut};
use crate::entity::{message, room};
use crate::policy::Standing;
use crate::repo::{self, MessageFilter, Window};
use crate::{Chat, ChatError, Core, frames};

/// Text of a message that was deleted. Stored, so it keeps to Chinese in every language.
pub(crate) const DELETED: &str = "[消息已删除]";

/// Which part of a room's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Newest first.
    Page(Page),
    Cursor {
        window: Window,
        limit: u64,
    },
}

impl Chat {
    /// A part of a room's messages.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`.
    pub(crate) async fn list_messages(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        filter: MessageFilter,
        part: Part,
    ) -> Result<ChatMessagePageOut, ChatError> {
        let room = self.reader(caller, id).await?.room;
        let reader = self.ctx().db.reader();
        // Nothing is ever removed from a room, so its numbers tell how many there are.
        let total = match filter.is_empty() {
            true => room.last_seq.unsigned_abs(),
            false => repo::count_messages(reader, room.id, &filter).await?,
        };
        let (rows, page, page_size) = match part {
            Part::Page(page) => {
                let rows = match filter.is_empty() {
                    true => self.page(&room, page).await?,
                    false => {
                        let window = Window::Newest { skip: page.offset() };
                        repo::list_window(reader, room.id, &filter, window, page.limit()).await?
                    }
                };
                (rows, page.page, page.size)
            }
            Part::Cursor { window, limit } => {
                let rows = repo::list_window(reader, room.id, &filter, window, limit).await?;
                (rows, 1, limit)
            }
        };
        Ok(ChatMessagePageOut {
            messages: self.core().present_messages(&room, &rows).await?,
            page,
            page_size,
            total,
        })
    }

    /// A page is a range of numbers.
    async fn page(&self, room: &room::Model, page: Page) -> Result<Vec<message::Model>, DbError> {
        let skip = i64::try_from(page.offset()).unwrap_or(i64::MAX);
        let to = room.last_seq.saturating_sub(skip);
        if to < 1 {
            return Ok(Vec::new());
        }
        let size = i64::try_from(page.size).unwrap_or(i64::MAX);
        let from = to.saturating_sub(size).saturating_add(1).max(1);
        repo::list_range(self.ctx().db.reader(), room.id, from, to).await
    }

    /// One message.
    ///
    /// # Errors
    /// `GroupRequired`, `MessageNotFound`, `MessageDenied`.
    pub async fn get_message(&self, caller: &Caller, id: ChatMessageId) -> Result<ChatMessageOut, ChatError> {
        let (row, standing) = self.readable_message(caller, id).await?;
        let mut shown = self
            .core()
            .present_messages(&standing.room, std::slice::from_ref(&row))
            .await?;
        shown.pop().ok_or(ChatError::MessageNotFound)
    }

    /// A message that the caller may read, and where he stands in its room.
    ///
    /// # Errors
    /// `GroupRequired`, `MessageNotFound`, `MessageDenied`.
    pub(crate) async fn readable_message(
        &self,
        caller: &Caller,
        id: ChatMessageId,
    ) -> Result<(message::Model, Standing), ChatError> {
        self.admit(caller).await?;
        let row = repo::find_message(self.ctx().db.reader(), id).await?;
        let row = row.ok_or(ChatError::MessageNotFound)?;
        let standing = self.core().standing(caller, ChatRoomId(row.room_id)).await?;
        standing.read().map_err(|_| ChatError::MessageDenied)?;
        self.record(caller, &standing).await?;
        Ok((row, standing))
    }

    /// Messages after one, in order, as sockets get them.
    pub(crate) async fn messages_after(
        &self,
        room: i64,
        after: i64,
        limit: u64,
    ) -> Result<Vec<Broadcast>, ChatError> {
        let everything = MessageFilter::default();
        let reader = self.ctx().db.reader();
        let rows = repo::list_window(reader, room, &everything, Window::After(after), limit).await?;
        let people = self
            .core()
            .people(rows.iter().map(message::Model::sender))
            .await?;
        Ok(rows
            .iter()
            .map(|row| frames::stored(row, None, &people))
            .collect())
    }
}

impl Core {
    /// Messages of one room as they are shown, by a fixed number of statements.
    pub(crate) async fn present_messages(
        &self,
        room: &room::Model,
        rows: &[message::Model],
    ) -> Result<Vec<ChatMessageOut>, DbError> {
        let replied: Vec<i64> = rows.iter().filter_map(|row| row.reply_to_id).collect();
        let replies = repo::list_messages_by_ids(self.ctx.db.reader(), &replied).await?;
        let shown = rows.iter().chain(&replies).map(message::Model::sender);
        let people = self.people(shown).await?;
        let reply_of = |row: &message::Model| replies.iter().find(|r| Some(r.id) == row.reply_to_id);
        Ok(rows
            .iter()
            .map(|row| dto::message(row, room, reply_of(row), &people))
            .collect())
    }
}
