//! Reading and changing accounts: one's own, and for admins everybody's.

use yunque_kernel::Tx;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;
use yunque_kernel::ids::UserId;

use super::changes::{AccountChanges, Right};
use super::client::Client;
use crate::Accounts;
use crate::error::AccountsError;
use crate::policy;
use crate::repo::users::{self, AccountRow};
use crate::values::CurrentPassword;

impl Accounts {
    /// The caller's account.
    ///
    /// # Errors
    /// `NotFound` when it vanished since the token was checked.
    pub async fn profile(&self, caller: &Caller) -> Result<AccountRow, AccountsError> {
        users::get_visible(self.0.ctx.db.reader(), caller, caller.user_id).await
    }

    /// An account, for its owner and for admins.
    ///
    /// # Errors
    /// `NotFound` for everybody else.
    pub async fn account(&self, caller: &Caller, id: UserId) -> Result<AccountRow, AccountsError> {
        users::get_visible(self.0.ctx.db.reader(), caller, id).await
    }

    /// One page of all accounts by id; for admins.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub async fn list_accounts(
        &self,
        caller: &Caller,
        search: Option<&str>,
        page: Page,
    ) -> Result<(Vec<AccountRow>, u64), AccountsError> {
        policy::list_accounts(caller)?;
        let search = search.map(str::trim).filter(|text| !text.is_empty());
        Ok(users::list(self.0.ctx.db.reader(), search, None, page).await?)
    }

    /// Changes what the caller may change; other fields are ignored. An address needs a JWT, and
    /// the caller's password where more than the address hangs on it.
    ///
    /// # Errors
    /// `NotFound` for accounts of others, `Taken`, `ApiKeyNotAllowed`, `WrongPassword`, `LastStaff`.
    pub(crate) async fn update_account(
        &self,
        caller: &Caller,
        id: UserId,
        mut changes: AccountChanges,
        password: Option<&CurrentPassword>,
        client: &Client,
    ) -> Result<AccountRow, AccountsError> {
        policy::see_account(caller, id)?;
        if !caller.is_staff {
            (changes.is_active, changes.quota) = (None, None);
        }
        self.write_changes(caller, id, changes, password, client, Right::Decided)
            .await
    }
}

/// Refuses a write that takes the last active admin away. Holds the rows of all active admins until
/// the transaction ends.
pub(super) async fn keep_an_admin(tx: &Tx, leaving: UserId) -> Result<(), AccountsError> {
    let admins = users::lock_active_admins(tx).await?;
    if admins == [leaving.0] {
        Err(AccountsError::LastStaff)
    } else {
        Ok(())
    }
}
