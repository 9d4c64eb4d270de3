//! The life of one socket: one task from the upgrade to the last byte.
//!
//! The task reads, one frame at a time, and waits for the domain to handle it before it reads the
//! next, unless the domain says that it has begun and goes on by itself; meanwhile what others have
//! for this socket goes out, and whoever ends the socket ends the handler too (what a service has
//! begun to write it finishes by itself).

mod begun;
mod frames;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::OnUpgrade;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use self::begun::{Begun, Outcome};
use super::Ws;
use super::close::Closing;
use super::credential::Credential;
use super::decode::{Decoder, Received};
use super::endpoint::{Endpoint, Peer};
use super::line::{ALARM, Line, RECHECK};
use super::pace::Pace;
use super::parting::{GOODBYE, UPGRADE_TIMEOUT, keeps_queue, last_frames, part};
use super::registry::{Entry, Slot};
use super::room::{chunk, chunk_of};
use super::rooms::Visit;
use super::wire::{ResumeCompleteFrame, tagged};
use crate::error::{ApiError, common};

/// Messages read from the database at a time for a replay.
const REPLAY_PAGE: u64 = 100;
/// Tries to look a credential up again while the database is away.
const RECHECKS: u32 = 4;
const READ: usize = 8 * 1024;

/// What is left of a replay.
#[derive(Debug)]
pub(super) struct Replay {
    /// What the client asked for, as far as it makes sense.
    pub from: i64,
    pub after: i64,
    pub upto: i64,
    pub truncated: bool,
    pub count: u64,
}

/// A socket that may be where it is.
pub(super) struct Conn<E: Endpoint> {
    pub ws: Ws,
    pub endpoint: Arc<E>,
    pub room: i64,
    pub peer: Peer,
    pub credential: Credential,
    pub seat: Option<E::Seat>,
    pub replay: Option<Replay>,
    pub line: Arc<Line>,
    pub place: Option<(Entry, Visit)>,
    pub slot: Slot,
    pub pace: Pace,
    pub input: Input,
    pub begun: Begun,
    pub received: u64,
}

/// Bytes that came and are not looked at yet. Empty and without memory while nothing comes.
pub(super) struct Input {
    decoder: Decoder,
    unread: Vec<u8>,
    at: usize,
}

enum Turn {
    End(Closing),
    Recheck,
    Alarm,
    Replay,
    Ended(Outcome),
    Received(Received),
}

impl Input {
    pub fn new(limit: usize) -> Self {
        Input {
            decoder: Decoder::new(limit),
            unread: Vec::new(),
            at: 0,
        }
    }

    /// The next frame, or how the connection ends.
    fn poll(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<Result<Received, Closing>> {
        if self.at < self.unread.len() {
            let mut rest = &self.unread[self.at..];
            let fed = self.decoder.feed(&mut rest);
            self.at = self.unread.len() - rest.len();
            if let Some(received) = fed.map_err(Closing::with)? {
                return Poll::Ready(Ok(received));
            }
        }
        self.unread = Vec::new();
        self.at = 0;
        loop {
            let mut scratch = [0_u8; READ];
            let mut buf = ReadBuf::new(&mut scratch);
            if ready!(line.poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(Err(Closing::gone()));
            }
            let mut rest = buf.filled();
            if let Some(received) = self.decoder.feed(&mut rest).map_err(Closing::with)? {
                self.unread = rest.to_vec();
                return Poll::Ready(Ok(received));
            }
        }
    }
}

/// Runs a piece of work while the socket is written to. `Err`: the socket ends first.
async fn unless_ended<T>(line: &Line, work: impl Future<Output = T>) -> Result<T, Closing> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        line.poll_write(cx);
        if let Poll::Ready(closing) = line.poll_ending(cx) {
            return Poll::Ready(Err(closing));
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}

impl<E: Endpoint> Conn<E> {
    pub async fn run(mut self, upgrade: OnUpgrade) {
        let Ok(Ok(io)) = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await else {
            return;
        };
        let begun = Instant::now();
        self.line.connect(Box::new(io));
        let sockets = self.ws.0.metrics.realtime.sockets.with_label_values(&[E::NAME]);
        sockets.inc();
        let closing = self.serve().await;
        // What was taken from the client is done, and told if he still listens.
        let _ = tokio::time::timeout(GOODBYE, self.settle()).await;
        sockets.dec();
        // Others learn that it is gone before its client does.
        self.place = None;
        let frames = last_frames(&closing, self.peer.lang, &self.peer.request_id);
        self.line.begin_close(keeps_queue(&closing), frames);
        if let Some(seat) = self.seat.take() {
            let done = self.endpoint.on_close(&self.peer, self.room, seat);
            let _ = tokio::time::timeout(GOODBYE, done).await;
        }
        part(&self.ws, &self.line, &closing).await;
        let duration_ms = begun.elapsed().as_millis() as f64;
        tracing::info!(
            ws.endpoint = E::NAME,
            ws.room = self.room,
            ws.received = self.received,
            close.code = closing.code.0,
            user.id = self.peer.caller.user_id.0,
            duration_ms,
            "socket closed with {}",
            closing.code
        );
        drop(self.slot);
    }

    async fn serve(&mut self) -> Closing {
        loop {
            let done = match self.next().await {
                Turn::End(closing) => return closing,
                Turn::Recheck => self.recheck().await,
                Turn::Alarm => self.alarm().await,
                Turn::Replay => self.replay().await,
                Turn::Ended(outcome) => self.conclude(outcome),
                Turn::Received(received) => self.receive(received).await,
            };
            if let Err(closing) = done {
                return closing;
            }
        }
    }

    async fn next(&mut self) -> Turn {
        let line = &self.line;
        let (input, begun, replays) = (&mut self.input, &mut self.begun, self.replay.is_some());
        poll_fn(|cx| {
            line.poll_write(cx);
            if let Poll::Ready(closing) = line.poll_ending(cx) {
                return Poll::Ready(Turn::End(closing));
            }
            if line.take_signal(RECHECK) {
                return Poll::Ready(Turn::Recheck);
            }
            if line.take_signal(ALARM) {
                return Poll::Ready(Turn::Alarm);
            }
            if replays && line.poll_empty(cx).is_ready() {
                return Poll::Ready(Turn::Replay);
            }
            if let Poll::Ready(Some(outcome)) = begun.poll_next(cx) {
                return Poll::Ready(Turn::Ended(outcome));
            }
            if begun.is_full() {
                return Poll::Pending;
            }
            input.poll(line, cx).map(|came| match came {
                Ok(received) => Turn::Received(received),
                Err(closing) => Turn::End(closing),
            })
        })
        .await
    }

    /// One page of what the client missed.
    async fn replay(&mut self) -> Result<(), Closing> {
        let Some(mut replay) = self.replay.take() else {
            return Ok(());
        };
        let log = self.endpoint.log();
        let page = unless_ended(&self.line, log.read(self.room, replay.after, REPLAY_PAGE)).await?;
        let page = page.map_err(|error| self.fatal(error))?;
        let is_last = (page.len() as u64) < REPLAY_PAGE;
        let mut frames = Vec::with_capacity(page.len());
        for message in page {
            let position = message.position.unwrap_or(i64::MAX);
            if position > replay.upto {
                replay.after = replay.upto;
                break;
            }
            replay.after = position;
            frames.push(message.frame);
        }
        replay.count += frames.len() as u64;
        if !frames.is_empty() {
            self.line.push_replay(chunk_of(frames));
        }
        if is_last || replay.after >= replay.upto {
            let complete = ResumeCompleteFrame {
                from: replay.from,
                to: replay.upto,
                count: replay.count,
                truncated: replay.truncated,
            };
            self.line
                .push_replay(chunk(&tagged("resume_complete", &complete)));
            self.line.end_replay();
        } else {
            self.replay = Some(replay);
        }
        Ok(())
    }

    /// Rights may have changed: is the credential still good, and may it still be here?
    async fn recheck(&mut self) -> Result<(), Closing> {
        let line = self.line.clone();
        for attempt in 1.. {
            match unless_ended(&line, self.look_again()).await? {
                Ok(()) => break,
                Err(error) if error.status < 500 => return Err(Closing::because(error)),
                Err(error) if attempt == RECHECKS => return Err(self.fatal(error)),
                Err(error) => {
                    self.log(&error);
                    unless_ended(&line, tokio::time::sleep(Duration::from_secs(1))).await?;
                }
            }
        }
        Ok(())
    }

    async fn look_again(&mut self) -> Result<(), ApiError> {
        let (caller, expires_at) = self.credential.check(&self.ws).await?;
        if caller.user_id != self.peer.caller.user_id {
            return Err(common::TOKEN_INVALID.into());
        }
        self.line.expires_at.store(expires_at, Ordering::Relaxed);
        self.peer.set_caller(caller)?;
        match &mut self.seat {
            Some(seat) => self.endpoint.recheck(&self.peer, self.room, seat).await,
            None => Ok(()),
        }
    }

    async fn alarm(&mut self) -> Result<(), Closing> {
        if let Some(seat) = &mut self.seat {
            let work = self.endpoint.on_alarm(&self.peer, self.room, seat);
            unless_ended(&self.line, work).await?;
        }
        self.set_alarm();
        Ok(())
    }

    fn set_alarm(&self) {
        let at = self.seat.as_ref().and_then(|seat| self.endpoint.alarm(seat));
        let ms = at.map_or(0, |at| self.ws.0.registry.ms_of(at));
        self.line.times.alarm.store(ms, Ordering::Relaxed);
    }
}
