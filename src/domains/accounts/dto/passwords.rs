//! What clients send and see when they change, set or reset a password.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::values::{CurrentPassword, Email, MaybeBlankPassword, Password};

/// Asks for a code by mail.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ResetMailIn {
    /// Of the account.
    pub email: Email,
}

impl Example for ResetMailIn {
    fn example() -> Self {
        ResetMailIn {
            email: Email::parse("user123@example.com").expect("a valid address"),
        }
    }
}

/// Both steps of a reset. With `email` alone a code is mailed; with a new password and `code` or
/// `reset_token` the password is set.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct PasswordResetIn {
    /// Of the account; not needed with a `reset_token`.
    pub email: Option<Email>,
    /// 6 digits, from the mail.
    #[oai(validator(min_length = 1, max_length = 32))]
    pub code: Option<String>,
    /// From `/api/users/verify_code/`; wins over `code`.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub reset_token: Option<String>,
    /// 8 to 128 characters of any kind.
    pub new_password: Option<Password>,
    /// The same as `new_password`, which wins if both are there.
    pub password: Option<Password>,
}

impl Example for PasswordResetIn {
    fn example() -> Self {
        PasswordResetIn {
            email: Email::parse("user123@example.com").ok(),
            code: Some("123456".to_owned()),
            reset_token: None,
            new_password: Password::parse("staple-correct-horse").ok(),
            password: None,
        }
    }
}

/// A code to be exchanged for a token.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ResetCodeIn {
    /// Of the account.
    pub email: Email,
    /// 6 digits, from the mail.
    #[oai(validator(min_length = 1, max_length = 32))]
    pub code: String,
}

impl Example for ResetCodeIn {
    fn example() -> Self {
        ResetCodeIn {
            email: Email::parse("user123@example.com").expect("a valid address"),
            code: "123456".to_owned(),
        }
    }
}

/// A token that sets a new password once.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ResetTokenOut {
    /// For people, in the language asked for.
    pub message: String,
    pub reset_token: String,
    /// Seconds.
    pub expires_in: i64,
}

impl Example for ResetTokenOut {
    fn example() -> Self {
        ResetTokenOut {
            message: "验证码正确".to_owned(),
            reset_token: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".to_owned(),
            expires_in: 300,
        }
    }
}

/// A change of one's own password.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct UserPasswordChangeIn {
    pub old_password: CurrentPassword,
    /// 8 to 128 characters, other than the old one.
    pub new_password: Password,
    /// Must equal `new_password` if it is there.
    pub confirm_password: Option<MaybeBlankPassword>,
}

impl Example for UserPasswordChangeIn {
    fn example() -> Self {
        UserPasswordChangeIn {
            old_password: CurrentPassword::parse("correct-horse-battery").expect("not empty"),
            new_password: Password::parse("staple-correct-horse").expect("a valid password"),
            confirm_password: None,
        }
    }
}

/// A password for somebody else.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct UserPasswordSetIn {
    /// 8 to 128 characters of any kind.
    pub new_password: Password,
}

impl Example for UserPasswordSetIn {
    fn example() -> Self {
        UserPasswordSetIn {
            new_password: Password::parse("staple-correct-horse").expect("a valid password"),
        }
    }
}
