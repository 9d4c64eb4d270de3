//! Counts a request body while it is read, and bounds the time and memory it may take.
//!
//! Every request gets one [`BodyGate`]. The stream under the body counts against the gate's limit,
//! which is the default for JSON until an extractor that wants more says so ([`BodyGate::admit`]).
//! A `Content-Length` over the limit is refused before a byte is read. The gate remembers why it
//! ended a body, so that `render` can answer 413 or 408 whatever a parser in between made of the
//! broken stream. Only the time spent waiting for the client counts, never the time a handler
//! takes to accept what came.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use poem::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::JSON_LIMIT;
use crate::error::{ApiError, common};
use crate::http::failure::codes;

/// A body slower than this is ended.
const MIN_BYTES_PER_SECOND: u64 = 1024;

/// Bodies up to this size are buffered without asking for memory.
pub(super) const FREE_BUFFER: u64 = 256 * 1024;

/// Bytes that all buffered bodies of the process may take together, in units of 1 KiB.
#[derive(Clone, Debug)]
pub struct BodyMemory {
    units: Arc<Semaphore>,
    wait: Duration,
}

impl BodyMemory {
    pub fn new(bytes: u64, wait: Duration) -> Self {
        let units = usize::try_from(bytes / 1024).unwrap_or(Semaphore::MAX_PERMITS);
        BodyMemory {
            units: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            wait,
        }
    }

    async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        match tokio::time::timeout(self.wait, self.units.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ApiError::unavailable("no memory for another request body").retry_after(1)),
        }
    }

    /// Bytes not in use, for metrics.
    pub fn free_bytes(&self) -> u64 {
        self.units.available_permits() as u64 * 1024
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Ended {
    No = 0,
    TooLarge = 1,
    TooSlow = 2,
}

/// The account of one request's body.
#[derive(Debug)]
pub struct BodyGate {
    limit: AtomicU64,
    received: AtomicU64,
    /// Nothing of the body is left on the connection.
    complete: AtomicBool,
    ended: AtomicU8,
    declared: Option<u64>,
    encoded: bool,
    last_byte: Mutex<Instant>,
    memory: BodyMemory,
    held: Mutex<Vec<OwnedSemaphorePermit>>,
}

impl BodyGate {
    /// Puts a gate under the body of `request` and into its data.
    pub(in crate::http) fn install(request: &mut Request, memory: &BodyMemory, idle: Duration) -> Arc<Self> {
        let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
        let declared: Option<u64> = header("content-length").and_then(|v| v.trim().parse().ok());
        let encoded = header("content-encoding").is_some_and(|v| !v.trim().eq_ignore_ascii_case("identity"));
        let gate = Arc::new(BodyGate {
            limit: AtomicU64::new(JSON_LIMIT),
            received: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            ended: AtomicU8::new(Ended::No as u8),
            declared,
            encoded,
            last_byte: Mutex::new(Instant::now()),
            memory: memory.clone(),
            held: Mutex::default(),
        });
        let body = request.take_body();
        if body.is_empty() {
            gate.complete.store(true, Ordering::Relaxed);
        } else {
            let inner = Box::pin(body.into_bytes_stream());
            let counted = Counted {
                inner,
                gate: gate.clone(),
                pace: Pace::new(idle),
            };
            request.set_body(poem::Body::from_bytes_stream(counted));
        }
        request.set_data(gate.clone());
        gate
    }

    /// Lets bodies up to `limit` bytes in.
    ///
    /// # Errors
    /// 413 when the announced length is larger; 415 for compressed bodies, which are not decoded
    /// here because their limits would be about the wrong bytes.
    pub fn admit(&self, limit: u64) -> Result<(), ApiError> {
        if self.encoded {
            return Err(common::UNSUPPORTED_MEDIA_TYPE.into());
        }
        self.limit.store(limit, Ordering::Relaxed);
        if self.declared.is_some_and(|n| n > limit) {
            self.ended.store(Ended::TooLarge as u8, Ordering::Relaxed);
            return Err(common::PAYLOAD_TOO_LARGE.into());
        }
        Ok(())
    }

    /// Takes at most `more` bytes from now on, within `limit`; until [`BodyGate::widen`].
    pub(super) fn narrow(&self, more: u64, limit: u64) {
        let end = self.received.load(Ordering::Relaxed).saturating_add(more);
        self.limit.store(end.min(limit), Ordering::Relaxed);
    }

    pub(super) fn widen(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The announced length.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Takes memory for `bytes` until the request is over.
    pub(super) async fn hold(&self, bytes: u64) -> Result<(), ApiError> {
        let permit = self.memory.take(bytes).await?;
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(permit);
        Ok(())
    }

    /// Why the body was cut off, if it was.
    pub(in crate::http) fn verdict(&self) -> Option<ApiError> {
        match self.ended.load(Ordering::Relaxed) {
            e if e == Ended::TooLarge as u8 => Some(common::PAYLOAD_TOO_LARGE.into()),
            e if e == Ended::TooSlow as u8 => Some(codes::REQUEST_TIMEOUT.into()),
            _ => None,
        }
    }

    /// Is a part of the body still to come? Then the connection cannot take another request.
    pub(in crate::http) fn is_unread(&self) -> bool {
        let received = self.received.load(Ordering::Relaxed);
        !self.complete.load(Ordering::Relaxed) && self.declared.is_none_or(|n| received < n)
    }

    /// When the last byte came; the start of the request when none did.
    pub(in crate::http) fn last_byte(&self) -> Instant {
        *self.last_byte.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, bytes: usize) -> bool {
        *self.last_byte.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let before = self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        before + bytes as u64 <= self.limit.load(Ordering::Relaxed)
    }

    fn end(&self, why: Ended) -> io::Error {
        self.ended.store(why as u8, Ordering::Relaxed);
        io::Error::other(if why == Ended::TooLarge {
            "request body too large"
        } else {
            "request body too slow"
        })
    }
}

/// The body's stream with the gate in it.
struct Counted {
    inner: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    gate: Arc<BodyGate>,
    pace: Pace,
}

impl Stream for Counted {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(item) = this.inner.as_mut().poll_next(cx) {
            return Poll::Ready(match item {
                Some(Ok(chunk)) if this.gate.count(chunk.len()) && this.pace.received(chunk.len()) => {
                    Some(Ok(chunk))
                }
                Some(Ok(_)) if this.pace.failed => Some(Err(this.gate.end(Ended::TooSlow))),
                Some(Ok(_)) => Some(Err(this.gate.end(Ended::TooLarge))),
                None => {
                    this.gate.complete.store(true, Ordering::Relaxed);
                    None
                }
                broken => broken,
            });
        }
        ready!(this.pace.poll_too_slow(cx));
        Poll::Ready(Some(Err(this.gate.end(Ended::TooSlow))))
    }
}

/// Measures how fast a client sends, over the time that was spent waiting for it: no pause may
/// reach `idle`, and each stretch of waiting of `window` must have brought 1 KiB for every second.
struct Pace {
    idle: Duration,
    window: Duration,
    waiting_since: Option<Instant>,
    in_window_since: Option<Instant>,
    waited: Duration,
    bytes: u64,
    failed: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn new(idle: Duration) -> Self {
        Pace {
            idle,
            // A little shorter than the longest pause, so that a drip is ended about as soon.
            window: idle.mul_f32(0.9),
            waiting_since: None,
            in_window_since: None,
            waited: Duration::ZERO,
            bytes: 0,
            failed: false,
            timer: None,
        }
    }

    /// Is the client still fast enough?
    fn received(&mut self, bytes: usize) -> bool {
        self.waiting_since = None;
        self.bytes += bytes as u64;
        if let Some(since) = self.in_window_since.take() {
            self.waited += since.elapsed();
        }
        if self.waited >= self.window {
            self.failed = !self.close_window();
        }
        !self.failed
    }

    fn close_window(&mut self) -> bool {
        let needed = self.window.as_millis() as u64 * MIN_BYTES_PER_SECOND / 1000;
        let enough = self.bytes >= needed;
        self.bytes = 0;
        self.waited = Duration::ZERO;
        enough
    }

    /// Ready when the client has lost its chance.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let idle_end = *self.waiting_since.get_or_insert(now) + self.idle;
            let window_end =
                *self.in_window_since.get_or_insert(now) + self.window.saturating_sub(self.waited);
            if now >= idle_end {
                return Poll::Ready(());
            }
            if now >= window_end {
                self.in_window_since = Some(now);
                if !self.close_window() {
                    return Poll::Ready(());
                }
                continue;
            }
            let deadline = idle_end.min(window_end);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}
