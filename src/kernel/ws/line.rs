//! The writing side of one socket, shared by everybody who has something for it.
//!
//! Whoever has a frame puts it into the queue and, when nothing waits before it, writes it at once,
//! on behalf of the socket's own task: an ordinary delivery costs one write and no wake-up. A socket
//! that cannot take it is left to its task, which goes on when the system says so. Nobody ever waits
//! for a socket.
//!
//! The queue is bounded ([`LIMIT_FRAMES`], [`LIMIT_BYTES`]). Frames that may be lost (typing,
//! presence) are left out for a socket that has fallen behind and are the first to go when the queue
//! is full; if that does not help, the socket ends with 1013. While stored messages are replayed,
//! live ones are held back behind them.

mod pipe;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::close::{CloseCode, Closing};
use super::frame;
use crate::ids::UserId;
use crate::telemetry::Metrics;
use pipe::{Pipe, State};

/// Frames that a socket may be behind.
pub(super) const LIMIT_FRAMES: usize = 256;
/// Bytes that a socket may be behind. A single frame may be larger.
pub(super) const LIMIT_BYTES: usize = 1 << 20;
/// Droppable frames are for sockets that are nearly up to date.
const DROP_BEHIND: usize = 16;

/// What carries a socket.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// Something to write: one frame, or several that were put together once for everybody.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub bytes: Bytes,
    /// 0 for a replay, which does not count: a socket waits with one page at most, and is behind of
    /// its own accord.
    pub frames: usize,
    pub droppable: bool,
}

impl Chunk {
    /// What of it counts against [`LIMIT_BYTES`].
    fn weight(&self) -> usize {
        if self.frames == 0 { 0 } else { self.bytes.len() }
    }

    pub fn one(bytes: Bytes) -> Self {
        Chunk {
            bytes,
            frames: 1,
            droppable: false,
        }
    }
}

/// Asked of the socket's task; see [`Line::signal`].
pub(super) const RECHECK: u8 = 1;
pub(super) const ALARM: u8 = 2;

/// One socket, as seen by everybody but its task.
pub(super) struct Line {
    pub id: u64,
    pub user: UserId,
    /// 0 for an API key.
    session: AtomicI64,
    /// Unix seconds; `i64::MAX` for never.
    pub expires_at: AtomicI64,
    pub times: Times,
    signals: AtomicU8,
    metrics: Metrics,
    pipe: Mutex<Pipe>,
}

/// What the sweeper looks at, in milliseconds since the layer started; 0 is never.
#[derive(Default)]
pub(super) struct Times {
    /// The last byte from the client.
    pub heard: AtomicU64,
    pub pinged: AtomicU64,
    /// Since when the client has not taken a byte that waits for it.
    pub stalled: AtomicU64,
    /// When the endpoint wants to be called.
    pub alarm: AtomicU64,
    /// The sweeper's last look, as good as a clock for everybody else.
    pub now: AtomicU64,
}

impl Line {
    /// A line that holds back what it gets until [`Line::end_replay`].
    pub fn new(id: u64, user: UserId, session: i64, now_ms: u64, metrics: Metrics) -> Self {
        let times = Times::default();
        for time in [&times.heard, &times.pinged, &times.now] {
            time.store(now_ms.max(1), Ordering::Relaxed);
        }
        Line {
            id,
            user,
            session: AtomicI64::new(session),
            expires_at: AtomicI64::new(i64::MAX),
            times,
            signals: AtomicU8::new(0),
            metrics,
            pipe: Mutex::new(Pipe {
                io: None,
                waker: None,
                queue: VecDeque::new(),
                written: 0,
                frames: 0,
                bytes: 0,
                held: Some(VecDeque::new()),
                state: State::Open,
            }),
        }
    }

    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn session(&self) -> i64 {
        self.session.load(Ordering::Relaxed)
    }

    pub fn set_session(&self, session: i64) {
        self.session.store(session, Ordering::Relaxed);
    }

    /// The connection was upgraded.
    pub fn connect(&self, io: Box<dyn Duplex>) {
        self.pipe().io = Some(io);
    }

    /// Puts something into the queue and writes what can be written.
    pub fn push(&self, chunk: &Chunk) {
        let mut pipe = self.pipe();
        if !matches!(pipe.state, State::Open) {
            return;
        }
        if chunk.droppable && (pipe.held.is_some() || pipe.frames >= DROP_BEHIND) {
            self.metrics.realtime.frames_dropped.inc_by(chunk.frames as u64);
            return;
        }
        if pipe.is_full(chunk) {
            let dropped = pipe.drop_what_may_be_lost();
            self.metrics.realtime.frames_dropped.inc_by(dropped as u64);
            if pipe.is_full(chunk) {
                pipe.end(Closing::with(CloseCode::TRY_AGAIN));
                return;
            }
        }
        if pipe.held.is_none() && pipe.queue.is_empty() {
            pipe.write_through(chunk, &self.times);
            return;
        }
        pipe.count(chunk);
        match &mut pipe.held {
            Some(held) => held.push_back(chunk.clone()),
            None => pipe.queue.push_back(chunk.clone()),
        }
    }

    /// Puts something before what is held back.
    pub fn push_replay(&self, chunk: Chunk) {
        let mut pipe = self.pipe();
        if matches!(pipe.state, State::Open) {
            pipe.queue.push_back(Chunk { frames: 0, ..chunk });
            pipe.write_now(&self.times);
        }
    }

    /// Lets go of what was held back.
    pub fn end_replay(&self) {
        let mut pipe = self.pipe();
        if let Some(mut held) = pipe.held.take() {
            pipe.queue.append(&mut held);
            pipe.write_now(&self.times);
        }
    }

    /// Asks the socket's task for something.
    pub fn signal(&self, what: u8) {
        self.signals.fetch_or(what, Ordering::AcqRel);
        self.wake();
    }

    pub fn take_signal(&self, what: u8) -> bool {
        // Asked at every turn of the task; usually nothing is there.
        self.signals.load(Ordering::Acquire) & what != 0
            && self.signals.fetch_and(!what, Ordering::AcqRel) & what != 0
    }

    fn wake(&self) {
        let waker = self.pipe().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the socket. The first reason counts.
    pub fn end(&self, closing: Closing) {
        self.pipe().end(closing);
    }

    /// Writes what waits. Called by the socket's task at every turn, with its own context.
    pub fn poll_write(&self, cx: &mut Context<'_>) {
        let mut pipe = self.pipe();
        pipe.remember(cx);
        pipe.write(cx, &self.times);
    }

    /// Ready when the socket has to end. The caller is then the only one who writes.
    pub fn poll_ending(&self, cx: &mut Context<'_>) -> Poll<Closing> {
        let mut pipe = self.pipe();
        pipe.remember(cx);
        match std::mem::replace(&mut pipe.state, State::Closing) {
            State::Ending(closing) => Poll::Ready(*closing),
            State::Gone => {
                pipe.state = State::Gone;
                Poll::Ready(Closing::gone())
            }
            other => {
                pipe.state = other;
                Poll::Pending
            }
        }
    }

    /// Ready when everything that waits is written, or nothing can be any more.
    pub fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = self.pipe();
        pipe.remember(cx);
        pipe.write(cx, &self.times);
        if pipe.queue.is_empty() || matches!(pipe.state, State::Gone) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Reads what is there.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.pipe().io {
            Some(io) => {
                let before = buf.filled().len();
                let polled = Pin::new(io).poll_read(cx, buf);
                if buf.filled().len() > before {
                    self.times
                        .heard
                        .store(self.times.now.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                polled
            }
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Starts the end: what waits stays only if `keeps`, except a frame that has begun; then come
    /// the last frames.
    pub fn begin_close(&self, keeps: bool, last: impl IntoIterator<Item = Bytes>) {
        let mut pipe = self.pipe();
        if !matches!(pipe.state, State::Gone) {
            pipe.state = State::Closing;
        }
        pipe.held = None;
        if !keeps {
            let begun = usize::from(pipe.written > 0);
            pipe.queue.truncate(begun);
            pipe.only_what_has_begun();
        }
        pipe.queue.extend(last.into_iter().map(Chunk::one));
    }

    /// Closes our direction.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.pipe().io {
            Some(io) => Pin::new(io).poll_shutdown(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// Lets go of the connection, so that it ends even while somebody still holds the line.
    pub fn disconnect(&self) {
        let mut pipe = self.pipe();
        pipe.state = State::Gone;
        pipe.queue = VecDeque::new();
        pipe.held = None;
        pipe.waker = None;
        let io = pipe.io.take();
        drop(pipe);
        drop(io);
    }
}

/// The sweeper's ping.
pub(super) fn ping() -> Chunk {
    Chunk::one(Bytes::from_static(frame::PING_FRAME))
}

#[cfg(test)]
mod tests;
