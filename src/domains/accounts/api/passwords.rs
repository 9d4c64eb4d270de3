//! Passwords of the users' surface: change, set, and the reset by mail, which the cloud surface
//! has too.

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use yunque_kernel::auth::SessionCaller;
use yunque_kernel::http::{Body, Json, RequestInfo};
use yunque_kernel::ids::UserId;
use yunque_kernel::{ApiError, Faults, Text};

use super::{AccountsTags, said};
use crate::dto::agents::UserMessageOut;
use crate::dto::passwords::{
    PasswordResetIn, ResetCodeIn, ResetMailIn, ResetTokenOut, UserPasswordChangeIn, UserPasswordSetIn,
};
use crate::error::AccountsError;
use crate::service::reset::TOKEN_SECONDS;
use crate::values::{Email, Password};
use crate::{Accounts, Client};

const CODE_SENT: Text = Text::fixed("验证码已发送到您的邮箱", "A code was sent to your e-mail.");
const CODE_ACCEPTED: Text = Text::fixed("验证码正确", "Code accepted.");
const RESET: Text = Text::fixed("密码重置成功", "Password has been reset.");
const CHANGED: Text = Text::fixed("密码修改成功", "Password changed.");

/// What a body of the reset asks for.
enum Step {
    Mail {
        email: Email,
    },
    ByCode {
        email: Email,
        code: String,
        new: Password,
    },
    ByToken {
        token: String,
        new: Password,
    },
}

/// Which step a body is, and under which name the password came.
fn step_of(body: PasswordResetIn) -> Result<(Step, &'static str), ApiError> {
    let PasswordResetIn {
        email,
        code,
        reset_token,
        new_password,
        password,
    } = body;
    let field = if new_password.is_none() && password.is_some() {
        "password"
    } else {
        "new_password"
    };
    let mut faults = Faults::new();
    let step = match (new_password.or(password), reset_token, code) {
        (Some(new), Some(token), _) => Some(Step::ByToken { token, new }),
        (Some(new), None, Some(code)) => match email {
            Some(email) => Some(Step::ByCode { email, code, new }),
            None => {
                faults.required("email");
                None
            }
        },
        // Never a reset without proof, and no mail for somebody who asked for something else.
        (Some(_), None, None) => {
            faults.required("code");
            None
        }
        (None, None, None) => match email {
            Some(email) => Some(Step::Mail { email }),
            None => {
                faults.required("email");
                None
            }
        },
        (None, _, _) => {
            faults.required("new_password");
            None
        }
    };
    match step {
        Some(step) => Ok((step, field)),
        None => Err(faults.into_error()),
    }
}

impl Accounts {
    async fn answer_reset_mail(
        &self,
        info: &RequestInfo,
        email: &Email,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.request_reset(email, &Client::of(info)).await?;
        Ok(said(CODE_SENT, info))
    }

    async fn answer_reset(
        &self,
        info: &RequestInfo,
        body: PasswordResetIn,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        let client = Client::of(info);
        match step_of(body)? {
            (Step::Mail { email }, _) => return self.answer_reset_mail(info, &email).await,
            (Step::ByCode { email, code, new }, field) => {
                self.reset_by_code(&email, &code, (&new, field), &client).await?;
            }
            (Step::ByToken { token, new }, field) => {
                self.reset_by_token(&token, (&new, field), &client).await?;
            }
        }
        Ok(said(RESET, info))
    }
}

pub(super) struct PasswordsApi {
    pub accounts: Accounts,
}

impl PasswordsApi {
    async fn change(
        &self,
        caller: &SessionCaller,
        info: &RequestInfo,
        body: UserPasswordChangeIn,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        let UserPasswordChangeIn {
            old_password,
            new_password,
            confirm_password,
        } = body;
        if confirm_password.is_some_and(|repeated| !repeated.equals(&new_password)) {
            return Err(AccountsError::PasswordMismatch.into());
        }
        let changed = self
            .accounts
            .change_password(caller, &old_password, &new_password, &Client::of(info))
            .await;
        match changed {
            // The same fault has another text on this surface.
            Err(AccountsError::WrongPassword { .. }) => Err(AccountsError::WrongOriginalPassword.into()),
            changed => {
                changed?;
                Ok(said(CHANGED, info))
            }
        }
    }
}

#[OpenApi(prefix_path = "/api/users", tag = "AccountsTags::Users")]
impl PasswordsApi {
    /// Resets a forgotten password, in two steps.
    ///
    /// With `email` alone a code is mailed; the answer is the same whether or not the address has
    /// an account. With a new password and the code, or the token from `verify_code`, the password
    /// is set and all sessions end. A code is valid for five minutes and five attempts.
    ///
    /// Errors: 400 `code_invalid`, `code_expired`, 429 `throttled`.
    #[oai(path = "/reset_password", method = "post", operation_id = "reset_password")]
    async fn reset_password(
        &self,
        info: RequestInfo,
        body: Body<PasswordResetIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.accounts.answer_reset(&info, body.into_inner()).await
    }

    /// Mails a code to reset a forgotten password; the first step of `reset_password`.
    ///
    /// Errors: 429 `throttled`.
    #[oai(path = "/forgot_password", method = "post", operation_id = "forgot_password")]
    async fn forgot_password(
        &self,
        info: RequestInfo,
        body: Body<ResetMailIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.accounts
            .answer_reset_mail(&info, &body.into_inner().email)
            .await
    }

    /// Exchanges a code for a token that resets the password once.
    ///
    /// The code is used up by it.
    ///
    /// Errors: 400 `code_invalid`, `code_expired`.
    #[oai(path = "/verify_code", method = "post", operation_id = "verify_reset_code")]
    async fn verify_code(
        &self,
        info: RequestInfo,
        body: Body<ResetCodeIn>,
    ) -> Result<Json<ResetTokenOut>, ApiError> {
        let ResetCodeIn { email, code } = body.into_inner();
        let reset_token = self
            .accounts
            .exchange_reset_code(&email, &code, &Client::of(&info))
            .await?;
        Ok(Json(ResetTokenOut {
            message: CODE_ACCEPTED.get(info.lang).to_owned(),
            reset_token,
            expires_in: TOKEN_SECONDS,
        }))
    }

    /// Changes the caller's password.
    ///
    /// Every other session of the caller ends; the calling one stays valid.
    ///
    /// Errors: 400 `wrong_password`, `password_mismatch`, 403 `api_key_not_allowed`, 409
    /// `conflict`.
    #[oai(path = "/change_password", method = "put", operation_id = "put_password")]
    async fn put_password(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<UserPasswordChangeIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.change(&caller, &info, body.into_inner()).await
    }

    /// Changes the caller's password; the same as PUT.
    ///
    /// Errors: 400 `wrong_password`, `password_mismatch`, 403 `api_key_not_allowed`, 409
    /// `conflict`.
    #[oai(path = "/change_password", method = "post", operation_id = "change_password")]
    async fn change_password(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        body: Body<UserPasswordChangeIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.change(&caller, &info, body.into_inner()).await
    }

    /// Sets the password of a user below the caller, whose sessions end; for admins anybody's but
    /// their own.
    ///
    /// Errors: 400 `cannot_target_self`, 403 `api_key_not_allowed`, 404 `not_found`.
    #[oai(
        path = "/:id/set_password",
        method = "post",
        operation_id = "set_member_password"
    )]
    async fn set_password(
        &self,
        caller: SessionCaller,
        info: RequestInfo,
        id: Path<UserId>,
        body: Body<UserPasswordSetIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        let UserPasswordSetIn { new_password } = body.into_inner();
        self.accounts
            .set_member_password(&caller, id.0, &new_password, &Client::of(&info))
            .await?;
        Ok(said(RESET, &info))
    }
}

/// The reset under the paths of the cloud surface.
pub(super) struct CloudResetApi {
    pub accounts: Accounts,
}

#[OpenApi(prefix_path = "/user", tag = "AccountsTags::Accounts")]
impl CloudResetApi {
    /// Mails a code to reset a forgotten password.
    ///
    /// The answer is the same whether or not the address has an account.
    ///
    /// Errors: 429 `throttled`.
    #[oai(
        path = "/forgot-password",
        method = "post",
        operation_id = "forgot_user_password"
    )]
    async fn forgot_password(
        &self,
        info: RequestInfo,
        body: Body<ResetMailIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.accounts
            .answer_reset_mail(&info, &body.into_inner().email)
            .await
    }

    /// Resets a forgotten password; the same as `/api/users/reset_password/`.
    ///
    /// Errors: 400 `code_invalid`, `code_expired`, 429 `throttled`.
    #[oai(
        path = "/reset-password",
        method = "post",
        operation_id = "reset_user_password"
    )]
    async fn reset_password(
        &self,
        info: RequestInfo,
        body: Body<PasswordResetIn>,
    ) -> Result<Json<UserMessageOut>, ApiError> {
        self.accounts.answer_reset(&info, body.into_inner()).await
    }
}
