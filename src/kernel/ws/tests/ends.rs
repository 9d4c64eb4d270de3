//! How sockets end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::{bare, raw_end, raw_frame, told};
use super::{Process, SOON, eventually};
use futures_util::{SinkExt, StreamExt};

#[tokio::test]
async fn a_client_that_says_good_bye_is_answered() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    client.stream.close(None).await.expect("sent");
    assert_eq!(client.end().await, bare(1000));
    eventually("the endpoint knows", || {
        p.notes.closed.load(Ordering::SeqCst) == 1
    })
    .await;
    eventually("the place is free", || p.ws.open() == 0).await;

    let client = p.join(1, 3).await;
    drop(client);
    eventually("one that just goes is noticed", || {
        p.notes.closed.load(Ordering::SeqCst) == 2 && p.ws.open() == 0
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ends_takes_its_sockets_along() {
    let p = Process::start().await;
    let mut one = p.join(1, 3).await;
    let (mut two, _) = p.greeted("/ws/notes/1/?token=3:2").await;
    let mut other = p.join(1, 4).await;
    p.revoke_session(3, 1);
    assert_eq!(one.end().await, told(4401, "token_invalid"));
    p.notes.say(1, "still there");
    assert_eq!(two.note().await.1, "still there");
    assert_eq!(other.note().await.1, "still there");
}

#[tokio::test]
async fn changed_rights_are_looked_at_again() {
    let p = Process::start().await;
    let mut kept = p.join(1, 3).await;
    p.user_changed(3);
    p.notes.say(1, "nothing happened");
    assert_eq!(kept.note().await.1, "nothing happened");

    p.tokens.revoke("3:1");
    p.user_changed(3);
    assert_eq!(kept.end().await, told(4401, "token_invalid"));

    let mut banned = p.join(1, 4).await;
    p.notes.banned.lock().unwrap().push(4);
    p.user_changed(4);
    assert_eq!(banned.end().await, told(4403, "permission_denied"));
}

#[tokio::test]
async fn a_room_may_ask_again_and_may_close() {
    let p = Process::start().await;
    let (mut one, mut two) = (p.join(1, 3).await, p.join(1, 4).await);
    let mut elsewhere = p.join(2, 3).await;
    p.notes.banned.lock().unwrap().push(3);
    p.notes.publish(1, &super::Broadcast::silent().then_recheck());
    assert_eq!(one.end().await, told(4403, "permission_denied"));
    p.notes.publish(
        1,
        &super::Broadcast::silent().then_close(super::CloseCode::ROOM_CLOSED),
    );
    assert_eq!(two.end().await, told(4410, "room_closed"));
    elsewhere.send(json!({ "type": "echo" })).await;
    assert_eq!(elsewhere.json().await["type"], "echo");
}

#[tokio::test]
async fn who_loses_the_right_while_coming_in_is_asked_again() {
    let p = Process::start().await;
    let mut inside = p.join(1, 3).await;
    p.notes.late.store(400, Ordering::SeqCst);
    let coming = async {
        let (mut client, _) = p.greeted("/ws/notes/1/?token=4:1").await;
        client.end().await
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        p.notes.banned.lock().unwrap().push(4);
        p.notes.say(1, "4 is out");
        inside.note().await.1
    };
    let (end, note) = tokio::join!(coming, meanwhile);
    assert_eq!(
        (end, note.as_str()),
        (told(4403, "permission_denied"), "4 is out")
    );
}

#[tokio::test]
async fn a_token_that_runs_out_ends_the_socket_unless_renewed() {
    let p = Process::with(&[("WS_PING_INTERVAL", "1s"), ("WS_IDLE_TIMEOUT", "30s")]).await;
    for token in ["3:1", "4:1"] {
        p.tokens.ends_in(token, 100);
    }
    let (mut lazy, mut careful) = (p.join(1, 3).await, p.join(1, 4).await);
    p.tokens.ends_in("4:2", 1000);
    careful.send(json!({ "type": "auth", "token": "3:1" })).await;
    assert_eq!(careful.json().await["code"], "token_invalid", "another user's");
    careful.send(json!({ "type": "auth", "token": "bad" })).await;
    assert_eq!(careful.json().await["code"], "token_invalid");
    careful.send(json!({ "type": "auth" })).await;
    assert_eq!(careful.json().await["code"], "token_invalid");
    careful.send(json!({ "type": "auth", "token": "4:2" })).await;
    let answer = careful.json().await;
    let at = chrono::DateTime::from_timestamp(p.clock.unix() + 1000, 0).map(crate::clock::rfc3339);
    assert_eq!(answer, json!({ "type": "auth_ok", "expires_at": at }));

    p.clock.advance(Duration::from_secs(101));
    assert_eq!(lazy.end().await, told(4401, "token_expired"));
    careful.send(json!({ "type": "ping" })).await;
    assert_eq!(careful.json().await["type"], "pong");
    p.revoke_session(4, 2);
    assert_eq!(
        careful.end().await,
        told(4401, "token_invalid"),
        "the new session counts"
    );
    assert_eq!(
        p.refused("/ws/notes/1/?token=3:1", &[]).await,
        told(4401, "token_expired")
    );
}

#[tokio::test]
async fn a_key_is_looked_at_now_and_then() {
    let p = Process::with(&[("WS_PING_INTERVAL", "200ms")]).await;
    let mut client = p
        .knock("/ws/notes/1/", &[("x-api-key", "ak_chat:write")])
        .await
        .expect("upgraded");
    client.json().await;
    p.tokens.revoke("ak_chat:write");
    assert_eq!(client.end().await, told(4401, "token_invalid"));
}

const QUICK: &[(&str, &str)] = &[("WS_PING_INTERVAL", "200ms"), ("WS_IDLE_TIMEOUT", "1s")];

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_ended() {
    let p = Process::with(QUICK).await;
    let mut silent = p.raw(1, 3).await;
    let begun = Instant::now();
    assert_eq!(raw_frame(&mut silent).await, Some((0x89, vec![])), "a ping");
    assert_eq!(raw_end(&mut silent).await, 4408);
    assert!(
        (900..4000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    // One that answers stays for longer than that.
    let mut answering = p.join(1, 4).await;
    let until = Instant::now() + Duration::from_millis(1800);
    while Instant::now() < until {
        let next = tokio::time::timeout(Duration::from_millis(300), answering.stream.next()).await;
        if let Ok(Some(message)) = next {
            assert!(matches!(message, Ok(Message::Ping(_))), "{message:?}");
        }
        answering.stream.flush().await.expect("pongs are sent");
    }
    answering.send(json!({ "type": "ping" })).await;
    let pong = answering.json().await;
    assert_eq!(pong["type"], "pong");
    assert!(pong["ts"].as_str().expect("a time").ends_with('Z'));
}

#[tokio::test]
async fn a_client_that_does_not_read_hurts_nobody_else() {
    let p = Process::with(&[("WS_WRITE_TIMEOUT", "3s")]).await;
    let mut slow = p.raw(1, 3).await;
    let mut quick = p.join(1, 4).await;
    let text = "x".repeat(60_000);
    let mut slowest = Duration::ZERO;
    // Enough for every buffer on the way.
    for n in 0..600 {
        let begun = Instant::now();
        p.notes.say(1, &format!("{n} {text}"));
        assert!(quick.note().await.1.starts_with(&format!("{n} ")));
        slowest = slowest.max(begun.elapsed());
        if p.notes.closed.load(Ordering::SeqCst) == 1 {
            break;
        }
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    eventually("the slow one has ended", || {
        p.notes.closed.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(raw_end(&mut slow).await, 1013, "and learns it when it reads on");
    let closes = p.metrics.realtime.closes.with_label_values(&["1013"]).get();
    assert_eq!(closes, 1);
    p.notes.say(1, "after");
    assert_eq!(quick.note().await.1, "after");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let p = Process::with(&[
        ("WS_WRITE_TIMEOUT", "1s"),
        ("WS_PING_INTERVAL", "500ms"),
        ("WS_IDLE_TIMEOUT", "60s"),
    ])
    .await;
    let _stuck = p.raw(1, 3).await;
    let text = "x".repeat(900_000);
    // Fills the buffers on the way, but never the queue.
    for _ in 0..40 {
        p.notes.say(1, &text);
        tokio::time::sleep(Duration::from_millis(30)).await;
        if p.notes.closed.load(Ordering::SeqCst) == 1 {
            break;
        }
    }
    eventually("it is gone", || p.ws.open() == 0).await;
}

#[tokio::test]
async fn at_shutdown_everybody_is_told() {
    let p = Process::start().await;
    let mut clients = Vec::new();
    for user in 1..=200 {
        clients.push(p.join(user % 7 + 1, user).await);
    }
    let mut stubborn = p.raw(1, 300).await;
    let begun = Instant::now();
    let draining = {
        let ws = p.ws.clone();
        crate::task::spawn(async move { ws.drain(SOON).await })
    };
    tokio::task::yield_now().await;
    let ends = futures_util::future::join_all(clients.iter_mut().map(|client| client.end())).await;
    assert!(ends.iter().all(|end| *end == bare(1001)), "{ends:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(raw_end(&mut stubborn).await, 1001);
    draining.await.expect("drained");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(
        p.knock("/ws/notes/1/?token=3:1", &[]).await.is_err(),
        "nobody new"
    );
}

#[tokio::test]
async fn an_end_does_not_wait_for_a_handler() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    client.send(json!({ "type": "slow" })).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    p.notes.say(1, "meanwhile");
    assert_eq!(
        client.note().await.1,
        "meanwhile",
        "others are heard during a handler"
    );
    p.revoke_session(3, 1);
    assert_eq!(client.end().await, told(4401, "token_invalid"));
    assert_eq!(p.notes.handled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_room_is_left_behind_empty() {
    let p = Process::start().await;
    let (one, two) = (p.join(1, 3).await, p.join(1, 4).await);
    assert!(p.hub.has_subscribers("notes:1"));
    drop(one);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(p.hub.has_subscribers("notes:1"));
    drop(two);
    eventually("nobody listens", || !p.hub.has_subscribers("notes:1")).await;
    p.notes.say(1, "to nobody");
    let (_again, greeting) = p.greeted("/ws/notes/1/?token=3:1").await;
    assert_eq!(greeting["last_message_id"], 3);
}
