//! Rooms: one subscription, one order and one repair for all sockets of a topic in this process.
//!
//! A room knows the position up to which its sockets have been told. A stored message that follows
//! on it is handed out; an older one is a repetition; one that does not follow waits 20 ms for what
//! is missing, since between instances small gaps are normal, and then the rows are read from the
//! database once for the whole room. Every few seconds all open rooms are compared with the database
//! in one query, so a message that was lost on its way costs time and nothing else.
//!
//! Changes (see `broadcast`) are numbered apart from messages and kept in order the same way. They
//! are not stored one by one: who missed some is told how the messages are now that were changed
//! lately, and everybody in the room is asked again whether he may be there.
//!
//! The position is moved and the sockets are told under one lock, under which a socket also joins:
//! what it replays ends exactly where what it hears begins.

mod state;

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
use super::endpoint::{Log, Tip};
use super::frame;
use super::line::{Chunk, Line};
use crate::error::ApiError;
use crate::realtime::{Ended, Frame, Hub, Subscription};
use crate::telemetry::Metrics;
use state::{State, Take};

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
            state: Mutex::new(State::new()),
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

    /// How far its sockets were told.
    pub fn tip(&self) -> Tip {
        self.lock().tip
    }

    async fn open(self: &Arc<Self>) -> Result<AbortOnDropHandle<()>, ApiError> {
        let subscription = self.hub.subscribe(&self.topic);
        // Without Redis the comparison with the database makes up for it.
        subscription.settled(SETTLE).await;
        let whole_at = Instant::now();
        let tip = self.stored_tip().await?.unwrap_or_default();
        let mut state = self.lock();
        (state.tip, state.whole_at) = (tip, whole_at);
        drop(state);
        // Weak: the room owns its pump.
        let pump = pump(Arc::downgrade(self), subscription);
        Ok(AbortOnDropHandle::new(crate::task::spawn(pump)))
    }

    /// How far the room is in the database; `None` if it is not there.
    async fn stored_tip(&self) -> Result<Option<Tip>, ApiError> {
        let tips = self.log.tips(&[self.id]).await?;
        Ok(tips
            .into_iter()
            .find(|(id, _)| *id == self.id)
            .map(|(_, tip)| tip))
    }

    /// Lets a socket hear everything from now on. Returns how far the room is.
    pub fn join(&self, line: &Arc<Line>) -> Tip {
        let mut state = self.lock();
        state.members.push(line.clone());
        state.tip
    }

    pub fn leave(&self, line: &Arc<Line>) {
        let mut state = self.lock();
        if let Some(at) = state.members.iter().position(|member| Arc::ptr_eq(member, line)) {
            state.members.swap_remove(at);
        }
    }

    /// Asks for everybody again whether he may be here.
    pub fn recheck(&self) {
        self.lock().recheck();
    }

    /// Takes what arrived and hands on what can be.
    fn take(&self, frames: &[Frame]) -> Take {
        let mut state = self.lock();
        let mut out = Vec::with_capacity(frames.len());
        let mut take = Take::Whole;
        for frame in frames {
            match Broadcast::decode(&frame.payload) {
                Some(broadcast) => take = take.max(state.take(broadcast, &mut out)),
                None => {
                    tracing::debug!(ws.topic = %self.topic, "a message of another version; the database is read instead");
                    take = Take::Unknown;
                }
            }
        }
        state.hand_out(&out);
        match take {
            Take::Unknown => take,
            _ if state.is_whole() => Take::Whole,
            _ => Take::Gap,
        }
    }

    /// Reads what the database has beyond the tip, and hands it out.
    ///
    /// # Errors
    /// The database's.
    pub async fn catch_up(&self) -> Result<(), ApiError> {
        let _one = self.repairing.lock().await;
        self.catch_up_messages().await?;
        if self.lock().misses_changes() {
            self.catch_up_changes().await?;
        }
        Ok(())
    }

    /// Only by who is repairing.
    async fn catch_up_messages(&self) -> Result<(), ApiError> {
        loop {
            let (position, newest_waiting) = {
                let state = self.lock();
                (
                    state.tip.position,
                    state.waiting.last_key_value().map(|(p, _)| *p),
                )
            };
            let rows = self.log.read(self.id, position, ROWS).await?;
            let more = rows.len() as u64 >= ROWS;
            let mut guard = self.lock();
            let state = &mut *guard;
            let mut out = Vec::with_capacity(rows.len());
            for row in rows {
                let Some(position) = row.position.filter(|p| *p > state.tip.position) else {
                    continue;
                };
                state.tip.position = position;
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

    /// Tells the sockets what changes they missed, if they did. Only by who is repairing.
    async fn catch_up_changes(&self) -> Result<(), ApiError> {
        let whole_at = Instant::now();
        let Some(stored) = self.stored_tip().await? else {
            return Ok(());
        };
        let within = {
            let state = self.lock();
            if state.tip.changes >= stored.changes {
                return Ok(());
            }
            state.whole_at.elapsed()
        };
        let mut out = self.log.changed(self.id, within).await?;
        if self.tip().position < stored.position {
            // Those changes are about messages up to there. One of them that came later by itself
            // would come as it was sent.
            self.catch_up_messages().await?;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.tip.changes < stored.changes {
            (state.tip.changes, state.whole_at) = (stored.changes, whole_at);
            let position = state.tip.position;
            out.retain(|now| now.previous.is_none_or(|about| about <= position));
            state.release(&mut out);
            state.hand_out(&out);
            state.recheck();
        }
        Ok(())
    }

    /// The database, asked at `asked`, knows of so many changes.
    pub async fn has_changes(&self, changes: i64, asked: Instant) {
        {
            let mut state = self.lock();
            if state.tip.changes >= changes {
                state.whole_at = asked;
                return;
            }
        }
        self.metrics.realtime.gap_repairs.inc();
        let _one = self.repairing.lock().await;
        if let Err(error) = self.catch_up_changes().await {
            self.could_not(&error);
        }
    }

    fn could_not(&self, error: &ApiError) {
        tracing::warn!(error = %error, ws.topic = %self.topic, "a room could not read what it missed; trying again");
    }

    pub async fn catch_up_or_log(&self) {
        if let Err(error) = self.catch_up().await {
            self.could_not(&error);
        }
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
                // The time first: in a lively room there is always something to receive.
                let late = tokio::time::sleep_until(since + REORDER);
                let arrived = subscription.recv_many(&mut frames, BATCH);
                let arrived = tokio::select! {
                    biased;
                    () = late => None,
                    arrived = arrived => Some(arrived),
                };
                match arrived {
                    Some(arrived) => arrived,
                    None => {
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
