//! One read of the database for all who want the same.
//!
//! When many sockets come back at once, they missed the same messages. Whoever asks for a page that
//! others ask for as well shares their read, if it has not begun; one that has begun could miss an
//! edit that the asking socket, which listens already, was not yet there to hear. So a page that all
//! want is read a few times instead of once for each, and nobody gets anything older than what he
//! would have read himself.
//!
//! Only so many pages are read at once, so that requests need not queue for the database behind all
//! sockets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OnceCell, Semaphore};

use super::broadcast::Broadcast;
use super::endpoint::{Log, Tail, Tip};
use crate::error::ApiError;

/// Pages read at once.
const AT_ONCE: usize = 8;

/// Room, position and limit of [`Log::read`].
type Page = (i64, i64, u64);
type Read = Result<Vec<Broadcast>, ApiError>;

/// A log whose reads are shared.
pub struct SharedReads<L> {
    log: L,
    turns: Semaphore,
    wanted: Arc<Mutex<HashMap<Page, Weak<Wanted>>>>,
}

/// A page that somebody waits for.
struct Wanted {
    page: Page,
    all: Arc<Mutex<HashMap<Page, Weak<Wanted>>>>,
    /// One read of a page at a time.
    reading: tokio::sync::Mutex<()>,
    /// The read that has not begun.
    next: Mutex<Arc<OnceCell<Read>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: Log> SharedReads<L> {
    pub fn of(log: L) -> Self {
        SharedReads {
            log,
            turns: Semaphore::new(AT_ONCE),
            wanted: Arc::default(),
        }
    }

    fn wanted(&self, page: Page) -> Arc<Wanted> {
        let mut all = lock(&self.wanted);
        if let Some(wanted) = all.get(&page).and_then(Weak::upgrade) {
            return wanted;
        }
        let wanted = Arc::new(Wanted {
            page,
            all: self.wanted.clone(),
            reading: tokio::sync::Mutex::default(),
            next: Mutex::default(),
        });
        all.insert(page, Arc::downgrade(&wanted));
        wanted
    }

    /// Reads, when those who came before have read. Who comes from now on is for the next read.
    async fn begin(&self, wanted: &Wanted, read: &Arc<OnceCell<Read>>) -> Read {
        let _alone = wanted.reading.lock().await;
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        {
            let mut next = lock(&wanted.next);
            // Not so when whoever began it before has gone away in the middle.
            if Arc::ptr_eq(&next, read) {
                *next = Arc::default();
            }
        }
        let (room, after, limit) = wanted.page;
        self.log.read(room, after, limit).await
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        // Somebody may want the page again already.
        if all.get(&self.page).is_some_and(|other| other.strong_count() == 0) {
            all.remove(&self.page);
        }
    }
}

#[async_trait]
impl<L: Log> Log for SharedReads<L> {
    async fn read(&self, room: i64, after: i64, limit: u64) -> Read {
        let wanted = self.wanted((room, after, limit));
        let read = lock(&wanted.next).clone();
        read.get_or_init(|| self.begin(&wanted, &read)).await.clone()
    }

    async fn tail(&self, room: i64, after: i64, upto: i64, most: u64) -> Result<Tail, ApiError> {
        self.log.tail(room, after, upto, most).await
    }

    async fn changed(&self, room: i64, within: Duration) -> Result<Vec<Broadcast>, ApiError> {
        self.log.changed(room, within).await
    }

    async fn tips(&self, rooms: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError> {
        self.log.tips(rooms).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;
    use crate::error::common;

    /// Takes 50 ms to say what was so when it was asked.
    #[derive(Default)]
    struct Slow {
        now: AtomicI64,
        reads: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
    }

    #[async_trait]
    impl Log for Slow {
        async fn read(&self, room: i64, _: i64, _: u64) -> Read {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let running = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(running, Ordering::SeqCst);
            let position = self.now.load(Ordering::SeqCst);
            sleep(Duration::from_millis(50)).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            match room {
                503 => Err(common::SERVICE_UNAVAILABLE.into()),
                _ => Ok(vec![Broadcast::stored(position, None, &position)]),
            }
        }

        async fn tail(&self, _: i64, after: i64, _: i64, _: u64) -> Result<Tail, ApiError> {
            Ok(Tail {
                from: after,
                truncated: false,
            })
        }

        async fn tips(&self, _: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError> {
            Ok(Vec::new())
        }
    }

    impl SharedReads<Slow> {
        async fn position(&self, room: i64) -> i64 {
            let rows = self.read(room, 0, 100).await.expect("read");
            rows[0].position.expect("stored")
        }

        fn reads(&self) -> usize {
            self.log.reads.load(Ordering::SeqCst)
        }

        async fn until_reads(&self, so_many: usize) {
            while self.reads() != so_many {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn who_wants_the_same_shares_a_read_that_has_not_begun() {
        let log = SharedReads::of(Slow::default());
        let first = log.position(1);
        let others = async {
            log.until_reads(1).await;
            log.log.now.store(1, Ordering::SeqCst);
            join_all((0..100).map(|_| log.position(1))).await
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first, 0);
        assert!(others.iter().all(|position| *position == 1), "{others:?}");
        assert_eq!(log.reads(), 2);
        assert_eq!(log.position(1).await, 1);
        assert_eq!(log.reads(), 3, "nothing is kept");
        assert!(lock(&log.wanted).is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_takes_no_read_along() {
        let log = Arc::new(SharedReads::of(Slow::default()));
        let reading = |log: &Arc<SharedReads<Slow>>| {
            let log = log.clone();
            crate::task::spawn(async move { log.position(1).await })
        };
        let first = reading(&log);
        log.until_reads(1).await;
        let (second, third) = (reading(&log), reading(&log));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        first.abort();
        log.until_reads(2).await;
        log.log.now.store(1, Ordering::SeqCst);
        let fourth = reading(&log);
        second.abort();
        assert_eq!(
            third.await.expect("read"),
            1,
            "begun again with the one who is left"
        );
        assert_eq!(fourth.await.expect("read"), 1);
        assert!(lock(&log.wanted).is_empty());
    }

    #[tokio::test]
    async fn failures_are_shared_and_only_so_many_pages_are_read_at_once() {
        let log = SharedReads::of(Slow::default());
        let failed = join_all((0..50).map(|_| log.read(503, 0, 100))).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!(log.reads(), 2, "the first one's, and that of all the others");
        join_all((0..50).map(|room| log.position(room))).await;
        assert_eq!(log.reads(), 52);
        assert_eq!(log.log.most_at_once.load(Ordering::SeqCst), AT_ONCE);
    }
}
