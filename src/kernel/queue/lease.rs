//! Leases belong to workers.
//!
//! A worker writes a heartbeat. Every worker watches the others: one whose heartbeat value has not
//! changed for the expiry, **measured on the watcher's own monotonic clock**, is dead, and all its
//! jobs go back to ready. No host's wall clock is compared with another's, so a clock that jumps
//! steals nothing. A worker that could not write its own heartbeat cancels its jobs a little before
//! the expiry, because then somebody else may run them.
//!
//! A living worker answers for its own rows. It gives back what it gave up, and strays: rows that
//! name it although it does not run them, left by a claim whose answer got lost with a connection.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use tokio_util::sync::CancellationToken;

use super::store::{COLUMNS, JobRow};
use super::worker::Shared;
use crate::db::{DbError, Tx, dialect};

pub(super) async fn register(shared: &Shared) -> Result<(), DbError> {
    let now = shared.queue.now();
    let expires = now + shared.queue.settings().expiry;
    let sql = "INSERT INTO job_workers (id, queues, host, started_at, heartbeat_at, expires_at, stopping) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let host: String = shared.host.chars().take(255).collect();
    let values = [
        shared.owner.clone().into(),
        shared.queues.join(",").into(),
        host.into(),
        now.into(),
        now.into(),
        expires.into(),
        false.into(),
    ];
    dialect::execute(shared.queue.0.db.writer(), sql, values)
        .await
        .map(|_| ())
}

/// Gives back what is left and forgets the worker.
pub(super) async fn unregister(shared: &Shared) -> Result<(), DbError> {
    shared.release_running().await?;
    let sql = "DELETE FROM job_workers WHERE id = ?";
    dialect::execute(shared.queue.0.db.writer(), sql, [shared.owner.clone().into()])
        .await
        .map(|_| ())
}

/// For the embedded size: whoever held a lease is gone, because only one process may hold the
/// data folder.
pub(super) async fn take_all_back(shared: &Shared) -> Result<(), DbError> {
    for owner in lease_owners(shared).await? {
        if owner != shared.owner {
            take_back(shared, &owner).await?;
        }
    }
    for (id, _) in workers(shared).await? {
        if id != shared.owner {
            forget(shared, &id).await?;
        }
    }
    Ok(())
}

pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    // Beats on while running jobs finish; the worker aborts this task at its end.
    tokio::join!(beat(&shared), stop.run_until_cancelled(watch(&shared)));
}

async fn beat(shared: &Shared) {
    let settings = shared.queue.settings();
    let (every, hold) = (settings.heartbeat, hold(settings.expiry));
    // When the last write that arrived was sent: a watcher may have seen it that early.
    let mut last_good = Instant::now();
    loop {
        let turn = next_turn(every, hold, last_good.elapsed());
        tokio::time::sleep(turn.sleep).await;
        if !turn.patience.is_zero() {
            let sent = Instant::now();
            match tokio::time::timeout(turn.patience, write_beat(shared)).await {
                Ok(Ok(1)) => {
                    last_good = sent;
                    // It may hang like any statement, and must not keep the next beat.
                    let patience = every.min(hold.saturating_sub(sent.elapsed()));
                    match tokio::time::timeout(patience, shared.release_owed()).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(e)) => tracing::debug!(error = %e, "could not give jobs back yet"),
                        Err(_) => tracing::debug!("could not give jobs back in time"),
                    }
                }
                Ok(Ok(_)) => {
                    tracing::error!(
                        worker.id = shared.owner,
                        "declared dead by another worker, giving its jobs up"
                    );
                    shared.lease.lose();
                    match tokio::time::timeout(every, register(shared)).await {
                        Ok(Ok(())) => last_good = sent,
                        Ok(Err(e)) => tracing::warn!(error = %e, "could not register again"),
                        Err(_) => tracing::warn!("could not register again in time"),
                    }
                }
                Ok(Err(e)) => tracing::warn!(error = %e, "heartbeat failed"),
                Err(_) => tracing::warn!("heartbeat timed out"),
            }
        }
        if last_good.elapsed() >= hold {
            tracing::error!(
                worker.id = shared.owner,
                "no heartbeat for almost the expiry, giving running jobs up"
            );
            shared.lease.lose();
            last_good = Instant::now();
        }
    }
}

async fn write_beat(shared: &Shared) -> Result<u64, DbError> {
    let now = shared.queue.now();
    let expires = now + shared.queue.settings().expiry;
    let sql = "UPDATE job_workers SET heartbeat_at = ?, expires_at = ? WHERE id = ?";
    let values = [now.into(), expires.into(), shared.owner.clone().into()];
    dialect::execute(shared.queue.0.db.writer(), sql, values).await
}

/// How long a worker without a beat keeps its jobs: others take them at the expiry, and by then the last of them has
/// to be cancelled.
fn hold(expiry: Duration) -> Duration {
    expiry - (expiry / 10).min(Duration::from_secs(2))
}

/// One turn of the heartbeat.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    sleep: Duration,
    /// How long the write may take. Zero: there is no time left for one.
    patience: Duration,
}

/// Tries are no closer together than this.
const SHORTEST_SLEEP: Duration = Duration::from_millis(250);

/// Never sleeps or waits beyond the hold, so that a database that hangs cannot keep a worker at its jobs for longer.
/// What is left when a write failed is shared between sleep and the next write, so it is tried until the end.
fn next_turn(every: Duration, hold: Duration, since_last_good: Duration) -> Turn {
    let left = hold.saturating_sub(since_last_good);
    let sleep = every.min(SHORTEST_SLEEP.max(left / 2)).min(left);
    Turn {
        sleep,
        patience: every.min(left - sleep),
    }
}

/// A heartbeat value and when it was first seen here.
type Seen = HashMap<String, (Option<DateTime<Utc>>, Instant)>;

async fn watch(shared: &Shared) {
    let expiry = shared.queue.settings().expiry;
    let pause = (expiry / 8).clamp(Duration::from_millis(250), Duration::from_secs(2));
    let mut seen = Seen::new();
    let mut strays = HashMap::new();
    loop {
        tokio::time::sleep(pause).await;
        if let Err(e) = look(shared, &mut seen, expiry).await {
            tracing::debug!(error = %e, "could not look after other workers");
            // Nobody could write while the database was away: silence since before proves nothing.
            seen.clear();
        }
        if let Err(e) = look_at_home(shared, &mut strays, expiry).await {
            tracing::debug!(error = %e, "could not look after own jobs");
        }
    }
}

/// Rows that name this worker for the expiry without being run by it go back to ready. A claim is
/// on its way for far less.
async fn look_at_home(
    shared: &Shared,
    strays: &mut HashMap<i64, Instant>,
    expiry: Duration,
) -> Result<(), DbError> {
    let conn = shared.queue.0.db.reader();
    let sql = "SELECT id FROM jobs WHERE lease_owner = ? AND state = 'running'";
    let stmt = dialect::statement(conn.get_database_backend(), sql, [shared.owner.clone().into()]);
    let mut current = HashSet::new();
    for row in conn.query_all_raw(stmt).await? {
        let id: i64 = row.try_get_by_index(0)?;
        if !shared.running.contains(id) {
            current.insert(id);
        }
    }
    strays.retain(|id, _| current.contains(id));
    for id in current {
        strays.entry(id).or_insert_with(Instant::now);
    }
    let old: Vec<i64> = strays
        .iter()
        .filter(|(_, since)| since.elapsed() >= expiry)
        .map(|(id, _)| *id)
        .collect();
    if !old.is_empty() {
        let jobs = shared.release(&old).await?;
        tracing::warn!(jobs, "jobs were claimed here and never arrived, given back");
    }
    Ok(())
}

async fn look(shared: &Shared, seen: &mut Seen, expiry: Duration) -> Result<(), DbError> {
    let mut current: HashMap<String, Option<DateTime<Utc>>> = workers(shared)
        .await?
        .into_iter()
        .map(|(id, at)| (id, Some(at)))
        .collect();
    for owner in lease_owners(shared).await? {
        current.entry(owner).or_insert(None);
    }
    current.remove(&shared.owner);
    seen.retain(|id, _| current.contains_key(id));
    for (id, beat) in current {
        let entry = seen.entry(id.clone()).or_insert_with(|| (beat, Instant::now()));
        if entry.0 != beat {
            *entry = (beat, Instant::now());
        } else if entry.1.elapsed() >= expiry {
            let jobs = take_back(shared, &id).await?;
            forget(shared, &id).await?;
            seen.remove(&id);
            tracing::warn!(
                worker.id = id,
                jobs,
                "worker stopped beating, its jobs are ready again"
            );
        }
    }
    Ok(())
}

/// `running` → `ready` for all jobs of a dead owner; those that killed too many workers die.
async fn take_back(shared: &Shared, owner: &str) -> Result<u64, DbError> {
    let max = shared.queue.settings().max_losses;
    bury_killers(shared, owner, max).await?;
    let sql = "UPDATE jobs SET state = 'ready', lease_owner = NULL, losses = losses + 1 \
               WHERE lease_owner = ? AND state = 'running'";
    let n = dialect::execute(shared.queue.0.db.writer(), sql, [owner.into()]).await?;
    shared.poke.notify_one();
    Ok(n)
}

async fn bury_killers(shared: &Shared, owner: &str, max: i32) -> Result<(), DbError> {
    let conn = shared.queue.0.db.writer();
    let sql =
        format!("SELECT {COLUMNS} FROM jobs WHERE lease_owner = ? AND state = 'running' AND losses >= ?");
    let stmt = dialect::statement(
        conn.get_database_backend(),
        &sql,
        [owner.into(), (max - 1).into()],
    );
    for row in JobRow::find_by_statement(stmt).all(conn).await? {
        let entry = shared.queue.0.registry.get(&row.kind);
        let now = shared.queue.now();
        shared
            .queue
            .0
            .db
            .write("job.killer", move |tx: Tx| {
                let (row, entry) = (row.clone(), entry.clone());
                async move {
                    let sql = "UPDATE jobs SET state = 'dead', losses = losses + 1, last_error = ?, finished_at = ?, \
                               lease_owner = NULL, dedupe_key = NULL \
                               WHERE id = ? AND lease_owner = ? AND state = 'running'";
                    let reason = "lost its worker too often";
                    let values = [reason.into(), now.into(), row.id.into(), row.lease_owner.clone().into()];
                    if dialect::execute(&tx, sql, values).await? == 1
                        && let Some(entry) = &entry
                    {
                        entry.kind.on_dead(&row.payload, &tx, reason).await?;
                    }
                    Ok::<_, DbError>(())
                }
            })
            .await?;
    }
    Ok(())
}

async fn forget(shared: &Shared, id: &str) -> Result<(), DbError> {
    dialect::execute(
        shared.queue.0.db.writer(),
        "DELETE FROM job_workers WHERE id = ?",
        [id.into()],
    )
    .await
    .map(|_| ())
}

async fn workers(shared: &Shared) -> Result<Vec<(String, DateTime<Utc>)>, DbError> {
    let conn = shared.queue.0.db.reader();
    let stmt = dialect::statement(
        conn.get_database_backend(),
        "SELECT id, heartbeat_at FROM job_workers",
        [],
    );
    let mut list = Vec::new();
    for row in conn.query_all_raw(stmt).await? {
        list.push((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    }
    Ok(list)
}

async fn lease_owners(shared: &Shared) -> Result<Vec<String>, DbError> {
    let conn = shared.queue.0.db.reader();
    let sql = "SELECT DISTINCT lease_owner FROM jobs WHERE state = 'running' AND lease_owner IS NOT NULL";
    let stmt = dialect::statement(conn.get_database_backend(), sql, []);
    let rows = conn.query_all_raw(stmt).await?;
    rows.iter()
        .map(|r| r.try_get_by_index(0).map_err(DbError::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn jobs_are_given_up_before_others_may_take_them() {
        assert_eq!(hold(secs(30)), secs(28));
        assert_eq!(hold(secs(4)), Duration::from_millis(3600));
        assert_eq!(hold(secs(600)), secs(598));
    }

    #[test]
    fn a_database_that_hangs_keeps_nobody_beyond_the_hold() {
        for (every, expiry) in [(10, 30), (1, 4), (5, 10), (10, 25), (7, 600), (1, 2)] {
            let (every, hold) = (secs(every), hold(secs(expiry)));
            let (mut silent, mut tries) = (Duration::ZERO, 0);
            while silent < hold {
                let turn = next_turn(every, hold, silent);
                assert!(turn.sleep + turn.patience > Duration::ZERO, "it would spin");
                tries += u32::from(!turn.patience.is_zero());
                silent += turn.sleep + turn.patience;
            }
            assert_eq!(silent, hold, "{every:?} {expiry}");
            assert!(tries > 0, "{every:?} {expiry}");
        }
        for (silent, sleep, patience) in [(0, 10, 10), (10, 9, 9), (20, 4, 4), (28, 0, 0), (99, 0, 0)] {
            let turn = next_turn(secs(10), secs(28), secs(silent));
            assert_eq!(
                (turn.sleep, turn.patience),
                (secs(sleep), secs(patience)),
                "{silent}"
            );
        }
        let turn = next_turn(secs(10), secs(28), Duration::from_millis(27_900));
        assert_eq!(
            (turn.sleep, turn.patience),
            (Duration::from_millis(100), Duration::ZERO)
        );
    }
}
