//! What this process remembers about sessions and keys.
//!
//! An entry counts only while the revocation bus is up, and only within one epoch of it; it also
//! ends by itself after five seconds, the contract's bound for a revocation that got lost. A lookup
//! that was already running when a revocation arrived must not put its stale answer in afterwards:
//! [`AuthCache::ticket`] is taken before the database is asked and is void after any eviction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::caller::Caller;
use super::revocation::{AuthChange, RevocationBus};
use crate::ids::{SessionId, UserId};

const LONGEST_LIFE: Duration = Duration::from_secs(5);
const CAPACITY: u64 = 100_000;

/// Names a credential without holding it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKey {
    Session(SessionId),
    /// SHA-256 of the key, in hex.
    ApiKey(Arc<str>),
}

#[derive(Clone)]
struct Entry {
    caller: Caller,
    token_version: i32,
    epoch: u64,
    /// Evictions that were known when the database was asked.
    evictions: u64,
    /// Unix seconds; keys may expire while cached.
    expires_at: Option<i64>,
}

/// The cache of callers. Cloning shares it.
#[derive(Clone)]
pub struct AuthCache(Arc<Inner>);

struct Inner {
    bus: Arc<dyn RevocationBus>,
    entries: Cache<CredentialKey, Entry>,
    /// All evictions so far.
    evictions: AtomicU64,
    /// The number of the last one of a user. What was looked up before it does not count, and is not searched for:
    /// a removal by predicate may miss an entry that somebody reads at that moment.
    last_of_user: Cache<UserId, u64>,
}

/// Proof that no revocation was seen since the lookup began.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    evictions: u64,
    epoch: u64,
}

impl AuthCache {
    pub fn new(bus: Arc<dyn RevocationBus>) -> Self {
        let cache = AuthCache(Arc::new(Inner {
            bus: bus.clone(),
            entries: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(LONGEST_LIFE)
                .build(),
            evictions: AtomicU64::new(0),
            // Longer than any entry that it has to outlast.
            last_of_user: Cache::builder().time_to_live(LONGEST_LIFE * 2).build(),
        }));
        // Weak: the bus outlives the cache in tests that build several servers.
        let weak = Arc::downgrade(&cache.0);
        bus.on_change(Box::new(move |change| {
            if let Some(inner) = weak.upgrade() {
                AuthCache(inner).evict(change);
            }
        }));
        cache
    }

    /// The remembered caller of a session or key, unless it must be looked up again.
    pub fn find(&self, key: &CredentialKey, token_version: Option<i32>, now: i64) -> Option<Caller> {
        if !self.0.bus.is_up() {
            return None;
        }
        let entry = self.0.entries.get(key)?;
        let last = self.0.last_of_user.get(&entry.caller.user_id).unwrap_or(0);
        let good = entry.epoch == self.0.bus.epoch()
            && entry.evictions >= last
            && token_version.is_none_or(|tv| tv == entry.token_version)
            && entry.expires_at.is_none_or(|at| now < at);
        good.then_some(entry.caller)
    }

    /// Take one before asking the database.
    pub fn ticket(&self) -> Ticket {
        Ticket {
            evictions: self.0.evictions.load(Ordering::SeqCst),
            epoch: self.0.bus.epoch(),
        }
    }

    /// Remembers what the database said, unless a revocation came in between.
    pub fn store(
        &self,
        ticket: Ticket,
        key: CredentialKey,
        caller: Caller,
        token_version: i32,
        expires_at: Option<i64>,
    ) {
        let valid = || self.0.evictions.load(Ordering::SeqCst) == ticket.evictions;
        if !self.0.bus.is_up() || !valid() {
            return;
        }
        self.0.entries.insert(
            key.clone(),
            Entry {
                caller,
                token_version,
                epoch: ticket.epoch,
                evictions: ticket.evictions,
                expires_at,
            },
        );
        // An eviction between the test and the insert may have found nothing to evict.
        if !valid() {
            self.0.entries.invalidate(&key);
        }
    }

    fn evict(&self, change: AuthChange) {
        let number = self.0.evictions.fetch_add(1, Ordering::SeqCst) + 1;
        match change {
            AuthChange::Session { session, .. } => {
                self.0.entries.invalidate(&CredentialKey::Session(session))
            }
            AuthChange::User { user } => {
                let last = self.0.last_of_user.entry(user);
                // Two may come at once, in either order.
                last.and_upsert_with(|old| old.map_or(number, |old| old.into_value().max(number)));
            }
            AuthChange::Profile { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::caller::UserType;
    use crate::auth::revocation::LocalBus;

    fn caller(user: i64, session: i64) -> Caller {
        Caller {
            user_id: UserId(user),
            username: "u".into(),
            is_staff: false,
            user_type: UserType::Customer,
            session: Some(SessionId(session)),
            key: None,
        }
    }

    fn key(session: i64) -> CredentialKey {
        CredentialKey::Session(SessionId(session))
    }

    #[test]
    fn a_revocation_is_felt_at_once_and_during_a_lookup() {
        let bus = Arc::new(LocalBus::new());
        let cache = AuthCache::new(bus.clone());
        let put = |user, session| cache.store(cache.ticket(), key(session), caller(user, session), 3, None);
        for (user, session) in [(1, 10), (1, 11), (2, 20)] {
            put(user, session);
        }
        assert!(cache.find(&key(10), Some(3), 0).is_some());
        assert!(cache.find(&key(10), Some(2), 0).is_none());
        bus.deliver(AuthChange::Session {
            user: UserId(1),
            session: SessionId(10),
        });
        assert!(cache.find(&key(10), Some(3), 0).is_none());
        assert!(cache.find(&key(11), Some(3), 0).is_some());
        bus.deliver(AuthChange::User { user: UserId(1) });
        assert!(cache.find(&key(11), Some(3), 0).is_none());
        assert!(cache.find(&key(20), Some(3), 0).is_some());

        let ticket = cache.ticket();
        bus.deliver(AuthChange::User { user: UserId(3) });
        cache.store(ticket, key(30), caller(3, 30), 3, None);
        assert!(cache.find(&key(30), Some(3), 0).is_none());
    }

    #[test]
    fn a_revoked_user_is_unknown_even_while_others_read() {
        let bus = Arc::new(LocalBus::new());
        let cache = AuthCache::new(bus.clone());
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for session in 0..3 {
                let (cache, over) = (&cache, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::black_box(cache.find(&key(session), Some(0), 0));
                    }
                });
            }
            let mut stale = 0;
            for _ in 0..20_000 {
                for session in 0..3 {
                    cache.store(cache.ticket(), key(session), caller(1, session), 0, None);
                }
                bus.deliver(AuthChange::User { user: UserId(1) });
                stale += (0..3)
                    .filter(|s| cache.find(&key(*s), Some(0), 0).is_some())
                    .count();
            }
            over.store(true, Ordering::Relaxed);
            assert_eq!(stale, 0);
        });
    }

    #[test]
    fn nothing_counts_while_the_bus_is_down_or_after_it_was() {
        let bus = Arc::new(LocalBus::new());
        let cache = AuthCache::new(bus.clone());
        cache.store(cache.ticket(), key(1), caller(1, 1), 0, Some(100));
        assert!(cache.find(&key(1), None, 99).is_some());
        assert!(cache.find(&key(1), None, 100).is_none());
        bus.set_up(false);
        assert!(cache.find(&key(1), None, 0).is_none());
        bus.set_up(true);
        assert!(cache.find(&key(1), None, 0).is_none());
    }
}
