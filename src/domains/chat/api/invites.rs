//! `/api/chat/invites/…`, inviting into a room, and rooms of two.

use poem::{IntoResponse, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, OpenApi};
use yunque_kernel::auth::Caller;
use yunque_kernel::error::messages;
use yunque_kernel::http::{Body, Created, Json, Listed, PageQuery, Replayable, RequestInfo, Scope};
use yunque_kernel::{ApiError, ChatInviteId, ChatRoomId, Faults, UserId};

use super::ChatTags;
use crate::Chat;
use crate::dto::{ChatInviteIn, ChatInviteOut, ChatInvitedOut, ChatRoomOut, ChatUserIn};

const PAGE_SIZE: u32 = 50;
/// Users in one request.
const MOST: usize = 50;

pub(super) struct InvitesApi {
    chat: Chat,
}

impl InvitesApi {
    pub fn new(chat: Chat) -> Self {
        InvitesApi { chat }
    }
}

/// The users of a body by ids and by names, 1 to 50 together.
///
/// # Errors
/// 400.
fn invitees(body: ChatInviteIn) -> Result<(Vec<i64>, Vec<String>), ApiError> {
    let ChatInviteIn { user_ids, usernames } = body;
    let (ids, names) = (user_ids.unwrap_or_default(), usernames.unwrap_or_default());
    match ids.len() + names.len() {
        0 => Err(Faults::one("user_ids", messages::REQUIRED)),
        1..=MOST => Ok((ids, names)),
        _ => Err(Faults::one("user_ids", messages::OUT_OF_RANGE)),
    }
}

/// 201 for a new room, 200 for the one there was.
pub(super) struct DirectReply {
    room: ChatRoomOut,
    is_new: bool,
}

impl IntoResponse for DirectReply {
    fn into_response(self) -> Response {
        match self.is_new {
            true => Created(self.room).into_response(),
            false => Json(self.room).into_response(),
        }
    }
}

impl ApiResponse for DirectReply {
    fn meta() -> MetaResponses {
        let mut responses = Json::<ChatRoomOut>::meta().responses;
        responses.extend(Created::<ChatRoomOut>::meta().responses);
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Json::<ChatRoomOut>::register(registry);
    }
}

#[OpenApi(prefix_path = "/api/chat", tag = "ChatTags::Chat")]
impl InvitesApi {
    /// Invites users into a room: all of them, or none when one is unknown.
    ///
    /// By ids, names or both, 1 to 50 together. Members invite into public and group rooms, admins and
    /// moderators into private ones. An invitation can be accepted for 7 days; inviting again begins
    /// them anew. Honours `Idempotency-Key`.
    /// Errors: 400 `unknown_users`, 403 `not_member`, `permission_denied`, 404, 409 `room_inactive`, 422.
    #[oai(
        path = "/rooms/:room_id/invite",
        method = "post",
        operation_id = "invite_to_chat_room"
    )]
    async fn invite(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
        body: Body<ChatInviteIn>,
    ) -> Result<Replayable<Json<ChatInvitedOut>>, ApiError> {
        let scope = Scope::user(caller.user_id, &info)?;
        let (body, digest) = body.into_parts();
        let idempotency = &self.chat.ctx().idempotency;
        idempotency
            .run(scope, digest, |claim| async move {
                let (ids, names) = invitees(body)?;
                let answer = |invited: &ChatInvitedOut| invited.to_json();
                let users = (ids.as_slice(), names.as_slice());
                let invited = self.chat.invite(&caller, room_id.0, users, claim, answer).await?;
                Ok(Json(invited))
            })
            .await
    }

    /// Lists the invitations that the caller can accept, newest first.
    ///
    /// A bare array with paging headers.
    /// Errors: 400.
    #[oai(path = "/invites", method = "get", operation_id = "list_chat_invites")]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<ChatInviteOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let (invites, total) = self.chat.list_invites(&caller, page).await?;
        Ok(Listed::new(invites, total, page, &info))
    }

    /// Accepts an invitation: the caller is a member then.
    ///
    /// Errors: 400 `room_full`, 404.
    #[oai(
        path = "/invites/:invite_id/accept",
        method = "post",
        operation_id = "accept_chat_invite"
    )]
    async fn accept(
        &self,
        caller: Caller,
        invite_id: Path<ChatInviteId>,
    ) -> Result<Json<ChatInviteOut>, ApiError> {
        Ok(Json(self.chat.accept_invite(&caller, invite_id.0).await?))
    }

    /// Declines an invitation.
    ///
    /// Errors: 404.
    #[oai(
        path = "/invites/:invite_id/decline",
        method = "post",
        operation_id = "decline_chat_invite"
    )]
    async fn decline(
        &self,
        caller: Caller,
        invite_id: Path<ChatInviteId>,
    ) -> Result<Json<ChatInviteOut>, ApiError> {
        Ok(Json(self.chat.decline_invite(&caller, invite_id.0).await?))
    }

    /// Opens the room of the caller and another user: 201 for a new one, 200 for the one there is.
    ///
    /// There is one for each pair, a private room that nobody else comes into. Whoever of the two had
    /// left it is a member again.
    /// Errors: 400 `cannot_target_self`, 403 `banned`, 404.
    #[oai(path = "/direct", method = "post", operation_id = "open_direct_chat_room")]
    async fn direct(&self, caller: Caller, body: Body<ChatUserIn>) -> Result<DirectReply, ApiError> {
        let ChatUserIn { user_id } = body.into_inner();
        let (room, is_new) = self.chat.open_direct_room(&caller, UserId(user_id)).await?;
        Ok(DirectReply { room, is_new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_fifty_users_are_invited_together() {
        let body = |ids: i64, names: usize| ChatInviteIn {
            user_ids: Some((1..=ids).collect()),
            usernames: Some(vec!["a".to_owned(); names]),
        };
        for (ids, names, fits) in [
            (0, 0, false),
            (1, 0, true),
            (0, 1, true),
            (25, 25, true),
            (26, 25, false),
        ] {
            assert_eq!(invitees(body(ids, names)).is_ok(), fits, "{ids} {names}");
        }
        let nothing = ChatInviteIn {
            user_ids: None,
            usernames: None,
        };
        assert_eq!(invitees(nothing).expect_err("refused").status, 400);
    }
}
