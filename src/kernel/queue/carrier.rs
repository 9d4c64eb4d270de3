//! Carries ids of due jobs to whoever has free slots: one ordered set per queue.
//!
//! A carrier may lose ids (the poller repeats them) and may hand one out twice (the claim in the
//! database decides). Adding an id that is already there changes nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::AsyncCommands;
use tokio::sync::Notify;

use crate::redis_link::RedisLink;

/// A due job on its way to a worker.
#[derive(Clone, Debug)]
pub struct Due {
    pub queue: Arc<str>,
    pub id: i64,
    /// The banded round; lower goes first.
    pub score: i64,
}

impl Due {
    pub(super) fn with_id(mut self, id: i64) -> Self {
        self.id = id;
        self
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Known to be away; asking again would only wait for a timeout.
    #[error("redis is away")]
    Away,
}

/// Redis when several processes share the work, memory in the embedded size.
#[derive(Clone)]
pub enum Carrier {
    Memory(MemoryCarrier),
    Redis(RedisLink),
}

impl Carrier {
    pub fn memory() -> Self {
        Carrier::Memory(MemoryCarrier::default())
    }

    pub fn redis(link: RedisLink) -> Self {
        Carrier::Redis(link)
    }

    pub fn is_shared(&self) -> bool {
        matches!(self, Carrier::Redis(_))
    }

    /// Adds ids to their queues. Tells the score at the head of each of these queues when other
    /// processes take from them.
    ///
    /// # Errors
    /// Redis did not take them.
    pub async fn push(&self, due: &[Due]) -> Result<Vec<(String, i64)>, CarrierError> {
        match self {
            Carrier::Memory(memory) => {
                memory.push(due);
                Ok(Vec::new())
            }
            Carrier::Redis(link) if !link.is_up() => Err(CarrierError::Away),
            Carrier::Redis(link) => {
                let mut by_queue: HashMap<&str, Vec<(i64, i64)>> = HashMap::new();
                for d in due {
                    by_queue.entry(&d.queue).or_default().push((d.score, d.id));
                }
                let mut pipe = redis::pipe();
                for (queue, members) in &by_queue {
                    let key = key(link, queue);
                    pipe.zadd_multiple(&key, members)
                        .ignore()
                        .zrange_withscores(&key, 0, 0);
                }
                let mut connection = link.connection().await?;
                let result = pipe.query_async::<Vec<Vec<(i64, f64)>>>(&mut connection).await;
                link.observe(&result);
                // Empty when somebody has taken everything already.
                let heads = by_queue.keys().zip(result?).filter_map(|(queue, head)| {
                    let (_, score) = head.first()?;
                    Some(((*queue).to_owned(), *score as i64))
                });
                Ok(heads.collect())
            }
        }
    }

    /// How many ids wait in a queue.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn len(&self, queue: &str) -> Result<u64, CarrierError> {
        match self {
            Carrier::Memory(memory) => Ok(memory.len(queue)),
            Carrier::Redis(link) if !link.is_up() => Err(CarrierError::Away),
            Carrier::Redis(link) => {
                let mut connection = link.connection().await?;
                let result = connection.zcard(key(link, queue)).await;
                link.observe(&result);
                Ok(result?)
            }
        }
    }

    /// A receiver for one queue, used by one claimer.
    pub(super) fn receiver(&self, queue: &str) -> Receiver {
        match self {
            Carrier::Memory(memory) => Receiver::Memory {
                memory: memory.clone(),
                queue: queue.to_owned(),
            },
            Carrier::Redis(link) => Receiver::Redis {
                link: link.clone(),
                key: key(link, queue),
                connection: None,
            },
        }
    }
}

fn key(link: &RedisLink, queue: &str) -> String {
    link.key(format_args!("q:{queue}"))
}

/// Pops ids of one queue.
pub(super) enum Receiver {
    Memory {
        memory: MemoryCarrier,
        queue: String,
    },
    Redis {
        link: RedisLink,
        key: String,
        connection: Option<redis::aio::MultiplexedConnection>,
    },
}

/// How long one blocking pop waits; bounds the time to notice a shutdown or a silent connection.
const BLOCK: Duration = Duration::from_secs(2);

impl Receiver {
    /// Waits for at least one id and takes up to `max`. May return nothing after a while.
    pub async fn pop(&mut self, max: usize) -> Result<Vec<i64>, CarrierError> {
        match self {
            Receiver::Memory { memory, queue } => Ok(memory.pop(queue, max).await),
            Receiver::Redis { link, connection, .. } if !link.is_up() => {
                *connection = None;
                Err(CarrierError::Away)
            }
            Receiver::Redis {
                link,
                key,
                connection,
            } => {
                let result = pop_redis(link, key, connection, max).await;
                link.observe(&result);
                if result.is_err() {
                    *connection = None;
                }
                Ok(result?)
            }
        }
    }
}

async fn pop_redis(
    link: &RedisLink,
    key: &str,
    connection: &mut Option<redis::aio::MultiplexedConnection>,
    max: usize,
) -> redis::RedisResult<Vec<i64>> {
    if connection.is_none() {
        *connection = Some(link.dedicated().await?);
    }
    let Some(conn) = connection.as_mut() else {
        return Ok(Vec::new());
    };
    // Under load the plain pop finds a whole batch; blocking is only for an empty queue.
    let popped: Vec<(i64, f64)> = conn
        .zpopmin(key, isize::try_from(max).unwrap_or(isize::MAX))
        .await?;
    if !popped.is_empty() {
        return Ok(popped.into_iter().map(|(id, _)| id).collect());
    }
    let one: Option<(String, i64, f64)> = redis::cmd("BZPOPMIN")
        .arg(key)
        .arg(BLOCK.as_secs_f64())
        .query_async(conn)
        .await?;
    Ok(one.map(|(_, id, _)| id).into_iter().collect())
}

/// The carrier of a single process.
#[derive(Clone, Default)]
pub struct MemoryCarrier(Arc<Mutex<HashMap<String, MemoryQueue>>>);

#[derive(Default)]
struct MemoryQueue {
    ordered: BTreeSet<(i64, i64)>,
    /// id → score, so that adding twice changes nothing.
    members: HashMap<i64, i64>,
    wake: Arc<Notify>,
}

impl MemoryCarrier {
    fn push(&self, due: &[Due]) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for d in due {
            let queue = match queues.get_mut(&*d.queue) {
                Some(queue) => queue,
                None => queues.entry(d.queue.to_string()).or_default(),
            };
            if queue.members.insert(d.id, d.score).is_none() {
                queue.ordered.insert((d.score, d.id));
                queue.wake.notify_one();
            }
        }
    }

    fn len(&self, queue: &str) -> u64 {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).map_or(0, |q| q.ordered.len() as u64)
    }

    fn take(&self, queue: &str, max: usize) -> Result<Vec<i64>, Arc<Notify>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(queue.to_owned()).or_default();
        let mut ids = Vec::new();
        while ids.len() < max {
            let Some((_, id)) = queue.ordered.pop_first() else {
                break;
            };
            queue.members.remove(&id);
            ids.push(id);
        }
        if ids.is_empty() {
            Err(queue.wake.clone())
        } else {
            Ok(ids)
        }
    }

    async fn pop(&self, queue: &str, max: usize) -> Vec<i64> {
        loop {
            match self.take(queue, max) {
                Ok(ids) => return ids,
                // `notify_one` keeps a permit, so a push between the look and the wait is seen.
                Err(wake) => wake.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(id: i64, score: i64) -> Due {
        Due {
            queue: "q".into(),
            id,
            score,
        }
    }

    #[tokio::test]
    async fn ids_come_out_by_score_and_once() {
        let carrier = MemoryCarrier::default();
        carrier.push(&[due(1, 5), due(2, 3), due(3, 5), due(2, 3)]);
        assert_eq!(carrier.pop("q", 2).await, [2, 1]);
        assert_eq!(carrier.pop("q", 9).await, [3]);
        assert_eq!(carrier.len("q"), 0);
    }

    #[tokio::test]
    async fn a_waiting_receiver_is_woken() {
        let carrier = MemoryCarrier::default();
        let waiting = crate::task::spawn({
            let carrier = carrier.clone();
            async move { carrier.pop("q", 1).await }
        });
        tokio::task::yield_now().await;
        carrier.push(&[due(7, 1)]);
        assert_eq!(waiting.await.expect("no panic"), [7]);
    }
}
