//! Frames, the bounded buffer of one subscriber, and the subscriber's end of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Inner, lock};

/// Frames that may wait for one subscriber.
pub const LIMIT_FRAMES: usize = 256;
/// Bytes that may wait for one subscriber. A single frame may be larger.
pub const LIMIT_BYTES: usize = 1 << 20;

/// One start of one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(pub(super) [u8; 16]);

impl InstanceId {
    pub(super) fn new() -> Self {
        InstanceId(*uuid::Uuid::new_v4().as_bytes())
    }
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        uuid::Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

impl std::fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// One published message. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The instance that published it.
    pub origin: InstanceId,
    pub payload: Bytes,
}

/// Why there is nothing more to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The subscriber was too slow; frames were lost and the subscription is over.
    #[error("the subscriber was too slow")]
    Lagged,
    /// The hub stopped.
    #[error("the hub stopped")]
    Closed,
}

/// The buffer between publishers and one subscriber.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
    ended: Option<Ended>,
}

impl Mailbox {
    /// Adds a frame. `false`: the subscriber lagged and has to be removed.
    pub fn push(&self, frame: &Frame) -> bool {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return state.ended != Some(Ended::Lagged);
        }
        let size = frame.payload.len();
        let is_full = state.frames.len() >= LIMIT_FRAMES
            || (!state.frames.is_empty() && state.bytes.saturating_add(size) > LIMIT_BYTES);
        if is_full {
            // The rest is of no use with a hole behind it, and its memory is free at once.
            *state = State {
                ended: Some(Ended::Lagged),
                ..State::default()
            };
        } else {
            state.bytes += size;
            state.frames.push_back(frame.clone());
        }
        drop(state);
        self.arrived.notify_one();
        !is_full
    }

    pub fn close(&self) {
        lock(&self.state).ended.get_or_insert(Ended::Closed);
        self.arrived.notify_one();
    }

    fn take(&self, into: &mut Vec<Frame>, most: usize) -> Result<bool, Ended> {
        let mut state = lock(&self.state);
        let n = state.frames.len().min(most);
        if n == 0 {
            return state.ended.map_or(Ok(false), Err);
        }
        let taken: usize = state.frames.iter().take(n).map(|f| f.payload.len()).sum();
        state.bytes = state.bytes.saturating_sub(taken);
        into.extend(state.frames.drain(..n));
        Ok(true)
    }
}

/// One subscriber's end. All methods may be cancelled without losing a frame.
pub struct Subscription {
    hub: Arc<Inner>,
    topic: Arc<str>,
    mailbox: Arc<Mailbox>,
    one: Vec<Frame>,
}

impl Subscription {
    pub(super) fn new(hub: Arc<Inner>, topic: Arc<str>, mailbox: Arc<Mailbox>) -> Self {
        Subscription {
            hub,
            topic,
            mailbox,
            one: Vec::with_capacity(1),
        }
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next frame.
    ///
    /// # Errors
    /// The subscription is over; so is every later call.
    pub async fn recv(&mut self) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.try_recv()? {
                return Ok(frame);
            }
            self.mailbox.arrived.notified().await;
        }
    }

    /// The next frame if one is waiting.
    ///
    /// # Errors
    /// The subscription is over.
    pub fn try_recv(&mut self) -> Result<Option<Frame>, Ended> {
        self.mailbox.take(&mut self.one, 1)?;
        Ok(self.one.pop())
    }

    /// Waits for at least one frame and appends all that wait, at most `most`, for one write of
    /// everything.
    ///
    /// # Errors
    /// The subscription is over.
    pub async fn recv_many(&mut self, into: &mut Vec<Frame>, most: usize) -> Result<(), Ended> {
        while !self.mailbox.take(into, most.max(1))? {
            self.mailbox.arrived.notified().await;
        }
        Ok(())
    }

    /// Waits until frames of other instances arrive as well. `false` after `timeout`, or at once
    /// when Redis is down: then only local frames come until the bridge is back.
    pub async fn settled(&self, timeout: Duration) -> bool {
        match &self.hub.bridge {
            Some(bridge) => bridge.is_listening(&self.topic, timeout).await,
            None => true,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.topic, &self.mailbox);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: usize) -> Frame {
        Frame {
            origin: InstanceId::new(),
            payload: Bytes::from(vec![b'x'; size]),
        }
    }

    #[test]
    fn the_buffer_is_bounded_by_count() {
        let mailbox = Mailbox::default();
        assert!((0..LIMIT_FRAMES).all(|_| mailbox.push(&frame(1))));
        assert!(!mailbox.push(&frame(1)));
        assert_eq!(mailbox.take(&mut Vec::new(), 10), Err(Ended::Lagged));
    }

    #[test]
    fn the_buffer_is_bounded_by_bytes_but_takes_one_large_frame() {
        let mailbox = Mailbox::default();
        assert!(mailbox.push(&frame(LIMIT_BYTES + 1)));
        assert!(!mailbox.push(&frame(1)));
        let mailbox = Mailbox::default();
        assert!(mailbox.push(&frame(LIMIT_BYTES - 10)));
        assert!(mailbox.push(&frame(10)));
        let mut out = Vec::new();
        assert_eq!(mailbox.take(&mut out, 1), Ok(true));
        assert!(mailbox.push(&frame(LIMIT_BYTES - 10)), "room was made");
        assert!(!mailbox.push(&frame(1)));
    }

    #[test]
    fn what_is_buffered_comes_before_the_end() {
        let mailbox = Mailbox::default();
        mailbox.push(&frame(1));
        mailbox.close();
        let mut out = Vec::new();
        assert_eq!(mailbox.take(&mut out, 10), Ok(true));
        assert_eq!(mailbox.take(&mut out, 10), Err(Ended::Closed));
    }
}
