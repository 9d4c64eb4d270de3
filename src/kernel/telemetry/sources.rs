//! Where the gauges of the kernel's own parts come from.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use poem::http::Method;
use sea_orm::DatabaseConnection;

use super::Metrics;
use super::metrics::clamp;
use crate::clock::Clock;
use crate::db::{Db, DbError, DbKind};
use crate::http::{BodyMemory, RequestObserver};
use crate::queue::{KindStats, Queue};

impl RequestObserver for Metrics {
    fn observe(&self, route: &str, method: &Method, status: u16, duration: Duration) {
        self.http
            .requests
            .with_label_values(&[route, method_label(method), status.to_string().as_str()])
            .inc();
        self.http
            .seconds
            .with_label_values(&[route])
            .observe(duration.as_secs_f64());
    }
}

/// Clients may invent methods, but not labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

/// The amount by which a total kept elsewhere has grown since it was last seen.
#[derive(Default)]
struct Growth(Mutex<HashMap<(&'static str, &'static str), u64>>);

impl Growth {
    fn of(&self, name: &'static str, label: &'static str, total: u64) -> u64 {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        total.saturating_sub(seen.insert((name, label), total).unwrap_or(0))
    }
}

/// Open and idle connections.
fn pool_size(connection: &DatabaseConnection, kind: DbKind) -> (u32, usize) {
    match kind {
        DbKind::Sqlite => {
            let pool = connection.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle())
        }
        DbKind::MySql => {
            let pool = connection.get_mysql_connection_pool();
            (pool.size(), pool.num_idle())
        }
        DbKind::Postgres => {
            let pool = connection.get_postgres_connection_pool();
            (pool.size(), pool.num_idle())
        }
    }
}

impl Metrics {
    /// Pools, the write lane, and the time of a ping.
    pub fn follow_db(&self, db: &Db) {
        let (db, metrics, growth) = (db.clone(), self.clone(), std::sync::Arc::new(Growth::default()));
        self.collect("db", move || {
            let (db, metrics, growth) = (db.clone(), metrics.clone(), growth.clone());
            async move {
                metrics.read_db(&db, &growth);
                let begun = Instant::now();
                db.ping().await?;
                metrics.db.ping_seconds.set(begun.elapsed().as_secs_f64());
                Ok::<_, DbError>(())
            }
        });
    }

    fn read_db(&self, db: &Db, growth: &Growth) {
        let mut pools = vec![("writer", db.writer())];
        if db.kind() == DbKind::Sqlite {
            pools.push(("reader", db.reader()));
        }
        for (name, connection) in pools {
            let (open, idle) = pool_size(connection, db.kind());
            self.db
                .connections_open
                .with_label_values(&[name])
                .set(i64::from(open));
            self.db
                .connections_idle
                .with_label_values(&[name])
                .set(clamp(idle as u64));
        }
        let (running, limit) = db.lane_usage();
        self.db.writes_running.set(i64::from(running));
        self.db.writes_limit.set(i64::from(limit));
        let stats = db.stats();
        let grown = |name, total: u64| growth.of(name, "", total);
        self.db
            .write_transactions
            .inc_by(grown("transactions", stats.transactions.load(Ordering::Relaxed)));
        self.db
            .write_retries
            .inc_by(grown("retries", stats.retries.load(Ordering::Relaxed)));
        let waited = Duration::from_micros(grown("wait", stats.lane_wait_us.load(Ordering::Relaxed)));
        self.db.write_wait_seconds.inc_by(waited.as_secs_f64());
    }

    /// Jobs by kind and state, how far each queue lags, live workers, and the runs of this process.
    pub fn follow_queue(&self, queue: &Queue, clock: &Clock) {
        let (queue, clock, metrics) = (queue.clone(), clock.clone(), self.clone());
        let growth = std::sync::Arc::new(Growth::default());
        self.collect("queue", move || {
            let (queue, clock, metrics, growth) =
                (queue.clone(), clock.clone(), metrics.clone(), growth.clone());
            async move {
                metrics.read_runs(&queue.stats(), &growth);
                metrics.read_queue(&queue, &clock).await
            }
        });
    }

    fn read_runs(&self, stats: &[KindStats], growth: &Growth) {
        for kind in stats {
            for (outcome, total) in [("done", kind.done), ("failed", kind.failed), ("dead", kind.dead)] {
                let grown = growth.of(kind.kind, outcome, total);
                self.queue
                    .runs
                    .with_label_values(&[kind.kind, outcome])
                    .inc_by(grown);
            }
            let busy = u64::try_from(kind.busy.as_micros()).unwrap_or(u64::MAX);
            let grown = Duration::from_micros(growth.of(kind.kind, "busy", busy));
            self.queue
                .run_seconds
                .with_label_values(&[kind.kind])
                .inc_by(grown.as_secs_f64());
        }
    }

    async fn read_queue(&self, queue: &Queue, clock: &Clock) -> Result<(), DbError> {
        let counts = queue.counts().await?;
        let oldest = queue.oldest_due().await?;
        let workers = queue.live_workers().await?;
        self.queue.jobs.reset();
        for row in counts {
            self.queue
                .jobs
                .with_label_values(&[row.kind.as_str(), row.state.as_str()])
                .set(row.jobs);
        }
        self.queue.oldest_due_seconds.reset();
        let now = clock.now();
        for (name, due) in oldest {
            let age = (now - due).to_std().unwrap_or_default();
            self.queue
                .oldest_due_seconds
                .with_label_values(&[name.as_str()])
                .set(age.as_secs_f64());
        }
        self.queue.workers_alive.set(clamp(workers.len() as u64));
        Ok(())
    }

    /// Free space on the disk of the staging folder.
    pub fn follow_staging(&self, folder: impl Into<PathBuf>) {
        let (folder, metrics) = (folder.into(), self.clone());
        self.collect("staging", move || {
            let space = rustix::fs::statvfs(&folder);
            let metrics = metrics.clone();
            async move {
                let space = space?;
                metrics
                    .storage
                    .staging_free_bytes
                    .set(clamp(space.f_bavail.saturating_mul(space.f_frsize)));
                Ok::<_, std::io::Error>(())
            }
        });
    }

    /// What is left of the budget for buffered bodies.
    pub fn follow_body_memory(&self, memory: &BodyMemory) {
        let (memory, metrics) = (memory.clone(), self.clone());
        self.collect("body_memory", move || {
            metrics
                .http
                .body_memory_free_bytes
                .set(clamp(memory.free_bytes()));
            std::future::ready(Ok::<_, std::io::Error>(()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_become_increments() {
        let growth = Growth::default();
        assert_eq!(growth.of("runs", "done", 5), 5);
        assert_eq!(growth.of("runs", "done", 7), 2);
        assert_eq!(growth.of("runs", "dead", 1), 1);
    }

    #[tokio::test]
    async fn requests_are_counted_under_known_methods_only() {
        let metrics = Metrics::new();
        let invented = Method::from_bytes(b"FOO").expect("a token");
        metrics.observe("unmatched", &invented, 405, Duration::from_millis(3));
        metrics.observe("get_readiness", &Method::GET, 200, Duration::from_millis(3));
        let text = metrics.render().await;
        assert!(
            text.contains("{method=\"other\",operation=\"unmatched\",status=\"405\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("yunque_http_request_seconds_count{operation=\"get_readiness\"} 1"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_staging_disk_is_measured() {
        let metrics = Metrics::new();
        metrics.follow_staging(std::env::temp_dir());
        metrics.render().await;
        assert!(metrics.storage.staging_free_bytes.get() > 0);
    }
}
