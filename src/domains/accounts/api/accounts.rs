//! `/user/` and `/user/{id}/`: for admins all accounts, for everybody one's own.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::MaybeUndefined;
use yunque_kernel::ApiError;
use yunque_kernel::auth::{Caller, SessionCaller};
use yunque_kernel::http::{
    Body, Created, Json, Listed, NoContent, PageQuery, Replayable, RequestInfo, Scope,
};
use yunque_kernel::ids::UserId;

use super::AccountsTags;
use crate::dto::{AccountDeleteIn, AccountOut, AccountUpdateIn, RegisterIn};
use crate::service::changes::AccountChanges;
use crate::{Accounts, Client};

const PAGE_SIZE: u32 = 20;

pub(super) struct AccountsApi {
    pub accounts: Accounts,
}

impl AccountsApi {
    async fn change(
        &self,
        caller: &Caller,
        info: &RequestInfo,
        id: UserId,
        body: AccountUpdateIn,
    ) -> Result<Json<AccountOut>, ApiError> {
        let AccountUpdateIn {
            display_name,
            email,
            is_active,
            quota,
            password,
        } = body;
        let display_name = match display_name {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(Default::default()),
            MaybeUndefined::Value(name) => Some(name),
        };
        let changes = AccountChanges {
            display_name,
            email,
            is_active,
            quota,
            ..Default::default()
        };
        let client = Client::of(info);
        let account = self
            .accounts
            .update_account(caller, id, changes, password.as_ref(), &client)
            .await?;
        Ok(Json(account.into()))
    }
}

#[OpenApi(prefix_path = "/user", tag = "AccountsTags::Accounts")]
impl AccountsApi {
    /// Lists accounts by id; for admins.
    ///
    /// A bare array with paging headers.
    ///
    /// Errors: 403 `permission_denied`.
    #[oai(path = "/", method = "get", operation_id = "list_users")]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        /// Part of a user name or e-mail address, without regard to case.
        #[oai(validator(max_length = 254))]
        search: Query<Option<String>>,
        /// From 1.
        page: Query<Option<i64>>,
        /// 1 to 100; 20 by default.
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<AccountOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let (rows, total) = self
            .accounts
            .list_accounts(&caller, search.0.as_deref(), page)
            .await?;
        Ok(Listed::new(
            rows.into_iter().map(AccountOut::from).collect(),
            total,
            page,
            &info,
        ))
    }

    /// Creates an account for somebody; for admins.
    ///
    /// Honours `Idempotency-Key`.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, 403 `permission_denied`, 409
    /// `idempotency_in_progress`, 422 `idempotency_key_reused`.
    #[oai(path = "/", method = "post", operation_id = "create_user")]
    async fn create(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<RegisterIn>,
    ) -> Result<Replayable<Created<AccountOut>>, ApiError> {
        let (body, digest) = body.into_parts();
        let (scope, client) = (Scope::user(caller.user_id, &info)?, Client::of(&info));
        let work = async |claim| {
            Ok(Created(
                self.accounts
                    .create_account(&caller, body.into(), &client, &claim)
                    .await?,
            ))
        };
        self.accounts.idempotency().run(scope, digest, work).await
    }

    /// Shows an account: one's own, for admins any.
    ///
    /// Errors: 404 `not_found`, also for accounts of others.
    #[oai(path = "/:id", method = "get", operation_id = "get_user")]
    async fn get(&self, caller: Caller, id: Path<UserId>) -> Result<Json<AccountOut>, ApiError> {
        Ok(Json(self.accounts.account(&caller, id.0).await?.into()))
    }

    /// Changes an account: one's own, for admins any.
    ///
    /// Fields that the caller may not write are ignored.
    ///
    /// Errors: 400 `email_taken`, `wrong_password`, 403 `api_key_not_allowed`, 404 `not_found`,
    /// 409 `last_staff`, `account_purged`.
    #[oai(path = "/:id", method = "patch", operation_id = "update_user")]
    async fn update(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<UserId>,
        body: Body<AccountUpdateIn>,
    ) -> Result<Json<AccountOut>, ApiError> {
        self.change(&caller, &info, id.0, body.into_inner()).await
    }

    /// Changes an account; the same as PATCH, absent fields stay.
    ///
    /// Errors: 400 `email_taken`, `wrong_password`, 403 `api_key_not_allowed`, 404 `not_found`,
    /// 409 `last_staff`, `account_purged`.
    #[oai(path = "/:id", method = "put", operation_id = "put_user")]
    async fn put(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<UserId>,
        body: Body<AccountUpdateIn>,
    ) -> Result<Json<AccountOut>, ApiError> {
        self.change(&caller, &info, id.0, body.into_inner()).await
    }

    /// Deletes an account: one's own with the password, for admins any.
    ///
    /// It is signed out and disabled at once; its personal data and files are removed by a job.
    ///
    /// Errors: 400 `wrong_password`, 403 `api_key_not_allowed`, 404 `not_found`, 409 `last_staff`.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_user")]
    async fn delete(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        id: Path<UserId>,
        body: Body<AccountDeleteIn>,
    ) -> Result<NoContent, ApiError> {
        let AccountDeleteIn { password } = body.into_inner();
        self.accounts
            .delete_account(&caller, id.0, password.as_ref(), &Client::of(&info))
            .await?;
        Ok(NoContent)
    }
}
