//! The stream of one connection, with every deadline that belongs to it.
//!
//! * A head must be complete within its time from its first byte (from the accept for the first
//!   one), however slowly it drips. An idle connection ends after the keep-alive time.
//! * While a request runs, reading has no deadline here: the body has its own pace (`body::gate`),
//!   and a slow handler is no fault of the client.
//! * A client that closes its sending side while its request runs may still read: the end is hidden
//!   from the parser, which would drop the request, for just under a second. A client that is gone
//!   looks the same, so its work is cancelled that much later.
//! * A client that takes no byte of an answer for the write timeout is cut off.
//! * Closing before everything was read would make the kernel send a reset, which can destroy the
//!   answer on its way; so after the last write the rest is read and dropped for a short while.
//! * After an upgrade none of this applies: the WebSocket side watches its peers itself.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::caps::Place;
use super::tap::{Judgement, Tap, Verdict};
use crate::http::settings::Timeouts;

/// After the last answer: how long to wait for more to drop, and how long at most.
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER_TOTAL: Duration = Duration::from_secs(15);

/// How long a running request may outlive the client's sending side.
const HALF_CLOSED: Duration = Duration::from_millis(900);

/// What the stream and the service of one connection share.
#[derive(Debug)]
pub(super) struct ConnState {
    tap: Mutex<Tap>,
    running: AtomicUsize,
    served: AtomicBool,
    upgraded: AtomicBool,
    /// When the last answer was complete.
    idle_since: Mutex<Instant>,
    /// Whoever waits for the next head; without a deadline as long as a request runs.
    reader: Mutex<Option<Waker>>,
}

impl ConnState {
    pub fn new() -> Arc<Self> {
        Arc::new(ConnState {
            tap: Mutex::new(Tap::new()),
            running: AtomicUsize::new(0),
            served: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            reader: Mutex::default(),
        })
    }

    fn reader(&self) -> MutexGuard<'_, Option<Waker>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tap(&self) -> MutexGuard<'_, Tap> {
        self.tap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come out of the parser.
    pub fn begin(self: &Arc<Self>) -> (Running, Option<Judgement>) {
        self.running.fetch_add(1, Ordering::AcqRel);
        (Running(self.clone()), self.tap().next_judgement())
    }

    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    pub fn is_mid_head(&self) -> bool {
        self.tap().is_mid_head()
    }

    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }
}

/// One request, from its head to the end of its answer's body.
#[derive(Debug)]
pub(super) struct Running(Arc<ConnState>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.served.store(true, Ordering::Release);
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        // The parser looked for the next head before this answer was complete and would not look
        // again by itself; now there is a deadline.
        if let Some(reader) = self.0.reader().take() {
            reader.wake();
        }
    }
}

/// The guarded stream.
pub(super) struct Guarded {
    inner: TcpStream,
    state: Arc<ConnState>,
    timeouts: Timeouts,
    accepted: Instant,
    head_begun: Option<Instant>,
    /// The parser gets this next, and then nothing more.
    ending: Option<&'static [u8]>,
    cut: bool,
    half_closed: Option<Pin<Box<Sleep>>>,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
    _place: Place,
}

struct Linger {
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Guarded {
    pub fn new(inner: TcpStream, state: Arc<ConnState>, timeouts: Timeouts, place: Place) -> Self {
        Guarded {
            inner,
            state,
            timeouts,
            accepted: Instant::now(),
            head_begun: None,
            ending: None,
            cut: false,
            half_closed: None,
            read_timer: None,
            write_timer: None,
            linger: None,
            _place: place,
        }
    }

    /// When the client must have sent something, if it must.
    fn read_deadline(&self) -> Option<Instant> {
        if self.state.is_running() {
            return None;
        }
        let idle_since = *self
            .state
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(match self.head_begun {
            // A head that came while the request before it still ran counts from that one's end.
            Some(begun) => begun.max(idle_since) + self.timeouts.head,
            None if self.state.served.load(Ordering::Acquire) => idle_since + self.timeouts.keep_alive,
            None => self.accepted + self.timeouts.head,
        })
    }

    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.read_deadline() else {
            *self.state.reader() = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let timer = self
            .read_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // A timer that is early only looks again; moving it for every request would cost more.
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Looks at what was read; cuts it when a head is too large.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let mut tap = self.state.tap();
        let verdict = tap.see(&buf.filled()[before..]);
        let mid_head = tap.is_mid_head();
        drop(tap);
        self.head_begun = mid_head.then(|| self.head_begun.unwrap_or_else(Instant::now));
        if let Verdict::Cut { keep, end } = verdict {
            buf.set_filled(before + keep);
            self.ending = Some(end);
            self.cut = true;
        }
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.ending.take() {
            // The answer that is being written ends the connection, or else the deadline.
            None => self.poll_read_deadline(cx).map(Err),
            Some(end) => {
                let (now, later) = end.split_at(end.len().min(buf.remaining()));
                buf.put_slice(now);
                self.ending = (!later.is_empty()).then_some(later);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// The client sends nothing more. Ready when the parser may know.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.state.is_running() || self.state.tap().has_unread() {
            return Poll::Ready(Ok(()));
        }
        *self.state.reader() = Some(cx.waker().clone());
        let timer = self
            .half_closed
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(HALF_CLOSED)));
        timer.as_mut().poll(cx).map(Ok)
    }

    fn poll_write_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.state.is_upgraded() {
            return Poll::Pending;
        }
        let limit = self.timeouts.write;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// A write that made progress, or the deadline of one that did not.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(done) => {
                self.write_timer = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.poll_write_deadline(cx).map(Err),
        }
    }

    /// Reads and drops what the client still sends.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let linger = self.linger.get_or_insert_with(|| Linger {
            until: now + LINGER_TOTAL,
            timer: Box::pin(tokio::time::sleep(LINGER_IDLE)),
        });
        let mut scratch = [0_u8; 16 * 1024];
        // A bounded stretch, then somebody else's turn.
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && now < linger.until => {
                    linger.timer.as_mut().reset(now + LINGER_IDLE);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.timer.as_mut().poll(cx).map(|()| Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.state.is_upgraded() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        if this.cut {
            return this.poll_ending(cx, buf);
        }
        if this.half_closed.is_some() {
            return this.poll_end(cx);
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                this.inspect(buf, before);
                if this.cut && buf.filled().len() == before {
                    // Nothing left of this read would look like the end of the stream.
                    return this.poll_ending(cx, buf);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => this.poll_end(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_read_deadline(cx).map(Err),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if this.state.is_upgraded() || !(this.cut || this.state.tap().has_unread()) {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx)
    }
}
