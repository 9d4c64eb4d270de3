//! How much and how often.

use std::time::Instant;

use super::*;
use crate::sockets::{ended, refused};

#[tokio::test]
async fn sends_over_rest_and_the_socket_count_together() {
    let few = [
        QUIET,
        ("RATE_LIMIT_CHAT_SEND", "1/h"),
        ("RATE_LIMIT_CHAT_BURST", "5"),
    ];
    let s = Stage::with(&few).await;
    let mut bob = s.open(&s.bob).await;
    for n in 0..5 {
        if n % 2 == 0 {
            s.say(&s.bob, &n.to_string()).await;
        } else {
            bob.say(&n.to_string()).await;
        }
        assert_eq!(bob.message().await["content"], n.to_string());
    }
    bob.send(json!({ "type": "chat_message", "content": "six", "client_id": "six" }))
        .await;
    covers(
        &bob.of("error").await,
        &json!({ "code": "throttled", "message": "请求过于频繁，请稍后再试", "client_id": "six" }),
    );
    let reply = send(&s.bob, s.room, json!({ "content": "also six" })).await;
    assert!(!reply.header("retry-after").is_empty());
    reply.refused_with(429, "throttled", "请求过于频繁，请稍后再试");
    // Others are not concerned.
    s.say(&s.alice, "me").await;
    assert_eq!(history(&s.alice, s.room).await.len(), 7);
}

#[tokio::test]
async fn who_goes_on_when_throttled_is_closed() {
    let few = [
        QUIET,
        ("RATE_LIMIT_CHAT_SEND", "1/h"),
        ("RATE_LIMIT_CHAT_BURST", "1"),
    ];
    let s = Stage::with(&few).await;
    let mut bob = s.open(&s.bob).await;
    let mut alice = s.open(&s.alice).await;
    for n in 0..120 {
        let text = json!({ "type": "chat_message", "content": n.to_string() }).to_string();
        let frame = tokio_tungstenite::tungstenite::Message::text(text);
        // The server may have closed already.
        let _ = futures_util::SinkExt::send(&mut bob.stream, frame).await;
    }
    let (frames, code) = bob.rest().await;
    assert_eq!(code, 4429);
    let throttled = frames.iter().filter(|f| f["code"] == "throttled").count();
    assert!((95..=102).contains(&throttled), "{throttled}");
    alice.say("who was that?").await;
    assert_eq!(alice.message().await["content"], "0");
    assert_eq!(alice.message().await["content"], "who was that?");
}

#[tokio::test]
async fn a_user_has_ten_sockets_in_a_room() {
    let s = Stage::with(&[QUIET]).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(s.open(&s.bob).await);
    }
    let end = refused(&s.srv, &socket_of(s.room, &s.bob)).await;
    assert_eq!(end, ended(4429, "too_many_sockets"));
    // In another room, and for somebody else, there is place.
    let other = create(&s.bob, "public").await;
    open(&s.srv, other, &s.bob).await;
    s.open(&s.alice).await;
    drop(sockets.pop());
    crate::support::eventually("a place is free", 5, || async {
        let target = socket_of(s.room, &s.bob);
        let mut socket = crate::sockets::knock(&s.srv, &target, &[])
            .await
            .expect("upgraded");
        socket.next().await["type"] == "connection_established"
    })
    .await;
}

#[tokio::test]
async fn receipts_are_merged_where_many_listen() {
    let s = Stage::with(&[QUIET]).await;
    let wide = json!({ "max_members": 100 });
    s.alice.client.patch(&s.at(""), wide).await.expect(200);
    let sent = s.say(&s.alice, "read me").await;
    let mut users = vec![s.bob.clone()];
    for n in 0..51 {
        let user = s.srv.user(&format!("guest{n}")).await;
        join(&user, s.room).await;
        users.push(user);
    }
    let mut sockets = Vec::new();
    for user in &users {
        sockets.push(s.open(user).await);
    }
    let mut alice = s.open(&s.alice).await;
    let begun = Instant::now();
    for user in &users[..10] {
        let path = message_at(&sent, "read/");
        user.client.post(&path, json!({})).await.expect(200);
    }
    let (mut readers, mut frames) = (Vec::new(), 0);
    while readers.len() < 10 {
        let frame = alice.next().await;
        assert_ne!(frame["type"], "message_read", "{frame}");
        if frame["type"] == "messages_read" {
            frames += 1;
            for read in list_of(&frame["reads"]) {
                assert_eq!(read["message_id"], sent["id"], "{read}");
                assert!(read["read_at"].is_string(), "{read}");
                readers.push(id_of(&read["user"]));
            }
        }
    }
    readers.sort_unstable();
    let expected: Vec<i64> = users[..10].iter().map(|u| u.id).collect();
    assert_eq!(readers, expected);
    let most = begun.elapsed().as_secs() + 2;
    assert!(frames <= most, "at most one a second: {frames} of {most}");
}
