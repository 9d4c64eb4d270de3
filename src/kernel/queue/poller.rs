//! Repeats what the carrier may have missed: jobs that fell due, ids lost with Redis, jobs enqueued
//! by a process that died between commit and push.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::store;
use super::worker::Shared;
use crate::db::DbKind;

const PAGE: u64 = 1000;
/// A carrier that holds this many ids needs no more.
const ENOUGH: u64 = 200_000;
/// With this many ids waiting the workers are busy; look again only after [`FULL_EVERY`].
const BUSY: u64 = 2000;
const FULL_EVERY: Duration = Duration::from_secs(15);
/// A server database without Redis: the table is all there is.
const POLL_WITHOUT_REDIS: Duration = Duration::from_millis(250);

pub(super) async fn run(shared: Arc<Shared>, queues: Vec<Arc<str>>, stop: CancellationToken) {
    let queue = &shared.queue;
    let alone = queue.0.db.kind() != DbKind::Sqlite && !queue.carrier().is_shared();
    let longest = if alone {
        POLL_WITHOUT_REDIS
    } else {
        queue.settings().poll
    };
    let mut full_pass = vec![None::<Instant>; queues.len()];
    loop {
        let mut pause = longest;
        for (name, full) in queues.iter().zip(full_pass.iter_mut()) {
            match look(&shared, name, full).await {
                Ok(Some(next)) => pause = pause.min(next),
                Ok(None) => {}
                Err(e) => tracing::debug!(error = e, queue = &**name, "could not poll for due jobs"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.poke.notified() => full_pass.fill(None),
            () = tokio::time::sleep(pause.max(Duration::from_millis(10))) => {}
        }
    }
}

/// Feeds the carrier of one queue; tells when its next delayed job falls due.
async fn look(
    shared: &Shared,
    queue: &Arc<str>,
    full: &mut Option<Instant>,
) -> Result<Option<Duration>, String> {
    let carrier = shared.queue.carrier();
    let waiting = carrier.len(queue).await.map_err(|e| e.to_string())?;
    if waiting >= BUSY && full.is_some_and(|at| at.elapsed() < FULL_EVERY) {
        return Ok(None);
    }
    let now = shared.queue.now();
    let db = &shared.queue.0.db;
    let (due, next) = store::due_count(db, queue, now)
        .await
        .map_err(|e| e.to_string())?;
    let stale = full.is_none_or(|at| at.elapsed() >= FULL_EVERY);
    if due > 0 && waiting < ENOUGH && (due > waiting || stale) {
        let mut after = (-1, 0);
        loop {
            let page = store::due_page(db, queue, after, PAGE, now)
                .await
                .map_err(|e| e.to_string())?;
            let Some(last) = page.last() else { break };
            after = (last.score, last.id);
            carrier.push(&page).await.map_err(|e| e.to_string())?;
            if (page.len() as u64) < PAGE {
                break;
            }
        }
        *full = Some(Instant::now());
    }
    Ok(next.map(|at| (at - now).to_std().unwrap_or_default()))
}
