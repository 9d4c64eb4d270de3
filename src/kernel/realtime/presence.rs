//! Who is where: which users have at least one connection in a topic, on any instance.
//!
//! In this process it is counted. With Redis every instance also notes its users in one hash for
//! each topic: user → `instance:until` for every instance that has him. A note counts for 40 s and
//! is renewed every 13 s, so the users of an instance that died leave by themselves. While Redis is
//! away, everybody knows his own users only.
//!
//! Somebody whose last connection ended is there for five more seconds, so that one who reconnects
//! never left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::{RedisResult, Script, ScriptInvocation};

use super::Hub;
use crate::ids::UserId;
use crate::redis_link::RedisLink;

/// How long a user stays after his last connection.
const LINGER: Duration = Duration::from_secs(5);
/// How long the note of an instance counts, and how often it is renewed.
const NOTE: Duration = Duration::from_secs(40);
const RENEW: Duration = Duration::from_secs(13);
/// Redis must answer within this, or it is as if it were away.
const REDIS_WAIT: Duration = Duration::from_secs(1);
/// Users renewed by one call.
const RENEWED: usize = 500;

/// KEYS[1] the hash; ARGV: what to do, the instance, for how long a note counts (ms), then users.
///
/// * `enter`, `leave`: 1 when no other instance has the user, and how many users there are.
/// * `keep`, `renew`: 0 and how many users there are; `renew` also removes those of instances that
///   died, which would be counted for as long as anybody is there.
/// * `list`: the users.
const SCRIPT: &str = r"
local what, instance, note = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function others(notes)
  local kept = {}
  for id, till in string.gmatch(notes or '', '(%x+):(%d+)') do
    if id ~= instance and tonumber(till) > now then
      kept[#kept + 1] = id .. ':' .. till
    end
  end
  return kept
end
if what == 'list' then
  local users = {}
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    for id, till in string.gmatch(all[i + 1], '(%x+):(%d+)') do
      if tonumber(till) > now then
        users[#users + 1] = all[i]
        break
      end
    end
  end
  return users
end
local alone = 0
for i = 4, #ARGV do
  local kept = others(redis.call('HGET', KEYS[1], ARGV[i]))
  alone = (#kept == 0) and 1 or 0
  if what ~= 'leave' then
    kept[#kept + 1] = instance .. ':' .. string.format('%.0f', now + note)
  end
  if #kept == 0 then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], table.concat(kept, ';'))
  end
end
if what == 'renew' then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local lives = false
    for id, till in string.gmatch(all[i + 1], '(%x+):(%d+)') do
      lives = lives or tonumber(till) > now
    end
    if not lives then
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end
redis.call('PEXPIRE', KEYS[1], note * 2)
return {tostring(alone), tostring(redis.call('HLEN', KEYS[1]))}
";

/// Who is where. Cheap to clone.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    instance: String,
    redis: Option<(RedisLink, Script)>,
    topics: Mutex<HashMap<Arc<str>, Topic>>,
    is_renewing: AtomicBool,
    linger: Duration,
}

/// What this process knows of a topic.
#[derive(Default)]
struct Topic {
    users: HashMap<UserId, Here>,
    /// Users on all instances, as Redis said last.
    everywhere: usize,
}

/// A user in this process; without a connection only while he lingers.
#[derive(Default)]
struct Here {
    connections: usize,
    /// Which of his ends is the latest.
    ends: u64,
}

/// Keeps a user present; see [`Presence::enter`].
pub struct Present {
    presence: Presence,
    topic: Arc<str>,
    user: UserId,
    left: Option<Box<dyn FnOnce() + Send>>,
}

impl Presence {
    /// Shares what it knows with the instances that the hub knows.
    pub fn new(hub: &Hub) -> Self {
        Self::lingering(hub, LINGER)
    }

    fn lingering(hub: &Hub, linger: Duration) -> Self {
        let bridge = hub.inner.bridge.as_ref();
        Presence(Arc::new(Inner {
            instance: hub.instance().to_string(),
            redis: bridge.map(|bridge| (bridge.link.clone(), Script::new(SCRIPT))),
            topics: Mutex::default(),
            is_renewing: AtomicBool::new(false),
            linger,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Topic>> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A user has one more connection in a topic, until the answer is dropped. Tells whether he was
    /// nowhere before. `left` is called once he is nowhere any more.
    pub async fn enter(
        &self,
        topic: &str,
        user: UserId,
        left: impl FnOnce() + Send + 'static,
    ) -> (Present, bool) {
        let topic: Arc<str> = topic.into();
        let is_new_here = {
            let mut topics = self.lock();
            let users = &mut topics.entry(topic.clone()).or_default().users;
            let is_new = !users.contains_key(&user);
            users.entry(user).or_default().connections += 1;
            is_new
        };
        let present = Present {
            presence: self.clone(),
            topic: topic.clone(),
            user,
            left: Some(Box::new(left)),
        };
        if !is_new_here {
            return (present, false);
        }
        self.keep_renewing();
        let is_alone = self.tell("enter", &topic, &[user]).await.unwrap_or(true);
        (present, is_alone)
    }

    /// Who is in a topic now, in the order of ids.
    pub async fn online(&self, topic: &str) -> Vec<UserId> {
        let mut users: Vec<UserId> = {
            let topics = self.lock();
            let here = topics.get(topic).into_iter().flat_map(|topic| topic.users.keys());
            here.copied().collect()
        };
        if let Some(elsewhere) = self.list(topic).await {
            users.extend(elsewhere);
        }
        users.sort_unstable();
        users.dedup();
        users
    }

    /// About how many are in a topic; asks nobody.
    pub fn count(&self, topic: &str) -> usize {
        let topics = self.lock();
        topics
            .get(topic)
            .map_or(0, |topic| topic.users.len().max(topic.everywhere))
    }

    /// Notes users of this instance, or removes one. `None` when Redis does not answer.
    async fn tell(&self, what: &str, topic: &Arc<str>, users: &[UserId]) -> Option<bool> {
        let (alone, count): (String, String) = self
            .ask(topic, |call| {
                call.arg(what).arg(&self.0.instance).arg(millis(NOTE));
                users.iter().for_each(|user| {
                    call.arg(user.0);
                });
            })
            .await?;
        if let Some(topic) = self.lock().get_mut(topic) {
            topic.everywhere = count.parse().unwrap_or(0);
        }
        Some(alone == "1")
    }

    async fn list(&self, topic: &str) -> Option<Vec<UserId>> {
        let users: Vec<i64> = self
            .ask(topic, |call| {
                call.arg("list").arg(&self.0.instance).arg(millis(NOTE));
            })
            .await?;
        Some(users.into_iter().map(UserId).collect())
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        topic: &str,
        arguments: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Option<T> {
        let (link, script) = self.0.redis.as_ref()?;
        if !link.is_up() {
            return None;
        }
        let mut call = script.prepare_invoke();
        call.key(link.key(format_args!("presence:{topic}")));
        arguments(&mut call);
        let asked = async {
            let mut connection = link.connection().await?;
            let result: RedisResult<T> = call.invoke_async(&mut connection).await;
            link.observe(&result);
            result
        };
        match tokio::time::timeout(REDIS_WAIT, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "presence is not shared with other instances");
                None
            }
            Err(_) => None,
        }
    }

    /// Starts the task that renews notes, unless it runs or nobody would read them.
    fn keep_renewing(&self) {
        if self.0.redis.is_some() && !self.0.is_renewing.swap(true, Ordering::AcqRel) {
            crate::task::spawn(renew(Arc::downgrade(&self.0)));
        }
    }

    /// A connection of a user is over.
    fn connection_ended(&self, topic: Arc<str>, user: UserId, left: Box<dyn FnOnce() + Send>) {
        let end = {
            let mut topics = self.lock();
            let Some(here) = topics
                .get_mut(&topic)
                .and_then(|topic| topic.users.get_mut(&user))
            else {
                return;
            };
            here.connections = here.connections.saturating_sub(1);
            if here.connections > 0 {
                return;
            }
            here.ends += 1;
            here.ends
        };
        let this = self.clone();
        crate::task::spawn(async move {
            tokio::time::sleep(this.0.linger).await;
            if this.forget(&topic, user, end) && this.tell("leave", &topic, &[user]).await.unwrap_or(true) {
                left();
            }
        });
    }

    /// Removes a user who did not come back since that end of his.
    fn forget(&self, topic: &Arc<str>, user: UserId, end: u64) -> bool {
        let mut topics = self.lock();
        let Some(entry) = topics.get_mut(topic) else {
            return false;
        };
        let is_gone = entry
            .users
            .get(&user)
            .is_some_and(|here| here.connections == 0 && here.ends == end);
        if is_gone {
            entry.users.remove(&user);
            if entry.users.is_empty() {
                topics.remove(topic);
            }
        }
        is_gone
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            self.presence
                .connection_ended(self.topic.clone(), self.user, left);
        }
    }
}

/// Renews the notes of this instance as long as anybody holds the presence.
async fn renew(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(RENEW).await;
        let Some(presence) = inner.upgrade().map(Presence) else {
            return;
        };
        let here: Vec<(Arc<str>, Vec<UserId>)> = {
            let topics = presence.lock();
            let users = |topic: &Topic| topic.users.keys().copied().collect();
            topics
                .iter()
                .map(|(name, topic)| (name.clone(), users(topic)))
                .collect()
        };
        for (topic, users) in here {
            for (n, some) in users.chunks(RENEWED).enumerate() {
                let what = if n == 0 { "renew" } else { "keep" };
                presence.tell(what, &topic, some).await;
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::telemetry::Metrics;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn counting(counter: &Arc<AtomicUsize>) -> impl FnOnce() + Send + 'static {
        let counter = counter.clone();
        move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..1000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    }

    #[tokio::test]
    async fn who_comes_back_in_time_never_left() {
        let presence = Presence::lingering(&Hub::local(Metrics::new()), Duration::from_millis(300));
        let gone = Arc::new(AtomicUsize::new(0));
        let (first, is_first) = presence.enter("t", ANN, counting(&gone)).await;
        assert!(is_first);
        let (second, is_first) = presence.enter("t", ANN, counting(&gone)).await;
        assert!(!is_first, "another connection of the same user");
        let (_bob, is_first) = presence.enter("t", BOB, counting(&gone)).await;
        assert!(is_first);
        assert_eq!(presence.online("t").await, [ANN, BOB]);

        drop(first);
        drop(second);
        let (third, is_first) = presence.enter("t", ANN, counting(&gone)).await;
        assert!(!is_first, "he was away for a moment");
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!((gone.load(Ordering::SeqCst), presence.count("t")), (0, 2));
        drop(third);
        until("he leaves", || gone.load(Ordering::SeqCst) == 1).await;
        assert_eq!(presence.online("t").await, [BOB]);
        assert_eq!(presence.count("nowhere"), 0);
    }
}
