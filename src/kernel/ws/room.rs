//! Rooms: one subscription, one order and one repair for all sockets of a topic in this process.
//!
//! A room knows the position up to which its sockets have been told. A stored message that follows
//! on it is handed out; an older one is a repetition; one that does not follow waits 20 ms for what
//! is missing, since between instances small gaps are normal, and then the rows are read from the
//! database once for the whole room. Every few seconds all open rooms are compared with the database
//! in one query, so a message that was lost on its way costs time and nothing else.
//!
//! The position is moved and the sockets are told under one lock, under which a socket also joins:
//! what it replays ends exactly where what it hears begins.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::OnceCell;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::broadcast::Broadcast;
use super::close::{CloseCode, Closing, codes};
use super::endpoint::Log;
use super::frame;
use super::line::{Chunk, Line, RECHECK};
use crate::error::ApiError;
use crate::realtime::{Ended, Frame, Hub, Subscription};
use crate::telemetry::Metrics;

/// How long a gap may close by itself.
const REORDER: Duration = Duration::from_millis(20);
/// How long a new room waits to hear other instances.
const SETTLE: Duration = Duration::from_secs(1);
/// A pass over so many sockets that it takes longer pauses afterwards, for as long as it took and at most that long:
/// what comes meanwhile goes to each socket with one write instead of several. Otherwise the writes for a lively room
/// of a thousand take all the time there is, and then everything waits for them.
const PAUSE_FROM: Duration = Duration::from_millis(1);
const PAUSE_UPTO: Duration = Duration::from_millis(10);
/// A pass with so many frames has gathered enough.
const GATHERED: usize = 16;
/// Frames taken from the hub, and rows read from the database, at a time.
const BATCH: usize = 64;
const ROWS: u64 = 100;

pub(super) struct Room {
    pub topic: Arc<str>,
    pub id: i64,
    pub log: Arc<dyn Log>,
    hub: Hub,
    pub metrics: Metrics,
    opened: OnceCell<AbortOnDropHandle<()>>,
    /// One repair at a time.
    repairing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    position: i64,
    members: Vec<Arc<Line>>,
    /// Stored messages that do not follow on the position yet.
    waiting: BTreeMap<i64, Broadcast>,
}

impl Room {
    pub fn new(topic: Arc<str>, id: i64, log: Arc<dyn Log>, hub: Hub, metrics: Metrics) -> Self {
        Room {
            topic,
            id,
            log,
            hub,
            metrics,
            opened: OnceCell::new(),
            repairing: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Listens to the topic from now on, if it did not before.
    ///
    /// # Errors
    /// The database does not tell the position.
    pub async fn opened(self: &Arc<Self>) -> Result<(), ApiError> {
        self.opened.get_or_try_init(|| self.open()).await?;
        Ok(())
    }

    pub fn is_open(&self) -> bool {
        self.opened.initialized()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn position(&self) -> i64 {
        self.lock().position
    }

    async fn open(self: &Arc<Self>) -> Result<AbortOnDropHandle<()>, ApiError> {
        let subscription = self.hub.subscribe(&self.topic);
        // Without Redis the comparison with the database makes up for it.
        subscription.settled(SETTLE).await;
        let last = self.log.last(&[self.id]).await?;
        let position = last.iter().find(|(id, _)| *id == self.id).map_or(0, |(_, p)| *p);
        self.lock().position = position;
        // Weak: the room owns its pump.
        let pump = pump(Arc::downgrade(self), subscription);
        Ok(AbortOnDropHandle::new(crate::task::spawn(pump)))
    }

    /// Lets a socket hear everything from now on. Returns the position from which on it does.
    pub fn join(&self, line: &Arc<Line>) -> i64 {
        let mut state = self.lock();
        state.members.push(line.clone());
        state.position
    }

    pub fn leave(&self, line: &Arc<Line>) {
        let mut state = self.lock();
        if let Some(at) = state.members.iter().position(|member| Arc::ptr_eq(member, line)) {
            state.members.swap_remove(at);
        }
    }

    /// Asks for everybody again whether he may be here.
    pub fn recheck(&self) {
        self.lock().members.iter().for_each(|line| line.signal(RECHECK));
    }

    /// Takes what arrived and hands on what can be.
    fn take(&self, frames: &[Frame]) -> Take {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut out = Vec::with_capacity(frames.len());
        let mut take = Take::Whole;
        for frame in frames {
            let Some(broadcast) = Broadcast::decode(&frame.payload) else {
                tracing::debug!(ws.topic = %self.topic, "a message of another version; the database is read instead");
                take = Take::Unknown;
                continue;
            };
            let Some(position) = broadcast.position else {
                out.push(broadcast);
                continue;
            };
            if position <= state.position {
                continue;
            }
            match broadcast.previous {
                Some(previous) if previous <= state.position => {
                    state.position = position;
                    out.push(broadcast);
                    state.release(&mut out);
                }
                previous => {
                    take = take.max(if previous.is_some() {
                        Take::Gap
                    } else {
                        Take::Unknown
                    });
                    state.waiting.insert(position, broadcast);
                }
            }
        }
        state.hand_out(&out);
        match take {
            Take::Unknown => take,
            _ if state.waiting.is_empty() => Take::Whole,
            _ => Take::Gap,
        }
    }

    /// Reads what the database has beyond the position, and hands it out.
    ///
    /// # Errors
    /// The database's.
    pub async fn catch_up(&self) -> Result<(), ApiError> {
        let _one = self.repairing.lock().await;
        loop {
            let (position, newest_waiting) = {
                let state = self.lock();
                (state.position, state.waiting.last_key_value().map(|(p, _)| *p))
            };
            let rows = self.log.read(self.id, position, ROWS).await?;
            let more = rows.len() as u64 >= ROWS;
            let mut guard = self.lock();
            let state = &mut *guard;
            let mut out = Vec::with_capacity(rows.len());
            for row in rows {
                let Some(position) = row.position.filter(|p| *p > state.position) else {
                    continue;
                };
                state.position = position;
                state.waiting.remove(&position);
                out.push(row);
            }
            state.release(&mut out);
            if !more {
                // What arrived before the rows were read and is not among them was removed again.
                state.waiting.retain(|p, _| Some(*p) > newest_waiting);
            }
            state.hand_out(&out);
            if !more && state.waiting.is_empty() {
                return Ok(());
            }
        }
    }

    pub async fn catch_up_or_log(&self) {
        if let Err(error) = self.catch_up().await {
            tracing::warn!(error = %error, ws.topic = %self.topic, "a room could not read what it missed; trying again");
        }
    }
}

/// How whole a room is after what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Take {
    Whole,
    /// Something is missing and may be on its way.
    Gap,
    /// Only the database can tell.
    Unknown,
}

impl State {
    /// Moves what follows now from the waiting ones.
    fn release(&mut self, out: &mut Vec<Broadcast>) {
        while let Some(entry) = self.waiting.first_entry() {
            let position = *entry.key();
            if position <= self.position {
                entry.remove();
                continue;
            }
            if entry
                .get()
                .previous
                .is_none_or(|previous| previous > self.position)
            {
                return;
            }
            self.position = position;
            out.push(entry.remove());
        }
    }

    fn hand_out(&self, out: &[Broadcast]) {
        let mut plain: Vec<&Broadcast> = Vec::new();
        for broadcast in out {
            if is_plain(broadcast) {
                plain.push(broadcast);
                continue;
            }
            self.to_everybody(&plain);
            plain.clear();
            self.to_some(broadcast);
        }
        self.to_everybody(&plain);
    }

    /// The same bytes for all: put together once.
    fn to_everybody(&self, all: &[&Broadcast]) {
        let bytes = match all {
            [] => return,
            [one] => one.frame.clone(),
            many => {
                let mut bytes = BytesMut::with_capacity(many.iter().map(|b| b.frame.len()).sum());
                many.iter().for_each(|b| bytes.extend_from_slice(&b.frame));
                bytes.freeze()
            }
        };
        let chunk = Chunk {
            bytes,
            frames: all.len(),
            droppable: false,
        };
        self.members.iter().for_each(|line| line.push(&chunk));
    }

    fn to_some(&self, broadcast: &Broadcast) {
        let chunk = Chunk {
            bytes: broadcast.frame.clone(),
            frames: 1,
            droppable: broadcast.droppable,
        };
        for line in self.members.iter().filter(|line| broadcast.concerns(line.user)) {
            if !chunk.bytes.is_empty() {
                line.push(&chunk);
            }
            if broadcast.recheck {
                line.signal(RECHECK);
            }
            if let Some(code) = broadcast.close {
                line.end(closing(code));
            }
        }
    }
}

fn is_plain(broadcast: &Broadcast) -> bool {
    !broadcast.droppable
        && !broadcast.recheck
        && broadcast.close.is_none()
        && broadcast.except.is_none()
        && broadcast.only.is_none()
        && !broadcast.frame.is_empty()
}

fn closing(code: CloseCode) -> Closing {
    match code {
        CloseCode::ROOM_CLOSED => Closing::because(codes::ROOM_CLOSED),
        code => Closing::with(code),
    }
}

/// Hands on what the hub brings, for ever.
async fn pump(room: std::sync::Weak<Room>, mut subscription: Subscription) {
    let mut frames: Vec<Frame> = Vec::new();
    let mut gap_since: Option<Instant> = None;
    loop {
        let waited = match gap_since {
            None => subscription.recv_many(&mut frames, BATCH).await,
            Some(since) => {
                let arrived = subscription.recv_many(&mut frames, BATCH);
                match tokio::time::timeout_at(since + REORDER, arrived).await {
                    Ok(arrived) => arrived,
                    Err(_) => {
                        let Some(room) = room.upgrade() else { return };
                        room.metrics.realtime.gap_repairs.inc();
                        room.catch_up_or_log().await;
                        gap_since = None;
                        continue;
                    }
                }
            }
        };
        let Some(room) = room.upgrade() else { return };
        match waited {
            Ok(()) => {
                // Writing to many sockets must not be cut short by the runtime's budget for one
                // task: every write that is not tried costs a wake-up.
                let begun = Instant::now();
                let taken = unconstrained(poll_fn(|_| Poll::Ready(room.take(&frames)))).await;
                let took = begun.elapsed();
                if took >= PAUSE_FROM && frames.len() < GATHERED {
                    tokio::time::sleep(took.min(PAUSE_UPTO)).await;
                }
                frames.clear();
                match taken {
                    Take::Whole => gap_since = None,
                    Take::Gap => gap_since = gap_since.or(Some(Instant::now())),
                    Take::Unknown => {
                        gap_since = None;
                        room.catch_up_or_log().await;
                    }
                }
            }
            Err(Ended::Lagged) => {
                subscription = room.hub.subscribe(&room.topic);
                subscription.settled(SETTLE).await;
                room.catch_up_or_log().await;
                // What is not stored may have taken rights away.
                room.recheck();
            }
            Err(Ended::Closed) => return,
        }
        if frames.capacity() > BATCH / 4 {
            frames = Vec::new();
        }
    }
}

/// A frame for one socket only.
pub(super) fn chunk(value: &impl serde::Serialize) -> Chunk {
    Chunk::one(frame::json(value))
}

/// Several frames as one piece.
pub(super) fn chunk_of(frames: impl IntoIterator<Item = Bytes>) -> Chunk {
    let frames: Vec<Bytes> = frames.into_iter().collect();
    let mut bytes = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| bytes.extend_from_slice(frame));
    Chunk {
        bytes: bytes.freeze(),
        frames: frames.len(),
        droppable: false,
    }
}
