//! New accounts.

use poem_openapi::types::ToJSON;
use serde_json::json;
use yunque_kernel::auth::{Caller, UserType};
use yunque_kernel::http::Bucket;
use yunque_kernel::http::idempotency::Claim;
use yunque_kernel::ids::UserId;
use yunque_kernel::{DbError, Tx};

use super::client::Client;
use crate::Accounts;
use crate::dto::AccountOut;
use crate::dto::agents::UserOut;
use crate::error::AccountsError;
use crate::policy::{self, PasswordOwner};
use crate::repo::members::{self, MemberRow};
use crate::repo::security;
use crate::repo::users::{self, EMAIL_KEY, NewUser, USERNAME_KEY};
use crate::scope::Scope;
use crate::values::{DisplayName, Email, Password, Phone, Username, name_key};

/// What a new account starts with.
#[derive(Clone, Debug)]
pub struct Registration {
    pub username: Username,
    pub email: Email,
    pub password: Password,
    /// Empty means the username.
    pub display_name: DisplayName,
}

/// An account of a certain kind at a certain place.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub registration: Registration,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub phone: Phone,
    pub user_type: UserType,
    pub parent: Option<Parent>,
    /// Who makes it, if not the person himself.
    pub by: Option<UserId>,
    /// Whoever makes it vouches for the address.
    pub is_verified: bool,
}

impl Newcomer {
    pub fn new(registration: Registration, user_type: UserType) -> Self {
        Newcomer {
            registration,
            name: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            phone: Phone::default(),
            user_type,
            parent: None,
            by: None,
            is_verified: false,
        }
    }
}

/// The agent that a new account hangs below; looked at under lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    pub id: UserId,
    /// Who names it, where only some may be named.
    pub within: Option<Scope>,
    /// What is wrong when it is no active agent that may have such children, or out of reach.
    pub refusal: fn() -> AccountsError,
}

/// In which form the answer is kept for a repeated request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerForm {
    Cloud,
    Users,
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
        self.open_to(client).await?;
        let created = self
            .create(Newcomer::new(new, UserType::Customer), AnswerForm::Cloud, claim)
            .await?;
        Ok(created.account().into())
    }

    /// The same with the particulars of the users' surface, perhaps below the active agent of this
    /// user name.
    ///
    /// # Errors
    /// As [`Accounts::register`]; `AgentNotFound`.
    pub(crate) async fn register_customer(
        &self,
        mut new: Newcomer,
        agent: Option<&str>,
        client: &Client,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        self.open_to(client).await?;
        if let Some(name) = agent.map(str::trim).filter(|name| !name.is_empty()) {
            let refusal = || AccountsError::AgentNotFound { field: "agent" };
            let id = users::find_id_by_name(self.0.ctx.db.reader(), &name_key(name)).await?;
            new.parent = Some(Parent {
                id: id.ok_or_else(refusal)?,
                within: None,
                refusal,
            });
        }
        self.create(new, AnswerForm::Users, claim).await
    }

    async fn open_to(&self, client: &Client) -> Result<(), AccountsError> {
        if !self.0.settings.registration_open {
            return Err(AccountsError::RegistrationClosed);
        }
        Ok(self
            .0
            .ctx
            .limits
            .strict(Bucket::Register, &client.network)
            .await?)
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
        let new = Newcomer {
            by: Some(caller.user_id),
            ..Newcomer::new(new, UserType::Customer)
        };
        let account = self.create(new, AnswerForm::Cloud, claim).await?.account();
        let (by, id, ip) = (caller.user_id, account.id, client.ip.clone());
        tracing::info!(user.id = %by, account.id = id, client.ip = %ip, "an admin created an account");
        Ok(account.into())
    }

    /// Inserts an account after all rules that bind people.
    pub(super) async fn create(
        &self,
        new: Newcomer,
        form: AnswerForm,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        let Registration {
            username,
            email,
            password,
            ..
        } = &new.registration;
        if username.is_reserved(&self.0.settings.reserved_names) {
            return Err(AccountsError::field("username", Username::reserved_fault()));
        }
        let owner = PasswordOwner {
            username: username.as_str(),
            email: email.as_str(),
            first_name: &new.first_name,
            last_name: &new.last_name,
        };
        self.check_strength(password, owner, "password")?;
        self.create_unchecked(new, form, claim).await
    }

    /// Without the rules that only bind people: reserved names, the password policy.
    pub(super) async fn create_unchecked(
        &self,
        new: Newcomer,
        form: AnswerForm,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        let Newcomer {
            registration,
            name,
            first_name,
            last_name,
            phone,
            user_type,
            parent,
            by,
            is_verified,
        } = new;
        let Registration {
            username,
            email,
            password,
            display_name,
        } = registration;
        let row = NewUser {
            display_name: display_name.or_username(username.as_str()),
            password_hash: self.0.ctx.passwords.hash(password.secret()).await?,
            username: username.clone(),
            email: email.clone(),
            name,
            first_name,
            last_name,
            phone: phone.into_option(),
            user_type,
            parent: parent.map(|parent| parent.id),
            is_verified,
        };
        let (accounts, claim) = (self.clone(), claim.clone());
        let inserted = self.0.ctx.db.write("create_account", move |tx: Tx| {
            let (accounts, row, claim) = (accounts.clone(), row.clone(), claim.clone());
            async move {
                if let Some(parent) = parent {
                    accounts.lock_parent(&tx, user_type, parent).await?;
                }
                accounts.insert_account(&tx, row, by, form, &claim).await
            }
        });
        match inserted.await {
            Err(AccountsError::Db(e)) if e.is_unique(USERNAME_KEY) || e.is_unique(EMAIL_KEY) => {
                let seen = (e.is_unique(USERNAME_KEY), e.is_unique(EMAIL_KEY));
                Err(self.what_is_taken(&username, &email, seen).await?)
            }
            inserted => inserted,
        }
    }

    async fn insert_account(
        &self,
        tx: &Tx,
        row: NewUser,
        by: Option<UserId>,
        form: AnswerForm,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        let now = self.now();
        let mut data = json!({ "user_type": row.user_type.as_str() });
        if let Some(by) = by {
            data["by"] = json!(by);
        }
        if let Some(parent) = row.parent {
            data["parent_id"] = json!(parent);
        }
        let id = users::insert(tx, row, now).await?;
        security::insert_event(tx, Some(id), "account_created", None, &data, now).await?;
        let created = members::find(tx, id).await?.ok_or(AccountsError::NotFound)?;
        let answer = match form {
            AnswerForm::Cloud => AccountOut::from(created.account()).to_json(),
            AnswerForm::Users => self.shown(created.clone()).to_json(),
        };
        claim.store(tx, 201, &answer).await?;
        Ok(created)
    }

    /// An account in the form of the users' surface.
    pub(crate) fn shown(&self, row: MemberRow) -> UserOut {
        UserOut::new(row, &self.0.ctx.public_base_url)
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
