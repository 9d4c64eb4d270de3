//! Every socket of this process, and the one task that looks after all of them.
//!
//! The sweeper looks at each socket about once a second: pings it, ends it when nothing came for too
//! long, when it takes nothing any more, or when its token has run out. So an idle socket has no
//! timer of its own, and a clock that tests move is felt.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::close::{self, CloseCode, Closing};
use super::line::{ALARM, Line, RECHECK, ping};
use super::settings::WsSettings;
use crate::auth::AuthChange;
use crate::clock::Clock;
use crate::ids::UserId;

/// Sockets whose end is begun together at shutdown.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// How much of the spread one socket is worth.
const DRAIN_PER_SOCKET: Duration = Duration::from_micros(500);

pub(super) struct Registry {
    begun: Instant,
    clock: Clock,
    settings: WsSettings,
    sockets: Mutex<Sockets>,
    /// How many are open, counted until they are through with their end.
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct Sockets {
    lines: HashMap<u64, Arc<Line>>,
    by_user: HashMap<UserId, HashSet<u64>>,
    in_room: HashMap<(UserId, Arc<str>), usize>,
    draining: bool,
}

/// A socket's place, given back at its end.
pub(super) struct Entry {
    registry: Arc<Registry>,
    line: Arc<Line>,
    room: (UserId, Arc<str>),
}

/// A place among the connections of the process, before it is known whose it is.
pub(super) struct Slot(Arc<Registry>);

/// Why there is no place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// The process has as many as it takes, or is stopping.
    Full,
    /// The user has enough in this room.
    TooMany,
}

impl Registry {
    pub fn new(settings: WsSettings, clock: Clock) -> Arc<Self> {
        Arc::new(Registry {
            begun: Instant::now(),
            clock,
            settings,
            sockets: Mutex::default(),
            open: watch::channel(0).0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start, never 0.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// When a moment is, in the same count.
    pub fn ms_of(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.begun).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX).max(1)
    }

    /// Takes one of the process's places.
    pub fn reserve(self: &Arc<Self>) -> Result<Slot, NoPlace> {
        if self.lock().draining {
            return Err(NoPlace::Full);
        }
        let most = self.settings.max_connections;
        let taken = self.open.send_if_modified(|open| {
            let free = *open < most;
            *open += usize::from(free);
            free
        });
        if taken {
            Ok(Slot(self.clone()))
        } else {
            Err(NoPlace::Full)
        }
    }

    /// Makes a socket known. From now on everything that ends it finds it.
    pub fn enter(self: &Arc<Self>, line: &Arc<Line>, room: &Arc<str>) -> Result<Entry, NoPlace> {
        let mut sockets = self.lock();
        if sockets.draining {
            return Err(NoPlace::Full);
        }
        let key = (line.user, room.clone());
        let count = sockets.in_room.entry(key.clone()).or_insert(0);
        if *count >= self.settings.max_per_user_and_room {
            return Err(NoPlace::TooMany);
        }
        *count += 1;
        sockets.lines.insert(line.id, line.clone());
        sockets.by_user.entry(line.user).or_default().insert(line.id);
        Ok(Entry {
            registry: self.clone(),
            line: line.clone(),
            room: key,
        })
    }

    pub fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Rights changed, here or elsewhere.
    pub fn auth_changed(&self, change: AuthChange) {
        let (AuthChange::Session { user, .. } | AuthChange::User { user }) = change else {
            return;
        };
        let of_user: Vec<Arc<Line>> = {
            let sockets = self.lock();
            let ids = sockets.by_user.get(&user);
            ids.into_iter()
                .flatten()
                .filter_map(|id| sockets.lines.get(id).cloned())
                .collect()
        };
        for line in of_user {
            match change {
                AuthChange::Session { session, .. } if line.session() == session.0 => {
                    line.end(close::revoked());
                }
                AuthChange::User { .. } => line.signal(RECHECK),
                _ => {}
            }
        }
    }

    fn all(&self) -> Vec<Arc<Line>> {
        self.lock().lines.values().cloned().collect()
    }

    /// Looks after all sockets, for ever.
    pub async fn sweep(self: Arc<Self>) {
        let tick = (self.settings.ping_interval / 5).clamp(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            tokio::time::sleep(tick).await;
            let (now, unix) = (self.now_ms(), self.clock.unix());
            for line in self.all() {
                self.look_at(&line, now, unix);
            }
        }
    }

    fn look_at(&self, line: &Line, now: u64, unix: i64) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = &line.times;
        let since = |then: u64| now.saturating_sub(then);
        times.now.store(now, Ordering::Relaxed);
        let stalled = times.stalled.load(Ordering::Relaxed);
        if stalled != 0 && since(stalled) > ms(self.settings.write_timeout) {
            line.end(Closing::gone());
        } else if line.expires_at.load(Ordering::Relaxed) <= unix {
            line.end(close::expired());
        } else if since(times.heard.load(Ordering::Relaxed)) >= ms(self.settings.idle_timeout) {
            line.end(close::heartbeat());
        } else if since(times.pinged.load(Ordering::Relaxed)) >= ms(self.settings.ping_interval) {
            times.pinged.store(now, Ordering::Relaxed);
            line.push(&ping());
            if line.session() == 0 {
                // Keys have an end of their own that no token tells.
                line.signal(RECHECK);
            }
        }
        let alarm = times.alarm.load(Ordering::Relaxed);
        if alarm != 0 && alarm <= now {
            times.alarm.store(0, Ordering::Relaxed);
            line.signal(ALARM);
        }
    }

    /// Ends every socket with 1001, spread so that the clients do not all come back at once, and
    /// waits until they are through.
    pub async fn drain(&self) {
        let lines = {
            let mut sockets = self.lock();
            sockets.draining = true;
            sockets.lines.values().cloned().collect::<Vec<_>>()
        };
        let spread = self
            .settings
            .drain
            .min(DRAIN_PER_SOCKET * u32::try_from(lines.len()).unwrap_or(u32::MAX));
        let steps = (spread.as_millis() / DRAIN_STEP.as_millis()).max(1);
        let each = lines.len().div_ceil(usize::try_from(steps).unwrap_or(1)).max(1);
        if !lines.is_empty() {
            tracing::info!(ws.sockets = lines.len(), "closing all sockets");
        }
        for (index, some) in lines.chunks(each).enumerate() {
            if index > 0 {
                tokio::time::sleep(DRAIN_STEP).await;
            }
            some.iter()
                .for_each(|line| line.end(Closing::with(CloseCode::GOING_AWAY)));
        }
        let mut open = self.open.subscribe();
        // The sender lives as long as `self`.
        let _ = open.wait_for(|open| *open == 0).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut sockets = self.registry.lock();
        sockets.lines.remove(&self.line.id);
        if let Some(ids) = sockets.by_user.get_mut(&self.line.user) {
            ids.remove(&self.line.id);
            if ids.is_empty() {
                sockets.by_user.remove(&self.line.user);
            }
        }
        if let Some(count) = sockets.in_room.get_mut(&self.room) {
            *count -= 1;
            if *count == 0 {
                sockets.in_room.remove(&self.room);
            }
        }
    }
}
