//! Groups, and the test account of the seed documents.

use secrecy::SecretString;
use yunque_kernel::auth::{AuthChange, UserType};
use yunque_kernel::http::idempotency::Claim;
use yunque_kernel::ids::UserId;
use yunque_kernel::{DbError, Tx};

use super::register::{AnswerForm, Newcomer, Registration};
use crate::Accounts;
use crate::error::AccountsError;
use crate::repo::{groups, users};
use crate::values::{DisplayName, Email, Password, Username, name_key};

/// The test account of the seed documents. Its password is public.
pub mod demo {
    pub const USERNAME: &str = "developer";
    pub const PASSWORD: &str = "developer123";
    pub const EMAIL: &str = "developer@example.com";
    pub const GROUP: &str = "developer";
}

/// A group to be there, with members.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    pub name: String,
    /// Of a new group; an existing one keeps its own.
    pub description: String,
    /// User names.
    pub members: Vec<String>,
    /// Make the test account a member too, and make the account if it is not there.
    pub demo_user: Option<DemoUser>,
}

/// How the test account is made.
#[derive(Clone, Debug, Default)]
pub struct DemoUser {
    /// Instead of the public one.
    pub password: Option<SecretString>,
}

/// What [`Accounts::create_group`] did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GroupReport {
    pub id: i64,
    pub name: String,
    pub is_new: bool,
    /// Names that were not members before.
    pub added: Vec<String>,
    pub demo_user_created: bool,
}

impl Accounts {
    /// Makes sure that a group is there and has these members. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `NotFound` for an unknown member; nothing is written then. A blank or long name.
    pub async fn create_group(&self, new: NewGroup) -> Result<GroupReport, AccountsError> {
        let NewGroup {
            name,
            description,
            members,
            demo_user,
        } = new;
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().count() > 150 {
            return Err(AccountsError::field(
                "name",
                yunque_kernel::error::messages::too_long(150),
            ));
        }
        let mut found: Vec<(String, UserId)> = Vec::with_capacity(members.len() + 1);
        for member in members {
            let id = users::find_id_by_name(self.0.ctx.db.reader(), &name_key(member.trim())).await?;
            found.push((member, id.ok_or(AccountsError::NotFound)?));
        }
        let mut demo_user_created = false;
        if let Some(account) = demo_user {
            let (id, is_new) = self.ensure_demo_user(account).await?;
            demo_user_created = is_new;
            found.push((demo::USERNAME.to_owned(), id));
        }
        let accounts = self.clone();
        let written = self.0.ctx.db.write("create_group", move |tx: Tx| {
            let (accounts, found) = (accounts.clone(), found.clone());
            let (name, description) = (name.clone(), description.clone());
            async move {
                let is_new = groups::insert_ignore(&tx, &name, &description).await?;
                let group = groups::find_by_name(&tx, &name)
                    .await?
                    .ok_or(AccountsError::NotFound)?;
                let (mut added, mut changes) = (Vec::new(), Vec::new());
                for (member, user) in found {
                    if groups::insert_member(&tx, group.id, user).await? {
                        added.push(member);
                        changes.push(AuthChange::User { user });
                    }
                }
                let report = GroupReport {
                    id: group.id,
                    name: group.name,
                    is_new,
                    added,
                    demo_user_created,
                };
                Ok::<_, AccountsError>((report, accounts.tell_all(&tx, changes).await?))
            }
        });
        let (report, heard) = written.await?;
        heard.everywhere().await;
        Ok(report)
    }

    /// An existing account keeps its password.
    async fn ensure_demo_user(&self, account: DemoUser) -> Result<(UserId, bool), AccountsError> {
        use secrecy::ExposeSecret as _;
        if let Some(id) = self.find_demo_user().await? {
            return Ok((id, false));
        }
        let text = account
            .password
            .unwrap_or_else(|| SecretString::from(demo::PASSWORD));
        let invalid = |fault| AccountsError::field("password", fault);
        let new = Registration {
            username: Username::parse(demo::USERNAME).expect("a valid name"),
            email: Email::parse(demo::EMAIL).expect("a valid address"),
            password: Password::parse(text.expose_secret()).map_err(invalid)?,
            display_name: DisplayName::default(),
        };
        let new = Newcomer {
            first_name: "Developer".to_owned(),
            last_name: "User".to_owned(),
            // No mail ever reaches it.
            is_verified: true,
            ..Newcomer::new(new, UserType::Customer)
        };
        match self
            .create_unchecked(new, AnswerForm::Cloud, &Claim::none())
            .await
        {
            Ok(account) => Ok((UserId(account.id), true)),
            // Made by another process meanwhile, unless it is only the address that is taken.
            Err(taken @ AccountsError::Taken { .. }) => match self.find_demo_user().await? {
                Some(id) => Ok((id, false)),
                None => Err(taken),
            },
            Err(e) => Err(e),
        }
    }

    async fn find_demo_user(&self) -> Result<Option<UserId>, DbError> {
        users::find_id_by_name(self.0.ctx.db.reader(), &name_key(demo::USERNAME)).await
    }

    /// Does an active test account still have its public password? A public server must not start
    /// then.
    ///
    /// # Errors
    /// Only the database's, or an overloaded hasher.
    pub async fn demo_password_in_use(&self) -> Result<bool, AccountsError> {
        let user = users::find_for_login(self.0.ctx.db.reader(), &name_key(demo::USERNAME), None).await?;
        let Some(user) = user.filter(|user| user.is_active) else {
            return Ok(false);
        };
        let public = SecretString::from(demo::PASSWORD);
        Ok(self
            .0
            .ctx
            .passwords
            .verify(&public, Some(user.password))
            .await?
            .is_right())
    }
}
