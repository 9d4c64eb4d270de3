//! The kinds a process knows, behind one object-safe face.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use super::job::{Job, JobContext, JobError, Plan};
use crate::db::{Db, DbError, Tx};

/// A registered kind with its payload still as text.
#[async_trait]
pub(super) trait Kind: Send + Sync {
    fn plan(&self) -> Plan;
    fn timeout(&self, payload: &str) -> Duration;
    async fn run(&self, payload: &str, cx: &JobContext) -> Result<(), JobError>;
    async fn on_attempt_failed(&self, payload: &str, tx: &Tx, reason: &str) -> Result<(), DbError>;
    async fn on_dead(&self, payload: &str, tx: &Tx, reason: &str) -> Result<(), DbError>;
    async fn on_retry(&self, payload: &str, tx: &Tx) -> Result<(), JobError>;
    async fn on_cancel(&self, payload: &str, tx: &Tx) -> Result<(), DbError>;
    async fn expected(&self, db: &Db) -> Result<Option<Vec<String>>, DbError>;
}

struct Registered<J: Job> {
    domain: J::Domain,
    plan: Plan,
    payload: PhantomData<fn() -> J>,
}

impl<J: Job> Registered<J> {
    fn parse(payload: &str) -> Result<J, JobError> {
        serde_json::from_str(payload).map_err(|e| JobError::fail("payload cannot be read").caused_by(e))
    }
}

#[async_trait]
impl<J: Job> Kind for Registered<J> {
    fn plan(&self) -> Plan {
        self.plan
    }

    fn timeout(&self, payload: &str) -> Duration {
        let own = Self::parse(payload).ok().and_then(|j| j.timeout(&self.domain));
        own.unwrap_or(self.plan.timeout)
    }

    async fn run(&self, payload: &str, cx: &JobContext) -> Result<(), JobError> {
        Self::parse(payload)?.run(&self.domain, cx).await
    }

    async fn on_attempt_failed(&self, payload: &str, tx: &Tx, reason: &str) -> Result<(), DbError> {
        match Self::parse(payload) {
            Ok(job) => job.on_attempt_failed(&self.domain, tx, reason).await,
            Err(_) => Ok(()),
        }
    }

    async fn on_dead(&self, payload: &str, tx: &Tx, reason: &str) -> Result<(), DbError> {
        match Self::parse(payload) {
            Ok(job) => job.on_dead(&self.domain, tx, reason).await,
            Err(_) => Ok(()),
        }
    }

    async fn on_retry(&self, payload: &str, tx: &Tx) -> Result<(), JobError> {
        Self::parse(payload)?.on_retry(&self.domain, tx).await
    }

    async fn on_cancel(&self, payload: &str, tx: &Tx) -> Result<(), DbError> {
        match Self::parse(payload) {
            Ok(job) => job.on_cancel(&self.domain, tx).await,
            Err(_) => Ok(()),
        }
    }

    async fn expected(&self, db: &Db) -> Result<Option<Vec<String>>, DbError> {
        J::expected(&self.domain, db).await
    }
}

/// Counters of one kind in this process.
#[derive(Clone, Debug, Default)]
pub struct KindStats {
    pub kind: &'static str,
    pub done: u64,
    pub failed: u64,
    pub dead: u64,
    /// Sum of run times.
    pub busy: Duration,
}

#[derive(Default)]
pub(super) struct Counters {
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub dead: AtomicU64,
    pub busy_us: AtomicU64,
}

pub(super) struct Entry {
    pub kind: Arc<dyn Kind>,
    pub counters: Counters,
}

#[derive(Default)]
pub(super) struct Registry {
    kinds: RwLock<HashMap<&'static str, Arc<Entry>>>,
}

impl Registry {
    pub fn add<J: Job>(&self, domain: J::Domain, plan: Plan) {
        let kind = Arc::new(Registered::<J> {
            domain,
            plan,
            payload: PhantomData,
        });
        let entry = Arc::new(Entry {
            kind,
            counters: Counters::default(),
        });
        self.kinds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(J::KIND, entry);
    }

    pub fn get(&self, kind: &str) -> Option<Arc<Entry>> {
        self.kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(kind)
            .cloned()
    }

    pub fn plan(&self, kind: &str) -> Plan {
        self.get(kind).map(|e| e.kind.plan()).unwrap_or_default()
    }

    pub fn all(&self) -> Vec<(&'static str, Arc<Entry>)> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = kinds.iter().map(|(name, entry)| (*name, entry.clone())).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    pub fn stats(&self) -> Vec<KindStats> {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let row = |(kind, e): (&'static str, Arc<Entry>)| KindStats {
            kind,
            done: load(&e.counters.done),
            failed: load(&e.counters.failed),
            dead: load(&e.counters.dead),
            busy: Duration::from_micros(load(&e.counters.busy_us)),
        };
        self.all().into_iter().map(row).collect()
    }
}
