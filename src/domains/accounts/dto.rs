//! What clients of the cloud surface send and see; the users' surface has its own below.

pub mod agents;
pub mod passwords;

use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Enum, Object};
use yunque_kernel::clock::rfc3339;

use crate::entity::session;
use crate::repo::users::AccountRow;
use crate::values::{CurrentPassword, DisplayName, Email, MaybeBlankEmail, Password, Username};

/// Rights of an account; derived, cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum AccountPermission {
    Admin,
    User,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(example)]
pub struct AccountOut {
    pub id: i64,
    pub username: String,
    pub email: String,
    /// What others see; the username unless something else was chosen.
    pub display_name: String,
    pub is_active: bool,
    /// `admin` or `user`; derived, cannot be set.
    pub permission: AccountPermission,
}

impl From<AccountRow> for AccountOut {
    fn from(row: AccountRow) -> Self {
        let AccountRow {
            id,
            username,
            email,
            display_name,
            is_active,
            is_staff,
        } = row;
        let permission = if is_staff {
            AccountPermission::Admin
        } else {
            AccountPermission::User
        };
        AccountOut {
            id,
            username,
            email,
            display_name,
            is_active,
            permission,
        }
    }
}

impl Example for AccountOut {
    fn example() -> Self {
        AccountOut {
            id: 1,
            username: "testuser".to_owned(),
            email: "test@example.com".to_owned(),
            display_name: "testuser".to_owned(),
            is_active: true,
            permission: AccountPermission::User,
        }
    }
}

/// A new account.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct RegisterIn {
    /// 1 to 150 letters of any script, digits and `_ . + -`; compared without regard to case.
    pub username: Username,
    /// Compared without regard to case.
    pub email: Email,
    /// 8 to 128 characters of any kind.
    pub password: Password,
    /// At most 150 characters; blank or absent means the username.
    pub display_name: Option<DisplayName>,
}

impl Example for RegisterIn {
    fn example() -> Self {
        RegisterIn {
            username: Username::parse("testuser").expect("a valid name"),
            email: Email::parse("test@example.com").expect("a valid address"),
            password: Password::parse("correct-horse-battery").expect("a valid password"),
            display_name: None,
        }
    }
}

/// Credentials.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct LoginIn {
    /// User name or e-mail address.
    #[oai(validator(min_length = 1, max_length = 254))]
    pub username: String,
    pub password: CurrentPassword,
}

impl Example for LoginIn {
    fn example() -> Self {
        let password = CurrentPassword::parse("correct-horse-battery").expect("not empty");
        LoginIn {
            username: "testuser".to_owned(),
            password,
        }
    }
}

/// An account with the tokens of a new session.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct LoginOut {
    pub user: AccountOut,
    /// Access token, valid for one hour by default.
    pub access: String,
    /// Refresh token, valid for seven days by default; usable once.
    pub refresh: String,
}

impl Example for LoginOut {
    fn example() -> Self {
        let TokenPairOut { access, refresh } = TokenPairOut::example();
        LoginOut {
            user: AccountOut::example(),
            access,
            refresh,
        }
    }
}

/// A refresh token to be exchanged.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct RefreshIn {
    /// The newest refresh token of the session.
    pub refresh: Option<String>,
}

impl Example for RefreshIn {
    fn example() -> Self {
        RefreshIn {
            refresh: Some(TokenPairOut::example().refresh),
        }
    }
}

/// New tokens of a session. The former refresh token is void.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct TokenPairOut {
    pub access: String,
    pub refresh: String,
}

impl Example for TokenPairOut {
    fn example() -> Self {
        TokenPairOut {
            access: "eyJ0eXAi.eyJ0eXAi.c2ln".to_owned(),
            refresh: "eyJ0eXAi.eyJ0eXAj.c2ln".to_owned(),
        }
    }
}

/// What to sign out of, besides the calling session.
#[derive(Clone, Debug, Object)]
pub struct LogoutIn {
    /// A refresh token of the same user, whose session ends as well. Anything else is ignored.
    pub refresh: Option<String>,
}

/// Something was done.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct AccountStatusOut {
    /// For people, in the language asked for.
    pub status: String,
}

impl Example for AccountStatusOut {
    fn example() -> Self {
        AccountStatusOut {
            status: "登出成功".to_owned(),
        }
    }
}

/// A password change.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ChangePasswordIn {
    pub old_password: CurrentPassword,
    /// 8 to 128 characters, other than the old one.
    pub new_password: Password,
}

impl Example for ChangePasswordIn {
    fn example() -> Self {
        ChangePasswordIn {
            old_password: CurrentPassword::parse("correct-horse-battery").expect("not empty"),
            new_password: Password::parse("staple-correct-horse").expect("a valid password"),
        }
    }
}

/// A new display name.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct DisplayNameIn {
    /// At most 150 characters; blank, null or absent resets it to the username.
    pub display_name: Option<DisplayName>,
}

impl Example for DisplayNameIn {
    fn example() -> Self {
        DisplayNameIn {
            display_name: DisplayName::parse("云雀").ok(),
        }
    }
}

/// A new e-mail address.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct EmailIn {
    /// Required; a blank or absent one is `email_required`.
    pub email: Option<MaybeBlankEmail>,
    /// The caller's current password; required of admins and of users with two factors.
    pub password: Option<CurrentPassword>,
}

impl Example for EmailIn {
    fn example() -> Self {
        EmailIn {
            email: MaybeBlankEmail::parse("new@example.com").ok(),
            password: None,
        }
    }
}

/// Changes to an account. Absent fields stay; fields that the caller may not write are ignored.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct AccountUpdateIn {
    /// At most 150 characters; blank or null resets it to the username.
    pub display_name: MaybeUndefined<DisplayName>,
    /// JWT only. Clears the verification and ends other sessions.
    pub email: Option<Email>,
    /// Admins only. A disabled account is signed out everywhere at once.
    pub is_active: Option<bool>,
    /// Admins only. Bytes.
    #[oai(validator(minimum(value = "0")))]
    pub quota: Option<i64>,
    /// The caller's current password; required of admins and of users with two factors who write
    /// an address.
    pub password: Option<CurrentPassword>,
}

impl Example for AccountUpdateIn {
    fn example() -> Self {
        AccountUpdateIn {
            display_name: MaybeUndefined::from_opt_undefined(DisplayName::parse("云雀").ok()),
            email: None,
            is_active: None,
            quota: None,
            password: None,
        }
    }
}

/// Proof of the owner's will.
#[derive(Clone, Debug, Object)]
pub struct AccountDeleteIn {
    /// The caller's current password; needed to delete one's own account.
    pub password: Option<CurrentPassword>,
}

/// One login that is still alive.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct AccountSessionOut {
    pub sid: i64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; exact to about a minute.
    pub last_used_at: String,
    pub user_agent: String,
    pub ip: String,
    /// Whether this request came with it.
    pub current: bool,
}

impl AccountSessionOut {
    pub fn new(row: session::Model, current: i64) -> Self {
        AccountSessionOut {
            sid: row.id,
            created_at: rfc3339(row.created_at),
            last_used_at: rfc3339(row.last_used_at),
            user_agent: row.user_agent,
            ip: row.ip_address,
            current: row.id == current,
        }
    }
}

impl Example for AccountSessionOut {
    fn example() -> Self {
        AccountSessionOut {
            sid: 7,
            created_at: "2026-11-21T08:00:00Z".to_owned(),
            last_used_at: "2026-11-21T08:30:00Z".to_owned(),
            user_agent: "curl/8.5.0".to_owned(),
            ip: "203.0.113.7".to_owned(),
            current: true,
        }
    }
}
