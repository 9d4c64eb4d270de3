//! Whose turn it is to write.
//!
//! On the servers a turn is a place in the pool, and each turn is one transaction. SQLite has one
//! writer, so there is one turn, and a commit costs more than most work: a sync, and the pages of
//! every index once more in the log. So writers that wait for each other share one transaction, a
//! savepoint each. Whoever finds somebody waiting when its work is done leaves the transaction
//! open; whoever finds nobody commits, and tells the others. There is no timer: a transaction that
//! nobody waits for is committed as soon as ever, and nobody is answered before the commit.
//!
//! * An error rolls back to the savepoint of its writer and is nobody else's business. Its writer may
//!   have seen what the others did, so it is told after the commit as well.
//! * When the commit fails it fails for all of them.
//! * A writer that gave up waiting leaves a transaction that nobody commits; those in it look for
//!   that after [`LEFT_ALONE`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use tokio::sync::{Semaphore, oneshot};

use super::{Db, DbError, DbKind};

/// A shared transaction takes no more members than this ...
const MOST: usize = 64;
/// ... and none after this, so that writers beside the lane get their turn as well.
const LONGEST: Duration = Duration::from_millis(10);
const LEFT_ALONE: Duration = Duration::from_millis(5);

/// The turns of one database.
pub(super) struct Lane {
    turns: Semaphore,
    size: u32,
    timeout: Duration,
    /// Writers without a turn yet.
    waiting: AtomicUsize,
    /// The transaction that the last turn left open for the next one.
    open: Mutex<Option<Group>>,
    /// Held while hooks run, and taken before the turn is given back: they keep the order of the
    /// commits, and keep nobody from beginning the next transaction.
    telling: Mutex<()>,
}

impl Lane {
    pub fn new(kind: DbKind, connections: u32, timeout: Duration) -> Self {
        let size = if kind == DbKind::Sqlite { 1 } else { connections };
        Lane {
            turns: Semaphore::new(size as usize),
            size,
            timeout,
            waiting: AtomicUsize::new(0),
            open: Mutex::new(None),
            telling: Mutex::default(),
        }
    }

    /// Turns that are taken, and how many there are.
    pub fn usage(&self) -> (u32, u32) {
        let free = u32::try_from(self.turns.available_permits()).unwrap_or(u32::MAX);
        (self.size.saturating_sub(free), self.size)
    }

    fn telling(&self) -> MutexGuard<'_, ()> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_open(&self) -> Option<Group> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Counts a writer that has no turn yet, however its wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(lane: &'a Lane) -> Self {
        lane.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(&lane.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is to be done after a commit. Behind a lock because a transaction is shared by reference.
pub(super) type Hooks = Mutex<Vec<Box<dyn FnOnce() + Send>>>;

/// A writer that waits for the commit of others.
struct Member {
    told: oneshot::Sender<Result<(), DbError>>,
    hooks: Hooks,
}

/// A transaction and the writers that wait for its commit.
struct Group {
    tx: DatabaseTransaction,
    begun: Instant,
    members: Vec<Member>,
}

impl Group {
    /// Hooks run in the order in which the work was done, those of the last writer at the end: what
    /// is told of one row must not overtake what was told of it before.
    async fn commit(self, lane: &Lane, turn: impl Send, last: Hooks) -> Result<(), DbError> {
        let result = self.tx.commit().await.map_err(DbError::from);
        let _in_order = lane.telling();
        drop(turn);
        for member in self.members {
            if result.is_ok() {
                run(member.hooks);
            }
            // A member that is gone does not care.
            let _ = member.told.send(result.clone());
        }
        if result.is_ok() {
            run(last);
        }
        result
    }

    /// The transaction itself is broken: nobody's work is stored.
    async fn fail(self, error: &DbError) {
        if let Err(e) = self.tx.rollback().await {
            tracing::debug!(error = %e, "rollback failed");
        }
        for member in self.members {
            let _ = member.told.send(Err(error.clone()));
        }
    }
}

/// A hook that panics is its own fault only: what the others wait for is stored.
fn run(hooks: Hooks) {
    for hook in hooks.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if catch_unwind(AssertUnwindSafe(hook)).is_err() {
            tracing::error!("what was to be done after a commit panicked");
        }
    }
}

/// The right to write. Given back when dropped; an open group goes to the next one then.
pub(super) struct Turn {
    db: Db,
    begun: Instant,
    /// Set when this writer has a savepoint in a transaction that it shares.
    group: Option<Group>,
}

impl Turn {
    /// Waits for a turn and begins a transaction, or a savepoint in the open one.
    ///
    /// # Errors
    /// `Overloaded` after the timeout; as the database says.
    pub async fn begin(db: &Db) -> Result<(Self, DatabaseTransaction), DbError> {
        let lane = &db.0.lane;
        let waiting = Waiting::on(lane);
        tokio::time::timeout(lane.timeout, lane.turns.acquire())
            .await
            .map_err(|_| DbError::Overloaded)?
            .map_err(|_| DbError::Cancelled)?
            .forget();
        let mut turn = Turn {
            db: db.clone(),
            begun: Instant::now(),
            group: None,
        };
        drop(waiting);
        if let Some(group) = lane.take_open() {
            return match group.tx.begin().await {
                Ok(savepoint) => {
                    turn.group = Some(group);
                    Ok((turn, savepoint))
                }
                Err(e) => {
                    let error = DbError::from(e);
                    group.fail(&error).await;
                    Err(error)
                }
            };
        }
        let options = TransactionOptions {
            sqlite_transaction_mode: (db.kind() == DbKind::Sqlite)
                .then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = db.0.writer.begin_with_options(options).await?;
        Ok((turn, tx))
    }

    /// When the wait for it was over.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns when the work is stored for good and the hooks have run.
    ///
    /// # Errors
    /// It is not stored; then no hook has run.
    pub async fn commit(mut self, tx: DatabaseTransaction, hooks: Hooks) -> Result<(), DbError> {
        let group = match self.group.take() {
            None if !self.is_shared(0, self.begun) => {
                tx.commit().await?;
                let db = self.db.clone();
                let _in_order = db.0.lane.telling();
                drop(self);
                run(hooks);
                return Ok(());
            }
            None => Group {
                tx,
                begun: self.begun,
                members: Vec::new(),
            },
            Some(group) => {
                if let Err(e) = tx.commit().await {
                    let error = DbError::from(e);
                    group.fail(&error).await;
                    return Err(error);
                }
                group
            }
        };
        self.end(group, hooks).await
    }

    /// Forgets this writer's work. Others in the same transaction keep theirs.
    ///
    /// # Errors
    /// The transaction it shared is not stored, so whatever it saw there never happened.
    pub async fn rollback(mut self, tx: DatabaseTransaction) -> Result<(), DbError> {
        let result = tx.rollback().await.map_err(DbError::from);
        if let Err(e) = &result {
            // The connection is gone or will be reset by the pool; the server rolls back itself.
            tracing::debug!(error = %e, "rollback failed");
        }
        match (self.group.take(), result) {
            (None, _) => Ok(()),
            (Some(group), Ok(())) => self.end(group, Hooks::default()).await,
            (Some(group), Err(error)) => {
                group.fail(&error).await;
                Err(error)
            }
        }
    }

    /// Commits the group, or leaves that to the next writer; returns when it is done.
    async fn end(mut self, mut group: Group, hooks: Hooks) -> Result<(), DbError> {
        if !self.is_shared(group.members.len(), group.begun) {
            let db = self.db.clone();
            return group.commit(&db.0.lane, self, hooks).await;
        }
        let (told, hear) = oneshot::channel();
        group.members.push(Member { told, hooks });
        self.group = Some(group);
        let db = self.db.clone();
        drop(self);
        wait(&db, hear).await
    }

    /// Does somebody wait who can go on with a transaction of this size and age?
    fn is_shared(&self, members: usize, begun: Instant) -> bool {
        self.db.kind() == DbKind::Sqlite
            && self.db.0.lane.waiting.load(Ordering::Acquire) > 0
            && members + 1 < MOST
            && begun.elapsed() < LONGEST
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let lane = &self.db.0.lane;
        if let Some(group) = self.group.take() {
            *lane.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
        }
        lane.turns.add_permits(1);
    }
}

/// Waits until the transaction that this writer left open is over.
async fn wait(db: &Db, mut hear: oneshot::Receiver<Result<(), DbError>>) -> Result<(), DbError> {
    loop {
        match tokio::time::timeout(LEFT_ALONE, &mut hear).await {
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => return Err(DbError::Cancelled),
            Err(_) => {}
        }
        let lane = &db.0.lane;
        if let Ok(turn) = lane.turns.try_acquire()
            && let Some(group) = lane.take_open()
        {
            // This writer is one of its members, or will find its own answer next time.
            drop(group.commit(lane, turn, Hooks::default()).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;
    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::db::{DbSettings, SqliteSync, Tx, dialect};

    fn settings(folder: &tempfile::TempDir) -> DbSettings {
        DbSettings {
            kind: DbKind::Sqlite,
            url: format!("sqlite://{}", folder.path().join("t.db").display()).into(),
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
            sqlite_sync: SqliteSync::Off,
        }
    }

    async fn database(folder: &tempfile::TempDir) -> Db {
        let db = Db::connect(&settings(folder)).await.expect("opens");
        let sql = "CREATE TABLE t (n INTEGER NOT NULL UNIQUE)";
        db.writer().execute_unprepared(sql).await.expect("made");
        db
    }

    async fn add(db: &Db, n: i64, heard: &Arc<AtomicUsize>) -> Result<(), DbError> {
        let heard = heard.clone();
        db.write("test", move |tx: Tx| {
            let heard = heard.clone();
            async move {
                tx.after_commit(move || {
                    heard.fetch_add(1, Ordering::SeqCst);
                });
                dialect::execute(&tx, "INSERT INTO t (n) VALUES (?)", [n.into()]).await?;
                assert!(n != 13, "a panic in a closure");
                Ok(())
            }
        })
        .await
    }

    async fn count(db: &Db) -> i64 {
        let stmt = dialect::statement(db.reader().get_database_backend(), "SELECT COUNT(*) FROM t", []);
        let row = db
            .reader()
            .query_one_raw(stmt)
            .await
            .expect("answers")
            .expect("a row");
        row.try_get_by_index(0).expect("a number")
    }

    /// Each writer's outcome is its own, whoever shared a transaction with it.
    #[tokio::test(flavor = "multi_thread")]
    async fn writers_that_share_a_commit_do_not_share_their_errors() {
        let folder = tempfile::tempdir().expect("folder");
        let db = database(&folder).await;
        let heard = Arc::new(AtomicUsize::new(0));
        // Every tenth number comes twice, and 13 panics.
        let tasks = (0..220_i64).map(|i| {
            let (db, heard) = (db.clone(), heard.clone());
            let n = if i < 200 { i } else { (i - 200) * 10 };
            crate::task::spawn(async move { add(&db, n, &heard).await })
        });
        let outcomes = join_all(tasks).await;
        let panicked = outcomes.iter().filter(|o| o.is_err()).count();
        let (mut good, mut twice) = (0, 0);
        for outcome in outcomes.into_iter().flatten() {
            match outcome {
                Ok(()) => good += 1,
                Err(DbError::Unique { .. }) => twice += 1,
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!((panicked, good, twice), (1, 199, 20));
        assert_eq!(count(&db).await, 199);
        assert_eq!(heard.load(Ordering::SeqCst), 199);
    }

    /// On a full disk SQLite ends the transaction by itself. What is written later is stored none the less.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_written_after_a_full_disk_is_stored() {
        let folder = tempfile::tempdir().expect("folder");
        let db = database(&folder).await;
        let heard = Arc::new(AtomicUsize::new(0));
        for round in 0..3 {
            // Of this connection only; a new one has room again.
            let full = "PRAGMA max_page_count = 1";
            db.writer().execute_unprepared(full).await.expect("limited");
            let big = db.write("big", |tx: Tx| async move {
                dialect::execute(&tx, "CREATE TABLE u AS SELECT zeroblob(100000) AS b", []).await?;
                Ok::<_, DbError>(())
            });
            let (a, b) = (add(&db, 100 + round, &heard), add(&db, 200 + round, &heard));
            let (big, a, b) = tokio::join!(big, a, b);
            assert!(matches!(&big, Err(e) if e.is_transient()), "{big:?}");
            let before = count(&db).await;
            add(&db, round, &heard).await.expect("there is room again");
            // A reader sees it: it was committed, not only released inside of something larger.
            assert_eq!(count(&db).await, before + 1, "{a:?} {b:?}");
        }
        let stored = usize::try_from(count(&db).await).expect("a count");
        assert_eq!(
            stored,
            heard.load(Ordering::SeqCst),
            "those that were told, and nothing else"
        );
    }

    /// Whoever commits for others does not overtake them.
    #[tokio::test(flavor = "multi_thread")]
    async fn hooks_run_in_the_order_of_the_work() {
        let folder = tempfile::tempdir().expect("folder");
        let db = database(&folder).await;
        let (stored, heard) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let tasks = (0..200_i64).map(|n| {
            let (db, stored, heard) = (db.clone(), stored.clone(), heard.clone());
            crate::task::spawn(async move {
                db.write("test", move |tx: Tx| {
                    let (stored, heard) = (stored.clone(), heard.clone());
                    async move {
                        dialect::execute(&tx, "INSERT INTO t (n) VALUES (?)", [n.into()]).await?;
                        stored.lock().expect("list").push(n);
                        tx.after_commit(move || heard.lock().expect("list").push(n));
                        assert!(n % 50 != 49 || n < 100, "a panic in a closure");
                        Ok::<_, DbError>(())
                    }
                })
                .await
            })
        });
        let outcomes = join_all(tasks).await;
        let kept = |n: &i64| outcomes[usize::try_from(*n).expect("small")].is_ok();
        let stored: Vec<i64> = stored
            .lock()
            .expect("list")
            .iter()
            .copied()
            .filter(kept)
            .collect();
        assert_eq!(*heard.lock().expect("list"), stored);
        assert_eq!(stored.len(), 198);
    }

    /// A writer that gives up waiting must not leave the others without a commit.
    #[tokio::test]
    async fn a_transaction_left_alone_is_committed() {
        let folder = tempfile::tempdir().expect("folder");
        let db = database(&folder).await;
        let heard = Arc::new(AtomicUsize::new(0));
        // Pretends to wait, and never comes.
        let ghost = Waiting::on(&db.0.lane);
        add(&db, 1, &heard).await.expect("committed");
        drop(ghost);
        assert_eq!((count(&db).await, heard.load(Ordering::SeqCst)), (1, 1));
        assert_eq!(db.lane_usage(), (0, 1));
    }
}
