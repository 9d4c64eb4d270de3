//! `/api/chat/rooms/{id}/messages/` and `/api/chat/messages/{id}/`.

use chrono::{DateTime, Utc};
use poem::{IntoResponse, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, OpenApi};
use yunque_kernel::auth::Caller;
use yunque_kernel::clock::is_storable;
use yunque_kernel::error::messages;
use yunque_kernel::http::{
    Body, Created, Direct, Json, PageQuery, Replayable, RequestInfo, Scope, StoredReply,
};
use yunque_kernel::{ApiError, ChatMessageId, ChatRoomId, Faults, Text, UserId};

use super::ChatTags;
use crate::Chat;
use crate::dto::{ChatDoneOut, ChatMessageEditIn, ChatMessageIn, ChatMessageOut, ChatMessagePageOut};
use crate::kinds::MessageType;
use crate::repo::{MessageFilter, Window};
use crate::service::messages::Part;

const PAGE_SIZE: u32 = 20;
const MAX_LIMIT: i64 = 100;
const DELETED: Text = Text::fixed("消息已删除", "Message deleted.");

pub(super) struct MessagesApi {
    chat: Chat,
}

impl MessagesApi {
    pub fn new(chat: Chat) -> Self {
        MessagesApi { chat }
    }
}

/// 201 for a new message, 200 for one that was sent before.
pub(super) struct SentReply {
    message: ChatMessageOut,
    is_new: bool,
}

impl IntoResponse for SentReply {
    fn into_response(self) -> Response {
        match self.is_new {
            true => Created(self.message).into_response(),
            false => Json(self.message).into_response(),
        }
    }
}

impl ApiResponse for SentReply {
    fn meta() -> MetaResponses {
        let mut responses = Json::<ChatMessageOut>::meta().responses;
        responses.extend(Created::<ChatMessageOut>::meta().responses);
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Json::<ChatMessageOut>::register(registry);
    }
}

impl StoredReply for SentReply {
    /// The service stores the true status with its row; this one is never used.
    const STATUS: u16 = 201;

    fn body(&self) -> String {
        self.message.to_json_string()
    }
}

/// Which messages a request asks for.
#[derive(Debug, Default)]
struct Asked {
    page: Option<i64>,
    page_size: Option<i64>,
    before_id: Option<i64>,
    after_id: Option<i64>,
    limit: Option<i64>,
}

impl Asked {
    /// # Errors
    /// 400 with a fault for each parameter out of range.
    fn part(self) -> Result<Part, ApiError> {
        let mut faults = Faults::new();
        if self.before_id.is_some_and(|id| id < 1) {
            faults.add("before_id", messages::OUT_OF_RANGE);
        }
        if self.after_id.is_some_and(|id| id < 0) {
            faults.add("after_id", messages::OUT_OF_RANGE);
        }
        let limit = self.limit.unwrap_or(i64::from(PAGE_SIZE));
        if !(1..=MAX_LIMIT).contains(&limit) {
            faults.add("limit", messages::OUT_OF_RANGE);
        }
        faults.into_result(())?;
        let window = match (self.after_id, self.before_id) {
            (Some(after), _) => Window::After(after),
            (None, Some(before)) => Window::Before(before),
            (None, None) if self.limit.is_some() => Window::Newest { skip: 0 },
            (None, None) => {
                return PageQuery::of(self.page, self.page_size, PAGE_SIZE).map(Part::Page);
            }
        };
        Ok(Part::Cursor {
            window,
            limit: limit.unsigned_abs(),
        })
    }
}

#[OpenApi(prefix_path = "/api/chat", tag = "ChatTags::Chat")]
impl MessagesApi {
    /// Lists messages of a room, newest first; with `after_id` oldest first.
    ///
    /// By pages (`page`, `page_size` 1 to 100), or from a message on (`before_id` or `after_id`, and
    /// `limit` 1 to 100). Deleted messages stay with a placeholder unless `include_deleted` is false.
    /// `updated_since` leaves out what has not changed since. Members only.
    /// Errors: 400, 403 `not_member`, 404.
    #[oai(
        path = "/rooms/:room_id/messages",
        method = "get",
        operation_id = "list_chat_messages"
    )]
    #[expect(clippy::too_many_arguments, reason = "one for each published parameter")]
    async fn list(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
        before_id: Query<Option<i64>>,
        after_id: Query<Option<i64>>,
        limit: Query<Option<i64>>,
        updated_since: Query<Option<DateTime<Utc>>>,
        include_deleted: Query<Option<bool>>,
        message_type: Query<Option<MessageType>>,
        sender_id: Query<Option<i64>>,
    ) -> Result<Json<Direct<ChatMessagePageOut>>, ApiError> {
        let asked = Asked {
            page: page.0,
            page_size: page_size.0,
            before_id: before_id.0,
            after_id: after_id.0,
            limit: limit.0,
        };
        let filter = MessageFilter {
            message_type: message_type.0,
            sender: sender_id.0.map(UserId),
            updated_since: updated_since.0,
            hide_deleted: include_deleted.0 == Some(false),
        };
        if updated_since.0.is_some_and(|since| !is_storable(since)) {
            return Err(Faults::one("updated_since", messages::OUT_OF_RANGE));
        }
        let part = asked.part()?;
        let page = self.chat.list_messages(&caller, room_id.0, filter, part).await?;
        Ok(Json(Direct(page)))
    }

    /// Sends a message: 201 for a new one, 200 with the first one when its `client_id` was used before.
    ///
    /// For members who are not muted. `system` is for admins and moderators. Files are uploaded first
    /// and sent by their address. Honours `Idempotency-Key`.
    /// Errors: 400 `empty_content`, `invalid_reply`, 403 `not_member`, `muted`, `permission_denied`, 404, 409 `room_inactive`, 422.
    #[oai(
        path = "/rooms/:room_id/messages",
        method = "post",
        operation_id = "create_chat_message"
    )]
    async fn create(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
        body: Body<ChatMessageIn>,
    ) -> Result<Replayable<SentReply>, ApiError> {
        let scope = Scope::user(caller.user_id, &info)?;
        let digest = body.digest();
        let input = body.into_inner();
        let idempotency = &self.chat.ctx().idempotency;
        idempotency
            .run(scope, digest, |claim| async move {
                let outgoing = self.chat.prepare(&caller, room_id.0, input).await?;
                let people = outgoing.people.clone();
                let delivered = match claim.is_none() {
                    true => self.chat.send(outgoing).await?,
                    false => {
                        let answer = |shown: &ChatMessageOut| shown.to_json();
                        self.chat.send_claimed(outgoing, claim, answer).await?
                    }
                };
                Ok(SentReply {
                    message: delivered.shown(&people),
                    is_new: delivered.is_new,
                })
            })
            .await
    }

    /// Shows one message, to members of its room.
    ///
    /// Errors: 403 `not_member`, 404.
    #[oai(
        path = "/messages/:message_id",
        method = "get",
        operation_id = "get_chat_message"
    )]
    async fn get(
        &self,
        caller: Caller,
        message_id: Path<ChatMessageId>,
    ) -> Result<Json<ChatMessageOut>, ApiError> {
        Ok(Json(self.chat.get_message(&caller, message_id.0).await?))
    }

    /// Changes the text of a message. Its sender only, as long as the settings allow.
    ///
    /// Errors: 400 `empty_content`, 403 `not_sender`, `not_member`, `muted`, 404, 409 `not_editable`, `room_inactive`.
    #[oai(
        path = "/messages/:message_id",
        method = "patch",
        operation_id = "update_chat_message"
    )]
    async fn update(
        &self,
        caller: Caller,
        message_id: Path<ChatMessageId>,
        body: Body<ChatMessageEditIn>,
    ) -> Result<Json<ChatMessageOut>, ApiError> {
        let input = body.into_inner();
        Ok(Json(self.chat.edit_message(&caller, message_id.0, input).await?))
    }

    /// Changes the text of a message, as PATCH does.
    ///
    /// Errors: 400 `empty_content`, 403 `not_sender`, `not_member`, `muted`, 404, 409 `not_editable`, `room_inactive`.
    #[oai(
        path = "/messages/:message_id",
        method = "put",
        operation_id = "replace_chat_message"
    )]
    async fn replace(
        &self,
        caller: Caller,
        message_id: Path<ChatMessageId>,
        body: Body<ChatMessageEditIn>,
    ) -> Result<Json<ChatMessageOut>, ApiError> {
        self.update(caller, message_id, body).await
    }

    /// Deletes a message: its sender, and admins and moderators of the room. Doing it again is no error.
    ///
    /// Errors: 403 `not_sender`, 404.
    #[oai(
        path = "/messages/:message_id",
        method = "delete",
        operation_id = "delete_chat_message"
    )]
    async fn delete(
        &self,
        caller: Caller,
        info: RequestInfo,
        message_id: Path<ChatMessageId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.chat.delete_message(&caller, message_id.0).await?;
        Ok(Json(ChatDoneOut {
            message: DELETED.get(info.lang).to_owned(),
        }))
    }

    /// Deletes a message, as `DELETE /api/chat/messages/{id}/` does.
    ///
    /// Errors: 403 `not_sender`, 404.
    #[oai(
        path = "/messages/:message_id/delete",
        method = "delete",
        operation_id = "remove_chat_message"
    )]
    async fn remove(
        &self,
        caller: Caller,
        info: RequestInfo,
        message_id: Path<ChatMessageId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.delete(caller, info, message_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_wins_over_pages_and_is_bounded() {
        let part = |asked: Asked| asked.part().map_err(|e| e.status);
        assert!(matches!(part(Asked::default()), Ok(Part::Page(_))));
        let asked = Asked {
            after_id: Some(0),
            before_id: Some(9),
            ..Asked::default()
        };
        assert!(matches!(
            part(asked),
            Ok(Part::Cursor {
                window: Window::After(0),
                limit: 20
            })
        ));
        let asked = Asked {
            limit: Some(100),
            ..Asked::default()
        };
        assert!(matches!(
            part(asked),
            Ok(Part::Cursor {
                window: Window::Newest { skip: 0 },
                limit: 100
            })
        ));
        for bad in [
            Asked {
                limit: Some(0),
                ..Asked::default()
            },
            Asked {
                limit: Some(101),
                ..Asked::default()
            },
            Asked {
                before_id: Some(0),
                ..Asked::default()
            },
            Asked {
                after_id: Some(-1),
                ..Asked::default()
            },
            Asked {
                page: Some(0),
                ..Asked::default()
            },
            Asked {
                page_size: Some(101),
                ..Asked::default()
            },
        ] {
            assert_eq!(part(bad).map(|_| ()), Err(400));
        }
    }
}
