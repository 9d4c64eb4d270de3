//! HTTP adapters of this domain: the cloud surface (`/user/`), and the users' surface
//! (`/api/token/`, `/api/users/`).

mod accounts;
mod credentials;
mod members;
mod newcomers;
mod own;
mod own_member;
mod passwords;
mod token;

use poem_openapi::types::MaybeUndefined;
use poem_openapi::{OpenApi, Tags};
use yunque_kernel::Text;
use yunque_kernel::http::{Json, RequestInfo};

use crate::Accounts;
use crate::dto::agents::UserMessageOut;

pub(crate) const SIGNED_OUT: Text = Text::fixed("登出成功", "Signed out.");
pub(crate) const PASSWORD_CHANGED: Text = Text::fixed("密码更新成功", "Password changed.");

/// Tags of this domain in the published document.
#[derive(Tags)]
enum AccountsTags {
    /// Accounts, sessions and tokens.
    Accounts,
    /// Agents, their customers, and tokens for them.
    Users,
}

/// A message in the language of the request.
fn said(text: Text, info: &RequestInfo) -> Json<UserMessageOut> {
    Json(UserMessageOut {
        message: text.get(info.lang).to_owned(),
    })
}

/// A field that null clears: its empty value then.
fn cleared<T: Default>(field: MaybeUndefined<T>) -> Option<T> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(T::default()),
        MaybeUndefined::Value(value) => Some(value),
    }
}

impl Accounts {
    /// Everything this domain serves.
    pub fn api(&self) -> impl OpenApi + use<> {
        (
            credentials::CredentialsApi {
                accounts: self.clone(),
            },
            own::OwnAccountApi {
                accounts: self.clone(),
            },
            own::AliasApi {
                accounts: self.clone(),
            },
            accounts::AccountsApi {
                accounts: self.clone(),
            },
            passwords::CloudResetApi {
                accounts: self.clone(),
            },
            token::TokenApi {
                accounts: self.clone(),
            },
            newcomers::NewcomersApi {
                accounts: self.clone(),
            },
            own_member::OwnMemberApi {
                accounts: self.clone(),
            },
            passwords::PasswordsApi {
                accounts: self.clone(),
            },
            members::MembersApi {
                accounts: self.clone(),
            },
        )
    }
}
