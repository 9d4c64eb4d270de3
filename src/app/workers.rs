//! Domains → job registry, schedules, and the queues that one process drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use yunque_files::staging::SHARED_QUEUE;
use yunque_kernel::mail::{MAIL_QUEUE, Mailer};
use yunque_kernel::queue::{DEFAULT_QUEUE, Schedule, Worker, WorkerOptions};

use super::{App, StartError};

mod housekeeping;

/// How long `serve` waits for a worker before it drains its own staging folder.
const LOOK_FOR_WORKERS: Duration = Duration::from_secs(20);

impl App {
    pub(super) fn register_jobs(&self) {
        self.ctx.mail.register_jobs(&self.ctx.queue);
        self.files.register_jobs();
        housekeeping::register(self);
    }

    /// What comes round, in one list; each domain says when and why.
    fn schedules(&self) -> Vec<Schedule> {
        let mut all = housekeeping::schedules();
        all.push(Mailer::schedule());
        all.extend(self.accounts.schedules());
        all.extend(self.files.schedules());
        all.extend(self.chat.schedules());
        all
    }

    /// The queues a full worker of this process drains, with their concurrency.
    pub fn queues(&self) -> Vec<(String, usize)> {
        let general = self.settings.queue.concurrency;
        let files = self.files.settings();
        vec![
            (DEFAULT_QUEUE.to_owned(), general),
            (MAIL_QUEUE.to_owned(), general),
            (SHARED_QUEUE.to_owned(), files.small_workers),
            (self.files.staging().own_queue(), files.workers),
        ]
    }

    /// Starts a worker for all queues, or for those named. A queue named `upload` brings the
    /// staging folder's own queue with it.
    ///
    /// # Errors
    /// A name that is no queue; the worker could not be registered.
    pub async fn start_worker(
        &self,
        only: Option<&[String]>,
        concurrency: Option<usize>,
    ) -> Result<Worker, StartError> {
        let mut queues = self.queues();
        if let Some(only) = only {
            let known: Vec<&str> = queues.iter().map(|(n, _)| base(n)).collect();
            if let Some(unknown) = only.iter().find(|q| !known.contains(&q.as_str())) {
                return Err(StartError::Refused(format!(
                    "--queues: there is no queue {unknown:?}; there are default, mail and upload"
                )));
            }
            queues.retain(|(name, _)| only.iter().any(|q| q == base(name)));
        }
        if let Some(n) = concurrency {
            queues.iter_mut().for_each(|(_, c)| *c = n);
        }
        let options = WorkerOptions {
            queues,
            sole: self.is_embedded(),
        };
        Ok(Worker::start(self.ctx.queue.clone(), options, self.schedules()).await?)
    }

    /// For a `serve` without a worker of its own: drains this host's staging folder as long as no
    /// live worker has it, because nobody else can. `failed` hears of a worker that ended by itself.
    pub async fn tend_staging(self, failed: Arc<Notify>, stop: CancellationToken) {
        let own = self.files.staging().own_queue();
        let mut worker: Option<Worker> = None;
        loop {
            let pause = if worker.is_some() {
                LOOK_FOR_WORKERS
            } else {
                Duration::from_secs(2)
            };
            let died = async {
                match &worker {
                    Some(worker) => worker.failed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = died => {
                    failed.notify_one();
                    stop.cancelled().await;
                    break;
                }
                () = tokio::time::sleep(pause) => {}
            }
            worker = self.take_over_or_leave(&own, worker).await;
        }
        if let Some(worker) = worker {
            worker.stop().await;
        }
    }

    /// Starts a worker for the staging folder when no other has it, and stops it when one does.
    async fn take_over_or_leave(&self, own: &String, mut worker: Option<Worker>) -> Option<Worker> {
        let others = match self.ctx.queue.live_workers().await {
            Ok(workers) => workers
                .iter()
                .any(|(id, queues)| worker.as_ref().is_none_or(|w| w.id() != id) && queues.contains(own)),
            Err(e) => {
                tracing::debug!(error = %e, "could not look for workers");
                return worker;
            }
        };
        match (others, worker.take()) {
            (true, Some(mine)) => {
                tracing::info!("a worker drains this host's staging folder now");
                mine.stop().await;
                None
            }
            (false, None) => {
                let queues = vec![(own.clone(), self.files.settings().workers)];
                let options = WorkerOptions { queues, sole: false };
                let started = Worker::start(self.ctx.queue.clone(), options, Vec::new()).await;
                started
                    .inspect_err(|e| tracing::warn!(error = %e, "could not drain the staging folder"))
                    .ok()
            }
            (_, same) => same,
        }
    }
}

/// `upload@…` belongs to `upload`.
fn base(queue: &str) -> &str {
    queue.split('@').next().unwrap_or(queue)
}
