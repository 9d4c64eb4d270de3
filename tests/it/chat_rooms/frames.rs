//! What clients send over a room's socket, and who hears of it.

use super::*;

fn chat(text: &str) -> Value {
    json!({ "type": "chat_message", "content": text })
}

#[tokio::test]
async fn a_message_of_either_way_is_one_frame_for_everybody() {
    let s = Stage::with(&[QUIET]).await;
    let mut sockets = [s.open(&s.alice).await, s.open(&s.bob).await, s.open(&s.bob).await];
    let sent = s.say(&s.alice, "over REST").await;
    for socket in &mut sockets {
        let frame = socket.next().await;
        assert_eq!(frame["type"], "chat_message");
        has_keys(&frame["message"], &MF);
        covers(
            &frame["message"],
            &json!({
                "id": sent["id"], "room_id": s.room, "seq": sent["seq"], "sender": u4(&s.alice),
                "content": "over REST", "message_type": "text", "timestamp": sent["created_at"],
                "created_at": sent["created_at"], "updated_at": sent["updated_at"], "reply_to": null,
                "client_id": null,
            }),
        );
    }
    let frame = json!({
        "type": "chat_message", "content": "over the socket\r\n", "message_type": "file", "reply_to": sent["id"],
        "file_url": "https://example.com/a.pdf", "file_name": "a.pdf", "file_size": 7, "client_id": "c-1",
        // What is not the client's to say.
        "sender": s.alice.id, "user": u2(&s.alice), "id": 1, "seq": 1, "room_id": 9, "timestamp": "2000-01-01T00:00:00Z",
    });
    sockets[1].send(frame).await;
    let echo = sockets[1].next().await;
    covers(
        &echo["message"],
        &json!({
            "sender": u4(&s.bob), "content": "over the socket", "message_type": "file", "reply_to": sent["id"],
            "file_url": "https://example.com/a.pdf", "file_name": "a.pdf", "file_size": 7, "client_id": "c-1",
            "room_id": s.room, "is_edited": false, "is_deleted": false,
        }),
    );
    for n in [0, 2] {
        let frame = sockets[n].next().await;
        covers(
            &frame["message"],
            &json!({ "id": echo["message"]["id"], "seq": echo["message"]["seq"] }),
        );
    }
    let stored = history(&s.alice, s.room).await;
    let last = stored.last().unwrap();
    for key in [
        "id",
        "seq",
        "content",
        "created_at",
        "updated_at",
        "client_id",
        "reply_to",
    ] {
        assert_eq!(last[key], echo["message"][key], "{key}");
    }
    assert_eq!(stored.len(), 3);
}

#[tokio::test]
async fn bad_frames_are_answered_to_their_sender_and_end_nothing() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    for (frame, code) in [
        (json!({ "type": "chat_message" }), "empty_content"),
        (chat(""), "empty_content"),
        (chat(" \n "), "empty_content"),
        (chat(&"x".repeat(10_001)), "validation_error"),
        (
            json!({ "type": "chat_message", "content": 7 }),
            "validation_error",
        ),
        (chat("a\u{0}b"), "validation_error"),
        (
            json!({ "type": "chat_message", "content": "x", "message_type": "video" }),
            "validation_error",
        ),
        (
            json!({ "type": "chat_message", "content": "x", "reply_to": 999_999 }),
            "invalid_reply",
        ),
        (
            json!({ "type": "typing", "is_typing": "yes" }),
            "validation_error",
        ),
        (json!({ "type": "read" }), "validation_error"),
        (json!({ "type": "dance" }), "unknown_type"),
        (json!({ "type": "connection_established" }), "unknown_type"),
        (
            json!({ "type": "message_deleted", "message_id": 1 }),
            "unknown_type",
        ),
    ] {
        let mut with_id = frame.clone();
        with_id["client_id"] = json!("c1");
        bob.send(with_id).await;
        let error = bob.next().await;
        covers(
            &error,
            &json!({ "type": "error", "code": code, "client_id": "c1" }),
        );
        assert!(error["message"].is_string(), "{frame}: {error}");
    }
    for (text, code, message) in [
        (
            json!({ "type": "chat_message", "content": "" }),
            "empty_content",
            "消息内容不能为空",
        ),
        (json!({ "type": "dance" }), "unknown_type", "未知的消息类型"),
        (json!([1]), "parse_error", "无效的JSON格式"),
        (json!("text"), "parse_error", "无效的JSON格式"),
        (json!(null), "parse_error", "无效的JSON格式"),
    ] {
        bob.send(text).await;
        let error = bob.next().await;
        assert_eq!(
            [&error["type"], &error["message"], &error["code"]],
            [&json!("error"), &json!(message), &json!(code)]
        );
    }
    for text in ["{", "", "{\"type\":\"ping\"} x", "{\"type\":7}"] {
        let frame = tokio_tungstenite::tungstenite::Message::text(text);
        futures_util::SinkExt::send(&mut bob.stream, frame)
            .await
            .expect("sent");
        assert_eq!(bob.next().await["type"], "error", "{text}");
    }
    bob.say("still here").await;
    assert_eq!(
        alice.next().await["message"]["content"],
        "still here",
        "and nothing before"
    );
    bob.send(json!({ "type": "ping" })).await;
    let pong = bob.of("pong").await;
    assert!(pong["ts"].is_string() || pong["ts"].is_number(), "{pong}");
    assert_eq!(history(&s.alice, s.room).await.len(), 2);
}

#[tokio::test]
async fn a_reply_is_an_id_in_every_frame() {
    let s = Stage::with(&[QUIET]).await;
    let first = s.say(&s.alice, "first").await;
    let mut bob = s.open(&s.bob).await;
    bob.send(json!({ "type": "chat_message", "content": "re", "reply_to": first["id"] }))
        .await;
    let frame = bob.message().await;
    assert_eq!(frame["reply_to"], first["id"]);
    let stored = message_of(&s.alice, &frame).await;
    assert_eq!(stored["reply_preview"]["content"], "first");
}

#[tokio::test]
async fn comings_and_goings_that_are_said_are_told_to_all() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    let forged = json!({ "type": "user_join", "user": u2(&s.alice) });
    bob.send(forged).await;
    for socket in [&mut alice, &mut bob] {
        assert_eq!(
            socket.next().await,
            json!({ "type": "user_join", "user": u2(&s.bob) })
        );
    }
    alice.send(json!({ "type": "user_leave" })).await;
    for socket in [&mut alice, &mut bob] {
        assert_eq!(
            socket.next().await,
            json!({ "type": "user_leave", "user": u2(&s.alice) })
        );
    }
    // Saying so changes no membership.
    assert_eq!(look(&s.alice, s.room).await["member_count"], 2);
    s.say(&s.alice, "still in").await;
}

#[tokio::test]
async fn comings_and_goings_are_told_at_most_every_two_seconds() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    for _ in 0..10 {
        bob.send(json!({ "type": "user_join" })).await;
    }
    bob.say("that was me").await;
    let mut told = 0;
    loop {
        let frame = alice.next().await;
        match frame["type"].as_str() {
            Some("user_join") => told += 1,
            Some("chat_message") => break,
            _ => panic!("{frame}"),
        }
    }
    assert!((1..=2).contains(&told), "{told}");
}

#[tokio::test]
async fn changes_of_messages_reach_the_sockets_of_the_room_alone() {
    let s = Stage::with(&[QUIET]).await;
    let other = create(&s.bob, "public").await;
    let mut elsewhere = open(&s.srv, other, &s.bob).await;
    let mut here = s.open(&s.bob).await;
    let sent = s.say(&s.alice, "one").await;
    edit(&s.alice, &sent, "two").await.expect(200);
    delete(&s.alice, &sent).await.expect(200);
    for kind in ["chat_message", "message_edited", "message_deleted"] {
        let frame = here.next().await;
        assert_eq!(frame["type"], kind, "{frame}");
        assert_eq!(frame["message"]["id"], sent["id"]);
    }
    let there = say(&s.bob, other, "elsewhere").await;
    assert_eq!(elsewhere.next().await["message"]["id"], there["id"]);
}

#[tokio::test]
async fn times_end_with_z_everywhere() {
    let s = Stage::with(&[QUIET]).await;
    let mut bob = s.open(&s.bob).await;
    bob.say("now").await;
    let frame = bob.message().await;
    let stored = message_of(&s.bob, &frame).await;
    for key in ["created_at", "updated_at"] {
        let time = frame[key].as_str().unwrap();
        assert!(time.ends_with('Z') && !time.contains("+00:00"), "{time}");
        assert_eq!(stored[key], frame[key], "a create and a later read are equal");
    }
}
