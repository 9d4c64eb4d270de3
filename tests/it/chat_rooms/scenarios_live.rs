//! The must-pass scenarios that live on sockets. Those about several instances run on one server, and on two
//! when a database server and Redis are there.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use futures_util::future::{join, join_all};
use tokio_tungstenite::tungstenite::Message;

use super::relay::Relay;
use super::*;
use crate::sockets::{ended, narrow, refused};
use crate::support::eventually;

const PROMISED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn chat_scenario_02_a_post_reaches_every_socket_once() {
    post_reaches_every_socket_once(Stage::with(&[QUIET]).await).await;
}

#[tokio::test]
async fn chat_scenario_02_a_post_reaches_every_socket_once_on_two_servers() {
    if let Some(s) = Stage::on_two(&[QUIET]).await {
        post_reaches_every_socket_once(s).await;
    }
}

async fn post_reaches_every_socket_once(s: Stage) {
    let (mut here, mut there) = (s.open(&s.alice).await, s.open_there(&s.bob).await);
    let begun = Instant::now();
    let sent = s.say(&s.alice, "to both").await;
    for socket in [&mut here, &mut there] {
        let got = socket.message().await;
        covers(
            &got,
            &json!({ "id": sent["id"], "seq": sent["seq"], "content": "to both" }),
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // Once: what comes next is another message.
    let second = s.say(&s.bob, "and on").await;
    for socket in [&mut here, &mut there] {
        assert_eq!(socket.message().await["id"], second["id"]);
    }
}

#[tokio::test]
async fn chat_scenario_03_twenty_senders_are_seen_in_one_order() {
    let s = Stage::with(&[QUIET]).await;
    let mut users = vec![s.alice.clone(), s.bob.clone()];
    for n in 2..20 {
        let user = s.srv.user(&format!("user{n}")).await;
        join_room(&user, s.room).await;
        users.push(user);
    }
    let before = history(&s.alice, s.room).await.len();
    let seen = join_all(users.iter().map(|user| {
        let s = &s;
        async move {
            let mut socket = s.open(user).await;
            for n in 0..10 {
                let text = format!("{} {n}", user.name);
                if n % 2 == 0 {
                    s.say(user, &text).await;
                } else {
                    socket.say(&text).await;
                }
            }
            socket
        }
    }));
    // Opened before anybody speaks, so that it hears all of it.
    let mut watcher = s.open(&s.alice).await;
    let mut sockets = seen.await;
    let mut orders = Vec::new();
    for _ in 0..200 {
        orders.push(seq_and_id(&watcher.message().await));
    }
    let stored: Vec<(i64, i64)> = history(&s.bob, s.room).await[before..]
        .iter()
        .map(seq_and_id)
        .collect();
    assert_eq!(orders, stored);
    let first = i64::try_from(before).unwrap() + 1;
    let expected: Vec<i64> = (first..first + 200).collect();
    let seqs: Vec<i64> = stored.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, expected, "none is missing, none came twice");
    assert!(stored.is_sorted_by(|a, b| a.1 < b.1), "ids ascend with it");
    // The others came while it went on: from then on they saw the same.
    for socket in &mut sockets {
        let mut from = seq_and_id(&socket.message().await);
        let at = stored.iter().position(|one| *one == from).expect("stored");
        for expected in &stored[at + 1..] {
            from = seq_and_id(&socket.message().await);
            assert_eq!(from, *expected);
        }
    }
}

fn seq_and_id(message: &Value) -> (i64, i64) {
    (message["seq"].as_i64().expect("seq"), id_of(message))
}

async fn join_room(user: &User, room: i64) {
    super::join(user, room).await;
}

#[tokio::test]
async fn chat_scenario_04_a_cut_socket_resumes_without_a_gap() {
    resume_is_exact(Stage::with(&[QUIET]).await, None).await;
}

#[tokio::test]
async fn chat_scenario_04_a_cut_socket_resumes_on_another_server() {
    if let Some(s) = Stage::on_two(&[QUIET]).await {
        resume_is_exact(s, None).await;
    }
}

#[tokio::test]
async fn chat_scenario_05_a_stopped_redis_loses_nothing() {
    let Some(relay) = Relay::start().await else {
        return;
    };
    let s = Stage::with(&[QUIET, ("REDIS_URL", &relay.url)]).await;
    resume_is_exact(s, Some(relay)).await;
}

#[tokio::test]
async fn chat_scenario_05_a_stopped_redis_loses_nothing_on_two_servers() {
    let Some(relay) = Relay::start().await else {
        return;
    };
    if let Some(s) = Stage::on_two(&[QUIET, ("REDIS_URL", &relay.url)]).await {
        resume_is_exact(s, Some(relay)).await;
    }
}

/// Cut a socket, send 50 messages, come back elsewhere while 50 more arrive; perhaps without Redis.
async fn resume_is_exact(s: Stage, relay: Option<Relay>) {
    let mut socket = s.open_there(&s.bob).await;
    let seen = s.say(&s.alice, "seen").await;
    assert_eq!(socket.message().await["id"], seen["id"]);
    drop(socket);
    for n in 0..50 {
        s.say(&s.alice, &n.to_string()).await;
    }
    if let Some(relay) = &relay {
        relay.cut();
    }
    let sending = async {
        for n in 50..100 {
            s.say(&s.alice, &n.to_string()).await;
        }
        Instant::now()
    };
    let target = format!("{}&since={}", socket_of(s.room, &s.bob), seen["id"]);
    let resuming = async {
        let (mut socket, _) = greeted(s.there(), &target).await;
        let (mut got, mut completed) = (Vec::new(), None);
        while got.len() < 100 {
            let frame = socket.next().await;
            match frame["type"].as_str() {
                Some("chat_message") => got.push(id_of(&frame["message"])),
                Some("resume_complete") => {
                    assert_eq!(completed.replace(got.len()), None);
                    covers(
                        &frame,
                        &json!({ "from": seen["id"], "count": got.len(), "truncated": false }),
                    );
                }
                _ => panic!("{frame}"),
            }
        }
        (got, completed, socket, Instant::now())
    };
    let (sent, (got, completed, mut socket, received)) = join(sending, resuming).await;
    let stored: Vec<i64> = history(&s.alice, s.room)
        .await
        .iter()
        .map(id_of)
        .filter(|id| *id > id_of(&seen))
        .collect();
    assert_eq!(got.len(), 100);
    assert_eq!(got, stored);
    assert!(completed.is_none_or(|at| at >= 50), "{completed:?}");
    if completed.is_none() {
        assert_eq!(socket.next().await["type"], "resume_complete");
    }
    // The promise, and a little for a busy machine.
    let delay = received.saturating_duration_since(sent);
    assert!(delay < PROMISED + Duration::from_secs(2), "{delay:?}");
    if let Some(relay) = &relay {
        relay.mend();
    }
    let after = s.say(&s.alice, "after all that").await;
    assert_eq!(socket.message().await["id"], after["id"]);
}

#[tokio::test]
async fn chat_scenario_06_a_client_that_stops_reading_hurts_nobody_else() {
    slow_client_is_closed_alone(Stage::with(&[QUIET]).await).await;
}

#[tokio::test]
async fn chat_scenario_06_a_client_that_stops_reading_hurts_nobody_on_two_servers() {
    if let Some(s) = Stage::on_two(&[QUIET]).await {
        slow_client_is_closed_alone(s).await;
    }
}

async fn slow_client_is_closed_alone(s: Stage) {
    let (mut here, mut there) = (s.open(&s.alice).await, s.open_there(&s.alice).await);
    let mut slow = narrow(s.there(), &socket_of(s.room, &s.bob)).await;
    assert_eq!(slow.next().await["type"], "connection_established");
    let metrics = &s.there().app.ctx.metrics;
    let (mut sent, mut slowest) = (Vec::new(), Duration::ZERO);
    // Enough for every buffer on the way.
    for n in 0..500 {
        let text = format!("{n} {}", "😀".repeat(9_990));
        let message = s.say(&s.alice, &text).await;
        let begun = Instant::now();
        for socket in [&mut here, &mut there] {
            assert_eq!(socket.message().await["id"], message["id"]);
        }
        slowest = slowest.max(begun.elapsed());
        sent.push(id_of(&message));
        if metrics.render().await.contains("code=\"1013\"} 1") {
            break;
        }
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let (frames, code) = slow.rest().await;
    assert_eq!(code, 1013);
    let messages = frames.iter().filter(|f| f["type"] == "chat_message");
    let mut got: Vec<i64> = messages.map(|f| id_of(&f["message"])).collect();
    assert!(got.len() < sent.len(), "it was closed because it fell behind");
    assert_eq!(got, sent[..got.len()]);

    let last = got.last().copied().unwrap_or(sent[0] - 1);
    let target = format!("{}&since={last}", socket_of(s.room, &s.bob));
    let (mut again, _) = greeted(s.there(), &target).await;
    while got.len() < sent.len() {
        got.push(id_of(&again.message().await));
    }
    assert_eq!(got, sent);
    assert_eq!(again.of("resume_complete").await["truncated"], false);
}

#[tokio::test]
async fn chat_scenario_12_a_ban_ends_the_socket_and_every_way_back() {
    ban_takes_effect_at_once(Stage::set().await).await;
}

#[tokio::test]
async fn chat_scenario_12_a_ban_ends_the_socket_on_another_server() {
    if let Some(s) = Stage::on_two(&[]).await {
        ban_takes_effect_at_once(s).await;
    }
}

async fn ban_takes_effect_at_once(s: Stage) {
    let (mut banned, mut second) = (s.open_there(&s.bob).await, s.open(&s.bob).await);
    let mut other = s.open_there(&s.alice).await;
    let begun = Instant::now();
    let shown = act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    assert_eq!(shown["is_banned"], true);
    for socket in [&mut banned, &mut second] {
        assert_eq!(socket.end().await.0, 4403);
    }
    assert!(begun.elapsed() < PROMISED, "{:?}", begun.elapsed());
    for bob in [through(&s.srv, &s.bob), through(s.there(), &s.bob)] {
        let reply = bob.client.post(&s.at("join/"), json!({})).await;
        reply.refused_with(403, "banned", "您已被该房间封禁");
        forbidden(send(&bob, s.room, json!({ "content": "let me in" })).await);
        forbidden(bob.client.get(&s.at("messages/")).await);
    }
    for server in [&s.srv, s.there()] {
        assert_eq!(refused(server, &socket_of(s.room, &s.bob)).await.0, 4403);
    }
    other.say("where is bob?").await;
    loop {
        // A system message may come first.
        if other.message().await["content"] == "where is bob?" {
            break;
        }
    }
}

#[tokio::test]
async fn chat_scenario_13_tokens_that_end_take_their_sockets_along() {
    tokens_end_their_sockets(Stage::set().await).await;
}

#[tokio::test]
async fn chat_scenario_13_tokens_that_end_take_their_sockets_along_on_another_server() {
    if let Some(s) = Stage::on_two(&[]).await {
        tokens_end_their_sockets(s).await;
    }
}

async fn tokens_end_their_sockets(s: Stage) {
    let (mut leaving, mut kept) = (s.open_there(&s.bob).await, s.open_there(&s.alice).await);
    let begun = Instant::now();
    s.bob.client.post("/user/logout/", json!({})).await.expect(200);
    assert_eq!(leaving.end().await, ended(4401, "token_invalid"));
    assert!(begun.elapsed() < PROMISED, "{:?}", begun.elapsed());
    let with_refresh = format!("/ws/chat/{}/?token={}", s.room, s.alice.refresh);
    assert_eq!(
        refused(s.there(), &with_refresh).await,
        ended(4401, "token_invalid")
    );
    s.srv.clock.advance(Duration::from_secs(3601));
    assert_eq!(kept.end().await, ended(4401, "token_expired"));
    assert_eq!(
        refused(s.there(), &socket_of(s.room, &s.alice)).await,
        ended(4401, "token_expired")
    );
}

#[tokio::test]
async fn chat_scenario_16_frames_that_break_the_protocol_end_the_socket_and_others_do_not() {
    let s = Stage::with(&[QUIET]).await;
    let mut socket = s.open(&s.bob).await;
    socket.send(json!([1])).await;
    assert_eq!(
        socket.next().await,
        json!({ "type": "error", "message": "无效的JSON格式", "code": "parse_error" })
    );
    socket.say("still here").await;
    assert_eq!(socket.message().await["content"], "still here");
    // Exactly 64 KiB is a frame like any other; its content is too long.
    let exact = sized_frame(64 * 1024);
    socket.stream.send(Message::text(exact)).await.expect("sent");
    assert_eq!(socket.next().await["code"], "validation_error");
    let more = sized_frame(64 * 1024 + 1);
    // The server may be gone before all of it is sent.
    let _ = socket.stream.send(Message::text(more)).await;
    assert_eq!(socket.end().await.0, 1009);

    let mut socket = s.open(&s.bob).await;
    let bytes = Message::binary(b"{\"type\":\"ping\"}".to_vec());
    socket.stream.send(bytes).await.expect("sent");
    assert_eq!(socket.end().await.0, 1003);
    assert_eq!(history(&s.alice, s.room).await.len(), 2);
    eventually("nobody is left", 5, || async { s.srv.app.ws.open() == 0 }).await;
}

/// A `chat_message` of so many bytes.
fn sized_frame(bytes: usize) -> String {
    let empty = json!({ "type": "chat_message", "content": "" }).to_string();
    let content = "x".repeat(bytes - empty.len());
    json!({ "type": "chat_message", "content": content }).to_string()
}
