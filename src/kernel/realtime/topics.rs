//! Who listens to what in this process.
//!
//! A shard is locked while a frame is put into the buffers of a topic, so that all subscribers see
//! one order. Nothing under the lock waits.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use super::frame::{Frame, Mailbox};
use super::lock;
use crate::telemetry::Metrics;

const SHARDS: usize = 16;

type Shard = HashMap<Arc<str>, Vec<Arc<Mailbox>>>;

pub(super) struct Topics {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    metrics: Metrics,
}

impl Topics {
    pub fn new(metrics: Metrics) -> Self {
        Topics {
            shards: Default::default(),
            hasher: RandomState::new(),
            metrics,
        }
    }

    fn shard(&self, topic: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(topic);
        // The remainder is below 16.
        &self.shards[(hash % SHARDS as u64) as usize]
    }

    /// Adds a subscriber. `true`: it is the first of its topic.
    pub fn add(&self, topic: &Arc<str>, mailbox: Arc<Mailbox>) -> bool {
        let mut shard = lock(self.shard(topic));
        let list = shard.entry(topic.clone()).or_default();
        list.push(mailbox);
        let is_first = list.len() == 1;
        self.metrics.realtime.subscribers.inc();
        if is_first {
            self.metrics.realtime.topics.inc();
        }
        is_first
    }

    /// Removes a subscriber if it is still there. `true`: it was the last of its topic.
    pub fn remove(&self, topic: &str, mailbox: &Arc<Mailbox>) -> bool {
        let mut shard = lock(self.shard(topic));
        let Some(list) = shard.get_mut(topic) else {
            return false;
        };
        let Some(at) = list.iter().position(|m| Arc::ptr_eq(m, mailbox)) else {
            return false;
        };
        list.remove(at);
        self.metrics.realtime.subscribers.dec();
        self.forget_if_empty(&mut shard, topic)
    }

    /// Puts a frame into every buffer and removes the subscribers whose buffer is full. `true`:
    /// no subscriber is left.
    pub fn deliver(&self, topic: &str, frame: &Frame) -> bool {
        let mut shard = lock(self.shard(topic));
        let Some(list) = shard.get_mut(topic) else {
            return false;
        };
        let before = list.len();
        list.retain(|mailbox| mailbox.push(frame));
        let lagged = before - list.len();
        if lagged == 0 {
            return false;
        }
        self.metrics.realtime.lagged.inc_by(lagged as u64);
        self.metrics
            .realtime
            .subscribers
            .sub(i64::try_from(lagged).unwrap_or(0));
        self.forget_if_empty(&mut shard, topic)
    }

    fn forget_if_empty(&self, shard: &mut Shard, topic: &str) -> bool {
        let is_empty = shard.get(topic).is_some_and(Vec::is_empty);
        if is_empty {
            shard.remove(topic);
            self.metrics.realtime.topics.dec();
        }
        is_empty
    }

    pub fn contains(&self, topic: &str) -> bool {
        lock(self.shard(topic)).contains_key(topic)
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).keys().cloned().collect::<Vec<_>>())
            .collect()
    }

    pub fn close_all(&self) {
        for shard in &self.shards {
            lock(shard).values().flatten().for_each(|mailbox| mailbox.close());
        }
    }
}
