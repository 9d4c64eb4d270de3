//! What other domains show of users, remembered in this process.
//!
//! A page of messages costs one query for the messages and usually none for their authors. Account
//! changes evict; an entry also ends by itself after a minute.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use sea_orm::ConnectionTrait;
use yunque_kernel::DbError;
use yunque_kernel::auth::{AuthChange, HubBus, RevocationBus, UserType};
use yunque_kernel::ids::UserId;

use crate::Accounts;
use crate::repo::briefs::{self, BriefRow};

const CAPACITY: u64 = 100_000;
const LONGEST_LIFE: Duration = Duration::from_secs(60);

/// What stands for the name of somebody whose personal data was removed. Stored text keeps to
/// Chinese in every language, and so does this.
pub const NO_LONGER_A_USER: &str = "已注销用户";

/// A user as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    pub id: UserId,
    /// `deleted_{id}` once personal data was removed.
    pub username: String,
    pub display_name: String,
    /// What to show: the name, or the username where there is none. [`NO_LONGER_A_USER`] once
    /// personal data was removed.
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    /// Absolute address.
    pub avatar: Option<String>,
    pub user_type: UserType,
    pub parent_id: Option<UserId>,
    pub is_active: bool,
    /// Personal data was removed; only the row is left.
    pub is_purged: bool,
}

impl Brief {
    fn new(row: BriefRow, public_base_url: &str) -> Self {
        let BriefRow {
            id,
            username,
            display_name,
            name,
            first_name,
            last_name,
            avatar,
            user_type,
            parent_id,
            is_active,
            purged_at,
        } = row;
        let is_purged = purged_at.is_some();
        let name = match (is_purged, name.is_empty()) {
            (true, _) => NO_LONGER_A_USER.to_owned(),
            (false, true) => username.clone(),
            (false, false) => name,
        };
        Brief {
            id: UserId(id),
            username,
            display_name,
            name,
            first_name,
            last_name,
            avatar: avatar
                .filter(|_| !is_purged)
                .map(|key| media_url(public_base_url, &key)),
            user_type: UserType::from_stored(&user_type),
            parent_id: parent_id.map(UserId),
            is_active,
            is_purged,
        }
    }
}

/// The address of an image by its key below `media/`.
pub(crate) fn media_url(public_base_url: &str, key: &str) -> String {
    format!("{public_base_url}/media/{key}")
}

/// The cache behind [`Accounts::briefs`].
pub struct Briefs {
    entries: Cache<UserId, Arc<Brief>>,
    evictions: Arc<AtomicU64>,
}

impl Briefs {
    pub fn new(bus: &HubBus) -> Self {
        let entries = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(LONGEST_LIFE)
            .build();
        let evictions = Arc::new(AtomicU64::new(0));
        let (cache, counter): (Cache<UserId, Arc<Brief>>, _) = (entries.clone(), evictions.clone());
        bus.on_change(Box::new(move |change| {
            if !matches!(change, AuthChange::Session { .. }) {
                counter.fetch_add(1, Ordering::SeqCst);
                cache.invalidate(&change.user());
            }
        }));
        Briefs { entries, evictions }
    }

    fn store(&self, seen: u64, brief: &Arc<Brief>) {
        // A change that came while the row was read may be newer than the row.
        let unchanged = || self.evictions.load(Ordering::SeqCst) == seen;
        if unchanged() {
            self.entries.insert(brief.id, brief.clone());
            if !unchanged() {
                self.entries.invalidate(&brief.id);
            }
        }
    }
}

impl Accounts {
    /// Users by id, with at most one query. Unknown ids are left out.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn briefs(&self, ids: &[UserId]) -> Result<HashMap<UserId, Arc<Brief>>, DbError> {
        let cache = &self.0.briefs;
        let mut found: HashMap<UserId, Arc<Brief>> = ids
            .iter()
            .filter_map(|id| Some((*id, cache.entries.get(id)?)))
            .collect();
        let mut missing: Vec<i64> = ids
            .iter()
            .filter(|id| !found.contains_key(id))
            .map(|id| id.0)
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(found);
        }
        let seen = cache.evictions.load(Ordering::SeqCst);
        for row in briefs::list_briefs(self.0.ctx.db.reader(), &missing).await? {
            let brief = Arc::new(Brief::new(row, &self.0.ctx.public_base_url));
            cache.store(seen, &brief);
            found.insert(brief.id, brief);
        }
        Ok(found)
    }

    /// Those of these accounts that may log in. `conn` is a reader or a transaction.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn active_among(
        &self,
        conn: &impl ConnectionTrait,
        ids: &[UserId],
    ) -> Result<HashSet<UserId>, DbError> {
        briefs::list_active(conn, ids).await
    }
}
