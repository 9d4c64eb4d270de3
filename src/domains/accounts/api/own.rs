//! The caller's own account: profile, password, display name, address; and their aliases.

use poem_openapi::OpenApi;
use yunque_kernel::ApiError;
use yunque_kernel::auth::{Caller, SessionCaller};
use yunque_kernel::http::{Body, Json, RequestInfo};

use super::{AccountsTags, PASSWORD_CHANGED};
use crate::dto::{AccountOut, AccountStatusOut, ChangePasswordIn, DisplayNameIn, EmailIn};
use crate::error::AccountsError;
use crate::service::changes::AccountChanges;
use crate::values::MaybeBlankEmail;
use crate::{Accounts, Client};

impl Accounts {
    async fn answer_password(
        &self,
        caller: &SessionCaller,
        info: &RequestInfo,
        body: ChangePasswordIn,
    ) -> Result<Json<AccountStatusOut>, ApiError> {
        let ChangePasswordIn {
            old_password,
            new_password,
        } = body;
        self.change_password(caller, &old_password, &new_password, &Client::of(info))
            .await?;
        Ok(Json(AccountStatusOut {
            status: PASSWORD_CHANGED.get(info.lang).to_owned(),
        }))
    }

    async fn answer_display_name(
        &self,
        caller: &Caller,
        info: &RequestInfo,
        body: DisplayNameIn,
    ) -> Result<Json<AccountOut>, ApiError> {
        let changes = AccountChanges {
            display_name: Some(body.display_name.unwrap_or_default()),
            ..Default::default()
        };
        let account = self
            .update_account(caller, caller.user_id, changes, None, &Client::of(info))
            .await?;
        Ok(Json(account.into()))
    }

    async fn answer_email(
        &self,
        caller: &SessionCaller,
        info: &RequestInfo,
        body: EmailIn,
    ) -> Result<Json<AccountOut>, ApiError> {
        let EmailIn { email, password } = body;
        let email = email
            .and_then(MaybeBlankEmail::into_email)
            .ok_or(AccountsError::EmailRequired)?;
        let changes = AccountChanges {
            email: Some(email),
            ..Default::default()
        };
        let account = self
            .update_account(
                caller,
                caller.user_id,
                changes,
                password.as_ref(),
                &Client::of(info),
            )
            .await?;
        Ok(Json(account.into()))
    }
}

pub(super) struct OwnAccountApi {
    pub accounts: Accounts,
}

#[OpenApi(prefix_path = "/user", tag = "AccountsTags::Accounts")]
impl OwnAccountApi {
    /// Shows the caller's account.
    #[oai(path = "/profile", method = "get", operation_id = "get_user_profile")]
    async fn profile(&self, caller: Caller) -> Result<Json<AccountOut>, ApiError> {
        Ok(Json(self.accounts.profile(&caller).await?.into()))
    }

    /// Changes the caller's password.
    ///
    /// Every other session of the caller ends; the calling one stays valid.
    ///
    /// Errors: 400 `wrong_password`, 403 `api_key_not_allowed`, 409 `conflict`.
    #[oai(
        path = "/change-password",
        method = "post",
        operation_id = "change_user_password"
    )]
    async fn change_password(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<ChangePasswordIn>,
    ) -> Result<Json<AccountStatusOut>, ApiError> {
        self.accounts
            .answer_password(&caller, &info, body.into_inner())
            .await
    }

    /// Changes the caller's display name.
    ///
    /// Blank, null or absent resets it to the user name.
    #[oai(
        path = "/update-display-name",
        method = "post",
        operation_id = "update_user_display_name"
    )]
    async fn update_display_name(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<DisplayNameIn>,
    ) -> Result<Json<AccountOut>, ApiError> {
        self.accounts
            .answer_display_name(&caller, &info, body.into_inner())
            .await
    }

    /// Changes the caller's e-mail address.
    ///
    /// Clears the verification, ends the caller's other sessions and tells the old address. The
    /// current address, in any case, changes nothing.
    ///
    /// Errors: 400 `email_taken`, `email_required`, `wrong_password`, 403 `api_key_not_allowed`.
    #[oai(path = "/update-email", method = "post", operation_id = "update_user_email")]
    async fn update_email(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<EmailIn>,
    ) -> Result<Json<AccountOut>, ApiError> {
        self.accounts
            .answer_email(&caller, &info, body.into_inner())
            .await
    }
}

/// The same three changes under the paths that later clients use.
pub(super) struct AliasApi {
    pub accounts: Accounts,
}

#[OpenApi(prefix_path = "/user-settings", tag = "AccountsTags::Accounts")]
impl AliasApi {
    /// Changes the caller's password; the same as `/user/change-password/`.
    ///
    /// Errors: 400 `wrong_password`, 403 `api_key_not_allowed`, 409 `conflict`.
    #[oai(
        path = "/change-password",
        method = "post",
        operation_id = "change_user_settings_password"
    )]
    async fn change_password(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<ChangePasswordIn>,
    ) -> Result<Json<AccountStatusOut>, ApiError> {
        self.accounts
            .answer_password(&caller, &info, body.into_inner())
            .await
    }

    /// Changes the caller's display name; the same as `/user/update-display-name/`.
    #[oai(
        path = "/update-display-name",
        method = "post",
        operation_id = "update_user_settings_display_name"
    )]
    async fn update_display_name(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<DisplayNameIn>,
    ) -> Result<Json<AccountOut>, ApiError> {
        self.accounts
            .answer_display_name(&caller, &info, body.into_inner())
            .await
    }

    /// Changes the caller's e-mail address; the same as `/user/update-email/`.
    ///
    /// Errors: 400 `email_taken`, `email_required`, `wrong_password`, 403 `api_key_not_allowed`.
    #[oai(
        path = "/update-email",
        method = "post",
        operation_id = "update_user_settings_email"
    )]
    async fn update_email(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<EmailIn>,
    ) -> Result<Json<AccountOut>, ApiError> {
        self.accounts
            .answer_email(&caller, &info, body.into_inner())
            .await
    }
}
