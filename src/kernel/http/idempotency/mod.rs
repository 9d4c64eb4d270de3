//! `Idempotency-Key`: a repeated request gets the first one's answer instead of doing it again.
//!
//! 1. A claim row (`status` NULL) is committed before the work begins. It is locked for 60 s and
//!    the lock is extended while the request runs; a claim past its lock is taken over.
//! 2. The service stores status and body through [`Claim::store`] in its own transaction, so work
//!    and answer are committed together or not at all. A claim that was taken over meanwhile makes
//!    that transaction fail.
//! 3. A repeat with an equal body gets the stored answer with `Idempotent-Replayed: true`; another
//!    body is 422; a first request that still runs is 409 with `Retry-After: 1`.
//! 4. Refusals (4xx) are stored too, after the fact, since they changed nothing. 5xx and 429 are
//!    not: the claim is released. Answers are kept for 24 hours.
//!
//! Of the request only a keyed hash of the body is kept.

mod claim;
mod replay;
mod row;

use std::future::Future;
use std::sync::Arc;

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use claim::Claim;
pub use replay::Replayable;

use super::body::BodyDigest;
use super::reply::StoredReply;
use super::request_info::RequestInfo;
use crate::clock::Clock;
use crate::db::{Db, DbError, Tx, dialect};
use crate::error::{ApiError, Lang, common};
use crate::hex;
use crate::ids::UserId;
use row::{Found, Ids, claim_row};

const LOCK: TimeDelta = TimeDelta::seconds(60);
const KEEP: TimeDelta = TimeDelta::hours(24);

/// Who sends what where; together with the key it names one request.
#[derive(Clone, Debug)]
pub struct Scope {
    /// `None` without an `Idempotency-Key`: the work simply runs.
    text: Option<String>,
    /// A refusal is stored in the language of the first request.
    lang: Lang,
}

impl Scope {
    /// For requests of a logged-in user.
    ///
    /// # Errors
    /// 400 for a malformed key.
    pub fn user(user: UserId, info: &RequestInfo) -> Result<Self, ApiError> {
        Self::of(&format!("user:{user}"), info)
    }

    /// For anonymous requests, such as register.
    ///
    /// # Errors
    /// 400 for a malformed key.
    pub fn address(info: &RequestInfo) -> Result<Self, ApiError> {
        Self::of(&format!("ip:{}", info.client_ip), info)
    }

    fn of(who: &str, info: &RequestInfo) -> Result<Self, ApiError> {
        let key = info.idempotency_key()?;
        Ok(Scope {
            text: key.map(|key| format!("{who}\n{} {}\n{key}", info.method, info.path)),
            lang: info.lang,
        })
    }
}

/// A handle to the claims of this installation.
#[derive(Clone)]
pub struct Idempotency {
    db: Db,
    clock: Clock,
    key: Arc<[u8]>,
}

impl Idempotency {
    /// `key` is derived from the installation's secret for this use alone.
    pub fn new(db: Db, clock: Clock, key: &[u8]) -> Self {
        Idempotency {
            db,
            clock,
            key: key.into(),
        }
    }

    /// The database that holds the claims.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Runs `work` at most once for a scope and body, or answers as the first time.
    ///
    /// The service called by `work` must call [`Claim::store`] inside its transaction.
    ///
    /// # Errors
    /// What `work` answered; 422 for another body, 409 while the first request runs.
    pub async fn run<T, F, Fut>(
        &self,
        scope: Scope,
        digest: BodyDigest,
        work: F,
    ) -> Result<Replayable<T>, ApiError>
    where
        T: StoredReply,
        F: FnOnce(Claim) -> Fut,
        Fut: Future<Output = Result<T, ApiError>>,
    {
        let lang = scope.lang;
        let claim = match self.begin(scope, digest).await? {
            Begun::Fresh(claim) => claim,
            Begun::Stored { status, body } => return Ok(Replayable::Stored { status, body }),
        };
        match work(claim.clone()).await {
            Ok(reply) => {
                claim.settle(T::STATUS, || reply.body()).await?;
                Ok(Replayable::Fresh(reply))
            }
            Err(error) => {
                let status = error.status;
                if status >= 500 || status == 429 {
                    claim.release().await;
                } else {
                    claim.settle(status, || error.body(lang, "").to_string()).await?;
                }
                Err(error)
            }
        }
    }

    /// The first half of [`Idempotency::run`], for handlers of an unusual shape.
    ///
    /// # Errors
    /// 422 for another body, 409 while the first request runs.
    pub async fn begin(&self, scope: Scope, digest: BodyDigest) -> Result<Begun, ApiError> {
        let Some(text) = scope.text else {
            return Ok(Begun::Fresh(Claim::none()));
        };
        let ids = Ids {
            scope: self.hash(b"scope", text.as_bytes()),
            body: self.hash(b"body", &digest.0),
            owner: uuid::Uuid::new_v4().simple().to_string(),
        };
        let now = self.clock.now();
        let wanted = ids.clone();
        let found = move |tx: Tx| {
            let ids = wanted.clone();
            async move { claim_row(&tx, &ids, now).await }
        };
        let found = match self
            .db
            .write::<_, DbError, _, _>("idempotency_claim", found)
            .await
        {
            // Deadlocked on the row to the last run: somebody else has it, and works on it.
            Err(DbError::Conflict(_)) => Found::Running,
            found => found?,
        };
        match found {
            Found::Mine => Ok(Begun::Fresh(Claim::start(self.clone(), ids))),
            Found::OtherBody => Err(common::IDEMPOTENCY_KEY_REUSED.into()),
            Found::Running => Err(ApiError::from(common::IDEMPOTENCY_IN_PROGRESS).retry_after(1)),
            Found::Done { status, body } => Ok(Begun::Stored { status, body }),
        }
    }

    /// Forgets answers older than 24 hours. Once an hour.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge(&self) -> Result<u64, DbError> {
        let before = self.clock.now() - KEEP;
        let run = move |tx: Tx| async move {
            dialect::execute(
                &tx,
                "DELETE FROM idempotency_keys WHERE created_at < ?",
                [before.into()],
            )
            .await
        };
        self.db.write("idempotency_purge", run).await
    }

    fn hash(&self, what: &[u8], bytes: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(what);
        mac.update(&[0]);
        mac.update(bytes);
        hex::encode(&mac.finalize().into_bytes())
    }
}

/// What [`Idempotency::begin`] found.
pub enum Begun {
    /// Do the work, and store its answer through the claim.
    Fresh(Claim),
    /// It was done; this was the answer.
    Stored { status: u16, body: String },
}
