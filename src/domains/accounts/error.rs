//! What can go wrong with accounts, and what clients are told.

use yunque_kernel::auth::PasswordFailure;
use yunque_kernel::error::{ApiError, Code, Coded, Faults, Text, common};
use yunque_kernel::image::ImageFault;
use yunque_kernel::storage::StorageError;
use yunque_kernel::{DbError, codes as declare_codes};

/// Codes of this domain.
pub mod codes {
    use super::declare_codes;

    declare_codes! {
        USERNAME_TAKEN = 400, "username_taken", "用户名已存在", "Username is taken.";
        EMAIL_TAKEN = 400, "email_taken", "邮箱已存在", "E-mail is taken.";
        EMAIL_REQUIRED = 400, "email_required", "邮箱不能为空", "E-mail is required.";
        REFRESH_REQUIRED = 400, "refresh_required", "需要refresh token", "Refresh token required.";
        WRONG_PASSWORD = 400, "wrong_password", "旧密码错误", "Current password is wrong.";
        EMAIL_NOT_VERIFIED = 403, "email_not_verified", "请先完成邮箱验证", "Verify your e-mail first.";
        REGISTRATION_CLOSED = 403, "registration_closed", "暂未开放注册", "Registration is closed.";
        LAST_STAFF = 409, "last_staff", "至少需要保留一名管理员", "At least one staff account must remain.";
        ACCOUNT_PURGED = 409, "account_purged", "账户数据已清除", "The account has been purged.";
        NAME_TAKEN = 400, "name_taken", "名称已存在", "The name is already in use.";
        UNKNOWN_PERMISSION = 400, "unknown_permission", "存在未知的权限项", "Unknown permission.";
        CREDENTIALS_REQUIRED = 400, "credentials_required", "用户名/邮箱和密码不能为空", "Username or e-mail and password are required.";
        NOT_AGENT_L1 = 403, "not_agent_l1", "只有一级代理可以创建二级代理", "Only first-level agents can create sub-agents.";
        AGENT_NOT_FOUND = 400, "agent_not_found", "未找到匹配的代理", "No matching agent was found.";
        HAS_CHILDREN = 409, "has_children", "该账户仍有下级用户", "The account still has users below it.";
        CANNOT_TARGET_SELF = 400, "cannot_target_self", "不能对自己执行该操作", "You cannot do this to yourself.";
        CANNOT_DISABLE_ADMIN = 400, "cannot_disable_admin", "不能停用超级管理员账户", "Administrators cannot be disabled.";
        PASSWORD_MISMATCH = 400, "password_mismatch", "两次输入的新密码不一致", "The new passwords differ.";
        CODE_INVALID = 400, "code_invalid", "验证码错误", "Wrong code.";
        CODE_EXPIRED = 400, "code_expired", "验证码已过期", "The code has expired.";
        AVATAR_REQUIRED = 400, "image_required", "请选择头像图片", "Choose a picture.";
        AVATAR_TOO_LARGE = 400, "image_too_large", "图片大小不能超过2MB", "Pictures are limited to 2 MB.";
        API_KEY_LIMIT_REACHED = 409, "api_key_limit_reached", "密钥数量已达上限", "API key limit reached.";
    }
}

/// `旧密码错误` speaks of an old password; where a body has only one, it is the current one.
const PASSWORD_INCORRECT: Text = Text::fixed("当前密码有误", "The password is incorrect.");

/// The users' surface calls the old password the original one.
const ORIGINAL_PASSWORD_WRONG: Text = Text::fixed("原密码错误", "Current password is wrong.");

#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("taken: username {username}, e-mail {email}")]
    Taken { username: bool, email: bool },
    #[error("no e-mail address given")]
    EmailRequired,
    #[error("no refresh token given")]
    RefreshRequired,
    #[error("field faults")]
    Invalid(Faults),
    #[error("wrong name or password, or the account is inactive")]
    InvalidCredentials,
    #[error("too many failed logins, {retry_after_seconds} s left")]
    LoginBlocked { retry_after_seconds: u64 },
    #[error("wrong current password in {field}")]
    WrongPassword { field: &'static str },
    #[error("wrong original password")]
    WrongOriginalPassword,
    #[error("no name or no password given")]
    CredentialsRequired,
    #[error("not a first-level agent")]
    NotAgentL1,
    #[error("no such agent in {field}, or not one that may be named there")]
    AgentNotFound { field: &'static str },
    #[error("there are users below the account")]
    HasChildren,
    #[error("not to be done to oneself")]
    CannotTargetSelf,
    #[error("an admin is not disabled")]
    CannotDisableAdmin,
    #[error("the new password and its repetition differ")]
    PasswordMismatch,
    #[error("wrong code")]
    CodeInvalid,
    #[error("no such code or token, or not any more")]
    CodeExpired,
    #[error("no picture given")]
    AvatarRequired,
    #[error("picture over the limit")]
    AvatarTooLarge,
    #[error(transparent)]
    Image(#[from] ImageFault),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("token is unusable")]
    TokenInvalid,
    #[error("token is expired")]
    TokenExpired,
    #[error("refresh token was used before; its session is revoked")]
    TokenReused,
    #[error("e-mail address is not verified")]
    EmailNotVerified,
    #[error("registration is closed")]
    RegistrationClosed,
    #[error("an API key may not do this")]
    ApiKeyNotAllowed,
    #[error("admin rights needed")]
    PermissionDenied,
    #[error("no such account, session or key, or not visible")]
    NotFound,
    #[error("no active admin would remain")]
    LastStaff,
    #[error("the account's data was removed for good")]
    Purged,
    #[error("the account was changed meanwhile")]
    ChangedMeanwhile,
    #[error("API key name is taken")]
    KeyNameTaken,
    #[error("unknown scope {0:?}")]
    UnknownScope(String),
    #[error("the user has {0} API keys already")]
    KeyLimit(u64),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Password(#[from] PasswordFailure),
    /// Decided by a part of the kernel, such as a rate limit.
    #[error("{0}")]
    Kernel(ApiError),
}

impl From<ApiError> for AccountsError {
    fn from(error: ApiError) -> Self {
        AccountsError::Kernel(error)
    }
}

impl AccountsError {
    /// One field fault.
    pub fn field(name: &str, text: Text) -> Self {
        let mut faults = Faults::new();
        faults.add(name, text);
        AccountsError::Invalid(faults)
    }
}

impl Coded for AccountsError {
    fn code(&self) -> Code {
        match self {
            AccountsError::Taken { username: true, .. } => codes::USERNAME_TAKEN,
            AccountsError::Taken { .. } => codes::EMAIL_TAKEN,
            AccountsError::EmailRequired => codes::EMAIL_REQUIRED,
            AccountsError::RefreshRequired => codes::REFRESH_REQUIRED,
            AccountsError::Invalid(_) => common::VALIDATION_ERROR,
            AccountsError::InvalidCredentials => common::INVALID_CREDENTIALS,
            AccountsError::LoginBlocked { .. } => common::LOGIN_BLOCKED,
            AccountsError::WrongPassword { .. } => codes::WRONG_PASSWORD,
            AccountsError::WrongOriginalPassword => codes::WRONG_PASSWORD,
            AccountsError::CredentialsRequired => codes::CREDENTIALS_REQUIRED,
            AccountsError::NotAgentL1 => codes::NOT_AGENT_L1,
            AccountsError::AgentNotFound { .. } => codes::AGENT_NOT_FOUND,
            AccountsError::HasChildren => codes::HAS_CHILDREN,
            AccountsError::CannotTargetSelf => codes::CANNOT_TARGET_SELF,
            AccountsError::CannotDisableAdmin => codes::CANNOT_DISABLE_ADMIN,
            AccountsError::PasswordMismatch => codes::PASSWORD_MISMATCH,
            AccountsError::CodeInvalid => codes::CODE_INVALID,
            AccountsError::CodeExpired => codes::CODE_EXPIRED,
            AccountsError::AvatarRequired => codes::AVATAR_REQUIRED,
            AccountsError::AvatarTooLarge => codes::AVATAR_TOO_LARGE,
            AccountsError::Image(e) => e.code(),
            AccountsError::Storage(e) => e.code(),
            AccountsError::TokenInvalid => common::TOKEN_INVALID,
            AccountsError::TokenExpired => common::TOKEN_EXPIRED,
            AccountsError::TokenReused => common::TOKEN_REUSED,
            AccountsError::EmailNotVerified => codes::EMAIL_NOT_VERIFIED,
            AccountsError::RegistrationClosed => codes::REGISTRATION_CLOSED,
            AccountsError::ApiKeyNotAllowed => common::API_KEY_NOT_ALLOWED,
            AccountsError::PermissionDenied => common::PERMISSION_DENIED,
            AccountsError::NotFound => common::NOT_FOUND,
            AccountsError::LastStaff => codes::LAST_STAFF,
            AccountsError::Purged => codes::ACCOUNT_PURGED,
            AccountsError::ChangedMeanwhile => common::CONFLICT,
            AccountsError::KeyNameTaken => codes::NAME_TAKEN,
            AccountsError::UnknownScope(_) => codes::UNKNOWN_PERMISSION,
            AccountsError::KeyLimit(_) => codes::API_KEY_LIMIT_REACHED,
            AccountsError::Db(e) => e.code(),
            AccountsError::Password(e) => e.code(),
            AccountsError::Kernel(e) => Code {
                status: e.status,
                code: e.code,
                text: e.text.clone(),
            },
        }
    }

    fn decorate(&self, mut error: ApiError) -> ApiError {
        match self {
            AccountsError::Taken { username, email } => {
                if *username {
                    error.faults.add_coded("username", &codes::USERNAME_TAKEN);
                }
                if *email {
                    error.faults.add_coded("email", &codes::EMAIL_TAKEN);
                }
                error
            }
            AccountsError::EmailRequired => {
                error.faults.add_coded("email", &codes::EMAIL_REQUIRED);
                error
            }
            AccountsError::WrongPassword { field } => {
                if *field == "password" {
                    error.text = PASSWORD_INCORRECT;
                }
                error
                    .faults
                    .add_coded_text(*field, error.code, error.text.clone());
                error
            }
            AccountsError::WrongOriginalPassword => {
                error.text = ORIGINAL_PASSWORD_WRONG;
                error
                    .faults
                    .add_coded_text("old_password", error.code, error.text.clone());
                error
            }
            AccountsError::AgentNotFound { field } => {
                error.faults.add_coded(*field, &codes::AGENT_NOT_FOUND);
                error
            }
            AccountsError::AvatarRequired | AccountsError::AvatarTooLarge | AccountsError::Image(_)
                if error.status == 400 =>
            {
                error
                    .faults
                    .add_coded_text("avatar", error.code, error.text.clone());
                error
            }
            AccountsError::Storage(e) => e.decorate(error),
            AccountsError::PasswordMismatch => {
                error
                    .faults
                    .add_coded("confirm_password", &codes::PASSWORD_MISMATCH);
                error
            }
            AccountsError::Invalid(faults) => faults.clone().into_error(),
            AccountsError::LoginBlocked { retry_after_seconds } => error.retry_after(*retry_after_seconds),
            AccountsError::Password(_) => error.retry_after(1),
            AccountsError::Kernel(inner) => inner.clone(),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use yunque_kernel::Lang;

    use super::*;

    #[test]
    fn a_taken_name_comes_first_and_both_are_listed() {
        let body = ApiError::from(AccountsError::Taken {
            username: true,
            email: true,
        })
        .body(Lang::Zh, "r");
        assert_eq!(body["error"], "用户名已存在");
        assert_eq!(body["code"], "username_taken");
        assert_eq!(body["errors"]["email"][0], "邮箱已存在");
        let body = ApiError::from(AccountsError::Taken {
            username: false,
            email: true,
        })
        .body(Lang::En, "r");
        assert_eq!(
            (body["error"].as_str(), body["code"].as_str()),
            (Some("E-mail is taken."), Some("email_taken"))
        );
    }

    #[test]
    fn a_failed_login_has_the_seeds_body() {
        let body = ApiError::from(AccountsError::InvalidCredentials).body(Lang::Zh, "r");
        assert_eq!(
            body,
            serde_json::json!({"detail": "用户名或密码错误", "error": "用户名或密码错误", "code": "invalid_credentials"})
        );
    }
}
