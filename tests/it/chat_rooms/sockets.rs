//! `/ws/chat/{room_id}/`: who comes in, with what, and how it ends.

use std::time::{Duration, Instant};

use super::*;
use crate::accounts::api_key;
use crate::sockets::{ended, knock, refused};
use crate::support::{eventually, raw};

fn path(room: i64) -> String {
    format!("/ws/chat/{room}/")
}

#[tokio::test]
async fn members_are_greeted_first() {
    let s = Stage::set().await;
    let (_first, greeting) = greeted(&s.srv, &socket_of(s.room, &s.bob)).await;
    covers(
        &greeting,
        &json!({
            "message": "连接成功", "user": u2(&s.bob), "room": { "id": s.room, "name": "云雀茶馆" }, "heartbeat": 25,
        }),
    );
    assert_eq!(
        greeting["last_message_id"],
        history(&s.bob, s.room).await[0]["id"],
        "what was said when bob came in"
    );
    let empty = create(&s.alice, "public").await;
    let (_second, greeting) = greeted(&s.srv, &socket_of(empty, &s.alice)).await;
    assert_eq!(greeting["last_message_id"], Value::Null);
    // The slash at the end may be missing.
    let bare = format!("/ws/chat/{}?token={}", s.room, s.bob.access);
    greeted(&s.srv, &bare).await;
}

#[tokio::test]
async fn a_token_comes_in_three_ways_and_the_first_counts() {
    let s = Stage::set().await;
    let auth = format!("Bearer {}", s.bob.access);
    let protocol = format!("bearer, {}", s.bob.access);
    let stale = format!("bearer, {}", s.bob.refresh);
    let target = path(s.room);
    for (target, headers) in [
        (target.clone(), vec![("authorization", auth.as_str())]),
        (
            target.clone(),
            vec![("sec-websocket-protocol", protocol.as_str())],
        ),
        (
            target.clone(),
            vec![
                ("authorization", auth.as_str()),
                ("sec-websocket-protocol", stale.as_str()),
            ],
        ),
        (
            format!("{target}?token={}", s.bob.access),
            vec![("authorization", "Bearer garbage")],
        ),
        // As a client writes it that encodes what need not be encoded.
        (
            format!("{target}?token={}", s.bob.access.replace('.', "%2E")),
            vec![],
        ),
        (format!("{target}?since=0&token={}&x=a=b", s.bob.access), vec![]),
    ] {
        let mut socket = knock(&s.srv, &target, &headers).await.expect("upgraded");
        let greeting = socket.next().await;
        assert_eq!(
            greeting["type"], "connection_established",
            "{headers:?}: {greeting}"
        );
        assert_eq!(greeting["user"], u2(&s.bob));
    }
    let mut socket = knock(
        &s.srv,
        &format!("{target}?token=garbage"),
        &[("authorization", &auth)],
    )
    .await
    .expect("upgraded");
    assert_eq!(
        socket.end().await,
        ended(4401, "token_invalid"),
        "the first found wins"
    );
    let english = [("authorization", auth.as_str()), ("accept-language", "en")];
    let mut socket = knock(&s.srv, &target, &english).await.expect("upgraded");
    assert_eq!(socket.next().await["message"], "Connected.");
    socket
        .send(json!({ "type": "chat_message", "content": "" }))
        .await;
    assert_eq!(socket.of("error").await["message"], "Content is required.");
}

#[tokio::test]
async fn keys_come_in_by_their_header_only() {
    let s = Stage::set().await;
    let target = path(s.room);
    let key = api_key(&s.srv, &s.bob, &["chat:write"]).await;
    for bad in [format!("{target}?api_key={key}"), format!("{target}?token={key}")] {
        assert_eq!(refused(&s.srv, &bad).await.0, 4401, "{bad}");
    }
    let mut writer = knock(&s.srv, &target, &[("x-api-key", &key)])
        .await
        .expect("upgraded");
    assert_eq!(writer.next().await["type"], "connection_established");
    writer.say("by key").await;
    assert_eq!(writer.message().await["content"], "by key");
    let key = api_key(&s.srv, &s.bob, &["chat:read"]).await;
    let mut reader = knock(&s.srv, &target, &[("x-api-key", &key)])
        .await
        .expect("upgraded");
    assert_eq!(reader.next().await["type"], "connection_established");
    reader.say("by a key that only reads").await;
    assert_eq!(reader.of("error").await["code"], "insufficient_scope");
    let key = api_key(&s.srv, &s.bob, &["agents:write"]).await;
    let mut other = knock(&s.srv, &target, &[("x-api-key", &key)])
        .await
        .expect("upgraded");
    assert_eq!(other.end().await, ended(4403, "insufficient_scope"));
}

/// Parse the id, then the origin, then the token, then the room, then membership.
#[tokio::test]
async fn checks_come_in_their_order() {
    let s = Stage::set().await;
    let private = create(&s.alice, "private").await;
    let closed = create(&s.bob, "public").await;
    s.bob.client.delete(&at(closed, "")).await.expect(204);
    let evil = ("origin", "https://evil.example");
    let good = format!("?token={}", s.bob.access);
    let bad = "?token=garbage".to_owned();
    for (room, query, origin, expected) in [
        ("abc".to_owned(), &bad, true, ended(4400, "validation_error")),
        ("0".to_owned(), &good, false, ended(4400, "validation_error")),
        ("-1".to_owned(), &good, false, ended(4400, "validation_error")),
        (
            "99999999999999999999".to_owned(),
            &good,
            false,
            ended(4400, "validation_error"),
        ),
        (private.to_string(), &bad, true, ended(4403, "origin_refused")),
        ("999999".to_owned(), &bad, false, ended(4401, "token_invalid")),
        ("999999".to_owned(), &good, false, ended(4404, "not_found")),
        (private.to_string(), &good, false, ended(4403, "not_member")),
    ] {
        let headers = if origin { vec![evil] } else { vec![] };
        let target = format!("/ws/chat/{room}/{query}");
        let mut socket = knock(&s.srv, &target, &headers).await.expect("upgraded");
        assert_eq!(socket.end().await, expected, "{target}");
    }
    assert_eq!(
        refused(&s.srv, &path(s.room)).await,
        ended(4401, "not_authenticated")
    );
    let bad_since = format!("{}&since=x", socket_of(s.room, &s.bob));
    assert_eq!(refused(&s.srv, &bad_since).await, ended(4400, "validation_error"));
    assert_eq!(refused(&s.srv, &socket_of(closed, &s.bob)).await.0, 4410);
    // Even a public room is for its members.
    assert_eq!(
        refused(&s.srv, &socket_of(s.room, &s.carol)).await,
        ended(4403, "not_member")
    );
}

/// A browser shows no HTTP status, so the reason comes as a frame.
#[tokio::test]
async fn a_refusal_is_one_error_frame_and_a_close() {
    let s = Stage::set().await;
    let target = socket_of(s.room, &s.carol);
    let mut socket = knock(&s.srv, &target, &[]).await.expect("upgraded");
    let (frames, code) = socket.rest().await;
    assert_eq!((frames.len(), code), (1, 4403));
    covers(
        &frames[0],
        &json!({ "type": "error", "message": DENIED, "code": "not_member" }),
    );
    let mut socket = knock(&s.srv, &socket_of(999_999, &s.carol), &[])
        .await
        .expect("upgraded");
    let (frames, code) = socket.rest().await;
    assert_eq!((frames.len(), code), (1, 4404));
    assert_eq!(frames[0]["message"], NO_ROOM);
}

#[tokio::test]
async fn the_own_origin_and_those_of_the_neighbourhood_are_welcome() {
    let s = Stage::set().await;
    let own = s.srv.client.base().to_owned();
    for origin in [own.as_str(), "http://localhost:5173", "http://192.168.1.7"] {
        let mut socket = knock(&s.srv, &socket_of(s.room, &s.bob), &[("origin", origin)])
            .await
            .expect("upgraded");
        assert_eq!(socket.next().await["type"], "connection_established", "{origin}");
    }
}

#[tokio::test]
async fn closing_a_room_closes_its_sockets() {
    let s = Stage::set().await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    s.alice.client.delete(&s.at("")).await.expect(204);
    for socket in [&mut alice, &mut bob] {
        assert_eq!(socket.end().await.0, 4410);
    }
    let body = json!({ "is_active": true });
    s.alice.client.patch(&s.at(""), body).await.expect(200);
    s.open(&s.bob).await;
}

#[tokio::test]
async fn a_disabled_user_is_closed_and_stays_outside() {
    let s = Stage::set().await;
    let chief = s.srv.admin("chief").await;
    let mut socket = s.open(&s.bob).await;
    let begun = Instant::now();
    let path = format!("/api/users/{}/disable_user/", s.bob.id);
    chief.client.post(&path, json!({})).await.expect(200);
    assert_eq!(socket.end().await, ended(4401, "token_invalid"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(
        refused(&s.srv, &socket_of(s.room, &s.bob)).await,
        ended(4401, "token_invalid")
    );
}

#[tokio::test]
async fn a_token_is_renewed_during_a_connection() {
    let s = Stage::with(&[QUIET]).await;
    let (mut lazy, mut careful) = (s.open(&s.alice).await, s.open(&s.bob).await);
    s.srv.clock.advance(Duration::from_secs(3000));
    let body = json!({ "refresh": s.bob.refresh });
    let fresh = s.srv.client.post("/user/refresh-token/", body).await.expect(200);
    careful
        .send(json!({ "type": "auth", "token": fresh["access"] }))
        .await;
    let renewed = careful.next().await;
    assert_eq!(renewed["type"], "auth_ok");
    assert!(renewed["expires_at"].as_str().unwrap().ends_with('Z'));
    s.srv.clock.advance(Duration::from_secs(601));
    assert_eq!(lazy.end().await, ended(4401, "token_expired"));
    careful.say("still here").await;
    assert_eq!(careful.message().await["content"], "still here");
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_ended_and_gone_from_the_room() {
    let s = Stage::with(&[("WS_PING_INTERVAL", "300ms"), ("WS_IDLE_TIMEOUT", "1200ms")]).await;
    let mut silent = raw::connect(&s.srv).await;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        socket_of(s.room, &s.bob)
    );
    tokio::io::AsyncWriteExt::write_all(&mut silent, head.as_bytes())
        .await
        .expect("sent");
    let (said, _) = raw::read_to_end(&mut silent, 8).await;
    assert!(said.contains("heartbeat_timeout"), "{said}");
    eventually("bob is not online", 15, || async {
        s.alice.client.get(&s.at("online/")).await.expect(200) == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let s = Stage::set().await;
    let mut sockets = [s.open(&s.alice).await, s.open(&s.bob).await];
    let begun = Instant::now();
    let stopping = tokio::spawn(s.srv.stop());
    for socket in &mut sockets {
        assert_eq!(socket.end().await.0, 1001);
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    stopping.await.expect("stopped");
}

#[tokio::test]
async fn a_socket_address_asks_for_an_upgrade() {
    let s = Stage::set().await;
    let reply = s.bob.client.get(&path(s.room)).await;
    reply.refused(426, "upgrade_required");
    s.srv
        .client
        .get(&path(s.room))
        .await
        .refused(401, "not_authenticated");
}
