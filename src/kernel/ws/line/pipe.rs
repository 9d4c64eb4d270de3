//! The queue of one socket and what is written of it. Always behind the lock of its line.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;

use super::{Chunk, Duplex, LIMIT_BYTES, LIMIT_FRAMES, Times};
use crate::ws::close::Closing;

/// Small waiting frames are put together for one write.
const GATHER: usize = 8 * 1024;

/// What a line guards by its lock.
pub(super) struct Pipe {
    pub io: Option<Box<dyn Duplex>>,
    /// Of the socket's task.
    pub waker: Option<Waker>,
    pub queue: VecDeque<Chunk>,
    /// What of the first chunk is written.
    pub written: usize,
    /// Of the queue and what is held.
    pub frames: usize,
    pub bytes: usize,
    /// Live frames that wait for the end of a replay.
    pub held: Option<VecDeque<Chunk>>,
    pub state: State,
}

pub(super) enum State {
    Open,
    /// To be ended by the socket's task.
    Ending(Box<Closing>),
    /// The task is at it; nobody else writes.
    Closing,
    Gone,
}

impl Pipe {
    pub fn remember(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    pub fn end(&mut self, closing: Closing) {
        if matches!(self.state, State::Open) {
            self.state = if closing.abort {
                State::Gone
            } else {
                State::Ending(Box::new(closing))
            };
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    pub fn is_full(&self, chunk: &Chunk) -> bool {
        self.frames > 0
            && (self.frames + chunk.frames > LIMIT_FRAMES || self.bytes + chunk.weight() > LIMIT_BYTES)
    }

    /// Removes waiting frames that may be lost; returns how many.
    pub fn drop_what_may_be_lost(&mut self) -> usize {
        let mut dropped = 0;
        let begun = usize::from(self.written > 0);
        let mut index = 0;
        let (frames, bytes) = (&mut self.frames, &mut self.bytes);
        self.queue.retain(|chunk| {
            index += 1;
            let stays = !chunk.droppable || index <= begun;
            if !stays {
                dropped += chunk.frames;
                *frames -= chunk.frames;
                *bytes -= chunk.weight();
            }
            stays
        });
        dropped
    }

    /// A chunk of several frames that was written in part is cut after the frame that has begun. The heads came over
    /// the network: one that says more than there is ends the chunk where it ends.
    pub fn only_what_has_begun(&mut self) {
        let Some(first) = self.queue.front_mut() else {
            return;
        };
        let mut end = 0;
        while end < self.written {
            let next = frame_length(&first.bytes[end..]).and_then(|length| end.checked_add(length));
            end = next.map_or(first.bytes.len(), |next| next.min(first.bytes.len()));
        }
        first.bytes.truncate(end);
        if self.written >= first.bytes.len() {
            self.queue.pop_front();
            self.written = 0;
        }
    }

    pub fn count(&mut self, chunk: &Chunk) {
        self.frames += chunk.frames;
        self.bytes += chunk.weight();
    }

    /// Writes what comes when nothing waits. The usual case of a delivery: the chunk is neither counted nor kept
    /// unless the socket leaves some of it.
    pub fn write_through(&mut self, chunk: &Chunk, times: &Times) {
        if let (Some(io), Some(waker)) = (&mut self.io, &self.waker) {
            let mut cx = Context::from_waker(waker);
            if let Poll::Ready(Ok(n)) = Pin::new(&mut *io).poll_write(&mut cx, &chunk.bytes) {
                if n == chunk.bytes.len() {
                    let _ = Pin::new(io).poll_flush(&mut cx);
                    return;
                }
                self.written = n;
            }
        }
        self.count(chunk);
        self.queue.push_back(chunk.clone());
        self.write_now(times);
    }

    /// Writes on behalf of the socket's task, if it has started.
    pub fn write_now(&mut self, times: &Times) {
        let Some(waker) = self.waker.clone() else { return };
        self.write(&mut Context::from_waker(&waker), times);
    }

    /// Writes until nothing waits or the socket takes no more.
    pub fn write(&mut self, cx: &mut Context<'_>, times: &Times) {
        if matches!(self.state, State::Gone) {
            return;
        }
        let Some(io) = &mut self.io else { return };
        while let Some(first) = self.queue.front() {
            let rest = &first.bytes[self.written..];
            let polled = if rest.len() >= GATHER || self.queue.len() == 1 {
                Pin::new(&mut *io).poll_write(cx, rest)
            } else {
                let mut scratch = [0_u8; GATHER];
                let n = gather(&self.queue, self.written, &mut scratch);
                Pin::new(&mut *io).poll_write(cx, &scratch[..n])
            };
            match polled {
                Poll::Ready(Ok(n)) if n > 0 => {
                    times.stalled.store(0, Ordering::Relaxed);
                    advance(
                        &mut self.queue,
                        &mut self.written,
                        &mut self.frames,
                        &mut self.bytes,
                        n,
                    );
                }
                Poll::Pending => {
                    let now = times.now.load(Ordering::Relaxed);
                    // Only the first time that it takes nothing counts.
                    let _ = times
                        .stalled
                        .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
                    return;
                }
                Poll::Ready(_) => {
                    self.state = State::Gone;
                    self.queue.clear();
                    cx.waker().wake_by_ref();
                    return;
                }
            }
        }
        // An idle socket keeps no memory for a burst that is over.
        if self.queue.capacity() > 64 {
            self.queue = VecDeque::new();
        }
        // TCP has nothing to flush; a test's pipe may.
        let _ = Pin::new(io).poll_flush(cx);
    }
}

/// Copies waiting bytes together; returns how many.
fn gather(queue: &VecDeque<Chunk>, written: usize, into: &mut [u8]) -> usize {
    let mut n = 0;
    let mut skip = written;
    for chunk in queue {
        let rest = &chunk.bytes[skip..];
        skip = 0;
        let take = rest.len().min(into.len() - n);
        into[n..n + take].copy_from_slice(&rest[..take]);
        n += take;
        if n == into.len() {
            break;
        }
    }
    n
}

/// Takes `n` written bytes off the queue.
fn advance(
    queue: &mut VecDeque<Chunk>,
    written: &mut usize,
    frames: &mut usize,
    bytes: &mut usize,
    mut n: usize,
) {
    while let Some(first) = queue.front() {
        let left = first.bytes.len() - *written;
        if n < left {
            *written += n;
            return;
        }
        n -= left;
        *written = 0;
        *frames = frames.saturating_sub(first.frames);
        *bytes = bytes.saturating_sub(first.weight());
        queue.pop_front();
        if n == 0 {
            return;
        }
    }
}

/// The length of the unmasked frame at the front of `bytes`.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let (head, payload) = match *bytes.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        ),
        127 => {
            let mut raw = [0; 8];
            raw.copy_from_slice(bytes.get(2..10)?);
            (10, usize::try_from(u64::from_be_bytes(raw)).ok()?)
        }
        n => (2, usize::from(n)),
    };
    payload.checked_add(head)
}
