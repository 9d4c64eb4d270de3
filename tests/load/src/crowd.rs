//! Many sockets that listen, in one thread of their own, whoever the server is: what they cost is
//! the same on both sides of a ratio, and whoever sends is not held up by them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Fault;
use crate::socket::{CLOSE, Door, Mark, PING, PONG, TEXT, first, frame};

/// Handshakes at once when nobody is in a hurry; below the server's default limit.
pub const GENTLE: usize = 32;
/// One read takes at most so much; shared by all sockets, since only one reads at a time.
const BUFFER: usize = 256 * 1024;
/// Longer than the server takes to find what was not delivered.
const SILENCE: Duration = Duration::from_secs(10);
/// The kinds of frames; of a JSON object the first key or the last.
const MESSAGE: &[u8] = b"\"type\":\"chat_message\"";
const WELCOME: &[u8] = b"\"type\":\"connection_established\"";
const RESUMED: &[u8] = b"\"type\":\"resume_complete\"";
const ERROR: &[u8] = b"\"type\":\"error\"";
/// Behind it stands when a message was sent, in microseconds; 0 if that does not matter.
pub const SENT: &str = "\"content\":\"~";

/// What is done with a message that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is counted.
    Count,
    /// Its `seq` must follow the one before, and how long it took is noted.
    Follow,
}

/// What all sockets together have seen.
#[derive(Debug, Default)]
struct Totals {
    welcomed: AtomicU64,
    messages: AtomicU64,
    /// Of the frames of those messages.
    bytes: AtomicU64,
    resumed: AtomicU64,
    errors: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    /// The first error or close frame.
    complaint: Mutex<Option<String>>,
}

/// The same, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub welcomed: u64,
    pub messages: u64,
    pub bytes: u64,
    /// Sockets that got `resume_complete`.
    pub resumed: u64,
    pub errors: u64,
    pub closed: u64,
    /// Handshakes that were answered 503, or not at all.
    pub refused: u64,
}

/// What one socket has seen.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub messages: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    /// Messages that did not follow the one before.
    pub breaks: u64,
    /// Microseconds.
    pub delays: Vec<u32>,
}

/// Sockets that are open, until this is dropped.
pub struct Crowd {
    epoch: Instant,
    totals: Arc<Totals>,
    heard: Vec<Arc<Mutex<Heard>>>,
    speaker: Arc<OwnedWriteHalf>,
    // Dropped first: that ends the thread.
    _end: oneshot::Sender<()>,
}

impl Crowd {
    /// Opens all sockets, so many at a time. The first of them is the one to [speak](Crowd::speaker) through.
    ///
    /// # Errors
    /// A server refuses.
    pub async fn open(doors: Vec<Door>, at_once: usize, look: Look) -> Result<Self, Fault> {
        let epoch = Instant::now();
        let totals = Arc::new(Totals::default());
        let heard: Vec<Arc<Mutex<Heard>>> = doors.iter().map(|_| Arc::default()).collect();
        let ears = heard.iter().map(|heard| Ear {
            epoch,
            look,
            totals: totals.clone(),
            heard: heard.clone(),
            seq: Mark::new("\"seq\":"),
            sent: Mark::new(SENT),
        });
        let pairs: Vec<(Door, Ear)> = doors.into_iter().zip(ears).collect();
        let (opened, all_open) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let mut tasks = JoinSet::new();
                let speaker = open_all(pairs, at_once, &mut tasks).await;
                if opened.send(speaker).is_ok() {
                    // An error too: whoever opened this has gone.
                    ended.await.ok();
                }
            });
        });
        let speaker = all_open.await??;
        Ok(Crowd {
            epoch,
            totals,
            heard,
            speaker,
            _end: end,
        })
    }

    pub fn len(&self) -> u64 {
        self.heard.len() as u64
    }

    pub fn seen(&self) -> Seen {
        let Totals {
            welcomed,
            messages,
            bytes,
            resumed,
            errors,
            closed,
            refused,
            ..
        } = &*self.totals;
        Seen {
            welcomed: welcomed.load(Relaxed),
            messages: messages.load(Relaxed),
            bytes: bytes.load(Relaxed),
            resumed: resumed.load(Relaxed),
            errors: errors.load(Relaxed),
            closed: closed.load(Relaxed),
            refused: refused.load(Relaxed),
        }
    }

    /// What each socket has seen so far.
    pub fn heard(&self) -> Vec<Heard> {
        let copy = |heard: &Arc<Mutex<Heard>>| heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.heard.iter().map(copy).collect()
    }

    /// Waits until it is true of what was seen.
    ///
    /// # Errors
    /// It does not get true in time, or a socket is closed meanwhile.
    pub async fn wait(
        &self,
        what: &str,
        within: Duration,
        until: impl Fn(&Seen) -> bool,
    ) -> Result<(), Fault> {
        let begun = Instant::now();
        while !until(&self.seen()) {
            if self.seen().closed > 0 || begun.elapsed() > within {
                return Err(self.fault(what));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Waits until so many messages have arrived over all sockets, or nothing comes any more: what is slow is not lost.
    pub async fn settled(&self, messages: u64) {
        let (mut last, mut moved) = (self.seen().messages, Instant::now());
        while last < messages && moved.elapsed() < SILENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = self.seen().messages;
            if now > last {
                (last, moved) = (now, Instant::now());
            }
        }
    }

    /// Waits for the first frame of all sockets.
    ///
    /// # Errors
    /// As [`Crowd::wait`].
    pub async fn welcomed(&self) -> Result<(), Fault> {
        let all = self.len();
        self.wait("not all sockets were welcomed", Duration::from_secs(20), |seen| {
            seen.welcomed == all
        })
        .await
    }

    /// What went wrong, and what is known of it.
    pub fn fault(&self, what: &str) -> Fault {
        let complaint = self
            .totals
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let complaint = complaint.as_deref().unwrap_or("no complaint");
        format!(
            "{what}: {:?} of {} sockets; {complaint}",
            self.seen(),
            self.heard.len()
        )
        .into()
    }

    /// Microseconds since the start of this crowd; what a message is sent with.
    pub fn clock(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Sends frames through the first socket.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn say(&self, mut frames: &[u8]) -> io::Result<()> {
        while !frames.is_empty() {
            self.speaker.writable().await?;
            match self.speaker.try_write(frames) {
                Ok(n) => frames = &frames[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Opens all; each listens from the moment it is open.
async fn open_all(
    pairs: Vec<(Door, Ear)>,
    at_once: usize,
    tasks: &mut JoinSet<()>,
) -> io::Result<Arc<OwnedWriteHalf>> {
    let opening = pairs.into_iter().enumerate().map(|(n, (door, ear))| async move {
        let (stream, rest, refused) = door.open(n).await?;
        ear.totals.refused.fetch_add(refused, Relaxed);
        Ok::<_, io::Error>((n, stream.into_split(), rest, ear))
    });
    let mut opened = futures_util::stream::iter(opening).buffer_unordered(at_once);
    let mut speaker = None;
    while let Some(socket) = opened.next().await {
        let (n, (reading, writing), rest, ear) = socket?;
        let writing = Arc::new(writing);
        if n == 0 {
            speaker = Some(writing.clone());
        }
        tasks.spawn(ear.listen(reading, writing, rest));
    }
    speaker.ok_or_else(|| io::Error::other("a crowd of none"))
}

fn is(payload: &[u8], kind: &[u8]) -> bool {
    let first = payload.get(1..).is_some_and(|rest| rest.starts_with(kind));
    first
        || payload
            .strip_suffix(b"}")
            .is_some_and(|rest| rest.ends_with(kind))
}

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// The reading side of one socket.
struct Ear {
    epoch: Instant,
    look: Look,
    totals: Arc<Totals>,
    heard: Arc<Mutex<Heard>>,
    seq: Mark,
    sent: Mark,
}

impl Ear {
    async fn listen(mut self, mut stream: OwnedReadHalf, back: Arc<OwnedWriteHalf>, mut rest: Vec<u8>) {
        let whole = self.take(&rest, &back);
        rest.drain(..whole);
        rest.shrink_to_fit();
        while let Ok(1..) = poll_fn(|cx| self.read(&mut stream, &back, &mut rest, cx)).await {}
        self.totals.closed.fetch_add(1, Relaxed);
    }

    /// Reads once. `rest` is what was there of a frame before, and afterwards.
    fn read(
        &mut self,
        stream: &mut OwnedReadHalf,
        back: &OwnedWriteHalf,
        rest: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        SHARED.with_borrow_mut(|buffer| {
            let begin = rest.len();
            buffer[..begin].copy_from_slice(rest);
            let mut space = ReadBuf::new(&mut buffer[begin..]);
            ready!(Pin::new(stream).poll_read(cx, &mut space))?;
            let read = space.filled().len();
            let bytes = &buffer[..begin + read];
            let whole = self.take(bytes, back);
            rest.clear();
            rest.extend_from_slice(&bytes[whole..]);
            Poll::Ready(Ok(read))
        })
    }

    /// Takes what whole frames there are; returns their length.
    fn take(&mut self, bytes: &[u8], back: &OwnedWriteHalf) -> usize {
        let now = self.epoch.elapsed().as_micros() as u64;
        let shared = self.heard.clone();
        let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut at, mut messages, mut in_messages) = (0, 0, 0);
        while let Some((opcode, payload, length)) = first(&bytes[at..]) {
            at += length;
            if opcode == TEXT && is(payload, MESSAGE) {
                messages += 1;
                in_messages += length as u64;
                if self.look == Look::Follow {
                    self.follow(payload, now, &mut heard);
                }
            } else {
                self.other(opcode, payload, back);
            }
        }
        heard.messages += messages;
        self.totals.messages.fetch_add(messages, Relaxed);
        self.totals.bytes.fetch_add(in_messages, Relaxed);
        at
    }

    fn follow(&mut self, payload: &[u8], now: u64, heard: &mut Heard) {
        let seq = self.seq.number(payload).unwrap_or(0);
        if heard.first_seq == 0 {
            heard.first_seq = seq;
        } else if seq != heard.last_seq + 1 {
            heard.breaks += 1;
        }
        heard.last_seq = seq;
        if let Some(sent @ 1..) = self.sent.number(payload) {
            let delay = now.saturating_sub(sent);
            heard.delays.push(u32::try_from(delay).unwrap_or(u32::MAX));
        }
    }

    fn other(&self, opcode: u8, payload: &[u8], back: &OwnedWriteHalf) {
        let totals = &self.totals;
        let complain = |text: String| {
            let mut complaint = totals.complaint.lock().unwrap_or_else(PoisonError::into_inner);
            complaint.get_or_insert(text);
        };
        match opcode {
            PING => {
                // A socket that cannot take ten bytes has worse troubles.
                back.try_write(&frame(PONG, payload)).ok();
            }
            CLOSE => {
                let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                complain(format!("closed with {code}"));
            }
            TEXT if is(payload, WELCOME) => {
                totals.welcomed.fetch_add(1, Relaxed);
            }
            TEXT if is(payload, RESUMED) => {
                totals.resumed.fetch_add(1, Relaxed);
            }
            TEXT if is(payload, ERROR) => {
                totals.errors.fetch_add(1, Relaxed);
                complain(String::from_utf8_lossy(payload).into_owned());
            }
            _ => {}
        }
    }
}
