//! `/api/chat/rooms/{id}/members/…`: who is in a room, and what is done to them.

use chrono::{DateTime, SubsecRound, Utc};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::MaybeUndefined;
use yunque_kernel::auth::Caller;
use yunque_kernel::error::messages;
use yunque_kernel::http::{Body, Json, Listed, PageQuery, RequestInfo};
use yunque_kernel::{ApiError, ChatRoomId, Faults, Text, UserId};

use super::ChatTags;
use crate::Chat;
use crate::dto::{ChatDoneOut, ChatMemberOut, ChatMemberUpdateIn, ChatMuteIn, ChatNameOut, ChatOwnMemberIn};
use crate::kinds::Role;
use crate::service::members::{MemberChange, MemberSearch, Mute};

const PAGE_SIZE: u32 = 100;
/// Digits of a second that are kept.
const MICROSECONDS: u16 = 6;
const KICKED: Text = Text::fixed("成员已移出房间", "The member was removed.");

pub(super) struct MembersApi {
    chat: Chat,
}

impl MembersApi {
    pub fn new(chat: Chat) -> Self {
        MembersApi { chat }
    }

    async fn change(
        &self,
        caller: &Caller,
        room: ChatRoomId,
        user: UserId,
        change: MemberChange,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        Ok(Json(self.chat.update_member(caller, room, user, change).await?))
    }

    async fn mute_or_ban(
        &self,
        caller: &Caller,
        room: ChatRoomId,
        user: UserId,
        mute: Option<Mute>,
        ban: Option<bool>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        let change = MemberChange {
            role: None,
            mute,
            ban,
        };
        self.change(caller, room, user, change).await
    }
}

/// The end of a mute.
///
/// # Errors
/// 400 for one that is over.
fn end(field: &str, until: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, ApiError> {
    let until = until.trunc_subsecs(MICROSECONDS);
    if until > now {
        Ok(until)
    } else {
        Err(Faults::one(field, messages::OUT_OF_RANGE))
    }
}

/// # Errors
/// 400 for a mute that would be over already.
fn change_of(body: ChatMemberUpdateIn, now: DateTime<Utc>) -> Result<MemberChange, ApiError> {
    let ChatMemberUpdateIn {
        role,
        is_muted,
        is_banned,
        mute_until,
    } = body;
    let mute = match (is_muted, mute_until) {
        (Some(false), _) => Some(Mute::Off),
        (_, MaybeUndefined::Value(until)) => Some(Mute::On {
            until: Some(end("mute_until", until, now)?),
        }),
        (Some(true), _) => Some(Mute::On { until: None }),
        (None, MaybeUndefined::Null) => Some(Mute::Endless),
        (None, MaybeUndefined::Undefined) => None,
    };
    Ok(MemberChange {
        role,
        mute,
        ban: is_banned,
    })
}

#[OpenApi(prefix_path = "/api/chat/rooms", tag = "ChatTags::Chat")]
impl MembersApi {
    /// Lists the members of a room, by time of joining.
    ///
    /// A bare array with paging headers. `search` looks for a part of the username. Those who are
    /// banned are shown with `include_banned`, to admins and moderators only. Members only.
    /// Errors: 400, 403 `not_member`, 404.
    #[oai(
        path = "/:room_id/members",
        method = "get",
        operation_id = "list_chat_members"
    )]
    #[expect(clippy::too_many_arguments, reason = "one for each published parameter")]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
        role: Query<Option<Role>>,
        online: Query<Option<bool>>,
        #[oai(validator(max_length = 150))] search: Query<Option<String>>,
        include_banned: Query<Option<bool>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<ChatMemberOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let wanted = MemberSearch {
            role: role.0,
            online: online.0,
            search: search.0,
            include_banned: include_banned.0.unwrap_or(false),
        };
        let (members, total) = self.chat.list_members(&caller, room_id.0, &wanted, page).await?;
        Ok(Listed::new(members, total, page, &info))
    }

    /// Changes a member: admins anybody but admins, moderators members. Roles are set by admins.
    ///
    /// Fields that are left out stay. `mute_until` mutes until then, and null takes the end from a
    /// mute. A new role counts at once: one request may make an admin a member and mute him.
    /// Errors: 400 `cannot_target_self`, `room_full`, 403 `not_member`, `permission_denied`, 404, 409 `last_admin`.
    #[oai(
        path = "/:room_id/members/:user_id",
        method = "patch",
        operation_id = "update_chat_member"
    )]
    async fn patch(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        user_id: Path<UserId>,
        body: Body<ChatMemberUpdateIn>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        let change = change_of(body.into_inner(), self.chat.now())?;
        self.change(&caller, room_id.0, user_id.0, change).await
    }

    /// Removes a member from the room, who may come back as anybody else may.
    ///
    /// Admins remove anybody but admins, moderators members.
    /// Errors: 400 `cannot_target_self`, 403 `not_member`, `permission_denied`, 404.
    #[oai(
        path = "/:room_id/members/:user_id/kick",
        method = "post",
        operation_id = "kick_chat_member"
    )]
    async fn kick(
        &self,
        caller: Caller,
        info: RequestInfo,
        room_id: Path<ChatRoomId>,
        user_id: Path<UserId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.chat.kick(&caller, room_id.0, user_id.0).await?;
        Ok(super::done(&KICKED, &info))
    }

    /// Mutes a member, who still reads: until a time, or without an end.
    ///
    /// Admins mute anybody but admins, moderators members.
    /// Errors: 400 `cannot_target_self`, 403 `not_member`, `permission_denied`, 404.
    #[oai(
        path = "/:room_id/members/:user_id/mute",
        method = "post",
        operation_id = "mute_chat_member"
    )]
    async fn mute(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        user_id: Path<UserId>,
        body: Body<ChatMuteIn>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        let ChatMuteIn { until } = body.into_inner();
        let until = match until {
            MaybeUndefined::Value(until) => Some(end("until", until, self.chat.now())?),
            MaybeUndefined::Undefined | MaybeUndefined::Null => None,
        };
        let mute = Some(Mute::On { until });
        self.mute_or_ban(&caller, room_id.0, user_id.0, mute, None).await
    }

    /// Lets a muted member speak again.
    ///
    /// Errors: 400 `cannot_target_self`, 403 `not_member`, `permission_denied`, 404.
    #[oai(
        path = "/:room_id/members/:user_id/unmute",
        method = "post",
        operation_id = "unmute_chat_member"
    )]
    async fn unmute(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        user_id: Path<UserId>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        self.mute_or_ban(&caller, room_id.0, user_id.0, Some(Mute::Off), None)
            .await
    }

    /// Throws a member out, who cannot come back until the ban is lifted.
    ///
    /// Admins ban anybody but admins, moderators members. His sockets end and his invitation is
    /// revoked.
    /// Errors: 400 `cannot_target_self`, 403 `not_member`, `permission_denied`, 404.
    #[oai(
        path = "/:room_id/members/:user_id/ban",
        method = "post",
        operation_id = "ban_chat_member"
    )]
    async fn ban(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        user_id: Path<UserId>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        self.mute_or_ban(&caller, room_id.0, user_id.0, None, Some(true))
            .await
    }

    /// Lifts a ban: who was banned is a member again, if there is a place.
    ///
    /// Errors: 400 `cannot_target_self`, `room_full`, 403 `not_member`, `permission_denied`, 404.
    #[oai(
        path = "/:room_id/members/:user_id/unban",
        method = "post",
        operation_id = "unban_chat_member"
    )]
    async fn unban(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        user_id: Path<UserId>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        self.mute_or_ban(&caller, room_id.0, user_id.0, None, Some(false))
            .await
    }

    /// Lists those who have a socket open in the room. Members only.
    ///
    /// Errors: 403 `not_member`, 404.
    #[oai(path = "/:room_id/online", method = "get", operation_id = "list_chat_online")]
    async fn online(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
    ) -> Result<Json<Vec<ChatNameOut>>, ApiError> {
        Ok(Json(self.chat.list_online(&caller, room_id.0).await?))
    }

    /// Sets what the calling member is notified of in this room.
    ///
    /// Errors: 403 `not_member`, 404.
    #[oai(
        path = "/:room_id/me",
        method = "patch",
        operation_id = "update_own_chat_member"
    )]
    async fn own(
        &self,
        caller: Caller,
        room_id: Path<ChatRoomId>,
        body: Body<ChatOwnMemberIn>,
    ) -> Result<Json<ChatMemberOut>, ApiError> {
        let ChatOwnMemberIn { notify } = body.into_inner();
        let member = self.chat.update_own_member(&caller, room_id.0, notify).await?;
        Ok(Json(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        is_muted: Option<bool>,
        mute_until: MaybeUndefined<DateTime<Utc>>,
    ) -> Result<Option<Mute>, u16> {
        let body = ChatMemberUpdateIn {
            role: None,
            is_muted,
            is_banned: None,
            mute_until,
        };
        let now = DateTime::from_timestamp(100, 0).expect("time");
        change_of(body, now)
            .map(|change| change.mute)
            .map_err(|e| e.status)
    }

    #[test]
    fn a_mute_is_said_in_several_ways() {
        use MaybeUndefined::{Null, Undefined, Value};
        let at = |s| DateTime::from_timestamp(s, 123_456_789).expect("time");
        let ends = |s| {
            let until = DateTime::from_timestamp(s, 123_456_000);
            Ok(Some(Mute::On { until }))
        };
        assert_eq!(change(None, Undefined), Ok(None));
        assert_eq!(change(Some(true), Undefined), Ok(Some(Mute::On { until: None })));
        assert_eq!(change(Some(true), Null), Ok(Some(Mute::On { until: None })));
        assert_eq!(change(Some(true), Value(at(200))), ends(200));
        assert_eq!(change(None, Value(at(200))), ends(200));
        assert_eq!(change(None, Null), Ok(Some(Mute::Endless)));
        assert_eq!(change(Some(false), Value(at(1))), Ok(Some(Mute::Off)));
        assert_eq!(change(None, Value(at(99))), Err(400), "over before it begins");
    }
}
