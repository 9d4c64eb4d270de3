//! What was read, what was not, and searching in both.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use yunque_kernel::auth::Caller;
use yunque_kernel::error::messages;
use yunque_kernel::http::{Body, Json, PageQuery, RequestInfo};
use yunque_kernel::{ApiError, ChatMessageId, ChatRoomId, Faults, Text};

use super::{ChatTags, done};
use crate::Chat;
use crate::dto::{ChatDoneOut, ChatMessagePageOut, ChatReadIn, ChatReadOut, ChatUnreadOut, ChatUpdatedOut};

const PAGE_SIZE: u32 = 20;
/// Characters of a text to search for.
const MAX_QUERY: usize = 100;
const READ: Text = Text::fixed("消息已标记为已读", "Message marked as read.");

pub(super) struct ReadsApi {
    chat: Chat,
}

impl ReadsApi {
    pub fn new(chat: Chat) -> Self {
        ReadsApi { chat }
    }
}

#[OpenApi(prefix_path = "/api/chat", tag = "ChatTags::Chat")]
impl ReadsApi {
    /// Marks a message as read; nothing before it is unread any more. Doing it again is no error.
    ///
    /// Errors: 403 `not_member`, 404.
    #[oai(
        path = "/messages/:message_id/read",
        method = "post",
        operation_id = "read_chat_message"
    )]
    async fn read(
        &self,
        caller: Caller,
        info: RequestInfo,
        message_id: Path<ChatMessageId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.chat.mark_read(&caller, message_id.0).await?;
        Ok(done(&READ, &info))
    }

    /// Lists who has read a message: its sender, then the others in the order of reading.
    ///
    /// Errors: 403 `not_member`, 404.
    #[oai(
        path = "/messages/:message_id/reads",
        method = "get",
        operation_id = "list_chat_message_reads"
    )]
    async fn reads(
        &self,
        caller: Caller,
        message_id: Path<ChatMessageId>,
    ) -> Result<Json<Vec<ChatReadOut>>, ApiError> {
        Ok(Json(self.chat.list_message_reads(&caller, message_id.0).await?))
    }

    /// Marks everything in a room as read, or what was said up to a message.
    ///
    /// `updated` tells how many of the newest 1000 messages were not marked before, own ones left out.
    /// Errors: 400, 403 `not_member`, 404.
    #[oai(
        path = "/rooms/:room_id/read",
        method = "post",
        operation_id = "read_chat_room"
    )]
    async fn read_room(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
        body: Body<ChatReadIn>,
    ) -> Result<Json<ChatUpdatedOut>, ApiError> {
        let ChatReadIn { up_to } = body.into_inner();
        let updated = self.chat.read_room(&caller, room_id.0, up_to).await?;
        Ok(Json(ChatUpdatedOut {
            message: READ.get(info.lang).to_owned(),
            updated,
        }))
    }

    /// Tells what the caller has not read, by room.
    ///
    /// Errors: 403.
    #[oai(path = "/unread", method = "get", operation_id = "get_chat_unread")]
    async fn unread(&self, caller: Caller) -> Result<Json<ChatUnreadOut>, ApiError> {
        Ok(Json(self.chat.unread(&caller).await?))
    }

    /// Searches messages for a text of 1 to 100 characters, newest first, in one room or in all rooms
    /// of the caller. Deleted messages are left out.
    ///
    /// Found is what contains the text, inside words as well, whatever its case. A single letter or digit,
    /// and punctuation alone, are looked for in the newest 20,000 messages only, and `total` counts those.
    /// Errors: 400, 403 `not_member`, 404.
    #[oai(
        path = "/messages/search",
        method = "get",
        operation_id = "search_chat_messages"
    )]
    async fn search(
        &self,
        caller: Caller,
        q: Query<Option<String>>,
        room_id: Query<Option<i64>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Json<ChatMessagePageOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let text = searched(q.0.as_deref())?;
        if room_id.0.is_some_and(|id| id < 1) {
            return Err(Faults::one("room_id", messages::OUT_OF_RANGE));
        }
        let room = room_id.0.map(ChatRoomId);
        Ok(Json(self.chat.search_messages(&caller, room, &text, page).await?))
    }
}

/// # Errors
/// 400 for no text, or too much of it.
fn searched(q: Option<&str>) -> Result<String, ApiError> {
    let q = q.ok_or_else(|| Faults::one("q", messages::REQUIRED))?.trim();
    if q.is_empty() {
        return Err(Faults::one("q", messages::BLANK));
    }
    if q.chars().count() > MAX_QUERY {
        return Err(Faults::one("q", messages::too_long(MAX_QUERY)));
    }
    if q.chars().any(char::is_control) {
        return Err(Faults::one("q", messages::BAD_CHARACTER));
    }
    Ok(q.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_needs_a_text_of_some_length() {
        let search = |q: Option<&str>| searched(q).map_err(|e| e.status);
        assert_eq!(search(Some(" 字 ")), Ok("字".to_owned()));
        assert!(search(Some(&"字".repeat(MAX_QUERY))).is_ok());
        for bad in [
            None,
            Some(""),
            Some("  "),
            Some("a\0b"),
            Some(&*"字".repeat(MAX_QUERY + 1)),
        ] {
            assert_eq!(search(bad), Err(400), "{bad:?}");
        }
    }
}
