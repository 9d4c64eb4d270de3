//! `/api/token/`: tokens for the users' surface.

use poem_openapi::OpenApi;
use yunque_kernel::ApiError;
use yunque_kernel::auth::SessionCaller;
use yunque_kernel::http::{Body, FormOrJson, Json, RequestInfo};
use yunque_kernel::ids::UserId;

use super::{AccountsTags, SIGNED_OUT};
use crate::dto::agents::{TokenCheckIn, TokenCheckOut, TokenIn, TokenLogoutOut, TokenOut};
use crate::dto::{LogoutIn, RefreshIn, TokenPairOut};
use crate::error::AccountsError;
use crate::values::MaybeBlankPassword;
use crate::{Accounts, Client, Surface, TokenPair};

pub(super) struct TokenApi {
    pub accounts: Accounts,
}

#[OpenApi(prefix_path = "/api/token", tag = "AccountsTags::Users")]
impl TokenApi {
    /// Logs in with a user name or e-mail address, given as `login` or as `username`.
    ///
    /// Takes JSON or a form. After too many failures from one address the answer is 429 for a
    /// while, even if the password is right.
    ///
    /// Errors: 400 `credentials_required`, 401 `invalid_credentials`, 403 `email_not_verified`, 429
    /// `login_blocked`.
    #[oai(path = "/", method = "post", operation_id = "create_token")]
    async fn create(&self, info: RequestInfo, body: FormOrJson<TokenIn>) -> Result<Json<TokenOut>, ApiError> {
        let TokenIn {
            login,
            username,
            password,
        } = body.into_inner();
        let given = |name: Option<String>| name.filter(|name| !name.is_empty());
        let name = given(login).or(given(username));
        let password = password.and_then(MaybeBlankPassword::into_password);
        let (Some(name), Some(password)) = (name, password) else {
            return Err(AccountsError::CredentialsRequired.into());
        };
        let login = self
            .accounts
            .login(Surface::Api, &name, &password, &Client::of(&info))
            .await?;
        let user = self.accounts.member_row(UserId(login.account.id)).await?;
        let TokenPair { access, refresh } = login.tokens;
        Ok(Json(TokenOut {
            access,
            refresh,
            user: self.accounts.shown(user),
        }))
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// Takes a refresh token of `/api/token/`. It is void afterwards; using it again ends the session.
    ///
    /// Errors: 400 `refresh_required`, 401 `token_invalid`, `token_expired`, `token_reused`.
    #[oai(path = "/refresh", method = "post", operation_id = "refresh_token")]
    async fn refresh(
        &self,
        info: RequestInfo,
        body: Body<RefreshIn>,
    ) -> Result<Json<TokenPairOut>, ApiError> {
        let RefreshIn { refresh } = body.into_inner();
        let pair = self
            .accounts
            .refresh(Surface::Api, refresh.as_deref(), &Client::of(&info))
            .await?;
        Ok(Json(pair.into()))
    }

    /// Tells whether a token is good.
    ///
    /// An access token is if it would be accepted now, a refresh token if it could be exchanged now. Asking does
    /// not use it up.
    ///
    /// Errors: 401 `token_invalid`, `token_expired`.
    #[oai(path = "/verify", method = "post", operation_id = "verify_token")]
    async fn verify(&self, body: Body<TokenCheckIn>) -> Result<Json<TokenCheckOut>, ApiError> {
        let TokenCheckIn { token } = body.into_inner();
        self.accounts.check_token(&token).await?;
        Ok(Json(TokenCheckOut {}))
    }

    /// Ends the calling session.
    ///
    /// Its access and refresh tokens are refused from the next request on.
    ///
    /// Errors: 403 `api_key_not_allowed`.
    #[oai(path = "/logout", method = "post", operation_id = "logout_token")]
    async fn logout(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<LogoutIn>,
    ) -> Result<Json<TokenLogoutOut>, ApiError> {
        let LogoutIn { refresh } = body.into_inner();
        self.accounts.logout(&caller, refresh.as_deref()).await?;
        Ok(Json(TokenLogoutOut {
            message: SIGNED_OUT.get(info.lang).to_owned(),
        }))
    }
}
