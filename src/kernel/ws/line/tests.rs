//! The queue against a client that takes what it likes, compared byte for byte.

use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::ws::close::codes;

/// Takes at most so many bytes; then nothing until it is given more room.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    bytes: Vec<u8>,
    room: usize,
    writes: usize,
    is_gone: bool,
}

impl Peer {
    fn give(&self, room: usize) {
        self.0.lock().unwrap().room += room;
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = self.0.lock().unwrap();
        if taken.is_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(taken.room);
        if n == 0 {
            return Poll::Pending;
        }
        taken.room -= n;
        taken.writes += 1;
        taken.bytes.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Peer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn waker() -> Waker {
    Arc::new(Nobody).into()
}

/// A line with its task running, and its peer.
fn open(room: usize) -> (Line, Peer) {
    let (line, peer) = (Line::new(1, UserId(1), 0, 1, Metrics::new()), Peer::default());
    peer.give(room);
    line.connect(Box::new(peer.clone()));
    line.poll_write(&mut Context::from_waker(&waker()));
    line.end_replay();
    (line, peer)
}

fn text(n: usize, size: usize) -> Bytes {
    frame::json(&format!("{n}{}", "x".repeat(size)))
}

fn chunk(bytes: Bytes) -> Chunk {
    Chunk::one(bytes)
}

fn droppable(bytes: Bytes) -> Chunk {
    Chunk {
        droppable: true,
        ..Chunk::one(bytes)
    }
}

fn ending(line: &Line) -> Option<CloseCode> {
    match line.poll_ending(&mut Context::from_waker(&waker())) {
        Poll::Ready(closing) => Some(closing.code),
        Poll::Pending => None,
    }
}

#[test]
fn every_byte_arrives_once_and_in_order() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (line, peer) = open(0);
        let mut model: Vec<u8> = Vec::new();
        for n in 0..200 {
            if rng.random_bool(0.6) {
                let size = if rng.random_bool(0.05) {
                    20_000
                } else {
                    rng.random_range(0..300)
                };
                let bytes = text(n, size);
                model.extend_from_slice(&bytes);
                line.push(&chunk(bytes));
            }
            if rng.random_bool(0.5) {
                peer.give(rng.random_range(0..3000));
            }
            if rng.random_bool(0.3) {
                line.poll_write(&mut Context::from_waker(&waker()));
            }
        }
        peer.give(usize::MAX / 2);
        line.poll_write(&mut Context::from_waker(&waker()));
        assert!(peer.bytes() == model, "seed {seed}");
        assert_eq!(ending(&line), None);
        let frames = line.pipe().frames;
        let bytes = line.pipe().bytes;
        assert_eq!((frames, bytes), (0, 0), "seed {seed}");
    }
}

#[test]
fn what_can_be_written_is_written_by_whoever_pushes() {
    let (line, peer) = open(usize::MAX / 2);
    line.push(&chunk(text(1, 10)));
    assert_eq!(peer.bytes(), text(1, 10));
    assert!(line.pipe().queue.is_empty());
    assert_eq!(line.times.stalled.load(Ordering::Relaxed), 0);
}

#[test]
fn waiting_frames_share_a_write() {
    let (line, peer) = open(0);
    (0..50).for_each(|n| line.push(&chunk(text(n, 20))));
    assert_ne!(line.times.stalled.load(Ordering::Relaxed), 0);
    peer.give(usize::MAX / 2);
    line.poll_write(&mut Context::from_waker(&waker()));
    assert_eq!(peer.0.lock().unwrap().writes, 1);
    assert_eq!(line.times.stalled.load(Ordering::Relaxed), 0);
}

#[test]
fn a_client_that_falls_behind_too_far_is_ended() {
    let (line, _) = open(0);
    (0..LIMIT_FRAMES).for_each(|n| line.push(&chunk(text(n, 1))));
    assert_eq!(ending(&line), None);
    line.push(&chunk(text(0, 1)));
    assert_eq!(ending(&line), Some(CloseCode::TRY_AGAIN));

    let (line, _) = open(0);
    line.push(&chunk(text(0, LIMIT_BYTES - 100)));
    assert_eq!(ending(&line), None);
    line.push(&chunk(text(0, 200)));
    assert_eq!(ending(&line), Some(CloseCode::TRY_AGAIN), "by bytes");

    let (line, _) = open(0);
    line.push(&chunk(text(0, LIMIT_BYTES * 2)));
    assert_eq!(ending(&line), None, "a single frame may be larger");
}

#[test]
fn what_may_be_lost_is_lost_first() {
    let (line, peer) = open(0);
    let mut kept = Vec::new();
    for n in 0..10 {
        line.push(&droppable(text(n, 1)));
    }
    for n in 0..LIMIT_FRAMES {
        kept.extend_from_slice(&text(n, 1));
        line.push(&chunk(text(n, 1)));
    }
    assert_eq!(ending(&line), None, "the droppable ones made room");
    line.push(&droppable(text(7, 1)));
    assert_eq!(line.metrics.realtime.frames_dropped.get(), 11);
    peer.give(usize::MAX / 2);
    line.poll_write(&mut Context::from_waker(&waker()));
    assert_eq!(peer.bytes(), kept);
}

#[test]
fn a_frame_that_has_begun_is_finished() {
    let (line, peer) = open(5);
    line.push(&droppable(text(1, 100)));
    for n in 0..LIMIT_FRAMES {
        line.push(&chunk(text(n, 1)));
    }
    assert_eq!(ending(&line), Some(CloseCode::TRY_AGAIN));
    line.begin_close(false, [frame::close(CloseCode::TRY_AGAIN)]);
    peer.give(usize::MAX / 2);
    line.poll_write(&mut Context::from_waker(&waker()));
    let expected = [text(1, 100), frame::close(CloseCode::TRY_AGAIN)].concat();
    assert_eq!(peer.bytes(), expected);
}

#[test]
fn of_several_frames_in_one_piece_only_those_that_have_begun_are_finished() {
    let (first, second) = (text(1, 198).len(), text(2, 70_000).len());
    for (room, begun) in [
        (1, 1),
        (first - 1, 1),
        (first, 1),
        (first + 1, 2),
        (first + second, 2),
        (first + second + 1, 3),
    ] {
        let (line, peer) = open(room);
        let frames = [text(1, 198), text(2, 70_000), text(3, 100), text(4, 10)];
        let bytes = Bytes::from(frames.concat());
        line.push(&Chunk {
            bytes,
            frames: 4,
            droppable: false,
        });
        line.push(&chunk(text(5, 1)));
        line.begin_close(false, [frame::close(CloseCode::TRY_AGAIN)]);
        peer.give(usize::MAX / 2);
        line.poll_write(&mut Context::from_waker(&waker()));
        let mut expected = frames[..begun].concat();
        expected.extend_from_slice(&frame::close(CloseCode::TRY_AGAIN));
        assert!(peer.bytes() == expected, "{room}: {}", peer.bytes().len());
    }
}

#[test]
fn a_head_that_lies_about_its_length_ends_with_its_piece() {
    let (head, long) = (|n: u64| [&[0x81, 127][..], &n.to_be_bytes()].concat(), u64::MAX);
    // Ten bytes of head and this length are nothing at all when they wrap.
    for lie in [
        head(long - 9),
        head(long),
        head(1 << 40),
        vec![0x81, 126],
        vec![0x81],
    ] {
        let (line, peer) = open(text(1, 9).len() + 1);
        let piece = [&text(1, 9)[..], &lie].concat();
        line.push(&Chunk {
            bytes: Bytes::from(piece.clone()),
            frames: 2,
            droppable: false,
        });
        line.begin_close(false, [frame::close(CloseCode::TRY_AGAIN)]);
        peer.give(usize::MAX / 2);
        line.poll_write(&mut Context::from_waker(&waker()));
        let expected = [&piece[..], &frame::close(CloseCode::TRY_AGAIN)].concat();
        assert_eq!(peer.bytes(), expected, "{lie:x?}");
    }
}

#[test]
fn live_frames_wait_for_the_end_of_a_replay() {
    let line = Line::new(1, UserId(1), 0, 1, Metrics::new());
    let peer = Peer::default();
    peer.give(usize::MAX / 2);
    line.push(&chunk(text(9, 1)));
    line.push_replay(chunk(text(1, 1)));
    line.connect(Box::new(peer.clone()));
    assert!(peer.bytes().is_empty(), "nobody writes before the task runs");
    line.poll_write(&mut Context::from_waker(&waker()));
    line.push(&chunk(text(10, 1)));
    line.push(&droppable(text(11, 1)));
    line.push_replay(chunk(text(2, 1)));
    assert_eq!(peer.bytes(), [text(1, 1), text(2, 1)].concat());
    line.end_replay();
    let all = [text(1, 1), text(2, 1), text(9, 1), text(10, 1)].concat();
    assert_eq!(peer.bytes(), all, "typing is not for those who catch up");
}

#[test]
fn the_first_reason_to_end_counts_and_a_dead_peer_is_one() {
    let (line, peer) = open(100);
    line.end(Closing::because(codes::ROOM_CLOSED));
    line.end(Closing::with(CloseCode::GOING_AWAY));
    assert_eq!(ending(&line), Some(CloseCode::ROOM_CLOSED));
    assert_eq!(ending(&line), None, "told once");
    line.push(&chunk(text(1, 1)));
    assert!(peer.bytes().is_empty(), "nothing after the end began");

    let (line, peer) = open(100);
    peer.0.lock().unwrap().is_gone = true;
    line.push(&chunk(text(1, 1)));
    assert_eq!(ending(&line), Some(Closing::gone().code));
}
