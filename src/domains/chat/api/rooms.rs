//! `/api/chat/rooms/…`: the rooms themselves, and coming and going.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::{MaybeUndefined, ToJSON};
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{
    Body, Created, Direct, Json, Listed, NoContent, PageQuery, Replayable, RequestInfo, Scope,
};
use yunque_kernel::{ApiError, ChatRoomId, Text, UserId};

use super::ChatTags;
use crate::Chat;
use crate::dto::{
    ChatDoneOut, ChatRoomCreateIn, ChatRoomDetailOut, ChatRoomListOut, ChatRoomOut, ChatRoomUpdateIn,
    ChatUserIn,
};
use crate::kinds::{RoomScope, RoomType};
use crate::repo::RoomFilter;
use crate::service::rooms::{RoomChange, RoomDraft};

const PAGE_SIZE: u32 = 50;
const MAX_MEMBERS: i32 = 50;
const JOINED: Text = Text::fixed("成功加入房间", "Joined the room.");
const LEFT: Text = Text::fixed("成功离开房间", "Left the room.");

pub(super) struct RoomsApi {
    chat: Chat,
}

impl RoomsApi {
    pub fn new(chat: Chat) -> Self {
        RoomsApi { chat }
    }

    async fn change(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        body: ChatRoomUpdateIn,
    ) -> Result<Json<ChatRoomDetailOut>, ApiError> {
        let ChatRoomUpdateIn {
            name,
            description,
            room_type,
            max_members,
            is_active,
        } = body;
        let change = RoomChange {
            name,
            description: match description {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(text) => Some(Some(text)),
            },
            room_type,
            max_members,
            is_active,
        };
        Ok(Json(self.chat.update_room(caller, id, change).await?))
    }
}

fn draft(body: ChatRoomCreateIn) -> RoomDraft {
    let ChatRoomCreateIn {
        name,
        description,
        room_type,
        max_members,
        member_ids,
    } = body;
    RoomDraft {
        name,
        description: match description {
            MaybeUndefined::Value(text) => Some(text),
            MaybeUndefined::Undefined | MaybeUndefined::Null => None,
        },
        room_type,
        max_members: max_members.unwrap_or(MAX_MEMBERS),
        member_ids: member_ids.unwrap_or_default(),
    }
}

#[OpenApi(prefix_path = "/api/chat/rooms", tag = "ChatTags::Chat")]
impl RoomsApi {
    /// Lists active rooms, newest first.
    ///
    /// A bare array with paging headers. `scope`: `all` (default) for the caller's own and all public
    /// rooms, `mine`, `public`. `search` looks for a part of the name. The last message is shown in
    /// the caller's own rooms.
    /// Errors: 400.
    #[oai(path = "/", method = "get", operation_id = "list_chat_rooms")]
    #[expect(clippy::too_many_arguments, reason = "one for each published parameter")]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        scope: Query<Option<RoomScope>>,
        room_type: Query<Option<RoomType>>,
        #[oai(validator(max_length = 100))] search: Query<Option<String>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<Direct<ChatRoomListOut>>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let filter = RoomFilter {
            scope: scope.0.unwrap_or(RoomScope::All),
            room_type: room_type.0,
            search: search.0.filter(|text| !text.is_empty()),
        };
        let (rooms, total) = self.chat.list_rooms(&caller, &filter, page).await?;
        Ok(Listed::new(rooms, total, page, &info).map(Direct))
    }

    /// Makes a room, with the caller as its admin.
    ///
    /// Those in `member_ids` are invited; an unknown one refuses the whole. Honours `Idempotency-Key`.
    /// Errors: 400 `unknown_users`, 422.
    #[oai(path = "/", method = "post", operation_id = "create_chat_room")]
    async fn create(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<ChatRoomCreateIn>,
    ) -> Result<Replayable<Created<ChatRoomOut>>, ApiError> {
        let scope = Scope::user(caller.user_id, &info)?;
        let (body, digest) = body.into_parts();
        let idempotency = &self.chat.ctx().idempotency;
        idempotency
            .run(scope, digest, |claim| async move {
                let answer = |room: &ChatRoomOut| room.to_json();
                let room = self.chat.create_room(&caller, draft(body), claim, answer).await?;
                Ok(Created(room))
            })
            .await
    }

    /// Shows a room with up to 200 of its members, admins first.
    ///
    /// Public rooms are shown to everybody, others to their members; a closed one to its members.
    /// Errors: 403 `not_member`, 404.
    #[oai(path = "/:room_id", method = "get", operation_id = "get_chat_room")]
    async fn get(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
    ) -> Result<Json<ChatRoomDetailOut>, ApiError> {
        Ok(Json(self.chat.get_room(&caller, room_id.0).await?))
    }

    /// Changes a room. For its admins.
    ///
    /// Fields that are left out stay. `is_active` false closes the room, true opens it again. Who may
    /// come into a room of two is not to be changed.
    /// Errors: 400 `max_members_too_small`, 403 `not_member`, `permission_denied`, 404.
    #[oai(path = "/:room_id", method = "patch", operation_id = "update_chat_room")]
    async fn patch(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        body: Body<ChatRoomUpdateIn>,
    ) -> Result<Json<ChatRoomDetailOut>, ApiError> {
        self.change(&caller, room_id.0, body.into_inner()).await
    }

    /// The same as PATCH: fields that are left out stay as they are.
    ///
    /// Errors: 400 `max_members_too_small`, 403 `not_member`, `permission_denied`, 404.
    #[oai(path = "/:room_id", method = "put", operation_id = "replace_chat_room")]
    async fn put(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        body: Body<ChatRoomUpdateIn>,
    ) -> Result<Json<ChatRoomDetailOut>, ApiError> {
        self.change(&caller, room_id.0, body.into_inner()).await
    }

    /// Closes a room. For its admins.
    ///
    /// It is gone from lists and nobody speaks in it any more; its members still read it. PATCH with
    /// `is_active` true opens it again.
    /// Errors: 403 `not_member`, `permission_denied`, 404.
    #[oai(path = "/:room_id", method = "delete", operation_id = "delete_chat_room")]
    async fn delete(&self, caller: Caller, room_id: Path<ChatRoomId>) -> Result<NoContent, ApiError> {
        self.chat.close_room(&caller, room_id.0).await?;
        Ok(NoContent)
    }

    /// Makes the caller a member; nothing changes for one who is.
    ///
    /// Anybody comes into a public room, into others who is invited. The invitation is accepted by
    /// that.
    /// Errors: 400 `room_full`, 403 `invite_required`, `banned`, 404.
    #[oai(path = "/:room_id/join", method = "post", operation_id = "join_chat_room")]
    async fn join(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.chat.join_room(&caller, room_id.0).await?;
        Ok(super::done(&JOINED, &info))
    }

    /// Takes the caller out of a room; nothing changes for one who is no member.
    ///
    /// The last admin's role goes to the longest-serving moderator, else member. The last member
    /// closes the room.
    /// Errors: 404.
    #[oai(path = "/:room_id/leave", method = "post", operation_id = "leave_chat_room")]
    async fn leave(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.chat.leave_room(&caller, room_id.0).await?;
        Ok(super::done(&LEFT, &info))
    }

    /// Makes a member admin; the calling admin is an ordinary member afterwards.
    ///
    /// Errors: 400 `cannot_target_self`, 403 `not_member`, `permission_denied`, 404.
    #[oai(
        path = "/:room_id/transfer",
        method = "post",
        operation_id = "transfer_chat_room"
    )]
    async fn transfer(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        body: Body<ChatUserIn>,
    ) -> Result<Json<ChatRoomDetailOut>, ApiError> {
        let ChatUserIn { user_id } = body.into_inner();
        let room = self
            .chat
            .transfer_room(&caller, room_id.0, UserId(user_id))
            .await?;
        Ok(Json(room))
    }
}
