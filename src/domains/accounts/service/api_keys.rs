//! API keys: make, list, revoke. Their endpoints come with a later surface; the command uses these.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::json;
use yunque_kernel::Tx;
use yunque_kernel::auth::{AuthChange, NewApiKey, Scopes};
use yunque_kernel::ids::UserId;

use crate::Accounts;
use crate::entity::api_key;
use crate::error::AccountsError;
use crate::repo::{keys, security, users};

const MAX_NAME: usize = 100;

/// A key as it may be shown.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ApiKeyView {
    pub id: i64,
    pub user_id: UserId,
    pub name: String,
    /// The first characters of the key.
    pub prefix: String,
    pub is_active: bool,
    pub permissions: Vec<String>,
    pub last_used: Option<DateTime<Utc>>,
    pub last_used_ip: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl From<api_key::Model> for ApiKeyView {
    fn from(row: api_key::Model) -> Self {
        let api_key::Model {
            id,
            user_id,
            name,
            key_hash: _,
            prefix,
            is_active,
            permissions,
            last_used,
            last_used_ip,
            created_at,
            expires_at,
        } = row;
        let permissions = Scopes::from_json(&permissions).as_slice().to_vec();
        let user_id = UserId(user_id);
        ApiKeyView {
            id,
            user_id,
            name,
            prefix,
            is_active,
            permissions,
            last_used,
            last_used_ip,
            created_at,
            expires_at,
        }
    }
}

/// A new key with its text, which is not stored and cannot be shown again.
#[derive(Debug)]
pub struct CreatedApiKey {
    pub view: ApiKeyView,
    pub text: SecretString,
}

impl Accounts {
    /// Makes a key. No scopes means everything but staff rights; `expires_days` absent means never.
    ///
    /// # Errors
    /// `KeyNameTaken`, `UnknownScope`, `KeyLimit`, `PermissionDenied` for the scope `staff` of a
    /// user who is none.
    pub async fn create_api_key(
        &self,
        user: UserId,
        name: &str,
        scopes: &[String],
        expires_days: Option<u32>,
    ) -> Result<CreatedApiKey, AccountsError> {
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(AccountsError::field(
                "name",
                yunque_kernel::error::messages::too_long(MAX_NAME),
            ));
        }
        let scopes = match scopes {
            [] => Scopes::all(),
            list => Scopes::parse(list).map_err(AccountsError::UnknownScope)?,
        };
        let now = self.now();
        let expires_at = expires_days.map(|days| now + TimeDelta::days(i64::from(days)));
        let key = std::sync::Arc::new(NewApiKey::generate());
        let (accounts, new) = (self.clone(), key.clone());
        let created = self.0.ctx.db.write("create_api_key", move |tx: Tx| {
            let (accounts, new, name, scopes) = (accounts.clone(), new.clone(), name.clone(), scopes.clone());
            async move {
                // The lock makes the limit exact.
                let owner = users::lock(&tx, user)
                    .await?
                    .filter(|u| u.is_active)
                    .ok_or(AccountsError::NotFound)?;
                if scopes.staff() && !owner.is_staff {
                    return Err(AccountsError::PermissionDenied);
                }
                let most = accounts.0.settings.max_api_keys;
                if keys::count(&tx, user).await? >= most {
                    return Err(AccountsError::KeyLimit(most));
                }
                let id = keys::insert(&tx, user, &name, &new, &scopes, expires_at, now).await?;
                let data = json!({ "key_id": id, "prefix": new.shown_prefix, "scopes": scopes.as_slice() });
                security::insert_event(&tx, Some(user), "api_key_created", None, &data, now).await?;
                keys::find(&tx, id).await?.ok_or(AccountsError::NotFound)
            }
        });
        match created.await {
            Ok(row) => Ok(CreatedApiKey {
                view: row.into(),
                text: key.text.clone(),
            }),
            Err(AccountsError::Db(e)) if e.is_unique(keys::NAME_KEY) => Err(AccountsError::KeyNameTaken),
            Err(e) => Err(e),
        }
    }

    /// Keys of one user, or of all, newest first.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn list_api_keys(&self, user: Option<UserId>) -> Result<Vec<ApiKeyView>, AccountsError> {
        let rows = keys::list(self.0.ctx.db.reader(), user).await?;
        Ok(rows.into_iter().map(ApiKeyView::from).collect())
    }

    /// Removes a key. It is refused everywhere at once.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_api_key(&self, id: i64) -> Result<ApiKeyView, AccountsError> {
        let accounts = self.clone();
        let revoked = self.0.ctx.db.write("revoke_api_key", move |tx: Tx| {
            let accounts = accounts.clone();
            async move {
                let row = keys::find(&tx, id).await?.ok_or(AccountsError::NotFound)?;
                keys::delete(&tx, id).await?;
                let (user, data) = (UserId(row.user_id), json!({ "key_id": id, "prefix": row.prefix }));
                security::insert_event(&tx, Some(user), "api_key_revoked", None, &data, accounts.now())
                    .await?;
                Ok::<_, AccountsError>((row, accounts.tell(&tx, AuthChange::User { user }).await?))
            }
        });
        let (row, heard) = revoked.await?;
        heard.everywhere().await;
        Ok(row.into())
    }
}
