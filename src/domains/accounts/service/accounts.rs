//! Reading and changing accounts: one's own, and for admins everybody's.

use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use serde_json::json;
use yunque_kernel::auth::{AuthChange, Caller};
use yunque_kernel::http::Page;
use yunque_kernel::ids::UserId;
use yunque_kernel::mail::{EmailChanged, Message, mask_address};
use yunque_kernel::{DbError, Tx};

use super::client::Client;
use crate::entity::user::{self, Column};
use crate::error::AccountsError;
use crate::policy;
use crate::repo::users::{self, AccountRow, EMAIL_KEY};
use crate::repo::{security, sessions};
use crate::values::{CurrentPassword, DisplayName, Email};
use crate::{Accounts, Heard};

/// Changes to one account; `None` leaves a field alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountChanges {
    /// Empty resets it to the username.
    pub display_name: Option<DisplayName>,
    pub email: Option<Email>,
    pub is_active: Option<bool>,
    pub quota: Option<i64>,
}

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
        Ok(users::list(self.0.ctx.db.reader(), search, page).await?)
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
        if let Some(email) = &changes.email {
            self.guard_address(caller, id, email, password).await?;
        }
        let (accounts, caller, client) = (self.clone(), caller.clone(), client.clone());
        let updated = self.0.ctx.db.write("update_account", move |tx: Tx| {
            let (accounts, caller) = (accounts.clone(), caller.clone());
            let (changes, client) = (changes.clone(), client.clone());
            async move { accounts.apply(&tx, &caller, id, changes, &client).await }
        });
        match updated.await {
            Ok((account, heard)) => {
                if let Some(heard) = heard {
                    heard.everywhere().await;
                }
                Ok(account)
            }
            Err(AccountsError::Db(e)) if e.is_unique(EMAIL_KEY) => Err(AccountsError::Taken {
                username: false,
                email: true,
            }),
            Err(e) => Err(e),
        }
    }

    async fn guard_address(
        &self,
        caller: &Caller,
        id: UserId,
        email: &Email,
        password: Option<&CurrentPassword>,
    ) -> Result<(), AccountsError> {
        if caller.session.is_none() {
            return Err(AccountsError::ApiKeyNotAllowed);
        }
        let reader = self.0.ctx.db.reader();
        let current = users::find_full(reader, id)
            .await?
            .ok_or(AccountsError::NotFound)?;
        if current.email_key == email.key() {
            return Ok(());
        }
        if caller.is_staff || security::has_second_factor(reader, caller.user_id).await? {
            self.prove_password(caller.user_id, password, "password").await?;
        }
        Ok(())
    }

    async fn apply(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: UserId,
        changes: AccountChanges,
        client: &Client,
    ) -> Result<(AccountRow, Option<Heard>), AccountsError> {
        if changes.is_active == Some(false) {
            keep_an_admin(tx, id).await?;
        }
        let row = users::lock(tx, id).await?.ok_or(AccountsError::NotFound)?;
        let mut columns: Vec<(Column, SimpleExpr)> = Vec::new();
        let (mut change, mut void_tokens) = (None, false);
        let AccountChanges {
            display_name,
            email,
            is_active,
            quota,
        } = changes;
        if let Some(name) = display_name {
            columns.push((Column::DisplayName, Expr::value(name.or_username(&row.username))));
            change = Some(AuthChange::Profile { user: id });
        }
        if let Some(quota) = quota {
            columns.push((Column::Quota, Expr::value(quota)));
            self.audit(tx, caller, id, "quota_changed", json!({ "quota": quota }), client)
                .await?;
        }
        if let Some(email) = email.filter(|email| email.key() != row.email_key) {
            columns.extend(self.write_address(tx, caller, &row, &email, client).await?);
            void_tokens = caller.user_id != id;
            change = Some(AuthChange::User { user: id });
        }
        match is_active {
            Some(false) if row.is_active => {
                columns.push((Column::IsActive, Expr::value(false)));
                void_tokens = true;
                sessions::update_all_revoked(tx, id, None, self.now()).await?;
                self.audit(tx, caller, id, "account_disabled", json!({}), client)
                    .await?;
                change = Some(AuthChange::User { user: id });
            }
            Some(true) if !row.is_active => {
                if row.purged_at.is_some() {
                    return Err(AccountsError::Purged);
                }
                columns.push((Column::IsActive, Expr::value(true)));
                columns.push((
                    Column::DeactivatedAt,
                    Expr::value(None::<chrono::DateTime<chrono::Utc>>),
                ));
                self.audit(tx, caller, id, "account_enabled", json!({}), client)
                    .await?;
                change = Some(AuthChange::User { user: id });
            }
            _ => {}
        }
        if void_tokens {
            columns.push((Column::TokenVersion, Expr::col(Column::TokenVersion).add(1)));
        }
        if !columns.is_empty() {
            users::update(tx, id, columns, self.now()).await?;
        }
        let account = users::find_account(tx, id)
            .await?
            .ok_or(AccountsError::NotFound)?;
        let heard = match change {
            Some(change) => Some(self.tell(tx, change).await?),
            None => None,
        };
        Ok((account, heard))
    }

    /// What a new, unproven address entails: the verification is gone, mailed codes are void,
    /// sessions end (the caller's own stays if it is his address), the old mailbox is told.
    async fn write_address(
        &self,
        tx: &Tx,
        caller: &Caller,
        row: &user::Model,
        email: &Email,
        client: &Client,
    ) -> Result<[(Column, SimpleExpr); 3], DbError> {
        let (id, now) = (UserId(row.id), self.now());
        let own = caller.user_id == id;
        sessions::update_all_revoked(tx, id, caller.session.filter(|_| own), now).await?;
        security::update_mail_tokens_void(tx, id, now).await?;
        let data = json!({ "by": caller.user_id, "from": mask_address(&row.email), "to": mask_address(email.as_str()) });
        security::insert_event(tx, Some(id), "email_changed", Some(&client.ip), &data, now).await?;
        let notice = EmailChanged {
            username: row.username.clone(),
            new_address: mask_address(email.as_str()),
            changed_at: now,
            ip: own.then(|| client.ip.clone()),
        };
        let mail = Message::new(row.email.clone(), client.lang, &notice)
            .owner(id)
            .request_id(client.request_id.clone());
        self.0.ctx.mail.queue(tx, &self.0.ctx.queue, mail).await?;
        Ok([
            (Column::Email, Expr::value(email.as_str())),
            (Column::EmailKey, Expr::value(email.key())),
            (Column::IsVerified, Expr::value(false)),
        ])
    }

    async fn audit(
        &self,
        tx: &Tx,
        caller: &Caller,
        target: UserId,
        kind: &str,
        mut data: serde_json::Value,
        client: &Client,
    ) -> Result<(), DbError> {
        data["by"] = json!(caller.user_id);
        security::insert_event(tx, Some(target), kind, Some(&client.ip), &data, self.now()).await
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
