//! From a name and a password to a session.

use std::time::Instant;

use chrono::TimeDelta;
use sea_orm::sea_query::Expr;
use tracing::Instrument;
use yunque_kernel::auth::api_key::sha256_hex;
use yunque_kernel::auth::{PasswordFailure, Verdict};
use yunque_kernel::{DbError, Tx};

use super::client::Client;
use super::throttle::Attempt;
use super::tokens::{Surface, TokenPair, TokenSubject};
use crate::Accounts;
use crate::error::AccountsError;
use crate::repo::sessions::{self, NewSession};
use crate::repo::users::{self, AccountRow, CredentialRow};
use crate::repo::{attempts, security};
use crate::values::{CurrentPassword, email_key, name_key};

/// A successful login.
#[derive(Clone, Debug)]
pub struct Login {
    pub account: AccountRow,
    pub tokens: TokenPair,
}

impl Accounts {
    /// Opens a session. Unknown name, wrong password and inactive account are answered alike and
    /// cost one hash each.
    ///
    /// # Errors
    /// `InvalidCredentials`, `LoginBlocked`, `EmailNotVerified`, 503 when hashing is overloaded.
    pub async fn login(
        &self,
        surface: Surface,
        name: &str,
        password: &CurrentPassword,
        client: &Client,
    ) -> Result<Login, AccountsError> {
        let (accounts, name, password, client) =
            (self.clone(), name.to_owned(), password.clone(), client.clone());
        let task = async move {
            accounts
                .login_to_the_end(surface, &name, &password, &client)
                .await
        };
        let begun = Instant::now();
        let result = match yunque_kernel::task::spawn(task.in_current_span()).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(DbError::Cancelled.into()),
        };
        // Here, where nobody else waits for his turn.
        if matches!(&result, Err(AccountsError::InvalidCredentials)) {
            self.hold_refusal(begun).await;
        }
        let outcome = match &result {
            Ok(_) => "ok",
            Err(AccountsError::LoginBlocked { .. }) => "blocked",
            Err(_) => "refused",
        };
        self.0.ctx.metrics.auth.logins.with_label_values(&[outcome]).inc();
        result
    }

    async fn login_to_the_end(
        &self,
        surface: Surface,
        name: &str,
        password: &CurrentPassword,
        client: &Client,
    ) -> Result<Login, AccountsError> {
        let attempt = self.begin_attempt(name, client).await?;
        let (user, verdict) = match self.verify(name, password).await {
            Ok(checked) => checked,
            Err(error) => {
                self.withdraw_attempt(&attempt).await;
                return Err(error);
            }
        };
        let good = user.as_ref().filter(|user| verdict.is_right() && user.is_active);
        let Some(good) = good else {
            return self.refuse(attempt, user, verdict, client).await;
        };
        if self.0.settings.require_verified_email && !good.is_verified {
            self.withdraw_attempt(&attempt).await;
            return Err(AccountsError::EmailNotVerified);
        }
        let new_hash = match verdict {
            Verdict::Right { needs_rehash: true } => self.0.ctx.passwords.hash(password.secret()).await.ok(),
            _ => None,
        };
        self.open_session(surface, good.clone(), new_hash, attempt, client)
            .await
    }

    async fn verify(
        &self,
        name: &str,
        password: &CurrentPassword,
    ) -> Result<(Option<CredentialRow>, Verdict), AccountsError> {
        let name = name.trim();
        let address = name.contains('@').then(|| email_key(name));
        let user = users::find_for_login(self.0.ctx.db.reader(), &name_key(name), address.as_deref()).await?;
        let stored = user.as_ref().map(|user| user.password.clone());
        let verdict = self.0.ctx.passwords.verify(password.secret(), stored).await;
        if verdict == Err(PasswordFailure::Busy) {
            tracing::warn!("a login was refused because too many passwords wait to be hashed");
        }
        Ok((user, verdict?))
    }

    async fn refuse(
        &self,
        attempt: Attempt,
        user: Option<CredentialRow>,
        verdict: Verdict,
        client: &Client,
    ) -> Result<Login, AccountsError> {
        let reason = if verdict.is_right() {
            "inactive"
        } else {
            "bad_credentials"
        };
        let (user, client, now) = (user.map(|user| user.user_id()), client.clone(), self.now());
        let refused = self.0.ctx.db.write("login_refused", move |tx: Tx| {
            let (client, id) = (client.clone(), attempt.id);
            async move {
                attempts::update_failed(&tx, id, reason).await?;
                let Client {
                    ip,
                    user_agent,
                    device_type,
                    ..
                } = &client;
                security::insert_login_log(&tx, user, ip, user_agent, device_type, false, now).await
            }
        });
        refused.await?;
        Err(AccountsError::InvalidCredentials)
    }

    async fn open_session(
        &self,
        surface: Surface,
        user: CredentialRow,
        new_hash: Option<String>,
        attempt: Attempt,
        client: &Client,
    ) -> Result<Login, AccountsError> {
        let account = user.account();
        let (accounts, client, attempt) = (self.clone(), client.clone(), std::sync::Arc::new(attempt));
        let opened = self.0.ctx.db.write("login", move |tx: Tx| {
            let (accounts, user, client) = (accounts.clone(), user.clone(), client.clone());
            let (new_hash, attempt) = (new_hash.clone(), attempt.clone());
            async move {
                accounts
                    .write_session(&tx, surface, &user, new_hash, &attempt, &client)
                    .await
            }
        });
        let tokens = opened.await?.ok_or(AccountsError::InvalidCredentials)?;
        Ok(Login { account, tokens })
    }

    /// `None` when the account changed since the password was verified.
    async fn write_session(
        &self,
        tx: &Tx,
        surface: Surface,
        user: &CredentialRow,
        new_hash: Option<String>,
        attempt: &Attempt,
        client: &Client,
    ) -> Result<Option<TokenPair>, DbError> {
        let (now, id, lives) = (self.now(), user.user_id(), self.lives(surface));
        // First, and under conditions: a password change or a disabling that was committed while
        // the hash was computed wins, and one that comes later finds this session and ends it.
        if !users::claim_login(tx, user, new_hash.map(Expr::value), now).await? {
            attempts::update_failed(tx, attempt.id, "bad_credentials").await?;
            return Ok(None);
        }
        let new = NewSession {
            user: id,
            surface: surface.as_str(),
            token_version: user.token_version,
            ip: &client.ip,
            user_agent: &client.user_agent,
            device_type: client.device_type,
            access_ttl: seconds(lives.access),
            refresh_ttl: seconds(lives.refresh),
            // Replaced below: the token needs the row's id.
            placeholder_hash: sha256_hex(&format!("attempt {}", attempt.id)),
            now,
            expires_at: now + TimeDelta::seconds(seconds(lives.refresh)),
        };
        let session = sessions::insert(tx, new.into_row()).await?;
        let tokens = self.issue(
            TokenSubject {
                user: id,
                session,
                token_version: user.token_version,
                generation: 0,
                access_ttl: seconds(lives.access),
                refresh_ttl: seconds(lives.refresh),
            },
            now,
        );
        sessions::update_refresh_hash(tx, session, &sha256_hex(&tokens.refresh)).await?;
        attempts::update_succeeded(tx, attempt.id, &attempt.who, now).await?;
        let Client {
            ip,
            user_agent,
            device_type,
            ..
        } = client;
        security::insert_login_log(tx, Some(id), ip, user_agent, device_type, true, now).await?;
        Ok(Some(tokens))
    }
}

fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
