//! `/api/token/`: tokens for the users' surface.

use poem_openapi::OpenApi;
use yunque_kernel::ApiError;
use yunque_kernel::http::{FormOrJson, Json, RequestInfo};
use yunque_kernel::ids::UserId;

use super::AccountsTags;
use crate::dto::agents::{TokenIn, TokenOut};
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
}
