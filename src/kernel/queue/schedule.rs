//! Work that comes round: each slot of a schedule enqueues its job once, over all processes.
//!
//! The slot last enqueued is stored in `yunque_meta` and moved on by a conditional update in the
//! transaction that enqueues, so however many processes tick, one wins.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::{Alias, Query};
use tokio_util::sync::CancellationToken;

use super::Queue;
use super::job::NewJob;
use crate::db::{DbError, Tx, dialect};

/// One recurring job.
#[derive(Clone)]
pub struct Schedule {
    pub name: &'static str,
    pub every: Duration,
    /// Shifts the slots, so that schedules do not all fire at once.
    pub offset: Duration,
    pub job: Arc<dyn Fn() -> NewJob + Send + Sync>,
}

impl Schedule {
    pub fn new(
        name: &'static str,
        every: Duration,
        offset: Duration,
        job: impl Fn() -> NewJob + Send + Sync + 'static,
    ) -> Self {
        Schedule {
            name,
            every,
            offset,
            job: Arc::new(job),
        }
    }

    fn slot(&self, unix: i64) -> i64 {
        let every = i64::try_from(self.every.as_secs().max(1)).unwrap_or(i64::MAX);
        let offset = i64::try_from(self.offset.as_secs()).unwrap_or(0);
        (unix - offset).div_euclid(every)
    }
}

const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(queue: Queue, schedules: Vec<Schedule>, stop: CancellationToken) {
    let mut done = vec![i64::MIN; schedules.len()];
    loop {
        for (schedule, last) in schedules.iter().zip(done.iter_mut()) {
            let slot = schedule.slot(queue.0.clock.unix());
            if slot <= *last {
                continue;
            }
            match fire(&queue, schedule, slot).await {
                Ok(()) => *last = slot,
                Err(e) => {
                    tracing::warn!(error = %e, schedule = schedule.name, "could not enqueue scheduled work")
                }
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            return;
        }
    }
}

async fn fire(queue: &Queue, schedule: &Schedule, slot: i64) -> Result<(), DbError> {
    let (queue, schedule) = (queue.clone(), schedule.clone());
    let db = queue.0.db.clone();
    db.write("schedule", move |tx: Tx| {
        let (queue, schedule) = (queue.clone(), schedule.clone());
        async move {
            if advance(&tx, schedule.name, slot).await? {
                queue.enqueue(&tx, (schedule.job)()).await?;
            }
            Ok(())
        }
    })
    .await
}

/// Moves the stored slot on; false when another process was faster.
async fn advance(tx: &Tx, name: &str, slot: i64) -> Result<bool, DbError> {
    let key = format!("schedule.{name}");
    let value = format!("{slot:020}");
    let sql = "UPDATE yunque_meta SET value = ? WHERE name = ? AND value < ?";
    let moved = dialect::execute(
        tx,
        sql,
        [value.clone().into(), key.clone().into(), value.clone().into()],
    )
    .await?;
    if moved == 1 {
        return Ok(true);
    }
    let insert = Query::insert()
        .into_table(Alias::new("yunque_meta"))
        .columns(["name", "value"].map(Alias::new))
        .values_panic([key.into(), value.into()])
        .take();
    dialect::insert_ignore(tx, insert, &["name"]).await
}
