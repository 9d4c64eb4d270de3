//! What a domain sees of the queue: the [`Job`] trait, how to enqueue, how to fail.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::DEFAULT_QUEUE;
use crate::db::{Db, DbError, Tx};
use crate::ids::{JobId, UserId};
use crate::storage::StorageError;

/// One kind of job: its payload and what to do with it.
///
/// The payload holds ids and a generation, never content. `KIND` is stored with every row: a
/// changed shape gets a new name (`upload_file.v2`) and the old one stays registered until its
/// rows are drained.
#[async_trait]
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: &'static str;

    /// The handle of the domain that does the work.
    type Domain: Clone + Send + Sync + 'static;

    /// What this job is about, such as `file:12`; `jobs audit` compares it with
    /// [`Job::expected`].
    fn subject(&self) -> Option<String> {
        None
    }

    /// Longest run; `None` takes the plan's.
    fn timeout(&self, _domain: &Self::Domain) -> Option<Duration> {
        None
    }

    /// Does the work. Running twice equals running once.
    ///
    /// # Errors
    /// [`JobError::retry`] for what may heal, [`JobError::fail`] for what cannot.
    async fn run(&self, domain: &Self::Domain, cx: &JobContext) -> Result<(), JobError>;

    /// In the transaction that schedules the next attempt after a failed one.
    async fn on_attempt_failed(
        &self,
        _domain: &Self::Domain,
        _tx: &Tx,
        _reason: &str,
    ) -> Result<(), DbError> {
        Ok(())
    }

    /// In the transaction that gives the job up.
    async fn on_dead(&self, _domain: &Self::Domain, _tx: &Tx, _reason: &str) -> Result<(), DbError> {
        Ok(())
    }

    /// In the transaction in which an operator makes a dead or cancelled job ready again. An error
    /// refuses that and names the reason.
    async fn on_retry(&self, _domain: &Self::Domain, _tx: &Tx) -> Result<(), JobError> {
        Ok(())
    }

    /// In the transaction in which an operator cancels the job.
    async fn on_cancel(&self, _domain: &Self::Domain, _tx: &Tx) -> Result<(), DbError> {
        Ok(())
    }

    /// Subjects that should have a live job of this kind now.
    async fn expected(_domain: &Self::Domain, _db: &Db) -> Result<Option<Vec<String>>, DbError> {
        Ok(None)
    }
}

/// Why a run did not succeed.
#[derive(Debug)]
pub struct JobError {
    /// Shown to operators (`jobs show`) and handed to the hooks. A fixed vocabulary where users
    /// see it; vendor texts belong into `cause`.
    pub reason: String,
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    pub(super) is_final: bool,
}

impl JobError {
    /// Worth another attempt, as long as the plan allows one.
    pub fn retry(reason: impl Into<String>) -> Self {
        JobError {
            reason: reason.into(),
            cause: None,
            is_final: false,
        }
    }

    /// Will never work; the job is dead at once.
    pub fn fail(reason: impl Into<String>) -> Self {
        JobError {
            reason: reason.into(),
            cause: None,
            is_final: true,
        }
    }

    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        JobError::retry("database error").caused_by(error)
    }
}

impl From<StorageError> for JobError {
    fn from(error: StorageError) -> Self {
        let failed = if error.is_retryable() {
            JobError::retry("storage unavailable")
        } else {
            JobError::fail("storage refused")
        };
        failed.caused_by(error)
    }
}

/// What a handler may know about its run.
#[derive(Clone, Debug)]
pub struct JobContext {
    pub id: JobId,
    /// 1 for the first run. Runs lost with their worker do not count.
    pub attempt: u32,
    pub max_attempts: u32,
    /// Of the request that enqueued the job.
    pub request_id: Option<String>,
    /// Cancelled when this worker lost its lease; stop as soon as possible.
    pub cancelled: CancellationToken,
}

/// How often a kind is tried and how long a run may take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Runs that may return an error, the first included.
    pub max_attempts: u32,
    /// Wait after the first failure; doubled after each further one.
    pub retry_base: Duration,
    pub retry_max: Duration,
    /// Random part of the wait, ± this fraction.
    pub jitter: f64,
    pub timeout: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            max_attempts: 5,
            retry_base: Duration::from_secs(10),
            retry_max: Duration::from_secs(3600),
            jitter: 0.1,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Plan {
    /// The wait before the next run, after `failures` failed ones.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let doubled = self
            .retry_base
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        let spread = 1.0 + self.jitter * rand::random_range(-1.0..=1.0);
        doubled.min(self.retry_max).mul_f64(spread.max(0.0))
    }
}

/// Which jobs of a queue go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// A job about to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub(super) kind: &'static str,
    pub(super) payload: String,
    pub(super) subject: Option<String>,
    pub(super) queue: String,
    pub(super) fair_key: i64,
    pub(super) priority: Priority,
    pub(super) run_at: Option<DateTime<Utc>>,
    pub(super) dedupe_key: Option<String>,
    pub(super) request_id: Option<String>,
}

impl NewJob {
    pub fn new<J: Job>(job: &J) -> Self {
        NewJob {
            kind: J::KIND,
            payload: serde_json::to_string(job)
                .unwrap_or_else(|e| unreachable!("payloads are plain structs: {e}")),
            subject: job.subject(),
            queue: DEFAULT_QUEUE.to_owned(),
            fair_key: 0,
            priority: Priority::Normal,
            run_at: None,
            dedupe_key: None,
            request_id: None,
        }
    }

    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Whose job it is; jobs of different users take turns.
    pub fn owner(mut self, user: UserId) -> Self {
        self.fair_key = user.0;
        self
    }

    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    pub fn run_at(mut self, at: DateTime<Utc>) -> Self {
        self.run_at = Some(at);
        self
    }

    /// At most one live (ready or running) job has this key.
    pub fn dedupe(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = Some(key.into());
        self
    }

    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stop_at_the_maximum() {
        let plan = Plan {
            retry_base: Duration::from_secs(60),
            jitter: 0.0,
            ..Plan::default()
        };
        let waits: Vec<_> = (1..=3).map(|n| plan.delay(n).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240]);
        assert_eq!(plan.delay(40), plan.retry_max);
        let jittery = Plan { jitter: 0.1, ..plan };
        assert!((54..=66).contains(&jittery.delay(1).as_secs()));
    }
}
