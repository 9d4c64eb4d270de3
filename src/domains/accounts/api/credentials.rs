//! `/user/register/`, login, refresh, logout, sessions.

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use yunque_kernel::ApiError;
use yunque_kernel::auth::SessionCaller;
use yunque_kernel::http::{Body, Created, FormOrJson, Json, NoContent, Replayable, RequestInfo, Scope};
use yunque_kernel::ids::SessionId;

use super::{AccountsTags, SIGNED_OUT};
use crate::dto::{
    AccountOut, AccountSessionOut, AccountStatusOut, LoginIn, LoginOut, LogoutIn, RefreshIn, RegisterIn,
    TokenPairOut,
};
use crate::{Accounts, Client, Login, Registration, Surface, TokenPair};

pub(super) struct CredentialsApi {
    pub accounts: Accounts,
}

impl From<RegisterIn> for Registration {
    fn from(body: RegisterIn) -> Self {
        let RegisterIn {
            username,
            email,
            password,
            display_name,
        } = body;
        Registration {
            username,
            email,
            password,
            display_name: display_name.unwrap_or_default(),
        }
    }
}

impl From<Login> for LoginOut {
    fn from(login: Login) -> Self {
        let Login {
            account,
            tokens: TokenPair { access, refresh },
        } = login;
        LoginOut {
            user: account.into(),
            access,
            refresh,
        }
    }
}

impl From<TokenPair> for TokenPairOut {
    fn from(pair: TokenPair) -> Self {
        let TokenPair { access, refresh } = pair;
        TokenPairOut { access, refresh }
    }
}

#[OpenApi(prefix_path = "/user", tag = "AccountsTags::Accounts")]
impl CredentialsApi {
    /// Registers an account.
    ///
    /// Anyone may; the new account is not logged in by it. Honours `Idempotency-Key`.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, 403 `registration_closed`, 409
    /// `idempotency_in_progress`, 422 `idempotency_key_reused`.
    #[oai(path = "/register", method = "post", operation_id = "register_user")]
    async fn register(
        &self,
        info: RequestInfo,
        body: Body<RegisterIn>,
    ) -> Result<Replayable<Created<AccountOut>>, ApiError> {
        let (body, digest) = body.into_parts();
        let (scope, client) = (Scope::address(&info)?, Client::of(&info));
        let work = async |claim| {
            Ok(Created(
                self.accounts.register(body.into(), &client, &claim).await?,
            ))
        };
        self.accounts.idempotency().run(scope, digest, work).await
    }

    /// Logs in with a user name or e-mail address.
    ///
    /// Takes JSON or a form. After too many failures from one address the answer is 429 for a
    /// while, even if the password is right.
    ///
    /// Errors: 401 `invalid_credentials`, 403 `email_not_verified`, 429 `login_blocked`.
    #[oai(path = "/login", method = "post", operation_id = "login_user")]
    async fn login(&self, info: RequestInfo, body: FormOrJson<LoginIn>) -> Result<Json<LoginOut>, ApiError> {
        let LoginIn { username, password } = body.into_inner();
        let login = self
            .accounts
            .login(Surface::Cloud, &username, &password, &Client::of(&info))
            .await?;
        Ok(Json(login.into()))
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// The old refresh token is void afterwards; using it again ends the session.
    ///
    /// Errors: 400 `refresh_required`, 401 `token_invalid`, `token_expired`, `token_reused`.
    #[oai(path = "/refresh-token", method = "post", operation_id = "refresh_user_token")]
    async fn refresh(
        &self,
        info: RequestInfo,
        body: Body<RefreshIn>,
    ) -> Result<Json<TokenPairOut>, ApiError> {
        let RefreshIn { refresh } = body.into_inner();
        let pair = self
            .accounts
            .refresh(Surface::Cloud, refresh.as_deref(), &Client::of(&info))
            .await?;
        Ok(Json(pair.into()))
    }

    /// Ends the calling session.
    ///
    /// Its access and refresh tokens are refused from the next request on.
    ///
    /// Errors: 403 `api_key_not_allowed`.
    #[oai(path = "/logout", method = "post", operation_id = "logout_user")]
    async fn logout(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<LogoutIn>,
    ) -> Result<Json<AccountStatusOut>, ApiError> {
        let LogoutIn { refresh } = body.into_inner();
        self.accounts.logout(&caller, refresh.as_deref()).await?;
        Ok(Json(AccountStatusOut {
            status: SIGNED_OUT.get(info.lang).to_owned(),
        }))
    }

    /// Ends all sessions of the caller.
    ///
    /// API keys stay.
    ///
    /// Errors: 403 `api_key_not_allowed`.
    #[oai(
        path = "/logout-all",
        method = "post",
        operation_id = "logout_user_everywhere"
    )]
    async fn logout_all(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
    ) -> Result<Json<AccountStatusOut>, ApiError> {
        self.accounts.logout_everywhere(&caller).await?;
        Ok(Json(AccountStatusOut {
            status: SIGNED_OUT.get(info.lang).to_owned(),
        }))
    }

    /// Lists the caller's live sessions, the last used first.
    ///
    /// At most 100.
    ///
    /// Errors: 403 `api_key_not_allowed`.
    #[oai(path = "/sessions", method = "get", operation_id = "list_user_sessions")]
    async fn sessions(&self, caller: SessionCaller) -> Result<Json<Vec<AccountSessionOut>>, ApiError> {
        let rows = self.accounts.list_sessions(&caller).await?;
        Ok(Json(
            rows.into_iter()
                .map(|row| AccountSessionOut::new(row, caller.session.0))
                .collect(),
        ))
    }

    /// Ends one of the caller's sessions.
    ///
    /// Errors: 403 `api_key_not_allowed`, 404 `not_found`.
    #[oai(
        path = "/sessions/:sid",
        method = "delete",
        operation_id = "delete_user_session"
    )]
    async fn end_session(&self, caller: SessionCaller, sid: Path<SessionId>) -> Result<NoContent, ApiError> {
        self.accounts.end_session(&caller, sid.0).await?;
        Ok(NoContent)
    }
}
