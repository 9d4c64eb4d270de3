//! `/api/users/` and `/api/users/{id}/`: those whom the caller sees and manages.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::MaybeUndefined;
use yunque_kernel::auth::{Caller, SessionCaller};
use yunque_kernel::error::messages;
use yunque_kernel::http::{Body, Json, NoContent, PageOut, PageQuery, RequestInfo};
use yunque_kernel::ids::{UserId, parse_id};
use yunque_kernel::{ApiError, Faults, Text};

use super::{AccountsTags, said};
use crate::dto::agents::{SubAgentOut, UserKind, UserMessageOut, UserOut, UserUpdateIn};
use crate::error::AccountsError;
use crate::repo::members::{MemberFilter, Ordering};
use crate::service::changes::AccountChanges;
use crate::service::deletion::Heir;
use crate::service::members::MemberPage;
use crate::{Accounts, Client};

const PAGE_SIZE: u32 = 10;
const DELETED: Text = Text::fixed("用户已删除", "User deleted.");
const DISABLED: Text = Text::fixed("用户已停用", "User disabled.");
const ENABLED: Text = Text::fixed("用户已启用", "User enabled.");

pub(super) struct MembersApi {
    pub accounts: Accounts,
}

/// The parameters that all lists share.
fn filter(
    search: Option<String>,
    is_active: Option<bool>,
    ordering: Option<String>,
) -> Result<MemberFilter, ApiError> {
    let ordering = match ordering.filter(|text| !text.is_empty()) {
        None => Ordering::default(),
        Some(text) => Ordering::parse(&text).ok_or_else(|| Faults::one("ordering", messages::BAD_CHOICE))?,
    };
    Ok(MemberFilter {
        search: search.filter(|text| !text.is_empty()),
        is_active,
        ordering,
        ..Default::default()
    })
}

/// An id in a query.
fn id_of(name: &str, id: Option<i64>) -> Result<Option<UserId>, ApiError> {
    match id {
        Some(id) if id < 1 => Err(Faults::one(name, messages::OUT_OF_RANGE)),
        id => Ok(id.map(UserId)),
    }
}

/// `self`, or the id of an agent.
fn heir_of(text: Option<String>) -> Result<Option<Heir>, AccountsError> {
    match text.as_deref().map(str::trim) {
        None => Ok(None),
        Some("self") => Ok(Some(Heir::Caller)),
        Some(id) => parse_id(id)
            .map(|id| Some(Heir::Agent(UserId(id))))
            .ok_or(AccountsError::AgentNotFound { field: "reassign_to" }),
    }
}

impl MembersApi {
    fn page(
        &self,
        (rows, total): MemberPage,
        page: yunque_kernel::http::Page,
        info: &RequestInfo,
    ) -> Json<PageOut<UserOut>> {
        let users = rows.into_iter().map(|row| self.accounts.shown(row)).collect();
        Json(PageOut::new(users, total, page, info))
    }

    async fn change(
        &self,
        caller: &Caller,
        info: &RequestInfo,
        id: UserId,
        body: UserUpdateIn,
    ) -> Result<Json<UserOut>, ApiError> {
        let UserUpdateIn {
            name,
            phone,
            email,
            is_active,
            display_name,
            user_type,
            parent_id,
            password,
        } = body;
        let changes = AccountChanges {
            name,
            phone: super::cleared(phone),
            email,
            is_active,
            display_name: super::cleared(display_name),
            user_type: user_type.map(Into::into),
            parent: match parent_id {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(id) => Some(Some(UserId(id))),
            },
            ..Default::default()
        };
        let changed = self
            .accounts
            .update_member(caller, id, changes, password.as_ref(), &Client::of(info))
            .await?;
        Ok(Json(self.accounts.shown(changed)))
    }

    async fn delete_one(
        &self,
        caller: &SessionCaller,
        info: &RequestInfo,
        id: UserId,
        reassign_to: Option<String>,
    ) -> Result<(), ApiError> {
        let heir = heir_of(reassign_to)?;
        Ok(self
            .accounts
            .delete_member(caller, id, heir, &Client::of(info))
            .await?)
    }

    async fn switch(
        &self,
        caller: &Caller,
        info: &RequestInfo,
        id: UserId,
        active: bool,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.accounts
            .set_member_active(caller, id, active, &Client::of(info))
            .await?;
        Ok(said(if active { ENABLED } else { DISABLED }, info))
    }
}

#[OpenApi(prefix_path = "/api/users", tag = "AccountsTags::Users")]
impl MembersApi {
    /// Lists the users whom the caller sees, newest first.
    ///
    /// Admins and editors see all, agents those below them, customers themselves. `search` looks
    /// into user name, name, address and telephone number. `ordering` takes `id`, `username`,
    /// `email`, `name`, `user_type`, `is_active` and `created_at`, with `-` for descending.
    #[oai(path = "/", method = "get", operation_id = "list_members")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each query parameter of the document"
    )]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        user_type: Query<Option<UserKind>>,
        #[oai(validator(max_length = 254))] search: Query<Option<String>>,
        is_active: Query<Option<bool>>,
        ordering: Query<Option<String>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Json<PageOut<UserOut>>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let filter = MemberFilter {
            user_type: user_type.0.map(Into::into),
            ..filter(search.0, is_active.0, ordering.0)?
        };
        let found = self.accounts.list_members(&caller, &filter, page).await?;
        Ok(self.page(found, page, &info))
    }

    /// Lists second-level agents with the number of their customers.
    ///
    /// For first-level agents their own, for admins all or those of `parent_id`. Parameters as in
    /// the list of users.
    ///
    /// Errors: 403 `permission_denied`.
    #[oai(path = "/sub_agents", method = "get", operation_id = "list_sub_agents")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each query parameter of the document"
    )]
    async fn sub_agents(
        &self,
        caller: Caller,
        info: RequestInfo,
        /// Admins only: the first-level agent above.
        parent_id: Query<Option<i64>>,
        #[oai(validator(max_length = 254))] search: Query<Option<String>>,
        is_active: Query<Option<bool>>,
        ordering: Query<Option<String>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Json<PageOut<SubAgentOut>>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let filter = MemberFilter {
            parent: id_of("parent_id", parent_id.0)?,
            ..filter(search.0, is_active.0, ordering.0)?
        };
        let (rows, total) = self.accounts.list_sub_agents(&caller, filter, page).await?;
        let shown = |(row, customer_count)| SubAgentOut {
            user: self.accounts.shown(row),
            customer_count,
        };
        let agents = rows.into_iter().map(shown).collect();
        Ok(Json(PageOut::new(agents, total, page, &info)))
    }

    /// Lists customers.
    ///
    /// For agents their own and those of their sub-agents, for admins all; with `agent_id` those
    /// right below that agent. Parameters as in the list of users.
    ///
    /// Errors: 403 `permission_denied`.
    #[oai(path = "/customers", method = "get", operation_id = "list_customers")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each query parameter of the document"
    )]
    async fn customers(
        &self,
        caller: Caller,
        info: RequestInfo,
        agent_id: Query<Option<i64>>,
        #[oai(validator(max_length = 254))] search: Query<Option<String>>,
        is_active: Query<Option<bool>>,
        ordering: Query<Option<String>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Json<PageOut<UserOut>>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let filter = MemberFilter {
            parent: id_of("agent_id", agent_id.0)?,
            ..filter(search.0, is_active.0, ordering.0)?
        };
        let found = self.accounts.list_customers(&caller, filter, page).await?;
        Ok(self.page(found, page, &info))
    }

    /// Shows a user: oneself, those below, for admins and editors anybody.
    ///
    /// Errors: 404 `not_found`, also for users of others.
    #[oai(path = "/:id", method = "get", operation_id = "get_member")]
    async fn get(&self, caller: Caller, id: Path<UserId>) -> Result<Json<UserOut>, ApiError> {
        let found = self.accounts.member(&caller, id.0).await?;
        Ok(Json(self.accounts.shown(found)))
    }

    /// Changes a user below the caller; for admins anybody.
    ///
    /// Fields that the caller may not write are ignored.
    ///
    /// Errors: 400 `email_taken`, `wrong_password`, `agent_not_found`, `cannot_target_self`,
    /// `cannot_disable_admin`, 403 `api_key_not_allowed`, 404 `not_found`, 409 `last_staff`,
    /// `has_children`.
    #[oai(path = "/:id", method = "patch", operation_id = "update_member")]
    async fn update(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<UserId>,
        body: Body<UserUpdateIn>,
    ) -> Result<Json<UserOut>, ApiError> {
        self.change(&caller, &info, id.0, body.into_inner()).await
    }

    /// Changes a user below the caller; the same as PATCH, absent fields stay.
    ///
    /// Errors: 400 `email_taken`, `wrong_password`, `agent_not_found`, `cannot_target_self`,
    /// `cannot_disable_admin`, 403 `api_key_not_allowed`, 404 `not_found`, 409 `last_staff`,
    /// `has_children`.
    #[oai(path = "/:id", method = "put", operation_id = "put_member")]
    async fn put(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<UserId>,
        body: Body<UserUpdateIn>,
    ) -> Result<Json<UserOut>, ApiError> {
        self.change(&caller, &info, id.0, body.into_inner()).await
    }

    /// Deletes a user below the caller; for admins anybody but themselves.
    ///
    /// It is signed out and disabled at once; its personal data is removed by a job. An agent with
    /// users below it is only deleted when they are handed over: `reassign_to` is the id of another
    /// agent in reach, or `self`.
    ///
    /// Errors: 400 `agent_not_found`, `cannot_target_self`, 403 `api_key_not_allowed`, 404
    /// `not_found`, 409 `has_children`, `last_staff`.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_member")]
    async fn delete(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        id: Path<UserId>,
        /// Who gets the users below: the id of an agent, or `self`.
        reassign_to: Query<Option<String>>,
    ) -> Result<NoContent, ApiError> {
        self.delete_one(&caller, &info, id.0, reassign_to.0).await?;
        Ok(NoContent)
    }

    /// Deletes a user below the caller; the same with an answer.
    ///
    /// Errors: 400 `agent_not_found`, `cannot_target_self`, 403 `api_key_not_allowed`, 404
    /// `not_found`, 409 `has_children`, `last_staff`.
    #[oai(
        path = "/:id/delete_user",
        method = "delete",
        operation_id = "delete_member_with_answer"
    )]
    async fn delete_user(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        id: Path<UserId>,
        /// Who gets the users below: the id of an agent, or `self`.
        reassign_to: Query<Option<String>>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.delete_one(&caller, &info, id.0, reassign_to.0).await?;
        Ok(said(DELETED, &info))
    }

    /// Deletes a user below the caller; for clients that cannot send DELETE.
    ///
    /// Errors: 400 `agent_not_found`, `cannot_target_self`, 403 `api_key_not_allowed`, 404
    /// `not_found`, 409 `has_children`, `last_staff`.
    #[oai(
        path = "/:id/delete_user",
        method = "post",
        operation_id = "delete_member_by_post"
    )]
    async fn delete_user_by_post(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        id: Path<UserId>,
        /// Who gets the users below: the id of an agent, or `self`.
        reassign_to: Query<Option<String>>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.delete_one(&caller, &info, id.0, reassign_to.0).await?;
        Ok(said(DELETED, &info))
    }

    /// Disables a user below the caller, who is signed out everywhere at once; for admins anybody
    /// but admins.
    ///
    /// Errors: 400 `cannot_disable_admin`, `cannot_target_self`, 404 `not_found`.
    #[oai(path = "/:id/disable_user", method = "post", operation_id = "disable_member")]
    async fn disable_user(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<UserId>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.switch(&caller, &info, id.0, false).await
    }

    /// Enables a user below the caller; for admins anybody.
    ///
    /// Errors: 400 `cannot_target_self`, 404 `not_found`.
    #[oai(path = "/:id/start_user", method = "post", operation_id = "enable_member")]
    async fn start_user(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<UserId>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.switch(&caller, &info, id.0, true).await
    }
}
