//! Many handshakes at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::net::TcpStream;

use super::Process;
use super::client::told;

/// Longer than any of these tests.
const FOR_EVER: u64 = 600_000;

async fn until_waiting(p: &Process, so_many: i64) {
    let what = format!("{so_many} wait");
    super::eventually(&what, || p.metrics.realtime.handshakes_waiting.get() == so_many).await;
}

/// One process that examines one handshake at a time, and that one for ever.
async fn busy() -> (Process, TcpStream) {
    let p = Process::with(&[("WS_MAX_HANDSHAKES", "1")]).await;
    p.notes.slow.store(FOR_EVER, Ordering::SeqCst);
    let first = p.asks(1, 1).await;
    super::eventually("the first is being examined", || p.ws.open() == 1).await;
    (p, first)
}

#[tokio::test]
async fn a_full_process_says_503_and_when_to_come_back() {
    let p = Process::with(&[("WS_MAX_CONNECTIONS", "2")]).await;
    let first = p.join(1, 3).await;
    let _second = p.join(1, 4).await;
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (status, wait) = p.status("/ws/notes/1/?token=5:1").await;
        assert_eq!(status, 503);
        waits.push(wait.expect("Retry-After"));
    }
    assert!(waits.iter().all(|w| (1..=10).contains(w)), "{waits:?}");
    waits.dedup();
    assert!(waits.len() > 1, "not all at the same time: {waits:?}");
    drop(first);
    super::eventually("the place is free", || p.ws.open() < 2).await;
    p.join(1, 5).await;
}

#[tokio::test]
async fn only_so_many_handshakes_are_examined_at_once_and_the_others_wait() {
    let p = Process::with(&[("WS_MAX_HANDSHAKES", "2")]).await;
    p.notes.slow.store(300, Ordering::SeqCst);
    let begun = Instant::now();
    let all = join_all((1..=6).map(|user| {
        let p = &p;
        async move {
            let target = format!("/ws/notes/1/?token={user}:1");
            let client = p.knock(&target, &[]).await.expect("upgraded");
            (begun.elapsed(), client)
        }
    }))
    .await;
    let mut times: Vec<_> = all.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    for (n, time) in times.iter().enumerate() {
        let turn = Duration::from_millis(300) * (n as u32 / 2 + 1);
        assert!(*time >= turn, "two at a time: {times:?}");
    }
    assert_eq!(p.ws.open(), 6);
    assert_eq!(p.metrics.realtime.handshakes_refused.get(), 0);
}

#[tokio::test]
async fn beyond_those_who_wait_503_says_when_to_come_back_and_the_gone_make_room() {
    let (p, first) = busy().await;
    let waiting = join_all((0..128).map(|n| p.asks(1, 2 + n))).await;
    until_waiting(&p, 128).await;
    let begun = Instant::now();
    for _ in 0..3 {
        let (status, wait) = p.status("/ws/notes/1/?token=5:1").await;
        assert_eq!(status, 503);
        let wait = wait.expect("Retry-After");
        assert!((1..=10).contains(&wait), "{wait}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "at once");
    assert_eq!(p.metrics.realtime.handshakes_refused.get(), 3);

    drop(waiting);
    let begun = Instant::now();
    until_waiting(&p, 0).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "before their time would be up"
    );
    drop(first);
    super::eventually("all places are free", || p.ws.open() == 0).await;
    p.notes.slow.store(0, Ordering::SeqCst);
    p.join(1, 3).await;
}

#[tokio::test]
async fn what_can_be_refused_at_once_does_not_wait() {
    let (p, _first) = busy().await;
    let evil = ("origin", "https://evil.example");
    let room = "/ws/notes/1/";
    for (target, headers, code, error) in [
        ("/ws/notes/x/", vec![evil], 4400, "validation_error"),
        ("/ws/notes/1/?token=3:1&since=x", vec![], 4400, "validation_error"),
        ("/ws/notes/1/?token=3:1", vec![evil], 4403, "origin_refused"),
        (room, vec![], 4401, "not_authenticated"),
        ("/ws/notes/1/?token=garbage", vec![], 4401, "token_invalid"),
        (room, vec![("x-api-key", "garbage")], 4401, "token_invalid"),
    ] {
        assert_eq!(p.refused(target, &headers).await, told(code, error), "{target}");
    }
    assert_eq!(p.metrics.realtime.handshakes_waiting.get(), 0);

    // Whether the session is good, and all that comes after, only the database knows.
    p.tokens.revoke("4:1");
    let (_revoked, _gone) = (p.asks(1, 4).await, p.asks(404, 3).await);
    until_waiting(&p, 2).await;
}

#[tokio::test]
async fn at_the_end_nobody_waits() {
    let (p, first) = busy().await;
    let begun = Instant::now();
    let ((status, wait), ()) = tokio::join!(p.status("/ws/notes/1/?token=5:1"), async {
        until_waiting(&p, 1).await;
        drop(first);
        p.ws.drain(Duration::from_secs(8)).await;
    });
    assert_eq!(status, 503);
    assert!(wait.is_some(), "Retry-After");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(p.status("/ws/notes/1/?token=5:1").await.0, 503);
    assert_eq!(p.ws.open(), 0);
}
