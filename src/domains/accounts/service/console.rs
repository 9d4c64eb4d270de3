//! Account operations of the command line. Whoever may run commands on the server may do all this;
//! what was done is written into `security_events`, and running servers hear of it through
//! `auth_changes`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use yunque_kernel::Tx;
use yunque_kernel::auth::{AuthChange, UserType};
use yunque_kernel::http::Page;
use yunque_kernel::http::idempotency::Claim;
use yunque_kernel::ids::{UserId, parse_id};

use super::accounts::keep_an_admin;
use super::register::{AnswerForm, Newcomer, Registration};
use crate::entity::user::{self, Column};
use crate::error::AccountsError;
use crate::repo::members::{self, MemberRow};
use crate::repo::users::{self, ListedRow};
use crate::repo::{keys, security, sessions, tree};
use crate::values::{DisplayName, Email, Password, Username, email_key, name_key};
use crate::{Accounts, Heard};

/// The first admin, or a further one.
#[derive(Debug)]
pub struct NewSuperuser {
    pub username: String,
    pub email: String,
    pub password: SecretString,
}

/// Which accounts `user list` shows.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Inside user name and address.
    pub search: Option<String>,
    pub user_type: Option<UserType>,
    pub page: u64,
    pub page_size: u64,
}

/// A line of `user list`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct UserView {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub display_name: String,
    /// `admin`, `editor`, `agent_l1`, `agent_l2` or `customer`.
    pub user_type: String,
    /// The agent above.
    pub parent_id: Option<i64>,
    pub is_active: bool,
    pub is_staff: bool,
}

impl From<ListedRow> for UserView {
    fn from(row: ListedRow) -> Self {
        let ListedRow {
            id,
            username,
            email,
            display_name,
            user_type,
            parent_id,
            is_active,
            is_staff,
        } = row;
        UserView {
            id,
            username,
            email,
            display_name,
            user_type,
            parent_id,
            is_active,
            is_staff,
        }
    }
}

impl From<MemberRow> for UserView {
    fn from(row: MemberRow) -> Self {
        UserView {
            is_staff: row.user_type == UserType::Admin.as_str(),
            id: row.id,
            username: row.username,
            email: row.email,
            display_name: row.display_name,
            user_type: row.user_type,
            parent_id: row.parent_id,
            is_active: row.is_active,
        }
    }
}

/// Everything that `user show` prints. No secrets.
#[derive(Clone, Debug, serde::Serialize)]
pub struct UserDetails {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub user_type: String,
    /// The agent above.
    pub parent_id: Option<i64>,
    pub parent_username: Option<String>,
    /// Right below it, those who were deleted left out.
    pub sub_agents: usize,
    pub customers: i64,
    pub is_active: bool,
    pub is_staff: bool,
    pub is_verified: bool,
    pub has_second_factor: bool,
    pub quota: i64,
    pub used_space: i64,
    pub live_sessions: usize,
    pub api_keys: u64,
    pub date_joined: DateTime<Utc>,
    pub last_login: Option<DateTime<Utc>>,
    pub last_active: Option<DateTime<Utc>>,
    pub deactivated_at: Option<DateTime<Utc>>,
    pub purged_at: Option<DateTime<Utc>>,
}

/// A line of `user sessions`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SessionView {
    pub id: i64,
    pub surface: String,
    pub ip_address: String,
    pub user_agent: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Accounts {
    /// Makes an admin. Reserved names are allowed here.
    ///
    /// # Errors
    /// Field faults of name, address and password; `Taken`.
    pub async fn create_superuser(&self, new: NewSuperuser) -> Result<UserView, AccountsError> {
        let field = |name: &'static str| move |fault| AccountsError::field(name, fault);
        let registration = Registration {
            username: Username::parse(&new.username).map_err(field("username"))?,
            email: Email::parse(&new.email).map_err(field("email"))?,
            password: Password::parse(new.password.expose_secret()).map_err(field("password"))?,
            display_name: DisplayName::default(),
        };
        // Without mail an administrator could never verify an address, and would be locked out by
        // AUTH_REQUIRE_VERIFIED_EMAIL.
        let new = Newcomer {
            is_verified: true,
            ..Newcomer::new(registration, UserType::Admin)
        };
        let created = self
            .create_unchecked(new, AnswerForm::Cloud, &Claim::none())
            .await?;
        Ok(created.into())
    }

    /// Finds an account by id, user name or address. Digits alone are an id first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn resolve_user(&self, name_or_id: &str) -> Result<UserId, AccountsError> {
        let reader = self.0.ctx.db.reader();
        let text = name_or_id.trim();
        if let Some(id) = parse_id(text)
            && users::find_account(reader, UserId(id)).await?.is_some()
        {
            return Ok(UserId(id));
        }
        let address = text.contains('@').then(|| email_key(text));
        let found = users::find_for_login(reader, &name_key(text), address.as_deref()).await?;
        found.map(|user| user.user_id()).ok_or(AccountsError::NotFound)
    }

    /// A page of accounts by id, and how many there are.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn console_list(&self, filter: &UserFilter) -> Result<(Vec<UserView>, u64), AccountsError> {
        let page = Page {
            page: Ord::max(filter.page, 1),
            size: Ord::clamp(filter.page_size, 1, 1000),
        };
        let search = filter.search.as_deref();
        let (rows, total) =
            users::list::<ListedRow>(self.0.ctx.db.reader(), search, filter.user_type, page).await?;
        Ok((rows.into_iter().map(UserView::from).collect(), total))
    }

    /// # Errors
    /// `NotFound`.
    pub async fn console_show(&self, id: UserId) -> Result<UserDetails, AccountsError> {
        let reader = self.0.ctx.db.reader();
        let row = users::find_full(reader, id)
            .await?
            .ok_or(AccountsError::NotFound)?;
        let user::Model {
            username,
            email,
            display_name,
            user_type,
            parent_id,
            is_active,
            is_staff,
            is_verified,
            ..
        } = row;
        let parent = match parent_id {
            Some(parent) => users::find_account(reader, UserId(parent)).await?,
            None => None,
        };
        let customers = members::count_customers(reader, &[id.0]).await?;
        Ok(UserDetails {
            parent_id,
            parent_username: parent.map(|parent| parent.username),
            sub_agents: tree::list_sub_agents(reader, id).await?.len(),
            customers: customers.get(&id.0).copied().unwrap_or(0),
            id: id.0,
            username,
            email,
            display_name,
            user_type,
            is_active,
            is_staff,
            is_verified,
            has_second_factor: security::has_second_factor(reader, id).await?,
            quota: row.quota,
            used_space: row.used_space,
            live_sessions: sessions::list_live(reader, id, self.now()).await?.len(),
            api_keys: keys::count(reader, id).await?,
            date_joined: row.date_joined,
            last_login: row.last_login,
            last_active: row.last_active,
            deactivated_at: row.deactivated_at,
            purged_at: row.purged_at,
        })
    }

    /// Disables or enables an account. Disabling ends all its sessions and refuses its keys.
    /// Returns whether anything changed.
    ///
    /// # Errors
    /// `NotFound`, `LastStaff`, `Purged`.
    pub async fn console_set_active(&self, id: UserId, active: bool) -> Result<bool, AccountsError> {
        let accounts = self.clone();
        let done = self.0.ctx.db.write("console_set_active", move |tx: Tx| {
            let accounts = accounts.clone();
            async move {
                if !active {
                    keep_an_admin(&tx, id).await?;
                }
                let row = users::lock(&tx, id).await?.ok_or(AccountsError::NotFound)?;
                if row.purged_at.is_some() {
                    return Err(AccountsError::Purged);
                }
                if row.is_active == active {
                    return Ok(None);
                }
                let now = accounts.now();
                let mut changes = vec![
                    (Column::IsActive, Expr::value(active)),
                    (Column::TokenVersion, Expr::col(Column::TokenVersion).add(1)),
                ];
                if active {
                    changes.push((Column::DeactivatedAt, Expr::value(None::<DateTime<Utc>>)));
                }
                users::update(&tx, id, changes, now).await?;
                sessions::update_all_revoked(&tx, id, None, now).await?;
                let kind = if active {
                    "account_enabled"
                } else {
                    "account_disabled"
                };
                security::insert_event(&tx, Some(id), kind, None, &json!({ "by": "console" }), now).await?;
                Ok(Some(accounts.tell(&tx, AuthChange::User { user: id }).await?))
            }
        });
        heard(done.await?).await
    }

    /// Sets a password and ends all sessions.
    ///
    /// # Errors
    /// `NotFound`, field faults of `password`.
    pub async fn console_set_password(
        &self,
        id: UserId,
        password: &SecretString,
    ) -> Result<(), AccountsError> {
        let password = Password::parse(password.expose_secret())
            .map_err(|fault| AccountsError::field("password", fault))?;
        self.set_password(id, &password, "console", None).await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn console_sessions(&self, id: UserId) -> Result<Vec<SessionView>, AccountsError> {
        let reader = self.0.ctx.db.reader();
        users::find_account(reader, id)
            .await?
            .ok_or(AccountsError::NotFound)?;
        let rows = sessions::list_live(reader, id, self.now()).await?;
        let view = |row: crate::entity::session::Model| SessionView {
            id: row.id,
            surface: row.surface,
            ip_address: row.ip_address,
            user_agent: row.user_agent,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Ends all sessions of a user; returns how many were alive.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn console_revoke_sessions(&self, id: UserId) -> Result<u64, AccountsError> {
        self.revoke_everything(id).await
    }

    /// Removes the second factor, for somebody who lost it, and ends all sessions. Returns whether
    /// there was one.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn console_reset_second_factor(&self, id: UserId) -> Result<bool, AccountsError> {
        let accounts = self.clone();
        let done = self.0.ctx.db.write("console_reset_2fa", move |tx: Tx| {
            let accounts = accounts.clone();
            async move {
                users::lock(&tx, id).await?.ok_or(AccountsError::NotFound)?;
                if !security::delete_second_factor(&tx, id).await? {
                    return Ok(None);
                }
                let now = accounts.now();
                users::update_token_version(&tx, id, now).await?;
                sessions::update_all_revoked(&tx, id, None, now).await?;
                let data = json!({ "by": "console" });
                security::insert_event(&tx, Some(id), "two_factor_reset", None, &data, now).await?;
                Ok::<_, AccountsError>(Some(accounts.tell(&tx, AuthChange::User { user: id }).await?))
            }
        });
        heard(done.await?).await
    }
}

async fn heard(change: Option<Heard>) -> Result<bool, AccountsError> {
    let changed = change.is_some();
    if let Some(change) = change {
        change.everywhere().await;
    }
    Ok(changed)
}
