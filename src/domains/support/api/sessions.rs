//! `/api/chat/sessions/…`: the sessions themselves, and what agents see of them together.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::ToJSON;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{
    Body, BodyDigest, Json, Listed, PageOut, PageQuery, Replayable, RequestInfo, Scope,
};
use yunque_kernel::{ApiError, SupportSessionId, Text, UserId};

use super::SupportTags;
use super::parse::cursor;
use super::reply::{OpenedReply, Part};
use crate::Support;
use crate::dto::{
    SupportAssignIn, SupportChatUserOut, SupportClearedOut, SupportHistoryOut, SupportSessionOut,
    SupportUnreadOut,
};
use crate::error::codes;
use crate::service::Opened;

const PAGE_SIZE: u32 = 20;
/// Bare arrays are cut here unless somebody turns the page.
const ARRAY_SIZE: u32 = 100;
const CLEARED: Text = Text::fixed("会话记录已删除", "The session has been deleted.");

pub(super) struct SessionsApi {
    support: Support,
}

impl SessionsApi {
    pub fn new(support: Support) -> Self {
        SessionsApi { support }
    }
}

#[OpenApi(prefix_path = "/api/chat/sessions", tag = "SupportTags::Support")]
impl SessionsApi {
    /// Lists the sessions that the caller may read, newest activity first.
    ///
    /// Customers see their own, agents theirs and those of their sub-agents, admins all.
    #[oai(path = "/", method = "get", operation_id = "list_support_sessions")]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Json<PageOut<SupportSessionOut>>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let (sessions, total) = self.support.list_sessions(&caller, page).await?;
        Ok(Json(PageOut::new(sessions, total, page, &info)))
    }

    /// Opens the calling customer's session: 201 for a new one, 200 for the one there is, which is
    /// active again.
    ///
    /// The agent is the one responsible for the customer. Takes no body. Honours `Idempotency-Key`.
    /// Errors: 403 `agent_cannot_open`, `permission_denied`, 409 `no_agent`, 422.
    #[oai(path = "/", method = "post", operation_id = "open_support_session")]
    async fn open(&self, caller: Caller, info: RequestInfo) -> Result<Replayable<OpenedReply>, ApiError> {
        let scope = Scope::user(caller.user_id, &info)?;
        self.support
            .idempotency()
            .run(scope, BodyDigest::of(b""), |claim| async move {
                let answer = |opened: &Opened| (OpenedReply::status(opened), opened.session.to_json());
                let opened = self.support.open_session(&caller, claim, answer).await?;
                Ok(OpenedReply(opened))
            })
            .await
    }

    /// Counts the messages that wait for the caller.
    #[oai(
        path = "/unread_total",
        method = "get",
        operation_id = "get_support_unread_total"
    )]
    async fn unread_total(&self, caller: Caller) -> Result<Json<SupportUnreadOut>, ApiError> {
        Ok(Json(self.support.unread_total(&caller).await?))
    }

    /// Lists the customers that the calling agent talks to, newest activity first.
    ///
    /// A bare array with paging headers, at most 100 on a page. `search` looks for a part of a name
    /// or username.
    /// Errors: 403.
    #[oai(
        path = "/agent_chat_users",
        method = "get",
        operation_id = "list_support_chat_users"
    )]
    async fn chat_users(
        &self,
        caller: Caller,
        info: RequestInfo,
        search: Query<Option<String>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<SupportChatUserOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, ARRAY_SIZE)?;
        let (users, total) = self
            .support
            .chat_users(&caller, search.0.as_deref(), page)
            .await?;
        Ok(Listed::new(users, total, page, &info))
    }

    /// Shows what was said with one customer, to those who may read that session.
    ///
    /// The cursor is that of the messages of a session.
    /// Errors: 400, 403, 404.
    #[oai(
        path = "/user_chat_history",
        method = "get",
        operation_id = "get_support_history"
    )]
    async fn history(
        &self,
        caller: Caller,
        client_id: Query<Option<String>>,
        after_id: Query<Option<i64>>,
        before_id: Query<Option<i64>>,
        limit: Query<Option<i64>>,
    ) -> Result<Part<SupportHistoryOut>, ApiError> {
        let client = client_id.0.as_deref().and_then(|id| UserId::parse(id.trim()));
        let client = client.ok_or(codes::CLIENT_ID_REQUIRED)?;
        let cursor = cursor(after_id.0, before_id.0, limit.0)?;
        let (body, has_more) = self.support.history(&caller, client, cursor).await?;
        Ok(Part { body, has_more })
    }

    /// Shows one session.
    ///
    /// Errors: 403, 404.
    #[oai(path = "/:id", method = "get", operation_id = "get_support_session")]
    async fn get(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
    ) -> Result<Json<SupportSessionOut>, ApiError> {
        Ok(Json(self.support.get_session(&caller, id.0).await?))
    }

    /// Removes a session with all its messages and images. Its agent and admins only.
    ///
    /// Errors: 403, 404.
    #[oai(
        path = "/:id/clear_messages",
        method = "post",
        operation_id = "clear_support_session"
    )]
    async fn clear(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<SupportSessionId>,
    ) -> Result<Json<SupportClearedOut>, ApiError> {
        let cleared = self.support.clear(&caller, id.0).await?;
        Ok(Json(SupportClearedOut {
            status: "success".to_owned(),
            message: CLEARED.get(info.lang).to_owned(),
            deleted_session_id: id.0.0,
            client_name: cleared.client_name,
        }))
    }

    /// Closes a session. A customer's message opens it again unless the settings say otherwise.
    ///
    /// Errors: 403, 404.
    #[oai(path = "/:id/close", method = "post", operation_id = "close_support_session")]
    async fn close(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
    ) -> Result<Json<SupportSessionOut>, ApiError> {
        Ok(Json(self.support.set_active(&caller, id.0, false).await?))
    }

    /// Opens a closed session again.
    ///
    /// Errors: 403, 404.
    #[oai(
        path = "/:id/reopen",
        method = "post",
        operation_id = "reopen_support_session"
    )]
    async fn reopen(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
    ) -> Result<Json<SupportSessionOut>, ApiError> {
        Ok(Json(self.support.set_active(&caller, id.0, true).await?))
    }

    /// Hands a session to another agent.
    ///
    /// For the agents above its present one, a first-level agent who has it, and admins. The new
    /// one must be active and, but for admins, the caller or below the caller.
    /// Errors: 400, 403, 404.
    #[oai(
        path = "/:id/assign",
        method = "post",
        operation_id = "assign_support_session"
    )]
    async fn assign(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
        body: Body<SupportAssignIn>,
    ) -> Result<Json<SupportSessionOut>, ApiError> {
        let SupportAssignIn { agent_id } = body.into_inner();
        let session = self.support.assign(&caller, id.0, UserId(agent_id)).await?;
        Ok(Json(session))
    }
}
