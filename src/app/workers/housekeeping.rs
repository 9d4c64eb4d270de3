//! Work that belongs to the kernel's own: finished jobs, stored answers, unfinished objects.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yunque_kernel::Ctx;
use yunque_kernel::queue::{Job, JobContext, JobError, JobState, NewJob, Plan, Schedule};

use crate::app::App;

/// Forgets what nobody needs any more.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Housekeeping {}

#[async_trait]
impl Job for Housekeeping {
    const KIND: &'static str = "housekeeping";
    type Domain = Ctx;

    async fn run(&self, ctx: &Ctx, _: &JobContext) -> Result<(), JobError> {
        let now = ctx.clock.now();
        let mut jobs = 0;
        for state in [JobState::Done, JobState::Cancelled] {
            jobs += ctx
                .queue
                .purge(state, now - ctx.queue.settings().keep_done, |_| {})
                .await?;
        }
        let answers = ctx.idempotency.purge().await?;
        // The rest is done already, and another run would meet the same folder.
        if let Err(e) = ctx.storage.sweep().await {
            tracing::warn!(error = %e, "parts of objects that nobody finished could not be removed");
        }
        tracing::debug!(jobs, answers, "housekeeping done");
        Ok(())
    }
}

pub(super) fn register(app: &App) {
    let plan = Plan {
        max_attempts: 1,
        timeout: Duration::from_secs(1800),
        ..Plan::default()
    };
    app.ctx.queue.register::<Housekeeping>(app.ctx.clone(), plan);
}

/// Every quarter of an hour, at minutes that nobody else uses.
pub(super) fn schedules() -> Vec<Schedule> {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    vec![Schedule::new("housekeeping", minutes(15), minutes(7), || {
        NewJob::new(&Housekeeping {}).dedupe("housekeeping")
    })]
}
