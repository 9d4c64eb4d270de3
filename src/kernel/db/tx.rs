//! A running write transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::DbError;
use super::lane::{Hooks, Turn};

/// Handed to the closure of [`super::Db::write`]. Use it as the connection of every query.
#[derive(Clone)]
pub struct Tx(Arc<TxInner>);

struct TxInner {
    // Declared before the turn: dropping rolls back first and frees the lane after.
    inner: DatabaseTransaction,
    hooks: Hooks,
    conflict: AtomicBool,
    turn: Turn,
}

impl Tx {
    pub(super) fn new(inner: DatabaseTransaction, turn: Turn) -> Self {
        Tx(Arc::new(TxInner {
            inner,
            hooks: Hooks::default(),
            conflict: AtomicBool::new(false),
            turn,
        }))
    }

    /// Runs `hook` after the commit, in order of registration. Not at all on a rollback, and once
    /// only however often the closure ran.
    pub fn after_commit(&self, hook: impl FnOnce() + Send + 'static) {
        self.0
            .hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(hook));
    }

    /// A deadlock or serialization failure happened in one of the queries.
    pub(super) fn saw_conflict(&self) -> bool {
        self.0.conflict.load(Ordering::Relaxed)
    }

    pub(super) async fn commit(self) -> Result<(), DbError> {
        let TxInner {
            inner, hooks, turn, ..
        } = Arc::try_unwrap(self.0).map_err(|_| DbError::TxEscaped)?;
        turn.commit(inner, hooks).await
    }

    pub(super) async fn rollback(self) -> Result<(), DbError> {
        match Arc::try_unwrap(self.0) {
            Ok(TxInner { inner, turn, .. }) => turn.rollback(inner).await,
            // Dropped by the last clone, which rolls back as well.
            Err(_) => Ok(()),
        }
    }

    fn noting<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(e) = &result
            && super::error::is_conflict(e)
        {
            self.0.conflict.store(true, Ordering::Relaxed);
        }
        result
    }
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.0.inner.get_database_backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.noting(self.0.inner.execute_raw(stmt).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.noting(self.0.inner.execute_unprepared(sql).await)
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.noting(self.0.inner.query_one_raw(stmt).await)
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.noting(self.0.inner.query_all_raw(stmt).await)
    }
}
