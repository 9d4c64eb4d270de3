//! Who is in which group, remembered in this process like callers are.
//!
//! An entry counts only while the revocation bus is up and only within one epoch of it, a change of
//! the user evicts it, and it ends by itself after five seconds. So an operation that is open to a
//! group alone usually costs no query for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use yunque_kernel::DbError;
use yunque_kernel::auth::{AuthChange, HubBus, RevocationBus};
use yunque_kernel::ids::UserId;

use crate::Accounts;
use crate::repo::groups;

const CAPACITY: u64 = 100_000;
const LONGEST_LIFE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Entry {
    groups: Arc<[String]>,
    epoch: u64,
}

/// The cache behind [`Accounts::is_in_group`].
pub struct Memberships {
    bus: HubBus,
    entries: Cache<UserId, Entry>,
    evictions: Arc<AtomicU64>,
}

impl Memberships {
    pub fn new(bus: &HubBus) -> Self {
        let entries = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(LONGEST_LIFE)
            .build();
        let evictions = Arc::new(AtomicU64::new(0));
        let (cache, counter): (Cache<UserId, Entry>, _) = (entries.clone(), evictions.clone());
        bus.on_change(Box::new(move |change| {
            if let AuthChange::User { user } = change {
                counter.fetch_add(1, Ordering::SeqCst);
                cache.invalidate(&user);
            }
        }));
        Memberships {
            bus: bus.clone(),
            entries,
            evictions,
        }
    }

    fn find(&self, user: UserId) -> Option<Arc<[String]>> {
        let entry = self.entries.get(&user)?;
        (self.bus.is_up() && entry.epoch == self.bus.epoch()).then_some(entry.groups)
    }

    /// `evictions` and the epoch of `entry` are those before the database was asked.
    fn store(&self, user: UserId, entry: Entry, evictions: u64) {
        // A change that came while the rows were read may be newer than the rows.
        let unchanged = || self.evictions.load(Ordering::SeqCst) == evictions;
        if self.bus.is_up() && unchanged() {
            self.entries.insert(user, entry);
            if !unchanged() {
                self.entries.invalidate(&user);
            }
        }
    }
}

impl Accounts {
    /// Whether a user belongs to the group of this name. Names are compared as they are written. At
    /// most one query, none while the answer is remembered. Sockets hear of a change as of every
    /// other loss of a right: they are looked at again.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn is_in_group(&self, user: UserId, group: &str) -> Result<bool, DbError> {
        let groups = match self.0.memberships.find(user) {
            Some(groups) => groups,
            None => self.read_groups(user).await?,
        };
        Ok(groups.iter().any(|name| name == group))
    }

    async fn read_groups(&self, user: UserId) -> Result<Arc<[String]>, DbError> {
        let cache = &self.0.memberships;
        let (evictions, epoch) = (cache.evictions.load(Ordering::SeqCst), cache.bus.epoch());
        let groups: Arc<[String]> = groups::list_names(self.0.ctx.db.reader(), user).await?.into();
        let entry = Entry {
            groups: groups.clone(),
            epoch,
        };
        cache.store(user, entry, evictions);
        Ok(groups)
    }
}
