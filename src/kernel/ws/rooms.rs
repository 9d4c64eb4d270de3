//! All open rooms of the process: the first socket of a topic opens its room, the last one closes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::{Log, Tip};
use super::line::Line;
use super::room::Room;
use crate::error::ApiError;
use crate::realtime::Hub;
use crate::telemetry::Metrics;

/// Rooms compared by one query.
const COMPARED: usize = 500;
/// How long a change that the database knows of may take to come by itself.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// All open rooms of the process.
pub(super) struct Rooms {
    hub: Hub,
    metrics: Metrics,
    open: Mutex<Open>,
}

/// Rooms by topic, and how many visits keep each of them open.
type Open = HashMap<Arc<str>, (Arc<Room>, usize)>;

/// Keeps a room open.
pub(super) struct Visit {
    rooms: Arc<Rooms>,
    pub room: Arc<Room>,
    line: Option<Arc<Line>>,
}

impl Rooms {
    pub fn new(hub: Hub, metrics: Metrics) -> Arc<Self> {
        Arc::new(Rooms {
            hub,
            metrics,
            open: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of a topic, listening to its topic.
    ///
    /// # Errors
    /// The database does not tell the room's position.
    pub async fn visit(
        self: &Arc<Self>,
        topic: &str,
        id: i64,
        log: &Arc<dyn Log>,
    ) -> Result<Visit, ApiError> {
        let room = {
            let mut open = self.lock();
            let topic: Arc<str> = topic.into();
            let entry = open.entry(topic.clone()).or_insert_with(|| {
                let room = Room::new(topic, id, log.clone(), self.hub.clone(), self.metrics.clone());
                (Arc::new(room), 0)
            });
            entry.1 += 1;
            entry.0.clone()
        };
        // From here on the visit closes the room again if it was the last.
        let visit = Visit {
            rooms: self.clone(),
            room,
            line: None,
        };
        visit.room.opened().await?;
        Ok(visit)
    }

    /// Compares all rooms with the database.
    pub async fn repair(&self) {
        let rooms: Vec<Arc<Room>> = self.lock().values().map(|(room, _)| room.clone()).collect();
        let mut by_log: HashMap<usize, Vec<Arc<Room>>> = HashMap::new();
        for room in rooms.into_iter().filter(|room| room.is_open()) {
            let key = Arc::as_ptr(&room.log).cast::<()>().addr();
            by_log.entry(key).or_default().push(room);
        }
        for rooms in by_log.into_values() {
            for some in rooms.chunks(COMPARED) {
                compare(some).await;
            }
        }
    }
}

async fn compare(rooms: &[Arc<Room>]) {
    let Some(first) = rooms.first() else { return };
    let ids: Vec<i64> = rooms.iter().map(|room| room.id).collect();
    let asked = Instant::now();
    let tips: HashMap<i64, Tip> = match first.log.tips(&ids).await {
        Ok(tips) => tips.into_iter().collect(),
        Err(error) => {
            tracing::debug!(error = %error, "open rooms could not be compared with the database");
            return;
        }
    };
    let mut changed = Vec::new();
    for room in rooms {
        let here = room.tip();
        match tips.get(&room.id) {
            Some(tip) => {
                if tip.position > here.position {
                    // What was only just committed is about to arrive by itself; reading it does no harm.
                    room.metrics.realtime.gap_repairs.inc();
                    room.catch_up_or_log().await;
                }
                changed.push((room, tip.changes));
            }
            // The room had messages and has none: it is gone, and that was not heard here.
            None if here.position > 0 => room.recheck(),
            None => {}
        }
    }
    if changed
        .iter()
        .any(|(room, changes)| room.tip().changes < *changes)
    {
        // Those of just now are on their way; and asking for them means asking everybody again.
        tokio::time::sleep(ON_THE_WAY).await;
    }
    for (room, changes) in changed {
        room.has_changes(changes, asked).await;
    }
}

impl Visit {
    /// Puts a socket into the room, whole up to `known` at least. Returns how far the room is: up to
    /// there the socket has to read by itself.
    ///
    /// # Errors
    /// The database's.
    pub async fn join(&mut self, line: &Arc<Line>, known: i64) -> Result<Tip, ApiError> {
        if known > self.room.tip().position {
            self.room.catch_up().await?;
        }
        self.line = Some(line.clone());
        Ok(self.room.join(line))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            self.room.leave(line);
        }
        let mut open = self.rooms.lock();
        if let Some((_, visits)) = open.get_mut(&self.room.topic) {
            *visits -= 1;
            if *visits == 0 {
                let gone = open.remove(&self.room.topic);
                drop(open);
                // Ends the subscription, whose hub has locks of its own.
                drop(gone);
            }
        }
    }
}
