//! One handle for SQLite, MySQL/MariaDB and PostgreSQL.
//!
//! * Reads go to [`Db::reader`], a pool.
//! * Writes are short transactions through [`Db::write`]. On SQLite all of them pass one lane (a
//!   single writer connection, `BEGIN IMMEDIATE`), so that concurrent writers queue instead of
//!   failing with "database is locked"; those that queue share a commit ([`lane`]). On the servers
//!   they run at READ COMMITTED.
//! * A write closure awaits nothing but its transaction, and is run again, up to three times, on a
//!   deadlock or serialization failure. It runs to its end even when the client has gone.
//! * Rows are locked in the order users, rooms, files, jobs.
//!
//! SQL that differs between the databases is in [`dialect`] and [`text_index`], nowhere else.

pub mod columns;
mod connect;
pub mod dialect;
mod error;
mod fixed;
pub mod inspect;
mod lane;
mod meta;
mod settings;
pub mod text_index;
mod tx;
mod unique;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tracing::Instrument;

pub use error::DbError;
pub use fixed::FixedText;
pub use meta::Meta;
pub use settings::{DbSettings, SqliteSync};
pub use tx::Tx;
pub use unique::Unique;

use lane::{Lane, Turn};

/// Runs of one write closure before a deadlock is given back as an error.
const MAX_RUNS: u32 = 3;

/// The family of the database in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbKind {
    Sqlite,
    MySql,
    Postgres,
}

impl DbKind {
    pub fn as_str(self) -> &'static str {
        match self {
            DbKind::Sqlite => "sqlite",
            DbKind::MySql => "mysql",
            DbKind::Postgres => "postgres",
        }
    }
}

/// A cheap-to-clone database handle.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    kind: DbKind,
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    lane: Lane,
    stats: WriteStats,
}

/// Counters of the write path, for metrics.
#[derive(Debug, Default)]
pub struct WriteStats {
    pub transactions: AtomicU64,
    pub retries: AtomicU64,
    /// Time spent waiting for the lane, in microseconds.
    pub lane_wait_us: AtomicU64,
}

impl Db {
    /// Opens the database named by the settings. Does not migrate.
    ///
    /// # Errors
    /// The database cannot be reached or refuses the credentials.
    pub async fn connect(settings: &DbSettings) -> Result<Self, DbError> {
        let pools = connect::open(settings).await?;
        Ok(Db(Arc::new(Inner {
            kind: pools.kind,
            reader: pools.reader,
            writer: pools.writer,
            lane: Lane::new(pools.kind, settings.max_connections, settings.acquire_timeout),
            stats: WriteStats::default(),
        })))
    }

    pub fn kind(&self) -> DbKind {
        self.0.kind
    }

    /// For reads. Sees everything that was committed before the call.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.0.reader
    }

    /// The single connection or pool that writes; for migrations only.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.0.writer
    }

    pub fn stats(&self) -> &WriteStats {
        &self.0.stats
    }

    /// Connections of the writing side that are busy, and how many there are.
    pub fn lane_usage(&self) -> (u32, u32) {
        self.0.lane.usage()
    }

    /// Is the database there?
    ///
    /// # Errors
    /// It did not answer `SELECT 1`.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.0.reader.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Runs `work` in one transaction and commits it when it returns `Ok`.
    ///
    /// `name` labels logs. The closure gets a [`Tx`] by value and must not keep it: a clone that
    /// outlives the future makes the commit fail.
    ///
    /// # Errors
    /// What `work` returned (rolled back), or a [`DbError`] from begin or commit.
    pub async fn write<T, E, F, Fut>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let db = self.clone();
        let task = async move { db.write_here(name, work).await };
        match crate::task::spawn(task.in_current_span()).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(DbError::Cancelled.into()),
        }
    }

    async fn write_here<T, E, F, Fut>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<DbError>,
    {
        let mut run = 1;
        loop {
            let tx = self.begin().await?;
            let result = work(tx.clone()).await;
            let retryable = tx.saw_conflict();
            match result {
                Ok(value) => match tx.commit().await {
                    Ok(()) => return Ok(value),
                    Err(e) if e.is_conflict() && run < MAX_RUNS => {}
                    Err(e) => return Err(e.into()),
                },
                Err(error) => {
                    tx.rollback().await?;
                    if !retryable || run == MAX_RUNS {
                        return Err(error);
                    }
                }
            }
            self.0.stats.retries.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(
                tx.name = name,
                tx.run = run,
                "transaction lost a conflict, running it again"
            );
            // Spread the losers, or they meet again.
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..=10) * u64::from(run))).await;
            run += 1;
        }
    }

    async fn begin(&self) -> Result<Tx, DbError> {
        let waiting = Instant::now();
        let (turn, inner) = Turn::begin(self).await?;
        let waited = u64::try_from((turn.begun() - waiting).as_micros()).unwrap_or(u64::MAX);
        self.0.stats.lane_wait_us.fetch_add(waited, Ordering::Relaxed);
        self.0.stats.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(Tx::new(inner, turn))
    }
}
