//! HTTP adapters of this domain, the cloud surface.

mod accounts;
mod credentials;
mod own;

use poem_openapi::{OpenApi, Tags};
use yunque_kernel::Text;

use crate::Accounts;

pub(crate) const SIGNED_OUT: Text = Text::fixed("登出成功", "Signed out.");
pub(crate) const PASSWORD_CHANGED: Text = Text::fixed("密码更新成功", "Password changed.");

/// Tags of this domain in the published document.
#[derive(Tags)]
enum AccountsTags {
    /// Accounts, sessions and tokens.
    Accounts,
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
        )
    }
}
