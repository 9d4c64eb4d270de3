//! A worker: for each queue a claimer and an apalis worker; one finisher, poller and heartbeat.
//!
//! Stopping: claimers end, running jobs may go on for the stop timeout, the rest is cancelled and
//! released without counting as a run. An apalis worker that ends on its own, or a loop that panics,
//! is a fault that [`Worker::failed`] reports; the process must then exit, never stay alive without
//! working.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use apalis::layers::WorkerBuilderExt;
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::backend::{Claimed, ClaimedJobs};
use super::claimer::Claimer;
use super::finish::{self, Outcome, RunResult};
use super::job::{JobContext, JobError};
use super::lease;
use super::poller;
use super::registry::Entry;
use super::store::{self, JobRow};
use super::{Queue, Schedule, schedule};
use crate::db::DbError;
use crate::ids::JobId;
use crate::task::spawn_vital;

/// What one worker drains.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Queue names with the number of jobs that may run at once in each.
    pub queues: Vec<(String, usize)>,
    /// This process is the only one on the database (embedded size): leases of earlier processes
    /// are taken back at once instead of after their expiry.
    pub sole: bool,
}

/// A running worker. Stop it with [`Worker::stop`].
pub struct Worker {
    shared: Arc<Shared>,
    stop: CancellationToken,
    engines: Vec<JoinHandle<()>>,
    finisher: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
    failed: Arc<Notify>,
}

/// What the parts of one worker share.
pub(super) struct Shared {
    pub queue: Queue,
    /// Unique for each start: host, process id and random digits.
    pub owner: String,
    pub host: String,
    pub queues: Vec<String>,
    pub running: Running,
    pub lease: Lease,
    /// Wakes the poller early.
    pub poke: Notify,
}

/// Ids claimed by this worker and not yet finished.
#[derive(Default)]
pub(super) struct Running(Mutex<Claims>);

#[derive(Default)]
struct Claims {
    held: HashSet<i64>,
    /// Given up here, but the row may still name this worker: it beats on, so nobody else would
    /// ever take them back.
    owed: HashSet<i64>,
}

impl Running {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn contains(&self, id: i64) -> bool {
        self.claims().held.contains(&id)
    }

    pub fn insert(&self, id: i64) {
        let mut claims = self.claims();
        // Claimed again, so the old lease was given back.
        claims.owed.remove(&id);
        claims.held.insert(id);
    }

    pub fn remove(&self, id: i64) {
        self.claims().held.remove(&id);
    }

    /// This job ends here without a recorded result; its row has to be given back.
    pub fn give_up(&self, id: i64) {
        let mut claims = self.claims();
        claims.held.remove(&id);
        claims.owed.insert(id);
    }

    pub fn owed(&self) -> Vec<i64> {
        self.claims().owed.iter().copied().collect()
    }

    pub fn settle(&self, ids: &[i64]) {
        let mut claims = self.claims();
        for id in ids {
            claims.owed.remove(id);
        }
    }

    pub fn ids(&self) -> Vec<i64> {
        self.claims().held.iter().copied().collect()
    }
}

/// Cancelled as a whole when the lease is lost, then replaced for later jobs.
#[derive(Default)]
pub(super) struct Lease(Mutex<CancellationToken>);

impl Lease {
    pub fn token(&self) -> CancellationToken {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn lose(&self) {
        let mut token = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *token).cancel();
    }
}

impl Worker {
    /// Registers the worker and starts draining.
    ///
    /// # Errors
    /// The worker row could not be written.
    pub async fn start(
        queue: Queue,
        options: WorkerOptions,
        schedules: Vec<Schedule>,
    ) -> Result<Self, DbError> {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let owner = format!(
            "{:.40}-{}-{:08x}",
            host,
            std::process::id(),
            rand::random::<u32>()
        );
        let names: Vec<String> = options.queues.iter().map(|(name, _)| name.clone()).collect();
        let shared = Arc::new(Shared {
            queue: queue.clone(),
            owner,
            host,
            queues: names.clone(),
            running: Running::default(),
            lease: Lease::default(),
            poke: Notify::new(),
        });
        lease::register(&shared).await?;
        if options.sole {
            lease::take_all_back(&shared).await?;
        }

        let stop = CancellationToken::new();
        let failed = Arc::new(Notify::new());
        let (outcomes, results) = mpsc::channel::<Outcome>(1024);
        let finisher = spawn_vital("queue finisher", &failed, finish::run(shared.clone(), results));
        let mut engines = Vec::new();
        let mut helpers = Vec::new();
        for (name, concurrency) in options.queues {
            let slots = Arc::new(Semaphore::new(concurrency));
            let (jobs, claimed) = mpsc::channel(concurrency);
            let claimer = Claimer {
                shared: shared.clone(),
                queue: Arc::from(name.as_str()),
                slots,
                jobs,
            };
            helpers.push(spawn_vital("queue claimer", &failed, claimer.run(stop.clone())));
            let engine = Engine {
                shared: shared.clone(),
                outcomes: outcomes.clone(),
            };
            let engine = run_engine(name, concurrency, claimed, engine, stop.clone(), failed.clone());
            engines.push(spawn_vital("queue engine", &failed, engine));
        }
        drop(outcomes);
        let queues = names.iter().map(|n| Arc::from(n.as_str())).collect();
        let poller = poller::run(shared.clone(), queues, stop.clone());
        helpers.push(spawn_vital("queue poller", &failed, poller));
        let lease = lease::run(shared.clone(), stop.clone());
        helpers.push(spawn_vital("worker lease", &failed, lease));
        let schedule = schedule::run(queue, schedules, stop.clone());
        helpers.push(spawn_vital("schedule", &failed, schedule));
        tracing::info!(
            worker.id = shared.owner,
            worker.queues = names.join(","),
            "worker started"
        );
        Ok(Worker {
            shared,
            stop,
            engines,
            finisher,
            helpers,
            failed,
        })
    }

    pub fn id(&self) -> &str {
        &self.shared.owner
    }

    /// Completes when a part of the worker ended without being told to.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Looks for due jobs now.
    pub fn poke(&self) {
        self.shared.poke.notify_one();
    }

    /// Stops claiming, lets running jobs finish within the stop timeout, gives the rest back.
    pub async fn stop(self) {
        self.stop.cancel();
        let timeout = self.shared.queue.settings().stop_timeout;
        let finished = async {
            for engine in self.engines {
                let _ = engine.await;
            }
        };
        if tokio::time::timeout(timeout, finished).await.is_err() {
            tracing::warn!(
                jobs = self.shared.running.ids().len(),
                "stop timeout passed, giving running jobs back"
            );
            self.shared.lease.lose();
        }
        // The engines held the last senders, so the finisher ends when it has written everything.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.finisher).await;
        for helper in self.helpers {
            helper.abort();
        }
        if let Err(e) = lease::unregister(&self.shared).await {
            tracing::warn!(error = %e, "could not sign the worker off; its jobs come back after the expiry");
        }
        tracing::info!(worker.id = self.shared.owner, "worker stopped");
    }
}

#[derive(Clone)]
struct Engine {
    shared: Arc<Shared>,
    outcomes: mpsc::Sender<Outcome>,
}

async fn run_engine(
    queue: String,
    concurrency: usize,
    claimed: mpsc::Receiver<Claimed>,
    engine: Engine,
    stop: CancellationToken,
    failed: Arc<Notify>,
) {
    let name = format!("{}/{queue}", engine.shared.owner);
    let result = apalis_worker(&name, concurrency, claimed, engine).await;
    if !stop.is_cancelled() {
        tracing::error!(queue, ?result, "apalis worker ended on its own");
        failed.notify_one();
    }
}

/// Boxed, because the compiler cannot see that the worker's own future is `Send`.
fn apalis_worker(
    name: &str,
    concurrency: usize,
    claimed: mpsc::Receiver<Claimed>,
    engine: Engine,
) -> BoxFuture<'static, Result<(), WorkerError>> {
    // Concurrency is the outermost gate: the call loop takes a task only when it is open.
    let worker = WorkerBuilder::new(name)
        .backend(ClaimedJobs::new(claimed))
        .data(engine)
        .catch_panic()
        .concurrency(concurrency)
        .build(run_job);
    Box::pin(worker.run())
}

/// The apalis handler. Always succeeds for apalis; the result goes to the finisher.
async fn run_job(claimed: Claimed, engine: Data<Engine>) -> Result<(), BoxDynError> {
    let Claimed { row, slot } = claimed;
    let engine = Engine::clone(&engine);
    let lease = engine.shared.lease.token();
    let result = match engine.shared.queue.0.registry.get(&row.kind) {
        None => RunResult::UnknownKind,
        Some(entry) => run_known(&row, entry, lease).await,
    };
    // A closed channel means the worker was stopped; the lease goes back with its row.
    let _ = engine
        .outcomes
        .send(Outcome {
            row,
            result,
            _slot: slot,
        })
        .await;
    Ok(())
}

async fn run_known(row: &JobRow, entry: Arc<Entry>, lease: CancellationToken) -> RunResult {
    let attempt = u32::try_from(row.attempts).unwrap_or(0) + 1;
    let cx = JobContext {
        id: JobId(row.id),
        attempt,
        max_attempts: u32::try_from(row.max_attempts).unwrap_or(1),
        request_id: row.request_id.clone(),
        cancelled: lease.clone(),
    };
    let span = tracing::info_span!(
        "job",
        job.id = row.id,
        job.kind = row.kind,
        job.attempt = attempt,
        request.id = row.request_id
    );
    let started = Instant::now();
    let kind = entry.kind.clone();
    let payload = row.payload.clone();
    // A task of its own: jobs run in parallel, and a panic ends this job only.
    let run = crate::task::spawn(
        async move { tokio::time::timeout(kind.timeout(&payload), kind.run(&payload, &cx)).await }
            .instrument(span),
    );
    let aborter = run.abort_handle();
    let ended = tokio::select! {
        ended = run => ended,
        () = lease.cancelled() => {
            aborter.abort();
            return RunResult::Abandoned;
        }
    };
    let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    entry.counters.busy_us.fetch_add(us, Ordering::Relaxed);
    let error = match ended {
        Ok(Ok(Ok(()))) => {
            entry.counters.done.fetch_add(1, Ordering::Relaxed);
            return RunResult::Done;
        }
        Ok(Ok(Err(error))) => error,
        Ok(Err(_)) => JobError::retry("timed out"),
        Err(join) => JobError::retry("panicked").caused_by(join),
    };
    entry.counters.failed.fetch_add(1, Ordering::Relaxed);
    RunResult::Failed(error, entry)
}

impl Shared {
    /// Everything claimed and not finished goes back to ready.
    pub async fn release_running(&self) -> Result<u64, DbError> {
        let owed = self.release_owed().await?;
        Ok(owed + self.release(&self.running.ids()).await?)
    }

    /// What was given up goes back to ready.
    pub async fn release_owed(&self) -> Result<u64, DbError> {
        let ids = self.running.owed();
        let released = self.release(&ids).await?;
        self.running.settle(&ids);
        Ok(released)
    }

    pub async fn release(&self, ids: &[i64]) -> Result<u64, DbError> {
        let db = &self.queue.0.db;
        let mut released = 0;
        for chunk in ids.chunks(256) {
            released += store::release(db.writer(), &self.owner, chunk, self.queue.now()).await?;
        }
        if released > 0 {
            self.poke.notify_one();
        }
        Ok(released)
    }
}
