//! Writes results. Successes go by the batch: whatever came in during the last write is the next
//! batch, so there is no timer and no added latency when idle.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::job::JobError;
use super::registry::Entry;
use super::store::{self, JobRow};
use super::worker::Shared;
use crate::db::{DbError, Tx};

const BATCH: usize = 256;
/// A kind this build does not know is put back this long ...
const UNKNOWN_PAUSE: TimeDelta = TimeDelta::seconds(5);
/// ... and given up after this age: a rolling deploy is over by then.
const UNKNOWN_GIVE_UP: TimeDelta = TimeDelta::hours(1);
const MAX_REASON: usize = 2000;

/// How one run ended.
pub(super) struct Outcome {
    pub row: JobRow,
    pub result: RunResult,
    pub _slot: OwnedSemaphorePermit,
}

pub(super) enum RunResult {
    Done,
    Failed(JobError, Arc<Entry>),
    UnknownKind,
    /// The lease is gone; whoever has it now decides.
    Abandoned,
}

pub(super) async fn run(shared: Arc<Shared>, mut outcomes: mpsc::Receiver<Outcome>) {
    let mut batch = Vec::with_capacity(BATCH);
    while outcomes.recv_many(&mut batch, BATCH).await > 0 {
        let mut done = Vec::new();
        let mut slots = Vec::new();
        for outcome in batch.drain(..) {
            match outcome.result {
                RunResult::Done => {
                    done.push(outcome.row.id);
                    slots.push(outcome._slot);
                }
                RunResult::Abandoned => shared.running.give_up(outcome.row.id),
                RunResult::UnknownKind => {
                    let recorded = unknown(&shared, &outcome.row).await;
                    settle(&shared, &[outcome.row.id], recorded);
                }
                RunResult::Failed(error, entry) => {
                    let recorded = failed(&shared, &outcome.row, error, &entry).await;
                    settle(&shared, &[outcome.row.id], recorded);
                }
            }
        }
        if !done.is_empty() {
            let recorded = finish(&shared, &done).await;
            settle(&shared, &done, recorded);
        }
    }
}

/// A result that could not be recorded means another run: handlers are idempotent.
fn settle(shared: &Shared, ids: &[i64], recorded: bool) {
    for id in ids {
        if recorded {
            shared.running.remove(*id);
        } else {
            shared.running.give_up(*id);
        }
    }
}

/// Tells whether the results are recorded, like the two below.
async fn finish(shared: &Shared, ids: &[i64]) -> bool {
    let db = &shared.queue.0.db;
    let written = retrying(|| store::mark_done(db.writer(), &shared.owner, ids, shared.queue.now())).await;
    match written {
        Ok(n) if n < ids.len() as u64 => {
            tracing::warn!(
                jobs = ids.len() as u64 - n,
                "finished jobs whose lease was lost; they may run again"
            );
        }
        Ok(_) => {}
        Err(e) => {
            tracing::error!(error = %e, jobs = ids.len(), "could not record finished jobs; they will run again");
            return false;
        }
    }
    true
}

async fn failed(shared: &Shared, row: &JobRow, error: JobError, entry: &Arc<Entry>) -> bool {
    let failures = u32::try_from(row.attempts).unwrap_or(0) + 1;
    let dead = error.is_final || i64::from(failures) >= i64::from(row.max_attempts);
    let mut reason = error.reason;
    let cause = error.cause.map(|c| c.to_string()).unwrap_or_default();
    tracing::warn!(
        job.id = row.id,
        job.kind = row.kind,
        job.attempt = failures,
        job.dead = dead,
        request.id = row.request_id,
        reason,
        cause,
        "job run failed"
    );
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    let now = shared.queue.now();
    let run_at = now + entry.kind.plan().delay(failures);
    let work = {
        let (owner, row, entry) = (shared.owner.clone(), row.clone(), entry.clone());
        move |tx: Tx| {
            let (owner, row, entry, reason) = (owner.clone(), row.clone(), entry.clone(), reason.clone());
            async move {
                if dead {
                    if store::mark_dead(&tx, &owner, &row, &reason, now).await? {
                        entry.kind.on_dead(&row.payload, &tx, &reason).await?;
                    }
                } else if store::mark_retry(&tx, &owner, &row, run_at, &reason).await? {
                    entry.kind.on_attempt_failed(&row.payload, &tx, &reason).await?;
                }
                Ok::<_, DbError>(())
            }
        }
    };
    let work = Arc::new(work);
    let written = retrying(|| {
        let work = work.clone();
        shared.queue.0.db.write("job.failed", move |tx| work(tx))
    })
    .await;
    if let Err(e) = &written {
        tracing::error!(error = %e, job.id = row.id, "could not record a failed job; it will run again");
    }
    written.is_ok()
}

async fn unknown(shared: &Shared, row: &JobRow) -> bool {
    let now = shared.queue.now();
    let db = &shared.queue.0.db;
    let result = if now - row.created_at < UNKNOWN_GIVE_UP {
        tracing::warn!(
            job.id = row.id,
            job.kind = row.kind,
            "unknown kind of job, put back"
        );
        store::release(db.writer(), &shared.owner, &[row.id], now + UNKNOWN_PAUSE)
            .await
            .map(|_| ())
    } else {
        let (owner, row) = (shared.owner.clone(), row.clone());
        db.write("job.unknown", move |tx| {
            let (owner, row) = (owner.clone(), row.clone());
            async move {
                store::mark_dead(&tx, &owner, &row, "unknown kind of job", now)
                    .await
                    .map(|_| ())
            }
        })
        .await
    };
    if let Err(e) = &result {
        tracing::error!(error = %e, job.id = row.id, "could not put an unknown job back");
    }
    result.is_ok()
}

/// Results are worth waiting for the database: otherwise the work is done again.
async fn retrying<T, Fut>(write: impl Fn() -> Fut) -> Result<T, DbError>
where
    Fut: Future<Output = Result<T, DbError>>,
{
    let mut pause = Duration::from_millis(100);
    loop {
        match write().await {
            Err(DbError::Unavailable(e)) if pause < Duration::from_secs(10) => {
                tracing::debug!(error = e, "database away, waiting with job results");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
}
