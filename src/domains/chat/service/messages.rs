//! Reading messages.

use std::time::Duration;

use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;
use yunque_kernel::ws::Broadcast;
use yunque_kernel::{ChatMessageId, ChatRoomId, DbError};

use crate::dto::{self, ChatMessageOut, ChatMessagePageOut, ChatRoomNameOut};
use crate::entity::{message, room};
use crate::policy::{Reader, Standing};
use crate::repo::{self, MessageFilter, PageMessage, Window};
use crate::{Chat, ChatError, Core, frames};

/// Text of a message that was deleted. Stored, so it keeps to Chinese in every language.
pub(crate) const DELETED: &str = "[消息已删除]";

/// How far apart the clocks of two hosts may be.
const CLOCKS: Duration = Duration::from_secs(60);

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
        self.admit(caller).await?;
        let reader = self.ctx().db.reader();
        let (window, limit) = match part {
            Part::Page(page) => (Window::Newest { skip: page.offset() }, page.limit()),
            Part::Cursor { window, limit } => (window, limit),
        };
        let found = repo::find_page(reader, id, caller.user_id, &filter, window, limit).await?;
        let (room, rows) = found.ok_or(ChatError::RoomNotFound)?;
        let standing = Reader {
            room_type: room.room_type,
            is_member: room.is_member,
            is_staff: caller.is_staff,
        };
        standing.read()?;
        self.record_reader(caller, id, standing).await?;
        // Nothing is ever removed from a room, so its numbers tell how many there are.
        let total = match filter.is_empty() {
            true => room.last_seq.unsigned_abs(),
            false => repo::count_messages(reader, id.0, &filter).await?,
        };
        let (page, page_size) = match part {
            Part::Page(page) => (page.page, page.size),
            Part::Cursor { limit, .. } => (1, limit),
        };
        Ok(ChatMessagePageOut {
            messages: self.core().present_page(id, room.name, rows).await?,
            page,
            page_size,
            total,
        })
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

    /// How the messages of a room are now that were edited or deleted within the last so-and-so
    /// long, as its sockets get them.
    pub(crate) async fn messages_changed(
        &self,
        room: i64,
        within: Duration,
    ) -> Result<Vec<Broadcast>, ChatError> {
        let since = self.now() - (within + CLOCKS);
        let rows = repo::list_changed(self.ctx().db.reader(), room, since).await?;
        let people = self
            .core()
            .people(rows.iter().map(message::Model::sender))
            .await?;
        let frame = |row: &message::Model| match row.is_deleted {
            true => frames::deleted(row, &people),
            false => frames::edited(row, &people),
        };
        Ok(rows.iter().map(frame).collect())
    }
}

impl Core {
    async fn present_page(
        &self,
        id: ChatRoomId,
        name: String,
        rows: Vec<PageMessage>,
    ) -> Result<Vec<ChatMessageOut>, DbError> {
        let replied = rows.iter().filter_map(|(_, reply)| reply.as_ref());
        let replied = replied.map(message::Preview::sender);
        let senders = rows.iter().map(|(row, _)| row.sender());
        let people = self.people(senders.chain(replied)).await?;
        let room = ChatRoomNameOut { id: id.0, name };
        let rows = rows.into_iter();
        Ok(rows
            .map(|(row, reply)| dto::shown_message(row, room.clone(), reply, &people))
            .collect())
    }

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
