//! The job queue: **the database is the truth, apalis is the engine, a carrier wakes**.
//!
//! * [`Queue::enqueue`] inserts a row into `jobs` inside the caller's transaction; the row, not a
//!   broker, is what makes a job exist.
//! * After the commit the dispatcher hands the id of a due job to the [`carrier`]: a sorted set per
//!   queue, in Redis or in memory. Adding is idempotent and a lost id is repeated by the
//!   [`poller`], so Redis may be flushed at any time.
//! * A worker pops as many ids as it has free slots and **claims** the rows by one conditional
//!   update per batch ([`store`]). Only a claimed job runs; doubled or stale ids are harmless.
//! * The apalis worker of the queue runs the handler (concurrency, panics, tracing, graceful stop);
//!   its own storages, schedules and retries are not used, because they lose or block jobs.
//! * Results are written in batches by the [`finish`]er. Retries and delays are `run_at` in the row.
//! * Leases belong to workers, not to jobs: a worker that stops beating loses all its jobs at once
//!   ([`lease`]).
//!
//! Jobs run at least once, so handlers are idempotent. `attempts` counts runs that returned an
//! error; runs cut short by a lost worker count in `losses`.

pub mod admin;
mod backend;
mod carrier;
mod claimer;
mod fair;
mod finish;
mod job;
mod lease;
mod poller;
mod registry;
mod schedule;
mod settings;
mod store;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

pub use carrier::Carrier;
pub use job::{Job, JobContext, JobError, NewJob, Plan, Priority};
pub use registry::KindStats;
pub use schedule::Schedule;
pub use settings::QueueSettings;
pub use store::{JobRow, JobState};
pub use worker::{Worker, WorkerOptions};

use crate::clock::Clock;
use crate::db::{Db, DbError, Tx};
use crate::ids::JobId;
use carrier::Due;
use fair::Rounds;
use registry::Registry;

/// Jobs without a queue of their own.
pub const DEFAULT_QUEUE: &str = "default";

/// A cheap-to-clone handle: enqueue, register kinds, start workers.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    settings: QueueSettings,
    carrier: Carrier,
    registry: Registry,
    rounds: Rounds,
    announce: mpsc::UnboundedSender<Due>,
    announced: AtomicU64,
}

impl Queue {
    /// Builds the queue and starts its dispatcher. Must be called inside a Tokio runtime.
    pub fn new(db: Db, clock: Clock, carrier: Carrier, settings: QueueSettings) -> Self {
        let (announce, due) = mpsc::unbounded_channel();
        let queue = Queue(Arc::new(Inner {
            db,
            clock,
            settings,
            carrier,
            registry: Registry::default(),
            rounds: Rounds::default(),
            announce,
            announced: AtomicU64::new(0),
        }));
        crate::task::spawn(dispatch(Arc::downgrade(&queue.0), due));
        queue
    }

    /// Tells the queue how to run jobs of type `J`. A kind must be registered in every process
    /// that enqueues or runs it; a worker releases jobs of unknown kinds.
    pub fn register<J: Job>(&self, domain: J::Domain, plan: Plan) {
        self.0.registry.add::<J>(domain, plan);
    }

    /// Stores a job in the caller's transaction. `None`: a live job with the same dedupe key is
    /// already there.
    ///
    /// # Errors
    /// As the database says.
    pub async fn enqueue(&self, tx: &Tx, job: NewJob) -> Result<Option<JobId>, DbError> {
        if job.dedupe_key.is_none() {
            return Ok(self.enqueue_many(tx, vec![job]).await?.pop());
        }
        let row = self.prepare(tx, job).await?;
        let due = row.due_at(self.0.clock.now());
        let Some(id) = store::insert_unique(tx, row).await? else {
            return Ok(None);
        };
        self.announce_after_commit(tx, due.map(|d| d.with_id(id)).into_iter().collect());
        Ok(Some(JobId(id)))
    }

    /// Stores many jobs with one statement. They must not have dedupe keys.
    ///
    /// # Errors
    /// As the database says.
    pub async fn enqueue_many(&self, tx: &Tx, jobs: Vec<NewJob>) -> Result<Vec<JobId>, DbError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::with_capacity(jobs.len());
        for job in jobs {
            rows.push(self.prepare(tx, job).await?);
        }
        let now = self.0.clock.now();
        let dues: Vec<_> = rows.iter().map(|r| r.due_at(now)).collect();
        let ids = store::insert_many(tx, rows).await?;
        let due = ids
            .iter()
            .zip(dues)
            .filter_map(|(id, due)| due.map(|d| d.with_id(*id)))
            .collect();
        self.announce_after_commit(tx, due);
        Ok(ids.into_iter().map(JobId).collect())
    }

    async fn prepare(&self, tx: &Tx, job: NewJob) -> Result<store::NewRow, DbError> {
        let plan = self.0.registry.plan(job.kind);
        let fair_round = self
            .0
            .rounds
            .next(tx, &job.queue, job.fair_key, job.priority)
            .await?;
        Ok(store::NewRow::new(
            job,
            plan.max_attempts,
            fair_round,
            self.0.clock.now(),
        ))
    }

    fn announce_after_commit(&self, tx: &Tx, due: Vec<Due>) {
        if due.is_empty() {
            return;
        }
        let queue = self.clone();
        tx.after_commit(move || queue.announce(due));
    }

    /// Hands due ids to the dispatcher; never waits.
    fn announce(&self, due: Vec<Due>) {
        self.0.announced.fetch_add(due.len() as u64, Ordering::Relaxed);
        for item in due {
            // The dispatcher is gone only during shutdown; the poller of another process, or of
            // the next start, finds the row.
            let _ = self.0.announce.send(item);
        }
    }

    pub fn settings(&self) -> &QueueSettings {
        &self.0.settings
    }

    pub fn carrier(&self) -> &Carrier {
        &self.0.carrier
    }

    /// Counters of each kind that ran in this process.
    pub fn stats(&self) -> Vec<KindStats> {
        self.0.registry.stats()
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }
}

/// Moves ids from commits to the carrier, as many at a time as have come in.
async fn dispatch(queue: std::sync::Weak<Inner>, mut due: mpsc::UnboundedReceiver<Due>) {
    let mut batch = Vec::with_capacity(512);
    while due.recv_many(&mut batch, 512).await > 0 {
        let Some(queue) = queue.upgrade() else { return };
        match queue.carrier.push(&batch).await {
            Ok(heads) => heads
                .iter()
                .for_each(|(name, score)| queue.rounds.observe(name, *score)),
            Err(e) => {
                tracing::warn!(error = %e, jobs = batch.len(), "carrier refused job ids; the poller will repeat them");
            }
        }
        batch.clear();
    }
}
