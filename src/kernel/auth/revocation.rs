//! How a revocation reaches every process.
//!
//! Whoever revokes commits first (the change includes a row in `auth_changes`), then publishes on
//! the bus, which evicts in this process and waits until the other instances said they did. A
//! process keeps cached validity only while [`RevocationBus::is_up`]; see [`super::cache`].
//!
//! `auth_changes` is the second way, for what has no bus: commands, and several processes without
//! Redis. Every `serve` polls it each second with [`follow_changes`].

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, ExprTrait, Func, Order, Query};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use crate::db::{Db, DbError, Tx};
use crate::ids::{SessionId, UserId};

/// Rows written by one statement.
const MOST_ROWS: usize = 500;

/// What changed. Also the message on the wire between instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuthChange {
    /// One session ended.
    Session { user: UserId, session: SessionId },
    /// Every credential of the user must be looked at again: sessions, keys, rights.
    User { user: UserId },
    /// Only what others see of the user changed (name, avatar).
    Profile { user: UserId },
}

impl AuthChange {
    pub fn user(self) -> UserId {
        match self {
            AuthChange::Session { user, .. } | AuthChange::User { user } | AuthChange::Profile { user } => {
                user
            }
        }
    }

    fn kind(self) -> &'static str {
        match self {
            AuthChange::Session { .. } => "session",
            AuthChange::User { .. } => "user",
            AuthChange::Profile { .. } => "profile",
        }
    }

    /// Writes the rows that tell processes without a bus. Part of the transaction that makes the
    /// changes.
    ///
    /// # Errors
    /// As the database says.
    pub async fn record(
        changes: &[Self],
        tx: &Tx,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<(), DbError> {
        for some in changes.chunks(MOST_ROWS) {
            let mut insert = Query::insert()
                .into_table("auth_changes")
                .columns(["user_id", "session_id", "kind", "created_at"])
                .take();
            for change in some {
                let session = match change {
                    AuthChange::Session { session, .. } => Some(session.0),
                    AuthChange::User { .. } | AuthChange::Profile { .. } => None,
                };
                insert.values_panic([
                    change.user().0.into(),
                    session.into(),
                    change.kind().into(),
                    now.into(),
                ]);
            }
            tx.execute(&insert).await?;
        }
        Ok(())
    }
}

/// What a listener is.
pub type Listener = Box<dyn Fn(AuthChange) + Send + Sync>;

/// Carries changes to every process.
#[async_trait]
pub trait RevocationBus: Send + Sync + 'static {
    /// Evicts here, tells the others, and returns when all of them confirmed or after 300 ms.
    async fn publish(&self, change: AuthChange);

    /// Would this process hear of a revocation made elsewhere?
    fn is_up(&self) -> bool;

    /// Grows with every loss of the connection: what was cached before it is void.
    fn epoch(&self) -> u64;

    /// Called for every change, made here or elsewhere. Must not block.
    fn on_change(&self, listener: Listener);

    /// Hands a change that was found in `auth_changes` to the listeners of this process only.
    fn deliver(&self, change: AuthChange);
}

/// The bus of a process that shares its data with no other instance, or only through the database.
/// It is up while `auth_changes` can be read.
#[derive(Clone, Default)]
pub struct LocalBus(Arc<LocalInner>);

#[derive(Default)]
struct LocalInner {
    listeners: RwLock<Vec<Listener>>,
    epoch: AtomicU64,
    /// Negated, so that a new bus is up.
    down: AtomicBool,
}

impl LocalBus {
    pub fn new() -> Self {
        Self::default()
    }

    /// Voids everything that was remembered until now.
    pub fn start_epoch(&self) {
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Told by [`follow_changes`] whether the database answers.
    pub fn set_up(&self, up: bool) {
        if self.0.down.swap(!up, Ordering::AcqRel) == up {
            self.start_epoch();
        }
    }
}

#[async_trait]
impl RevocationBus for LocalBus {
    async fn publish(&self, change: AuthChange) {
        self.deliver(change);
    }

    fn is_up(&self) -> bool {
        !self.0.down.load(Ordering::Acquire)
    }

    fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    fn on_change(&self, listener: Listener) {
        self.0
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
    }

    fn deliver(&self, change: AuthChange) {
        for listener in self
            .0
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            listener(change);
        }
    }
}

/// How far back each poll looks again: a row with a smaller id may be committed after one with a
/// larger one.
const LOOK_BACK: i64 = 512;
const POLL_EVERY: Duration = Duration::from_secs(1);

#[derive(FromQueryResult)]
struct ChangeRow {
    id: i64,
    user_id: i64,
    session_id: Option<i64>,
    kind: String,
}

/// Reads `auth_changes`, one poll at a time.
pub struct ChangeFollower {
    db: Db,
    newest: i64,
    seen: HashSet<i64>,
}

impl ChangeFollower {
    /// Starts behind everything that is already there.
    ///
    /// # Errors
    /// As the database says.
    pub async fn start(db: Db) -> Result<Self, DbError> {
        let mut follower = ChangeFollower {
            db,
            newest: 0,
            seen: HashSet::new(),
        };
        let select = Query::select()
            .expr(Func::max(Expr::col("id")))
            .from("auth_changes")
            .take();
        let row = follower.db.reader().query_one(&select).await?;
        let newest: Option<i64> = row.map_or(Ok(None), |r| r.try_get_by_index(0))?;
        follower.newest = newest.unwrap_or(0);
        follower.poll().await?;
        Ok(follower)
    }

    /// Changes that were not seen before.
    ///
    /// # Errors
    /// As the database says.
    pub async fn poll(&mut self) -> Result<Vec<AuthChange>, DbError> {
        let select = Query::select()
            .columns(["id", "user_id", "session_id", "kind"])
            .from("auth_changes")
            .and_where(Expr::col("id").gt(self.newest - LOOK_BACK))
            .order_by("id", Order::Asc)
            .take();
        let mut fresh = Vec::new();
        for row in self.db.reader().query_all(&select).await? {
            let row = ChangeRow::from_query_result(&row, "")?;
            self.newest = Ord::max(self.newest, row.id);
            if self.seen.insert(row.id) {
                fresh.push(row.into());
            }
        }
        let oldest = self.newest - LOOK_BACK;
        self.seen.retain(|id| *id > oldest);
        Ok(fresh)
    }
}

impl From<ChangeRow> for AuthChange {
    fn from(row: ChangeRow) -> Self {
        let user = UserId(row.user_id);
        match (row.kind.as_str(), row.session_id) {
            ("session", Some(session)) => AuthChange::Session {
                user,
                session: SessionId(session),
            },
            ("profile", _) => AuthChange::Profile { user },
            // An unknown kind, written by a newer version, gets the widest meaning.
            _ => AuthChange::User { user },
        }
    }
}

/// Delivers what other processes wrote into `auth_changes`, each second, for ever. `report` hears
/// whether the last poll worked; [`LocalBus::set_up`] is the usual one.
pub async fn follow_changes(db: Db, bus: Arc<dyn RevocationBus>, report: impl Fn(bool) + Send) {
    let mut follower = None;
    loop {
        let polled = match &mut follower {
            None => ChangeFollower::start(db.clone()).await.map(|started| {
                follower = Some(started);
                Vec::new()
            }),
            Some(follower) => follower.poll().await,
        };
        match polled {
            Ok(changes) => {
                changes.into_iter().for_each(|change| bus.deliver(change));
                report(true);
            }
            Err(error) => {
                tracing::warn!(error = %error, "revocations of other processes cannot be read; sessions are checked in the database");
                report(false);
            }
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_hear_changes_and_a_loss_starts_a_new_epoch() {
        let bus = LocalBus::new();
        let heard = Arc::new(AtomicU64::new(0));
        let counter = heard.clone();
        bus.on_change(Box::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        bus.publish(AuthChange::User { user: UserId(1) }).await;
        assert_eq!(heard.load(Ordering::Relaxed), 1);
        assert!(bus.is_up());
        let before = bus.epoch();
        bus.set_up(true);
        assert_eq!(bus.epoch(), before);
        bus.set_up(false);
        assert!(!bus.is_up());
        bus.set_up(true);
        assert!(bus.is_up() && bus.epoch() > before);
    }
}
