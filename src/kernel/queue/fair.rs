//! Start-time fair queueing: one user's thousand jobs do not starve another's one.
//!
//! A job's round is `max(V, last round of its owner + 1)`, where V is the round last claimed in the
//! queue. Ten thousand jobs of one user take rounds V … V+10,000; the first job of somebody else
//! takes V and stands in front of nearly all of them. The state is per process and approximate over
//! several instances, which only shifts turns. A process that enqueues and does not work learns V
//! from the head of the carrier: with a V that stands still its new users would go in front of
//! everybody else for as long as their backlogs last.
//!
//! The round is stored with the priority band in front (`band × 2^40 + round`), so one index order
//! is the order of a queue. The sum stays below 2^53 and is exact as a Redis score. Each band has
//! rounds of its own: an urgent job of somebody with a long backlog must not move V for the rest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::job::Priority;
use super::store;
use crate::db::{DbError, Tx};

const BAND: i64 = 1 << 40;
const BANDS: usize = 3;
/// Owners whose last round is behind V carry no information; they are swept at this size.
const SWEEP_AT: usize = 10_000;

#[derive(Default)]
pub(super) struct Rounds {
    queues: Mutex<HashMap<String, [Option<BandRounds>; BANDS]>>,
}

/// The rounds of one band of one queue.
#[derive(Default)]
struct BandRounds {
    claimed: i64,
    last: HashMap<i64, i64>,
}

impl BandRounds {
    fn next(&mut self, fair_key: i64) -> i64 {
        if self.last.len() > SWEEP_AT {
            let claimed = self.claimed;
            self.last.retain(|_, round| *round >= claimed);
        }
        let next = self
            .last
            .get(&fair_key)
            .map_or(self.claimed, |last| self.claimed.max(last + 1));
        self.last.insert(fair_key, next);
        next
    }
}

impl Rounds {
    /// The banded round of a new job. Asks the database once for each queue and band, on the caller's
    /// connection: transactions that each waited for a second one would use up the pool and stall.
    pub async fn next(
        &self,
        tx: &Tx,
        queue: &str,
        fair_key: i64,
        priority: Priority,
    ) -> Result<i64, DbError> {
        let band = band(priority);
        if let Some(round) = self.known_next(queue, band, fair_key) {
            return Ok(band + round);
        }
        let start = store::starting_round(tx, queue, band..band + BAND)
            .await?
            .unwrap_or(band);
        self.observe(queue, start);
        Ok(band + self.known_next(queue, band, fair_key).unwrap_or(start - band))
    }

    fn known_next(&self, queue: &str, band: i64, fair_key: i64) -> Option<i64> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get_mut(queue)?[index(band)]
            .as_mut()
            .map(|rounds| rounds.next(fair_key))
    }

    /// A job of this (banded) round was claimed, or is the next to be; V moves on.
    pub fn observe(&self, queue: &str, banded: i64) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if !queues.contains_key(queue) {
            queues.insert(queue.to_owned(), Default::default());
        }
        if let Some(bands) = queues.get_mut(queue) {
            let rounds = bands[index(banded)].get_or_insert_default();
            rounds.claimed = rounds.claimed.max(banded % BAND);
        }
    }
}

/// Which band a banded round is in.
fn index(banded: i64) -> usize {
    usize::try_from(banded / BAND).unwrap_or(0).min(BANDS - 1)
}

fn band(priority: Priority) -> i64 {
    BAND * match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_job_of_another_user_overtakes_a_backlog() {
        let mut q = BandRounds::default();
        let backlog: Vec<_> = (0..10_000).map(|_| q.next(1)).collect();
        assert_eq!(backlog.last(), Some(&9_999));
        q.claimed = 40;
        assert_eq!(q.next(2), 40);
        assert_eq!(q.next(2), 41);
        assert_eq!(q.next(1), 10_000);
    }

    #[test]
    fn an_urgent_job_moves_no_other_band() {
        let rounds = Rounds::default();
        let (high, normal) = (band(Priority::High), band(Priority::Normal));
        rounds.observe("q", normal + 5);
        rounds.observe("q", high + 900);
        assert_eq!(rounds.known_next("q", normal, 1), Some(5));
        assert_eq!(rounds.known_next("q", high, 1), Some(900));
        assert_eq!(rounds.known_next("q", band(Priority::Low), 1), None);
        rounds.observe("q", normal + 3);
        assert_eq!(rounds.known_next("q", normal, 2), Some(5));
    }

    #[test]
    fn bands_stay_exact_as_a_redis_score() {
        let top = band(Priority::Low) + BAND - 1;
        assert!(top < 1 << 53);
        assert!(band(Priority::High) + BAND - 1 < band(Priority::Normal));
    }
}
