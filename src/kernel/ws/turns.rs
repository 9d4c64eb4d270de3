//! Turns: how many handshakes are examined at once, and who waits for that.
//!
//! When a server comes back, everybody else does as well. Told to try again later, they would only
//! knock more often; so they wait, in the order in which they came. How many wait is bounded, since
//! each of them costs memory, and for how long, since its client gives up in the end.
//!
//! Who goes away while waiting leaves the row, and a server that stops sends all of them away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use crate::telemetry::Metrics;

/// How long somebody waits. Less than what clients give a handshake (ten seconds and more).
const LONGEST: Duration = Duration::from_secs(5);
/// How many wait for each that is examined at the same time. With the default limits they are 8,192, more than a small
/// machine examines within that time; each costs what a request under way does.
const WAITING_FOR_EACH: usize = 128;

pub(super) struct Turns {
    /// Gives its permits in the order in which they were asked for.
    free: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    longest: Duration,
    metrics: Metrics,
}

/// Somebody's turn, until it is dropped.
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "held, not looked at")] SemaphorePermit<'a>);

/// It is nobody's turn: too many wait, the wait was too long, or the server stops.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoTurn;

/// One who waits.
struct Waiting<'a>(&'a Turns);

impl Turns {
    pub fn new(at_once: usize, metrics: Metrics) -> Self {
        Self::with_patience(at_once, LONGEST, metrics)
    }

    fn with_patience(at_once: usize, longest: Duration, metrics: Metrics) -> Self {
        Turns {
            free: Semaphore::new(at_once),
            waiting: AtomicUsize::new(0),
            most_waiting: at_once.saturating_mul(WAITING_FOR_EACH),
            longest,
            metrics,
        }
    }

    /// Waits for a turn.
    pub async fn take(&self) -> Result<Turn<'_>, NoTurn> {
        let taken = match self.free.try_acquire() {
            // Nobody waits: otherwise what gets free is given away at once.
            Ok(permit) => return Ok(Turn(permit)),
            Err(TryAcquireError::Closed) => Err(NoTurn),
            Err(TryAcquireError::NoPermits) => self.wait().await,
        };
        if taken.is_err() {
            self.metrics.realtime.handshakes_refused.inc();
        }
        taken
    }

    async fn wait(&self) -> Result<Turn<'_>, NoTurn> {
        let _waiting = Waiting::begin(self)?;
        match tokio::time::timeout(self.longest, self.free.acquire()).await {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            _ => Err(NoTurn),
        }
    }

    /// Nobody gets a turn any more. Whose turn it is, he finishes.
    pub fn close(&self) {
        self.free.close();
    }
}

impl<'a> Waiting<'a> {
    fn begin(turns: &'a Turns) -> Result<Self, NoTurn> {
        let more = |waiting: usize| (waiting < turns.most_waiting).then_some(waiting + 1);
        turns
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| NoTurn)?;
        turns.metrics.realtime.handshakes_waiting.inc();
        Ok(Waiting(turns))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.realtime.handshakes_waiting.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn turns(at_once: usize) -> Arc<Turns> {
        Arc::new(Turns::new(at_once, Metrics::new()))
    }

    async fn until_waiting(turns: &Turns, so_many: usize) {
        while waiting(turns) != so_many {
            tokio::task::yield_now().await;
        }
    }

    fn waiting(turns: &Turns) -> usize {
        turns.waiting.load(Ordering::Relaxed)
    }

    /// Takes a turn of 20 ms, and notes who had one.
    fn come(all: &mut JoinSet<()>, turns: &Arc<Turns>, who: usize, had: &Arc<Mutex<Vec<usize>>>) {
        let (turns, had) = (turns.clone(), had.clone());
        all.spawn(async move {
            if let Ok(_turn) = turns.take().await {
                had.lock().expect("unpoisoned").push(who);
                sleep(Duration::from_millis(20)).await;
            }
        });
    }

    #[tokio::test]
    async fn turns_are_had_in_the_order_of_coming() {
        let (turns, had) = (turns(1), Arc::default());
        let mut all = JoinSet::new();
        for who in 0..20 {
            come(&mut all, &turns, who, &had);
            until_waiting(&turns, who).await;
        }
        until_waiting(&turns, 10).await;
        // Nobody who comes while others wait is before them.
        come(&mut all, &turns, 20, &had);
        all.join_all().await;
        assert_eq!(*had.lock().expect("unpoisoned"), (0..=20).collect::<Vec<_>>());
        assert_eq!(waiting(&turns), 0);
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let turns = turns(1);
        let first = turns.take().await.expect("free");
        let mut all = JoinSet::new();
        for _ in 0..WAITING_FOR_EACH {
            let turns = turns.clone();
            all.spawn(async move { turns.take().await.is_ok() });
        }
        until_waiting(&turns, WAITING_FOR_EACH).await;
        let begun = Instant::now();
        assert_eq!(turns.take().await.err(), Some(NoTurn));
        assert!(begun.elapsed() < LONGEST / 2, "at once");
        drop(first);
        assert!(all.join_all().await.into_iter().all(|had| had));
        assert_eq!(turns.metrics.realtime.handshakes_refused.get(), 1);
        assert!(turns.take().await.is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let longest = Duration::from_millis(100);
        let turns = Turns::with_patience(1, longest, Metrics::new());
        let first = turns.take().await.expect("free");
        let begun = Instant::now();
        assert_eq!(turns.take().await.err(), Some(NoTurn));
        assert!(begun.elapsed() >= longest);
        assert_eq!(waiting(&turns), 0);
        drop(first);
        assert!(turns.take().await.is_ok());
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_row() {
        let (turns, had) = (turns(1), Arc::default());
        let first = turns.take().await.expect("free");
        let mut gone = JoinSet::new();
        come(&mut gone, &turns, 1, &had);
        until_waiting(&turns, 1).await;
        let mut all = JoinSet::new();
        come(&mut all, &turns, 2, &had);
        until_waiting(&turns, 2).await;
        assert_eq!(turns.metrics.realtime.handshakes_waiting.get(), 2);
        gone.shutdown().await;
        assert_eq!(waiting(&turns), 1);
        drop(first);
        all.join_all().await;
        assert_eq!(*had.lock().expect("unpoisoned"), [2]);
    }

    #[tokio::test]
    async fn the_end_sends_everybody_away() {
        let turns = turns(1);
        let _first = turns.take().await.expect("free");
        let begun = Instant::now();
        let (waited, ()) = tokio::join!(turns.take(), async {
            until_waiting(&turns, 1).await;
            turns.close();
        });
        assert_eq!(waited.err(), Some(NoTurn));
        assert!(begun.elapsed() < LONGEST / 2, "at once");
        assert_eq!(turns.take().await.err(), Some(NoTurn));
    }
}
