//! Rooms in which texts are noted down: a user of the layer as a domain would be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::*;
use crate::error::{ApiError, common};

pub struct Notes {
    pub hub: Hub,
    log: Arc<NotesLog>,
    /// Stored, but never published.
    pub loses: AtomicBool,
    /// What `open` and `recheck` wait for.
    pub slow: AtomicU64,
    /// What `open` waits for when it has looked.
    pub late: AtomicU64,
    pub banned: Mutex<Vec<i64>>,
    pub closed: AtomicU64,
    pub handled: AtomicU64,
    /// Frames that were begun, and those of them that may end; `None` is all.
    pub begun: AtomicU64,
    pub ended: watch::Sender<Vec<Option<i64>>>,
}

#[derive(Default)]
pub struct NotesLog {
    rooms: Mutex<HashMap<i64, Vec<(i64, String)>>>,
    /// What changed in rooms.
    changes: Mutex<HashMap<i64, Vec<String>>>,
    next: AtomicU64,
    pub reads: AtomicU64,
    pub is_down: AtomicBool,
}

impl Notes {
    pub fn new(hub: Hub) -> Self {
        Notes {
            hub,
            log: Arc::default(),
            loses: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            late: AtomicU64::new(0),
            banned: Mutex::default(),
            closed: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            ended: watch::Sender::default(),
        }
    }

    /// Stores a text. Ids are shared by all rooms, so inside one they have gaps.
    pub fn store(&self, room: i64, text: &str) -> Broadcast {
        let mut rooms = self.log.rooms.lock().unwrap();
        let notes = rooms.entry(room).or_default();
        let id = self.log.next.fetch_add(3, Ordering::SeqCst) as i64 + 3;
        let previous = notes.last().map_or(0, |(id, _)| *id);
        notes.push((id, text.to_owned()));
        Broadcast::stored(id, Some(previous), &note(id, text))
    }

    /// Stores and publishes.
    pub fn say(&self, room: i64, text: &str) -> i64 {
        let broadcast = self.store(room, text);
        let id = broadcast.position.expect("stored");
        if !self.loses.load(Ordering::SeqCst) {
            self.publish(room, &broadcast);
        }
        id
    }

    pub fn publish(&self, room: i64, broadcast: &Broadcast) {
        self.hub.publish(&self.topic(room), broadcast.encode());
    }

    /// Makes a change of a room, of which its sockets are told by a frame.
    pub fn change(&self, room: i64, text: &str) -> Broadcast {
        let mut changes = self.log.changes.lock().unwrap();
        let changes = changes.entry(room).or_default();
        changes.push(text.to_owned());
        Broadcast::event(&changed(text)).as_change(changes.len() as i64)
    }

    /// Lets a begun frame end, or all of them.
    pub fn let_end(&self, n: Option<i64>) {
        self.ended.send_modify(|ended| ended.push(n));
    }

    pub fn log_of(&self) -> &NotesLog {
        &self.log
    }

    /// Removes a room and tells nobody.
    pub fn remove(&self, room: i64) {
        self.log.rooms.lock().unwrap().remove(&room);
    }

    async fn check(&self, peer: &Peer, room: i64) -> Result<(), ApiError> {
        tokio::time::sleep(Duration::from_millis(self.slow.load(Ordering::SeqCst))).await;
        let user = peer.caller.user_id.0;
        if self.banned.lock().unwrap().contains(&user) {
            return Err(common::PERMISSION_DENIED.into());
        }
        match room {
            403 => Err(common::PERMISSION_DENIED.into()),
            404 => Err(common::NOT_FOUND.into()),
            410 => Err(codes::ROOM_CLOSED.into()),
            500 => Err(ApiError::internal("secret words")),
            503 => Err(ApiError::unavailable("secret words")),
            _ => Ok(()),
        }
    }
}

fn note(id: i64, text: &str) -> Value {
    json!({ "type": "note", "id": id, "text": text })
}

fn changed(text: &str) -> Value {
    json!({ "type": "changed", "text": text })
}

#[derive(Default)]
pub struct NotesSeat {
    ring_at: Option<Instant>,
}

#[async_trait]
impl Log for NotesLog {
    async fn read(&self, room: i64, after: i64, limit: u64) -> Result<Vec<Broadcast>, ApiError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(ApiError::unavailable("down"));
        }
        let rooms = self.rooms.lock().unwrap();
        let notes = rooms.get(&room).into_iter().flatten();
        let some = notes.filter(|(id, _)| *id > after).take(limit as usize);
        Ok(some
            .map(|(id, text)| Broadcast::stored(*id, None, &note(*id, text)))
            .collect())
    }

    async fn tail(&self, room: i64, after: i64, upto: i64, most: u64) -> Result<Tail, ApiError> {
        let rooms = self.rooms.lock().unwrap();
        let notes = rooms.get(&room).into_iter().flatten().map(|(id, _)| *id);
        let all: Vec<i64> = notes.filter(|id| *id > after && *id <= upto).collect();
        let cut = all.len().checked_sub(most as usize + 1).map(|at| all[at]);
        Ok(Tail {
            from: cut.unwrap_or(after),
            truncated: cut.is_some(),
        })
    }

    async fn changed(&self, room: i64, _: Duration) -> Result<Vec<Broadcast>, ApiError> {
        let changes = self.changes.lock().unwrap();
        let texts = changes.get(&room).into_iter().flatten();
        Ok(texts.map(|text| Broadcast::event(&changed(text))).collect())
    }

    async fn tips(&self, ids: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError> {
        let (rooms, changes) = (self.rooms.lock().unwrap(), self.changes.lock().unwrap());
        let tip = |id: &i64| {
            let tip = Tip {
                position: rooms.get(id)?.last().map_or(0, |(position, _)| *position),
                changes: changes.get(id).map_or(0, Vec::len) as i64,
            };
            Some((*id, tip))
        };
        Ok(ids.iter().filter_map(tip).collect())
    }
}

#[async_trait]
impl Endpoint for Notes {
    type Seat = NotesSeat;

    const NAME: &'static str = "notes";

    fn topic(&self, room: i64) -> String {
        format!("notes:{room}")
    }

    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    async fn open(&self, peer: &Peer, room: i64) -> Result<Opened<NotesSeat>, ApiError> {
        self.check(peer, room).await?;
        let mut greeting = Map::new();
        greeting.insert("room".into(), json!({ "id": room }));
        let tips = self.log.tips(&[room]).await?;
        tokio::time::sleep(Duration::from_millis(self.late.load(Ordering::SeqCst))).await;
        Ok(Opened {
            seat: NotesSeat::default(),
            greeting,
            tip: tips.first().map_or_else(Tip::default, |(_, tip)| *tip),
        })
    }

    async fn recheck(&self, peer: &Peer, room: i64, _: &mut NotesSeat) -> Result<(), ApiError> {
        self.check(peer, room).await
    }

    async fn on_frame(
        &self,
        peer: &Peer,
        room: i64,
        seat: &mut NotesSeat,
        frame: Incoming,
    ) -> Result<Handled, ApiError> {
        match frame.kind.as_str() {
            "note" => {
                peer.require_write()?;
                let text = frame.body.get("text").and_then(Value::as_str).unwrap_or("");
                self.say(room, text);
                Ok(Handled::Done(None))
            }
            "echo" => Ok(Handled::Done(Some(json!({ "type": "echo", "body": frame.body })))),
            "slow" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                self.handled.fetch_add(1, Ordering::SeqCst);
                Ok(Handled::Done(None))
            }
            "begin" => {
                let n = frame.body.get("n").and_then(Value::as_i64);
                if n.is_none() {
                    return Err(common::PERMISSION_DENIED.into());
                }
                self.begun.fetch_add(1, Ordering::SeqCst);
                let mut ended = self.ended.subscribe();
                let told = async move {
                    let may_end = |ended: &Vec<Option<i64>>| ended.contains(&None) || ended.contains(&n);
                    let _ = ended.wait_for(may_end).await;
                    Ok(Some(json!({ "type": "done", "n": n })))
                };
                Ok(Handled::Begun(told.boxed()))
            }
            "busy" => Err(common::THROTTLED.into()),
            "broken" => Err(ApiError::internal("secret words")),
            "ring" => {
                seat.ring_at = Some(Instant::now() + Duration::from_millis(100));
                Ok(Handled::Done(None))
            }
            _ => Err(frame.unknown()),
        }
    }

    fn overlaps(&self, kind: &str) -> bool {
        kind == "begin"
    }

    fn alarm(&self, seat: &NotesSeat) -> Option<Instant> {
        seat.ring_at
    }

    async fn on_alarm(&self, _: &Peer, room: i64, seat: &mut NotesSeat) {
        seat.ring_at = None;
        self.publish(room, &Broadcast::event(&json!({ "type": "rang" })));
    }

    async fn on_close(&self, _: &Peer, _: i64, _: NotesSeat) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

pub struct NotesApi {
    pub ws: Ws,
    pub notes: Arc<Notes>,
}

#[OpenApi]
impl NotesApi {
    /// Opens.
    #[oai(path = "/ws/notes/:id", method = "get", operation_id = "open_notes")]
    async fn open(&self, handshake: Handshake, id: Path<String>) -> Result<Upgraded, ApiError> {
        handshake.open(&self.ws, &self.notes, &id.0).await
    }
}
