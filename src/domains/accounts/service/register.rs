//! New accounts.

use poem_openapi::types::ToJSON;
use yunque_kernel::auth::{Caller, UserType};
use yunque_kernel::http::Bucket;
use yunque_kernel::http::idempotency::Claim;
use yunque_kernel::{DbError, Tx};

use super::client::Client;
use crate::Accounts;
use crate::dto::AccountOut;
use crate::error::AccountsError;
use crate::policy::{self, PasswordOwner};
use crate::repo::security;
use crate::repo::users::{self, AccountRow, EMAIL_KEY, NewUser, USERNAME_KEY};
use crate::values::{DisplayName, Email, Password, Username};

/// What a new account starts with.
#[derive(Clone, Debug)]
pub struct Registration {
    pub username: Username,
    pub email: Email,
    pub password: Password,
    /// Empty means the username.
    pub display_name: DisplayName,
}

impl Accounts {
    /// Anyone makes an account of his own, without being logged in by it.
    ///
    /// # Errors
    /// `RegistrationClosed`, `Taken`, a reserved name, 429 for too many from one address.
    pub async fn register(
        &self,
        new: Registration,
        client: &Client,
        claim: &Claim,
    ) -> Result<AccountOut, AccountsError> {
        if !self.0.settings.registration_open {
            return Err(AccountsError::RegistrationClosed);
        }
        self.0
            .ctx
            .limits
            .strict(Bucket::Register, &client.network)
            .await?;
        self.create(new, claim).await.map(AccountOut::from)
    }

    /// An admin makes an account for somebody.
    ///
    /// # Errors
    /// `PermissionDenied`, `Taken`, a reserved name.
    pub async fn create_account(
        &self,
        caller: &Caller,
        new: Registration,
        client: &Client,
        claim: &Claim,
    ) -> Result<AccountOut, AccountsError> {
        policy::create_account(caller)?;
        let account = self.create(new, claim).await?;
        let (by, id, ip) = (caller.user_id, account.id, client.ip.clone());
        tracing::info!(user.id = %by, account.id = id, client.ip = %ip, "an admin created an account");
        Ok(account.into())
    }

    async fn create(&self, new: Registration, claim: &Claim) -> Result<AccountRow, AccountsError> {
        let Registration {
            username,
            email,
            password,
            display_name,
        } = new;
        if username.is_reserved(&self.0.settings.reserved_names) {
            return Err(AccountsError::field("username", Username::reserved_fault()));
        }
        let owner = PasswordOwner {
            username: username.as_str(),
            email: email.as_str(),
            first_name: "",
            last_name: "",
        };
        self.check_strength(&password, owner, "password")?;
        let checked = Registration {
            username,
            email,
            password,
            display_name,
        };
        self.create_unchecked(checked, UserType::Customer, "", "", claim)
            .await
    }

    /// Without the rules that only bind people: reserved names, the password policy.
    pub(super) async fn create_unchecked(
        &self,
        new: Registration,
        user_type: UserType,
        first_name: &str,
        last_name: &str,
        claim: &Claim,
    ) -> Result<AccountRow, AccountsError> {
        let Registration {
            username,
            email,
            password,
            display_name,
        } = new;
        let row = NewUser {
            display_name: display_name.or_username(username.as_str()),
            password_hash: self.0.ctx.passwords.hash(password.secret()).await?,
            username: username.clone(),
            email: email.clone(),
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            user_type,
        };
        let (accounts, claim) = (self.clone(), claim.clone());
        let inserted = self.0.ctx.db.write("create_account", move |tx: Tx| {
            let (accounts, row, claim) = (accounts.clone(), row.clone(), claim.clone());
            async move { accounts.insert_account(&tx, row, &claim).await }
        });
        match inserted.await {
            Ok(account) => Ok(account),
            Err(e) if e.is_unique(USERNAME_KEY) || e.is_unique(EMAIL_KEY) => {
                let seen = (e.is_unique(USERNAME_KEY), e.is_unique(EMAIL_KEY));
                Err(self.what_is_taken(&username, &email, seen).await?)
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn insert_account(&self, tx: &Tx, row: NewUser, claim: &Claim) -> Result<AccountRow, DbError> {
        let account = AccountRow {
            id: 0,
            username: row.username.as_str().to_owned(),
            email: row.email.as_str().to_owned(),
            display_name: row.display_name.clone(),
            is_active: true,
            is_staff: row.user_type == UserType::Admin,
        };
        let now = self.now();
        let id = users::insert(tx, row, now).await?;
        let account = AccountRow { id: id.0, ..account };
        let data = serde_json::json!({ "user_type": if account.is_staff { "admin" } else { "customer" } });
        security::insert_event(tx, Some(id), "account_created", None, &data, now).await?;
        claim
            .store(tx, 201, &AccountOut::from(account.clone()).to_json())
            .await?;
        Ok(account)
    }

    /// The database names one violated constraint, but the client is told of both. `seen` is what
    /// the database said, in case the other account has gone meanwhile.
    async fn what_is_taken(
        &self,
        username: &Username,
        email: &Email,
        seen: (bool, bool),
    ) -> Result<AccountsError, DbError> {
        let found = users::find_taken(self.0.ctx.db.reader(), username, email).await?;
        let (username, email) = (found.0 || seen.0, found.1 || seen.1);
        Ok(AccountsError::Taken { username, email })
    }
}
