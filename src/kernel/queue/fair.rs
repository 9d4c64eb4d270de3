//! Start-time fair queueing: one user's thousand jobs do not starve another's one.
//!
//! A job's round is `max(V, last round of its owner + 1)`, where V is the round last claimed in the
//! queue. Ten thousand jobs of one user take rounds V … V+10,000; the first job of somebody else
//! takes V and stands in front of nearly all of them. The state is per process and approximate over
//! several instances, which only shifts turns.
//!
//! The round is stored with the priority band in front (`band × 2^40 + round`), so one index order
//! is the order of a queue. The sum stays below 2^53 and is exact as a Redis score.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::job::Priority;
use super::store;
use crate::db::{Db, DbError};

const BAND: i64 = 1 << 40;
/// Owners whose last round is behind V carry no information; they are swept at this size.
const SWEEP_AT: usize = 10_000;

#[derive(Default)]
pub(super) struct Rounds {
    queues: Mutex<HashMap<String, QueueRounds>>,
}

#[derive(Default)]
struct QueueRounds {
    claimed: i64,
    last: HashMap<i64, i64>,
}

impl QueueRounds {
    fn next(&mut self, fair_key: i64) -> i64 {
        if self.last.len() > SWEEP_AT {
            let claimed = self.claimed;
            self.last.retain(|_, round| *round >= claimed);
        }
        let next = self.last.get(&fair_key).map_or(self.claimed, |last| self.claimed.max(last + 1));
        self.last.insert(fair_key, next);
        next
    }
}

impl Rounds {
    /// The banded round of a new job. Asks the database once for each queue.
    pub async fn next(&self, db: &Db, queue: &str, fair_key: i64, priority: Priority) -> Result<i64, DbError> {
        let band = band(priority);
        if let Some(round) = self.known_next(queue, fair_key) {
            return Ok(band + round);
        }
        let start = store::starting_round(db, queue).await? % BAND;
        self.observe(queue, start);
        Ok(band + self.known_next(queue, fair_key).unwrap_or(start))
    }

    fn known_next(&self, queue: &str, fair_key: i64) -> Option<i64> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get_mut(queue).map(|q| q.next(fair_key))
    }

    /// A job of this (banded) round was claimed; V moves on.
    pub fn observe(&self, queue: &str, banded: i64) {
        let round = banded % BAND;
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.get_mut(queue) {
            Some(q) => q.claimed = q.claimed.max(round),
            None => {
                queues.insert(queue.to_owned(), QueueRounds { claimed: round, last: HashMap::new() });
            }
        }
    }
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
        let mut q = QueueRounds::default();
        let backlog: Vec<_> = (0..10_000).map(|_| q.next(1)).collect();
        assert_eq!(backlog.last(), Some(&9_999));
        q.claimed = 40;
        assert_eq!(q.next(2), 40);
        assert_eq!(q.next(2), 41);
        assert_eq!(q.next(1), 10_000);
    }

    #[test]
    fn bands_stay_exact_as_a_redis_score() {
        let top = band(Priority::Low) + BAND - 1;
        assert!(top < 1 << 53);
        assert!(band(Priority::High) + BAND - 1 < band(Priority::Normal));
    }
}
