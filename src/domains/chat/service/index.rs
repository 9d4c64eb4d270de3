//! Keeping the index of what was said: messages enter it behind those who send.
//!
//! * **Marks.** A room is indexed up to a `seq`, which has no gaps and is given out with the room
//!   locked, so nothing that commits late is skipped. Messages are read with the mark locked.
//! * **A job** (`index_chat`) moves the marks, in short transactions over several rooms. It is named
//!   the rooms where something was said: after the commit they are gathered in memory, for half a
//!   second, and then there is at most one live job of this process.
//! * Whatever is lost on the way (a process that dies, a job that was given up, a database that was
//!   filled before it had an index) is found every minute, as rooms whose mark lags behind.
//! * **Edits and deletions** change the index themselves, with the mark locked, if it has passed them.
//!   Who locks both locks the room first, then the mark, then messages.
//!
//! Nobody waits for any of this: a search reads what lies behind the mark itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use yunque_kernel::db::text_index::Indexed;
use yunque_kernel::queue::NewJob;
use yunque_kernel::{DbError, Tx};

use crate::jobs::IndexChat;
use crate::repo::{self, MESSAGE_INDEX};
use crate::{Core, entity::message};

/// Between a message and the job that indexes it.
const PAUSE: Duration = Duration::from_millis(500);
/// When there could be no job.
const LONG_PAUSE: Duration = Duration::from_secs(2);
/// Rooms that one job is named.
const NAMED: usize = 2000;
/// Rooms and messages of one transaction, and about how many bytes of text.
const ROOMS: usize = 50;
const MESSAGES: i64 = 250;
const BYTES: usize = 64 * 1024;
/// Rooms that lag behind, at a time.
const PAGE: u64 = 500;
/// A run ends after this, so that others of its queue get their turn; the next one goes on.
const LONGEST: Duration = Duration::from_secs(300);

/// Rooms where something was said since the last job.
#[derive(Clone)]
pub(crate) struct ToIndex(Arc<Gathered>);

struct Gathered {
    dedupe_key: String,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    rooms: BTreeSet<i64>,
    /// A task looks after them.
    is_tended: bool,
}

impl Default for ToIndex {
    fn default() -> Self {
        ToIndex(Arc::new(Gathered {
            dedupe_key: format!("index_chat:{}", Uuid::new_v4().simple()),
            waiting: Mutex::default(),
        }))
    }
}

impl ToIndex {
    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when nobody looks after them yet; whoever is told does from now on.
    fn add(&self, rooms: impl IntoIterator<Item = i64>) -> bool {
        self.with(|waiting| {
            waiting.rooms.extend(rooms);
            !waiting.rooms.is_empty() && !std::mem::replace(&mut waiting.is_tended, true)
        })
    }

    /// Those for one job. When there are none nobody looks after them any more.
    fn take(&self) -> Vec<i64> {
        self.with(|waiting| {
            let taken: Vec<i64> = waiting.rooms.iter().copied().take(NAMED).collect();
            waiting.rooms = waiting.rooms.split_off(&taken.last().map_or(0, |last| last + 1));
            waiting.is_tended = !taken.is_empty();
            taken
        })
    }
}

impl Core {
    /// Has what was said in rooms indexed, soon after the commit.
    pub(crate) fn index_after_commit(&self, tx: &Tx, rooms: impl IntoIterator<Item = i64>) {
        let (core, rooms) = (self.clone(), Vec::from_iter(rooms));
        tx.after_commit(move || {
            if core.to_index.add(rooms) {
                yunque_kernel::task::spawn(core.tend_index());
            }
        });
    }

    async fn tend_index(self) {
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let rooms = self.to_index.take();
            if rooms.is_empty() {
                return;
            }
            let job = NewJob::new(&IndexChat { rooms: rooms.clone() });
            let enqueued = self.enqueue_alone(job.dedupe(&self.to_index.0.dedupe_key)).await;
            pause = match &enqueued {
                Ok(_) => PAUSE,
                Err(_) => LONG_PAUSE,
            };
            if let Err(error) = &enqueued {
                tracing::debug!(%error, "rooms to index wait for a job");
            }
            if !enqueued.unwrap_or(false) {
                // The job before this one is still there.
                self.to_index.add(rooms);
            }
        }
    }

    /// Indexes what these rooms have, or all that lag behind if none is named.
    pub(crate) async fn index_rooms(&self, rooms: &[i64], stop: &CancellationToken) -> Result<(), DbError> {
        let end = Instant::now() + LONGEST;
        if !rooms.is_empty() {
            return self.index_some(rooms, end, stop).await;
        }
        let unmarked = repo::list_unmarked_rooms(self.ctx.db.reader(), PAGE).await?;
        if !unmarked.is_empty() {
            let mark = move |tx: Tx| {
                let rooms = unmarked.clone();
                async move { repo::insert_search_marks(&tx, &rooms).await }
            };
            self.ctx.db.write("chat.search_marks", mark).await?;
        }
        let mut after = 0;
        loop {
            let page = repo::list_unindexed_rooms(self.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = *last;
            self.index_some(&page, end, stop).await?;
            if Instant::now() > end || stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    async fn index_some(&self, rooms: &[i64], end: Instant, stop: &CancellationToken) -> Result<(), DbError> {
        let mut waiting: VecDeque<i64> = rooms.iter().copied().collect();
        while !waiting.is_empty() && Instant::now() < end && !stop.is_cancelled() {
            let mut some: Vec<i64> = waiting.drain(..waiting.len().min(ROOMS)).collect();
            some.sort_unstable();
            let core = self.clone();
            let step = move |tx: Tx| {
                let (core, some) = (core.clone(), some.clone());
                async move { core.index_step(&tx, &some).await }
            };
            // Whoever has much left stands behind those who have little.
            waiting.extend(self.ctx.db.write("chat.index", step).await?);
        }
        Ok(())
    }

    /// Moves the marks of rooms, and returns those that have more to index.
    async fn index_step(&self, tx: &Tx, rooms: &[i64]) -> Result<Vec<i64>, DbError> {
        let last: BTreeMap<i64, i64> = repo::list_last_seqs(tx, rooms).await?.into_iter().collect();
        let known: Vec<i64> = last.keys().copied().collect();
        let marks = repo::lock_search_marks(tx, &known).await?;
        let mut left = MESSAGES;
        let mut ranges = Vec::new();
        for (room, mark) in &marks {
            let upto = last[room].min(mark + left);
            if upto > *mark {
                left -= upto - mark;
                ranges.push((*room, *mark, upto));
            }
        }
        if ranges.is_empty() {
            return Ok(behind(&marks, &last));
        }
        let mut moved: BTreeMap<i64, i64> = ranges.iter().map(|(room, _, upto)| (*room, *upto)).collect();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let found = repo::list_unindexed(tx, &ranges).await?;
        for row in &found {
            if bytes > BYTES {
                // This one and what follows is for the next transaction.
                let is_before = |room: &i64, upto: &mut i64| {
                    *upto = row.seq - 1;
                    *room == row.room_id && *upto > marks[room]
                };
                moved.retain(|room, upto| *room < row.room_id || is_before(room, upto));
                break;
            }
            bytes += row.content.len();
            if !row.is_deleted {
                rows.push(Indexed {
                    id: row.id,
                    scope: row.room_id,
                    text: &row.content,
                });
            }
        }
        MESSAGE_INDEX.put(tx, &rows).await?;
        repo::update_search_marks(tx, &moved).await?;
        let marks = marks.into_iter().chain(moved).collect();
        Ok(behind(&marks, &last))
    }

    /// Brings the index up to date with a message that is about to get other content, in its locked
    /// room; `None` takes it out. What the mark has not reached is left to the job.
    pub(crate) async fn reindex(
        &self,
        tx: &Tx,
        row: &message::Model,
        content: Option<&str>,
    ) -> Result<(), DbError> {
        let marks = repo::lock_search_marks(tx, &[row.room_id]).await?;
        if marks.get(&row.room_id).is_none_or(|mark| *mark < row.seq) {
            return Ok(());
        }
        let old = Indexed {
            id: row.id,
            scope: row.room_id,
            text: &row.content,
        };
        MESSAGE_INDEX.remove(tx, old).await?;
        match content {
            Some(text) => MESSAGE_INDEX.put(tx, &[Indexed { text, ..old }]).await,
            None => Ok(()),
        }
    }
}

/// Rooms whose mark is not at their last message.
fn behind(marks: &BTreeMap<i64, i64>, last: &BTreeMap<i64, i64>) -> Vec<i64> {
    let is_behind = |room: &&i64| marks.get(*room).is_some_and(|mark| *mark < last[*room]);
    last.keys().filter(is_behind).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_looks_after_the_rooms() {
        let rooms = ToIndex::default();
        assert!(rooms.add([3, 1]));
        assert!(!rooms.add([2, 3]));
        assert_eq!(rooms.take(), [1, 2, 3]);
        assert!(!rooms.add([4]), "until there are none");
        assert_eq!(rooms.take(), [4]);
        assert_eq!(rooms.take(), Vec::<i64>::new());
        assert!(rooms.add([5]));
        assert!(!ToIndex::default().add([]));
        let many = ToIndex::default();
        many.add(0..NAMED as i64 + 5);
        assert_eq!(many.take().len(), NAMED);
        assert_eq!(many.take().len(), 5);
    }

    #[test]
    fn rooms_with_more_to_index_are_named() {
        let marks = BTreeMap::from([(1, 5), (2, 9)]);
        let last = BTreeMap::from([(1, 9), (2, 9), (3, 9)]);
        assert_eq!(behind(&marks, &last), [1]);
    }
}
