//! When users, sessions and keys were last used: noted in memory, written every few seconds.
//!
//! A request never writes for this, and one user is noted at most once per interval, so the cost of
//! a request is one lookup in a map. What is noted when a process dies is lost; it is only a hint.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use yunque_kernel::auth::Caller;
use yunque_kernel::{DbError, Tx};

use crate::Accounts;
use crate::repo::{keys, sessions, users};

const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Ids of one statement.
const CHUNK: usize = 500;
/// Beyond this many remembered ids the stale ones are forgotten.
const REMEMBERED: usize = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Used {
    User(i64),
    Session(i64),
    Key(i64),
}

#[derive(Default)]
struct Notes {
    /// Unix seconds of the last note.
    last: HashMap<Used, i64>,
    users: HashSet<i64>,
    sessions: HashSet<i64>,
    keys: HashMap<i64, String>,
}

/// Notes that wait to be written.
#[derive(Default)]
pub struct Activity(Mutex<Notes>);

impl Activity {
    fn note(&self, caller: &Caller, ip: Option<&str>, now: i64, interval: i64) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Notes {
            last,
            users,
            sessions,
            keys,
        } = &mut *notes;
        let mut due = |used| match last.get(&used) {
            Some(at) if now - at < interval => false,
            _ => last.insert(used, now).is_none_or(|at| now - at >= interval),
        };
        if due(Used::User(caller.user_id.0)) {
            users.insert(caller.user_id.0);
        }
        if let Some(session) = caller.session
            && due(Used::Session(session.0))
        {
            sessions.insert(session.0);
        }
        if let (Some(key), Some(ip)) = (&caller.key, ip)
            && due(Used::Key(key.id))
        {
            keys.insert(key.id, ip.to_owned());
        }
        if last.len() > REMEMBERED {
            last.retain(|_, at| now - *at < interval);
        }
    }

    fn take(&self) -> (Vec<i64>, Vec<i64>, Vec<(i64, String)>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let users = notes.users.drain().collect();
        let sessions = notes.sessions.drain().collect();
        (users, sessions, notes.keys.drain().collect())
    }
}

impl Accounts {
    pub(super) fn note_use(&self, caller: &Caller, ip: Option<&str>, now: i64) {
        let interval = i64::try_from(self.0.settings.last_active_interval.as_secs())
            .unwrap_or(60)
            .max(1);
        self.0.activity.note(caller, ip, now, interval);
    }

    async fn flush_activity(&self) -> Result<(), DbError> {
        let (mut users, mut sessions, keys) = self.0.activity.take();
        if users.is_empty() && sessions.is_empty() && keys.is_empty() {
            return Ok(());
        }
        // One order for all writers.
        users.sort_unstable();
        sessions.sort_unstable();
        let (now, notes) = (self.now(), Arc::new((users, sessions, keys)));
        let flushed = self.0.ctx.db.write("flush_activity", move |tx: Tx| {
            let notes = notes.clone();
            async move {
                let (users, sessions, keys) = &*notes;
                for chunk in users.chunks(CHUNK) {
                    users::update_last_active(&tx, chunk, now).await?;
                }
                for chunk in sessions.chunks(CHUNK) {
                    sessions::update_last_used(&tx, chunk, now).await?;
                }
                for (id, ip) in keys {
                    keys::update_last_used(&tx, *id, ip, now).await?;
                }
                Ok(())
            }
        });
        flushed.await
    }

    /// Writes what was noted, every few seconds, for ever. End it with a last [`Accounts::flush`].
    pub async fn write_behind(self) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            self.flush().await;
        }
    }

    /// Writes what was noted. A failure is logged and the notes are lost: they are only hints.
    pub async fn flush(&self) {
        if let Err(error) = self.flush_activity().await {
            tracing::warn!(error = %error, "times of last use could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use yunque_kernel::auth::UserType;
    use yunque_kernel::ids::{SessionId, UserId};

    use super::*;

    #[test]
    fn a_user_is_noted_once_per_interval() {
        let activity = Activity::default();
        let caller = Caller {
            user_id: UserId(1),
            username: "u".into(),
            is_staff: false,
            user_type: UserType::Customer,
            session: Some(SessionId(2)),
            key: None,
        };
        activity.note(&caller, None, 100, 60);
        activity.note(&caller, None, 159, 60);
        assert_eq!(activity.take(), (vec![1], vec![2], vec![]));
        activity.note(&caller, None, 159, 60);
        assert_eq!(activity.take(), (vec![], vec![], vec![]));
        activity.note(&caller, None, 160, 60);
        assert_eq!(activity.take(), (vec![1], vec![2], vec![]));
    }
}
