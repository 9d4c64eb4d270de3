//! A forgotten password: a code by mail, and what it can be used for.
//!
//! Nothing here tells whether an address has an account. Both kinds of address go through the same
//! statements: each gets a record and a code, and each has its mail written and its job enqueued. The
//! mail of an address without an active account is written to nobody and has expired when it is
//! written, so the job drops it.
//!
//! A guess is counted in a transaction of its own that commits before the answer is known, however
//! many come at once. The password is hashed between that and the transaction that uses the code up
//! and stores the hash; there the conditional delete decides which of parallel uses wins.

use chrono::TimeDelta;
use rand::Rng;
use sea_orm::sea_query::Expr;
use serde_json::json;
use yunque_kernel::auth::KeyUse;
use yunque_kernel::auth::api_key::sha256_hex;
use yunque_kernel::hex;
use yunque_kernel::http::Bucket;
use yunque_kernel::ids::UserId;
use yunque_kernel::mail::{Message, is_mailable};
use yunque_kernel::{ApiError, DbError, Tx};

use super::client::Client;
use crate::entity::user::Column;
use crate::error::AccountsError;
use crate::mails::ResetCode;
use crate::repo::reset_codes::{self, MOST_ATTEMPTS, NewCode};
use crate::repo::security;
use crate::repo::users::{self, CredentialRow};
use crate::values::{Email, Password};
use crate::{Accounts, Heard};

const CODE_MINUTES: i64 = 5;
pub(crate) const TOKEN_SECONDS: i64 = 300;
/// Stands where the address of an account would stand. RFC 2606 keeps it free.
const NOBODY: &str = "nobody@example.invalid";

/// What a guess turned out to be.
enum Guess {
    Right {
        user: UserId,
        code_hmac: String,
    },
    Wrong,
    /// Nothing to guess: no record, expired, used, or guessed too often.
    Gone,
}

/// What proves the right to set a password, checked but not used up yet.
#[derive(Clone, Debug)]
enum Proof {
    Code { email_hmac: String, code_hmac: String },
    Token { hash: String },
}

impl Accounts {
    /// Mails a code to an address, if it belongs to an active account. Says nothing about whether it
    /// did; over the limit of the address it quietly does not.
    ///
    /// # Errors
    /// 429 for too many from one client.
    pub(crate) async fn request_reset(&self, email: &Email, client: &Client) -> Result<(), AccountsError> {
        let limits = &self.0.ctx.limits;
        limits.strict(Bucket::ResetMailIp, &client.network).await?;
        match limits.strict(Bucket::ResetMail, email.key()).await {
            Err(ApiError { status: 429, .. }) => return Ok(()),
            counted => counted?,
        }
        let code = format!("{:06}", rand::rng().random_range(0..1_000_000_u32));
        let (accounts, email, client) = (self.clone(), email.clone(), client.clone());
        let requested = self.0.ctx.db.write("request_reset", move |tx: Tx| {
            let (accounts, email) = (accounts.clone(), email.clone());
            let (code, client) = (code.clone(), client.clone());
            async move { accounts.write_code(&tx, &email, code, client).await }
        });
        Ok(requested.await?)
    }

    async fn write_code(&self, tx: &Tx, email: &Email, code: String, client: Client) -> Result<(), DbError> {
        let now = self.now();
        let user = reset_codes::find_active_by_email(tx, email.key()).await?;
        let id = user.as_ref().map(CredentialRow::user_id);
        let new = NewCode {
            email_hmac: self.address_hmac(email),
            code_hmac: hex::encode(
                &self
                    .0
                    .ctx
                    .keys
                    .mac(KeyUse::MailToken, &code_message(email, &code)),
            ),
            expires_at: now + TimeDelta::minutes(CODE_MINUTES),
            ip: client.ip.clone(),
        };
        reset_codes::upsert(tx, new, id).await?;
        security::insert_event(
            tx,
            id,
            "password_reset_requested",
            Some(&client.ip),
            &json!({}),
            now,
        )
        .await?;
        let mail = ResetCode {
            code,
            minutes: CODE_MINUTES,
            ip: client.ip,
        };
        let (to, lasts) = match user {
            Some(user) => (user.email, TimeDelta::minutes(CODE_MINUTES)),
            None if is_mailable(email.as_str()) => (NOBODY.to_owned(), TimeDelta::zero()),
            // Dropped like that of an account with such an address.
            None => (email.as_str().to_owned(), TimeDelta::zero()),
        };
        let mut message = Message::new(to, client.lang, &mail)
            .expires_at(now + lasts)
            .request_id(client.request_id);
        if let Some(id) = id {
            message = message.owner(id);
        }
        self.0.ctx.mail.queue(tx, &self.0.ctx.queue, message).await
    }

    /// Exchanges a code for a token that resets the password once within [`TOKEN_SECONDS`].
    ///
    /// # Errors
    /// `CodeInvalid`, `CodeExpired`.
    pub(crate) async fn exchange_reset_code(
        &self,
        email: &Email,
        code: &str,
        client: &Client,
    ) -> Result<String, AccountsError> {
        let token = hex::encode(&rand::rng().random::<[u8; 32]>());
        match self.guess(email, code, client, Some(sha256_hex(&token))).await? {
            Guess::Right { .. } => Ok(token),
            Guess::Wrong => Err(AccountsError::CodeInvalid),
            Guess::Gone => Err(AccountsError::CodeExpired),
        }
    }

    /// Sets a new password by a code. All sessions end, and the owner is told by mail.
    ///
    /// # Errors
    /// `CodeInvalid`, `CodeExpired`; field faults of the password, which leave the code alone.
    pub(crate) async fn reset_by_code(
        &self,
        email: &Email,
        code: &str,
        new: (&Password, &'static str),
        client: &Client,
    ) -> Result<(), AccountsError> {
        match self.guess(email, code, client, None).await? {
            Guess::Right { user, code_hmac } => {
                let email_hmac = self.address_hmac(email);
                let proof = Proof::Code {
                    email_hmac,
                    code_hmac,
                };
                self.reset(user, proof, new, client).await
            }
            Guess::Wrong => Err(AccountsError::CodeInvalid),
            Guess::Gone => Err(AccountsError::CodeExpired),
        }
    }

    /// Sets a new password by a token.
    ///
    /// # Errors
    /// `CodeExpired` for any token that is not good; field faults of the password, which leave the
    /// token alone.
    pub(crate) async fn reset_by_token(
        &self,
        token: &str,
        new: (&Password, &'static str),
        client: &Client,
    ) -> Result<(), AccountsError> {
        let hash = sha256_hex(token);
        let user = reset_codes::find_user_of_token(self.0.ctx.db.reader(), &hash, self.now()).await?;
        let user = user.ok_or(AccountsError::CodeExpired)?;
        self.reset(user, Proof::Token { hash }, new, client).await
    }

    /// Counts and compares one guess. With `token_hash` a right one is exchanged at once.
    async fn guess(
        &self,
        email: &Email,
        code: &str,
        client: &Client,
        token_hash: Option<String>,
    ) -> Result<Guess, AccountsError> {
        let (accounts, email_hmac) = (self.clone(), self.address_hmac(email));
        let (message, ip) = (code_message(email, code), client.ip.clone());
        let guessed = self.0.ctx.db.write("guess_reset_code", move |tx: Tx| {
            let (accounts, email_hmac) = (accounts.clone(), email_hmac.clone());
            let (message, ip, token_hash) = (message.clone(), ip.clone(), token_hash.clone());
            async move {
                let now = accounts.now();
                if !reset_codes::claim_attempt(&tx, &email_hmac, now).await? {
                    return Ok(Guess::Gone);
                }
                let Some(row) = reset_codes::find(&tx, &email_hmac).await? else {
                    return Ok(Guess::Gone);
                };
                let keys = &accounts.0.ctx.keys;
                // What is no hexadecimal equals no HMAC.
                let code_hmac = hex::decode(&row.code_hmac).unwrap_or_default();
                let is_right = keys.verify_mac(KeyUse::MailToken, &message, &code_hmac);
                // Nobody was told the code of an address without an account.
                let user = row.user_id.map(UserId);
                let Some(user) = user.filter(|_| is_right) else {
                    if row.attempts >= MOST_ATTEMPTS {
                        let kind = "password_reset_code_void";
                        security::insert_event(&tx, user, kind, Some(&ip), &json!({}), now).await?;
                    }
                    return Ok(Guess::Wrong);
                };
                match token_hash {
                    Some(hash) => {
                        let until = now + TimeDelta::seconds(TOKEN_SECONDS);
                        reset_codes::update_exchanged(&tx, &email_hmac, &hash, until, now).await?;
                    }
                    None => reset_codes::update_attempt_forgiven(&tx, &email_hmac).await?,
                }
                Ok::<_, AccountsError>(Guess::Right {
                    user,
                    code_hmac: row.code_hmac,
                })
            }
        });
        guessed.await
    }

    async fn reset(
        &self,
        user: UserId,
        proof: Proof,
        (new, field): (&Password, &'static str),
        client: &Client,
    ) -> Result<(), AccountsError> {
        let (user, hash) = self.hash_for(user, new, field).await?;
        let (accounts, client) = (self.clone(), client.clone());
        let reset = self.0.ctx.db.write("reset_password", move |tx: Tx| {
            let (accounts, user, hash) = (accounts.clone(), user.clone(), hash.clone());
            let (proof, client) = (proof.clone(), client.clone());
            async move {
                let (id, now) = (user.user_id(), accounts.now());
                let row = users::lock(&tx, id).await?.ok_or(AccountsError::CodeExpired)?;
                let is_used_up = match &proof {
                    Proof::Code {
                        email_hmac,
                        code_hmac,
                    } => reset_codes::claim_code(&tx, email_hmac, code_hmac, now).await?,
                    Proof::Token { hash } => reset_codes::claim_token(&tx, hash, now).await?,
                };
                if !is_used_up || !row.is_active {
                    return Err(AccountsError::CodeExpired);
                }
                // The mailbox was proven.
                users::update(&tx, id, vec![(Column::IsVerified, Expr::value(true))], now).await?;
                accounts
                    .replace_password(&tx, &user, &hash, "reset", Some(&client))
                    .await
            }
        });
        let heard: Heard = reset.await?;
        heard.everywhere().await;
        Ok(())
    }

    /// What stands for an address in the table.
    fn address_hmac(&self, email: &Email) -> String {
        let message = [b"reset address\0", email.key().as_bytes()].concat();
        hex::encode(&self.0.ctx.keys.mac(KeyUse::MailToken, &message))
    }
}

/// A code counts for one address only.
fn code_message(email: &Email, code: &str) -> Vec<u8> {
    [b"reset code\0", email.key().as_bytes(), b"\0", code.as_bytes()].concat()
}
