//! The apalis side: a backend that yields jobs which are already claimed.
//!
//! apalis drives a worker from a [`Backend`]. Ours is a channel: the claimer puts in only as many
//! jobs as there are free slots, so none is held hostage in a buffer, and closing the channel ends
//! the worker after its running jobs. No acknowledgement passes through apalis; the finisher writes
//! results to the database.

use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tower::layer::util::Identity;

use super::store::JobRow;

/// A claimed job and the slot it occupies until its result is written.
pub(super) struct Claimed {
    pub row: JobRow,
    pub slot: OwnedSemaphorePermit,
}

/// Claimed jobs of one queue.
pub(super) struct ClaimedJobs {
    jobs: mpsc::Receiver<Claimed>,
    config: (),
}

impl ClaimedJobs {
    pub fn new(jobs: mpsc::Receiver<Claimed>) -> Self {
        ClaimedJobs { jobs, config: () }
    }
}

impl Backend for ClaimedJobs {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.jobs.poll_recv(cx).map(|job| job.map(|j| Ok(Task::new(j))))
    }

    /// Called when the channel is closed and every job has ended. The worker's own state is not
    /// changed by an exhausted backend, and its shutdown waits for that state for ever.
    fn poll_close(&mut self, _: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        // Refused only for a worker that never started, which has nothing to stop.
        let _ = worker.stop();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimedJobs {
    type Args = Claimed;
    type Id = i64;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &self.config
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
