//! Pops ids, claims their rows, feeds the apalis worker of one queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::backend::Claimed;
use super::store;
use super::worker::Shared;

/// Ids taken and claimed with one statement.
const BATCH: usize = 64;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

pub(super) struct Claimer {
    pub shared: Arc<Shared>,
    pub queue: Arc<str>,
    pub slots: Arc<Semaphore>,
    pub jobs: mpsc::Sender<Claimed>,
}

impl Claimer {
    /// Runs until `stop`. Dropping the sender then ends the apalis worker.
    pub async fn run(self, stop: CancellationToken) {
        let mut receiver = self.shared.queue.carrier().receiver(&self.queue);
        loop {
            let Some(slots) = stop.run_until_cancelled(self.free_slots()).await else {
                return;
            };
            let ids = match stop.run_until_cancelled(receiver.pop(slots.len())).await {
                None => return,
                Some(Ok(ids)) => ids,
                Some(Err(e)) => {
                    tracing::debug!(error = %e, queue = &*self.queue, "carrier unavailable");
                    // The jobs go on without Redis: take what is due straight from the table.
                    self.due_ids(slots.len()).await.unwrap_or_default()
                }
            };
            if ids.is_empty() {
                continue;
            }
            self.claim(&ids, slots).await;
        }
    }

    /// At least one free slot, up to a batch of them.
    async fn free_slots(&self) -> Vec<tokio::sync::OwnedSemaphorePermit> {
        let Ok(first) = self.slots.clone().acquire_owned().await else {
            return std::future::pending().await;
        };
        let mut slots = vec![first];
        while slots.len() < BATCH {
            let Ok(slot) = self.slots.clone().try_acquire_owned() else {
                break;
            };
            slots.push(slot);
        }
        slots
    }

    async fn due_ids(&self, max: usize) -> Option<Vec<i64>> {
        let now = self.shared.queue.now();
        let page = store::due_page(&self.shared.queue.0.db, &self.queue, (-1, 0), max as u64, now).await;
        let ids: Option<Vec<i64>> = page.ok().map(|page| page.into_iter().map(|d| d.id).collect());
        if ids.as_ref().is_none_or(Vec::is_empty) {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
        ids
    }

    async fn claim(&self, ids: &[i64], mut slots: Vec<tokio::sync::OwnedSemaphorePermit>) {
        let queue = &self.shared.queue;
        let held = |id| self.shared.running.contains(id);
        let rows = match store::claim(&queue.0.db, &self.shared.owner, ids, held, queue.now()).await {
            Ok(rows) => rows,
            Err(e) => {
                // The ids are gone from the carrier; the poller brings them again.
                tracing::warn!(error = %e, jobs = ids.len(), "could not claim jobs");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                return;
            }
        };
        // All of them at once: a claimed row that is not known here would be taken for a stray.
        for row in &rows {
            queue.0.rounds.observe(&self.queue, row.fair_round);
            self.shared.running.insert(row.id);
        }
        for row in rows {
            // A stale id plus its twin may claim more rows than slots; the extra one waits its turn.
            let slot = match slots.pop() {
                Some(slot) => slot,
                None => match self.slots.clone().acquire_owned().await {
                    Ok(slot) => slot,
                    Err(_) => return,
                },
            };
            if self.jobs.send(Claimed { row, slot }).await.is_err() {
                return;
            }
        }
    }
}
