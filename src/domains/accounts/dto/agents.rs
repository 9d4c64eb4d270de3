//! What clients of `/api/token/` and `/api/users/` send and see.

use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Enum, Object};
use yunque_kernel::auth::UserType;
use yunque_kernel::clock::rfc3339;
use yunque_kernel::http::body::FilePart;

use super::TokenPairOut;
use crate::repo::members::MemberRow;
use crate::service::briefs::media_url;
use crate::values::{CurrentPassword, DisplayName, Email, MaybeBlankPassword, Password, Phone, Username};

/// The kind of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum UserKind {
    /// Everything.
    #[oai(rename = "admin")]
    Admin,
    /// Reads all users.
    #[oai(rename = "editor")]
    Editor,
    /// First-level agent: has sub-agents and customers.
    #[oai(rename = "agent_l1")]
    AgentL1,
    /// Second-level agent: has customers.
    #[oai(rename = "agent_l2")]
    AgentL2,
    #[oai(rename = "customer")]
    Customer,
}

impl From<UserType> for UserKind {
    fn from(kind: UserType) -> Self {
        match kind {
            UserType::Admin => UserKind::Admin,
            UserType::Editor => UserKind::Editor,
            UserType::AgentL1 => UserKind::AgentL1,
            UserType::AgentL2 => UserKind::AgentL2,
            UserType::Customer => UserKind::Customer,
        }
    }
}

impl From<UserKind> for UserType {
    fn from(kind: UserKind) -> Self {
        match kind {
            UserKind::Admin => UserType::Admin,
            UserKind::Editor => UserType::Editor,
            UserKind::AgentL1 => UserType::AgentL1,
            UserKind::AgentL2 => UserType::AgentL2,
            UserKind::Customer => UserType::Customer,
        }
    }
}

/// An account with its place among agents and customers.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(example)]
pub struct UserOut {
    pub id: i64,
    pub username: String,
    pub email: String,
    /// Empty unless one was given.
    pub name: String,
    pub phone: Option<String>,
    /// Absolute address.
    pub avatar: Option<String>,
    pub user_type: UserKind,
    /// The agent above.
    pub parent_id: Option<i64>,
    pub parent_username: Option<String>,
    pub is_active: bool,
    /// RFC 3339, UTC; when the account was made.
    pub created_at: String,
    pub display_name: String,
    pub first_name: String,
    pub last_name: String,
}

impl UserOut {
    pub fn new(row: MemberRow, public_base_url: &str) -> Self {
        let MemberRow {
            id,
            username,
            email,
            name,
            phone,
            avatar,
            user_type,
            parent_id,
            parent_username,
            is_active,
            date_joined,
            display_name,
            first_name,
            last_name,
        } = row;
        UserOut {
            id,
            username,
            email,
            name,
            phone,
            avatar: avatar.map(|key| media_url(public_base_url, &key)),
            user_type: UserType::from_stored(&user_type).into(),
            parent_id,
            parent_username,
            is_active,
            created_at: rfc3339(date_joined),
            display_name,
            first_name,
            last_name,
        }
    }
}

impl Example for UserOut {
    fn example() -> Self {
        UserOut {
            id: 2,
            username: "user123".to_owned(),
            email: "user123@example.com".to_owned(),
            name: "用户名".to_owned(),
            phone: Some("13800138000".to_owned()),
            avatar: Some("http://example.com/media/avatars/avatar.jpg".to_owned()),
            user_type: UserKind::AgentL2,
            parent_id: Some(1),
            parent_username: Some("agent".to_owned()),
            is_active: true,
            created_at: "2024-01-01T10:00:00Z".to_owned(),
            display_name: "用户名".to_owned(),
            first_name: String::new(),
            last_name: String::new(),
        }
    }
}

/// A second-level agent with the number of its customers.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
#[oai(example)]
pub struct SubAgentOut {
    #[oai(flatten)]
    pub user: UserOut,
    /// Customers right below it.
    pub customer_count: i64,
}

impl Example for SubAgentOut {
    fn example() -> Self {
        SubAgentOut {
            user: UserOut::example(),
            customer_count: 3,
        }
    }
}

/// Credentials.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct TokenIn {
    /// User name or e-mail address.
    #[oai(validator(max_length = 254))]
    pub login: Option<String>,
    /// The same as `login`, which wins if both are there.
    #[oai(validator(max_length = 254))]
    pub username: Option<String>,
    pub password: Option<MaybeBlankPassword>,
}

impl Example for TokenIn {
    fn example() -> Self {
        TokenIn {
            login: Some("user123@example.com".to_owned()),
            username: None,
            password: MaybeBlankPassword::parse("correct-horse-battery").ok(),
        }
    }
}

/// The tokens of a new session with its user.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct TokenOut {
    /// Access token, valid for seven days by default.
    pub access: String,
    /// Refresh token, valid for thirty days by default; usable once.
    pub refresh: String,
    pub user: UserOut,
}

impl Example for TokenOut {
    fn example() -> Self {
        let TokenPairOut { access, refresh } = TokenPairOut::example();
        TokenOut {
            access,
            refresh,
            user: UserOut::example(),
        }
    }
}

/// A token to be looked at.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct TokenCheckIn {
    /// An access or a refresh token of any surface.
    #[oai(validator(min_length = 1))]
    pub token: String,
}

impl Example for TokenCheckIn {
    fn example() -> Self {
        TokenCheckIn {
            token: TokenPairOut::example().access,
        }
    }
}

/// The token is good. There is nothing more to say.
#[derive(Clone, Debug, Object)]
pub struct TokenCheckOut {}

/// The session is over.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct TokenLogoutOut {
    /// For people, in the language asked for.
    pub message: String,
}

impl Example for TokenLogoutOut {
    fn example() -> Self {
        TokenLogoutOut {
            message: "登出成功".to_owned(),
        }
    }
}

/// Something was done.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct UserMessageOut {
    /// For people, in the language asked for.
    pub message: String,
}

impl Example for UserMessageOut {
    fn example() -> Self {
        UserMessageOut {
            message: "密码修改成功".to_owned(),
        }
    }
}

/// A new account below somebody.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct UserCreateIn {
    /// 1 to 150 letters of any script, digits and `_ . + -`; compared without regard to case.
    pub username: Username,
    /// 8 to 128 characters of any kind.
    pub password: Password,
    /// Compared without regard to case.
    pub email: Email,
    /// 3 to 20 digits, blanks and `+ ( ) -`.
    pub phone: Option<Phone>,
    /// At most 150 characters.
    pub name: Option<DisplayName>,
    /// At most 150 characters; blank or absent means the username.
    pub display_name: Option<DisplayName>,
    /// Must equal `password` if it is there.
    pub confirm_password: Option<MaybeBlankPassword>,
}

impl Example for UserCreateIn {
    fn example() -> Self {
        UserCreateIn {
            username: Username::parse("subagent").expect("a valid name"),
            password: Password::parse("correct-horse-battery").expect("a valid password"),
            email: Email::parse("subagent@example.com").expect("a valid address"),
            phone: Phone::parse("13800138000").ok(),
            name: DisplayName::parse("二级代理").ok(),
            display_name: None,
            confirm_password: None,
        }
    }
}

/// A new customer.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct CustomerCreateIn {
    #[oai(flatten)]
    pub account: UserCreateIn,
    /// The agent above: the caller or one of its sub-agents, for admins any. Absent means the
    /// caller, for admins none.
    #[oai(validator(minimum(value = "1")))]
    pub agent_id: Option<i64>,
}

impl Example for CustomerCreateIn {
    fn example() -> Self {
        CustomerCreateIn {
            account: UserCreateIn::example(),
            agent_id: Some(2),
        }
    }
}

/// A new account of one's own.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct UserRegisterIn {
    /// 1 to 150 letters of any script, digits and `_ . + -`; compared without regard to case.
    pub username: Username,
    /// Compared without regard to case.
    pub email: Email,
    /// 8 to 128 characters of any kind.
    pub password: Password,
    /// Must equal `password` if it is there.
    pub confirm_password: Option<MaybeBlankPassword>,
    /// At most 150 characters.
    pub name: Option<DisplayName>,
    /// 3 to 20 digits, blanks and `+ ( ) -`.
    pub phone: Option<Phone>,
    /// User name of the agent whose customer it will be.
    #[oai(validator(max_length = 150))]
    pub agent: Option<String>,
}

impl Example for UserRegisterIn {
    fn example() -> Self {
        UserRegisterIn {
            username: Username::parse("user123").expect("a valid name"),
            email: Email::parse("user123@example.com").expect("a valid address"),
            password: Password::parse("correct-horse-battery").expect("a valid password"),
            confirm_password: None,
            name: None,
            phone: None,
            agent: Some("subagent".to_owned()),
        }
    }
}

/// Changes to one's own profile. Absent fields stay.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ProfileUpdateIn {
    pub username: Option<Username>,
    pub name: Option<DisplayName>,
    /// Blank or null removes it.
    pub phone: MaybeUndefined<Phone>,
    /// JWT only. Clears the verification and ends other sessions.
    pub email: Option<Email>,
    pub first_name: Option<DisplayName>,
    pub last_name: Option<DisplayName>,
    /// The caller's current password; required of admins and of users with two factors who write
    /// an address.
    pub password: Option<CurrentPassword>,
}

impl Example for ProfileUpdateIn {
    fn example() -> Self {
        ProfileUpdateIn {
            username: None,
            name: DisplayName::parse("用户名").ok(),
            phone: MaybeUndefined::from_opt_undefined(Phone::parse("13800138000").ok()),
            email: None,
            first_name: None,
            last_name: None,
            password: None,
        }
    }
}

/// Changes to an account that the caller manages. Absent fields stay; fields that the caller may
/// not write are ignored.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct UserUpdateIn {
    pub name: Option<DisplayName>,
    /// Blank or null removes it.
    pub phone: MaybeUndefined<Phone>,
    /// JWT only. Clears the verification and ends the user's sessions.
    pub email: Option<Email>,
    /// A disabled account is signed out everywhere at once.
    pub is_active: Option<bool>,
    /// Blank or null resets it to the username.
    pub display_name: MaybeUndefined<DisplayName>,
    /// Admins only. Ends the user's sessions.
    pub user_type: Option<UserKind>,
    /// Admins only: the agent above; null for none.
    #[oai(validator(minimum(value = "1")))]
    pub parent_id: MaybeUndefined<i64>,
    /// The caller's current password; required of admins and of users with two factors who write
    /// an address.
    pub password: Option<CurrentPassword>,
}

impl Example for UserUpdateIn {
    fn example() -> Self {
        UserUpdateIn {
            name: DisplayName::parse("用户名").ok(),
            phone: MaybeUndefined::Undefined,
            email: None,
            is_active: None,
            display_name: MaybeUndefined::Undefined,
            user_type: None,
            parent_id: MaybeUndefined::Undefined,
            password: None,
        }
    }
}

/// A picture.
#[derive(Debug, Object)]
pub struct AvatarIn {
    /// JPEG, PNG, GIF or WebP, at most 2 MiB.
    pub avatar: FilePart,
}

/// Where a picture is.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct AvatarOut {
    /// For people, in the language asked for.
    pub message: String,
    /// Absolute address.
    pub url: String,
}

impl Example for AvatarOut {
    fn example() -> Self {
        AvatarOut {
            message: "头像上传成功".to_owned(),
            url: "http://example.com/media/avatars/avatar.jpg".to_owned(),
        }
    }
}
