//! Settings of the job queue.

use std::time::Duration;

use crate::config::{Reader, Seconds, Setting};

const CONCURRENCY: Setting = Setting::new(
    "WORKER_CONCURRENCY",
    "16",
    "Jobs that one worker runs at once in each queue",
);
const HEARTBEAT: Setting = Setting::new("WORKER_HEARTBEAT", "10s", "How often a worker says that it lives");
const EXPIRY: Setting = Setting::new(
    "WORKER_EXPIRY",
    "30s",
    "A worker silent for this long loses its jobs to others; at least twice the heartbeat",
);
const STOP_TIMEOUT: Setting = Setting::new(
    "WORKER_STOP_TIMEOUT",
    "30s",
    "How long running jobs may go on after a stop signal",
);
const KEEP_DONE: Setting = Setting::new("JOBS_KEEP_DONE", "1d", "How long finished jobs stay listed");
const POLL: Setting = Setting::new(
    "JOBS_POLL_INTERVAL",
    "2s",
    "Longest pause between looks for jobs that fell due",
);

/// Settings of the job queue.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    pub concurrency: usize,
    pub heartbeat: Duration,
    pub expiry: Duration,
    pub stop_timeout: Duration,
    pub keep_done: Duration,
    pub poll: Duration,
    /// A job that lost its worker this often is given up: it probably kills them.
    pub max_losses: i32,
}

impl QueueSettings {
    pub fn read(r: &mut Reader<'_>) -> Self {
        let settings = QueueSettings {
            concurrency: r.above_zero(&CONCURRENCY),
            heartbeat: r.above_zero::<Seconds>(&HEARTBEAT).0,
            expiry: r.get::<Seconds>(&EXPIRY).0,
            stop_timeout: r.get::<Seconds>(&STOP_TIMEOUT).0,
            keep_done: r.get::<Seconds>(&KEEP_DONE).0,
            poll: r.above_zero::<Seconds>(&POLL).0,
            max_losses: 20,
        };
        if settings.expiry < settings.heartbeat * 2 {
            r.fault(
                &EXPIRY,
                "must be at least twice WORKER_HEARTBEAT",
                "Example: WORKER_HEARTBEAT=10s WORKER_EXPIRY=30s.",
            );
        }
        settings
    }
}
