//! The one write behind every change of an account, whoever makes it on whatever surface.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use serde_json::json;
use yunque_kernel::auth::{AuthChange, Caller, UserType};
use yunque_kernel::ids::UserId;
use yunque_kernel::mail::{EmailChanged, Message, mask_address};
use yunque_kernel::{DbError, Tx};

use super::accounts::keep_an_admin;
use super::client::Client;
use super::hierarchy::{RoleChange, RoleWish, lock_in_order};
use crate::entity::user::{self, Column};
use crate::error::AccountsError;
use crate::repo::members;
use crate::repo::users::{self, AccountRow, EMAIL_KEY, USERNAME_KEY};
use crate::repo::{security, sessions, tree};
use crate::scope::Scope;
use crate::values::{CurrentPassword, DisplayName, Email, Phone, Username};
use crate::{Accounts, Heard};

/// Changes to one account; `None` leaves a field alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountChanges {
    pub username: Option<Username>,
    /// Empty resets it to the username.
    pub display_name: Option<DisplayName>,
    pub name: Option<DisplayName>,
    pub first_name: Option<DisplayName>,
    pub last_name: Option<DisplayName>,
    pub phone: Option<Phone>,
    pub email: Option<Email>,
    pub is_active: Option<bool>,
    pub quota: Option<i64>,
    pub user_type: Option<UserType>,
    pub parent: Option<Option<UserId>>,
}

impl AccountChanges {
    fn role(&self) -> RoleWish {
        RoleWish {
            user_type: self.user_type,
            parent: self.parent,
        }
    }
}

/// By which right an account is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Decided before: one's own account, or an admin's right on the cloud surface.
    Decided,
    /// Of those who manage the account, which is looked at under lock. Admins are not disabled by
    /// it, and deleted accounts are not found.
    Manager(Scope),
}

/// What the columns of a change entail.
#[derive(Default)]
struct Consequences {
    columns: Vec<(Column, SimpleExpr)>,
    change: Option<AuthChange>,
    void_tokens: bool,
}

impl Accounts {
    /// Writes changes that the caller may make; `password` is the caller's own, for a new address.
    ///
    /// # Errors
    /// `NotFound`, `Taken`, `ApiKeyNotAllowed`, `WrongPassword`, `LastStaff`, `Purged`; a reserved
    /// name; what [`RoleWish`] may be refused for.
    pub(super) async fn write_changes(
        &self,
        caller: &Caller,
        id: UserId,
        changes: AccountChanges,
        password: Option<&CurrentPassword>,
        client: &Client,
        right: Right,
    ) -> Result<AccountRow, AccountsError> {
        if let Some(email) = &changes.email {
            self.guard_address(caller, id, email, password).await?;
        }
        let keys = (
            changes.username.as_ref().map(|name| name.key().to_owned()),
            changes.email.as_ref().map(|email| email.key().to_owned()),
        );
        let (accounts, caller, client) = (self.clone(), caller.clone(), client.clone());
        let updated = self.0.ctx.db.write("update_account", move |tx: Tx| {
            let (accounts, caller) = (accounts.clone(), caller.clone());
            let (changes, client) = (changes.clone(), client.clone());
            async move { accounts.apply(&tx, &caller, id, changes, &client, right).await }
        });
        match updated.await {
            Ok((account, heard)) => {
                if let Some(heard) = heard {
                    heard.everywhere().await;
                }
                Ok(account)
            }
            Err(AccountsError::Db(e)) if e.is_unique(USERNAME_KEY) || e.is_unique(EMAIL_KEY) => {
                let (name, address) = (keys.0.as_deref(), keys.1.as_deref());
                let found = members::find_taken_by_others(self.0.ctx.db.reader(), id, name, address).await?;
                Err(AccountsError::Taken {
                    username: found.0 || e.is_unique(USERNAME_KEY),
                    email: found.1 || e.is_unique(EMAIL_KEY),
                })
            }
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
        right: Right,
    ) -> Result<(AccountRow, Option<Heard>), AccountsError> {
        let row = self.lock_for(tx, id, &changes, right).await?;
        let mut done = Consequences::default();
        self.name_columns(tx, caller, &row, &changes, client, &mut done)
            .await?;
        if let Some(quota) = changes.quota {
            done.columns.push((Column::Quota, Expr::value(quota)));
            self.audit(tx, caller, id, "quota_changed", json!({ "quota": quota }), client)
                .await?;
        }
        let email = changes.email.as_ref();
        if let Some(email) = email.filter(|email| email.key() != row.email_key) {
            done.columns
                .extend(self.write_address(tx, caller, &row, email, client).await?);
            done.void_tokens |= caller.user_id != id;
            done.change = Some(AuthChange::User { user: id });
        }
        let mut moves = Vec::new();
        if !changes.role().is_empty()
            && let Some(granted) = self.judge_role(tx, &row, changes.role()).await?
        {
            moves = self
                .role_columns(tx, caller, id, granted, client, &mut done)
                .await?;
        }
        if let Some(active) = changes.is_active.filter(|active| *active != row.is_active) {
            self.activity_columns(tx, caller, &row, active, client, &mut done)
                .await?;
        }
        let Consequences {
            mut columns,
            change,
            void_tokens,
        } = done;
        if void_tokens {
            columns.push((Column::TokenVersion, Expr::col(Column::TokenVersion).add(1)));
        }
        if !columns.is_empty() {
            users::update(tx, id, columns, self.now()).await?;
        }
        self.tell_moves(tx, moves).await?;
        let account = users::find_account(tx, id)
            .await?
            .ok_or(AccountsError::NotFound)?;
        let heard = match change {
            Some(change) => Some(self.tell(tx, change).await?),
            None => None,
        };
        Ok((account, heard))
    }

    /// Locks what the change looks at, and checks the right to make it.
    async fn lock_for(
        &self,
        tx: &Tx,
        id: UserId,
        changes: &AccountChanges,
        right: Right,
    ) -> Result<user::Model, AccountsError> {
        let before = tree::find_place(tx, id).await?.ok_or(AccountsError::NotFound)?;
        let disables = changes.is_active == Some(false);
        let may_lose_rights = changes.user_type.is_some_and(|kind| kind != UserType::Admin);
        let is_managed = matches!(right, Right::Manager(_));
        if (disables && !is_managed) || may_lose_rights {
            keep_an_admin(tx, id).await?;
        }
        if !changes.role().is_empty() {
            let wished = changes.parent.flatten();
            lock_in_order(tx, [Some(id), before.parent, wished].into_iter().flatten()).await?;
        }
        let row = users::lock(tx, id).await?.ok_or(AccountsError::NotFound)?;
        if let Right::Manager(scope) = right {
            let place = tree::find_place(tx, id).await?;
            let place = place.filter(|place| !place.is_deleted && scope.manages(place));
            let place = place.ok_or(AccountsError::NotFound)?;
            if disables && place.user_type == UserType::Admin {
                return Err(AccountsError::CannotDisableAdmin);
            }
        }
        Ok(row)
    }

    /// Names and the telephone number.
    async fn name_columns(
        &self,
        tx: &Tx,
        caller: &Caller,
        row: &user::Model,
        changes: &AccountChanges,
        client: &Client,
        done: &mut Consequences,
    ) -> Result<(), AccountsError> {
        let id = UserId(row.id);
        let profile = Some(AuthChange::Profile { user: id });
        let mut username = row.username.as_str();
        if let Some(name) = changes
            .username
            .as_ref()
            .filter(|name| name.as_str() != row.username)
        {
            if name.key() != row.username_key && name.is_reserved(&self.0.settings.reserved_names) {
                return Err(AccountsError::field("username", Username::reserved_fault()));
            }
            username = name.as_str();
            done.columns.push((Column::Username, Expr::value(name.as_str())));
            done.columns.push((Column::UsernameKey, Expr::value(name.key())));
            let data = json!({ "from": row.username, "to": name.as_str() });
            self.audit(tx, caller, id, "username_changed", data, client)
                .await?;
            // Callers are remembered with their names.
            done.change = Some(AuthChange::User { user: id });
        }
        if let Some(name) = changes.display_name.clone() {
            let shown = name.or_username(username);
            done.columns.push((Column::DisplayName, Expr::value(shown)));
            done.change = done.change.or(profile);
        }
        for (column, name) in [
            (Column::Name, &changes.name),
            (Column::FirstName, &changes.first_name),
            (Column::LastName, &changes.last_name),
        ] {
            if let Some(name) = name.clone() {
                done.columns.push((column, Expr::value(name.into_string())));
                done.change = done.change.or(profile);
            }
        }
        if let Some(phone) = changes.phone.clone() {
            done.columns
                .push((Column::Phone, Expr::value(phone.into_option())));
        }
        Ok(())
    }

    /// A new kind ends everything that was granted to the old one; a new parent alone ends nothing.
    async fn role_columns(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: UserId,
        granted: RoleChange,
        client: &Client,
        done: &mut Consequences,
    ) -> Result<Vec<crate::Moved>, AccountsError> {
        let RoleChange {
            columns,
            kinds,
            parents,
            moves,
        } = granted;
        done.columns.extend(columns);
        if let Some((from, to)) = parents {
            let data = json!({ "from": from, "to": to });
            self.audit(tx, caller, id, "parent_changed", data, client).await?;
            done.change = done.change.or(Some(AuthChange::Profile { user: id }));
        }
        if let Some((from, to)) = kinds {
            sessions::update_all_revoked(tx, id, None, self.now()).await?;
            let data = json!({ "from": from.as_str(), "to": to.as_str() });
            self.audit(tx, caller, id, "role_changed", data, client).await?;
            done.void_tokens = true;
            done.change = Some(AuthChange::User { user: id });
        }
        Ok(moves)
    }

    async fn activity_columns(
        &self,
        tx: &Tx,
        caller: &Caller,
        row: &user::Model,
        active: bool,
        client: &Client,
        done: &mut Consequences,
    ) -> Result<(), AccountsError> {
        let id = UserId(row.id);
        done.columns.push((Column::IsActive, Expr::value(active)));
        done.change = Some(AuthChange::User { user: id });
        let kind = if active {
            if row.purged_at.is_some() {
                return Err(AccountsError::Purged);
            }
            done.columns
                .push((Column::DeactivatedAt, Expr::value(None::<DateTime<Utc>>)));
            "account_enabled"
        } else {
            done.void_tokens = true;
            sessions::update_all_revoked(tx, id, None, self.now()).await?;
            security::update_mail_tokens_void(tx, id, self.now()).await?;
            "account_disabled"
        };
        Ok(self.audit(tx, caller, id, kind, json!({}), client).await?)
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

    pub(super) async fn audit(
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
