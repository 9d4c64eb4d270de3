//! `/ws/chat/sessions/{id}/`: who may be there, and its frames.

use std::time::Instant;

use serde_json::json;

use super::{Stage, ended, greeted, join, knock, path_of, refused};
use crate::accounts::api_key;

#[tokio::test]
async fn participants_are_greeted() {
    let s = Stage::set().await;
    let last = s.messages().await.last().expect("the first message")["id"].clone();
    for user in [&s.customer, &s.agent, &s.admin] {
        let (_socket, greeting) = greeted(&s.srv, &path_of(s.session, user)).await;
        assert_eq!(
            greeting,
            json!({
                "type": "connection_established", "message": "连接成功",
                "user": { "id": user.id, "username": user.name },
                "session": { "id": s.session, "is_active": true },
                "last_message_id": last, "heartbeat": 25,
            })
        );
    }
    let bare = format!("/ws/chat/sessions/{}?token={}", s.session, s.customer.access);
    greeted(&s.srv, &bare).await;
    let auth = format!("Bearer {}", s.customer.access);
    let path = format!("/ws/chat/sessions/{}/", s.session);
    for headers in [
        vec![("authorization", auth.as_str()), ("accept-language", "en")],
        vec![
            (
                "sec-websocket-protocol",
                &*format!("bearer, {}", s.customer.access),
            ),
            ("accept-language", "en-US"),
        ],
    ] {
        let mut socket = knock(&s.srv, &path, &headers).await.expect("upgraded");
        assert_eq!(socket.next().await["message"], "Connected.");
    }
}

#[tokio::test]
async fn everybody_else_is_refused() {
    let s = Stage::set().await;
    for user in [&s.stranger, &s.boss, &s.rival] {
        assert_eq!(
            refused(&s.srv, &path_of(s.session, user)).await,
            ended(4403, "permission_denied"),
            "{}",
            user.name
        );
    }
    let t = format!("?token={}", s.customer.access);
    for (path, code, error) in [
        (format!("{}/{t}", s.session + 1000), 4404, "not_found"),
        (format!("abc/{t}"), 4400, "validation_error"),
        (format!("0/{t}"), 4400, "validation_error"),
        (format!("{}/{t}&since=x", s.session), 4400, "validation_error"),
        (format!("{}/", s.session), 4401, "not_authenticated"),
        (format!("{}/?token=garbage", s.session), 4401, "token_invalid"),
        (
            format!("{}/?token={}", s.session, s.customer.refresh),
            4401,
            "token_invalid",
        ),
        (
            format!("{}/?token={}", s.session + 1000, s.customer.refresh),
            4401,
            "token_invalid",
        ),
    ] {
        let end = refused(&s.srv, &format!("/ws/chat/sessions/{path}")).await;
        assert_eq!(end, ended(code, error), "{path}");
    }
    let evil = knock(
        &s.srv,
        &path_of(s.session, &s.customer),
        &[("origin", "https://evil.example")],
    )
    .await;
    assert_eq!(evil.expect("upgraded").end().await, ended(4403, "origin_refused"));
}

#[tokio::test]
async fn messages_from_both_ways_reach_everybody() {
    let s = Stage::set().await;
    let (mut customer, mut agent) = (s.join(&s.customer).await, s.join(&s.agent).await);
    let mut second = s.join(&s.customer).await;
    let sent = s.say(&s.agent, "  over REST ").await;
    for socket in [&mut customer, &mut agent, &mut second] {
        assert_eq!(
            socket.next().await,
            json!({ "type": "chat_message", "message": sent })
        );
    }
    customer
        .send(json!({
            "type": "chat_message", "content": "over the socket\r\n", "id": 1, "sender": s.agent.id,
            "message_type": "system", "session": 7, "created_at": "2000-01-01T00:00:00Z", "is_read": true,
        }))
        .await;
    let echo = customer.next().await;
    assert_eq!(echo["message"]["sender"], s.customer.id);
    assert_eq!(echo["message"]["message_type"], "client");
    assert_eq!(echo["message"]["content"], "over the socket\n");
    assert_eq!(echo["message"]["session"], s.session);
    assert_eq!(echo["message"]["is_read"], false);
    for socket in [&mut agent, &mut second] {
        assert_eq!(socket.next().await, echo);
    }
    let stored = s.messages().await;
    assert_eq!(stored[1..], [sent, echo["message"].clone()]);
    customer.silent(50).await;
}

#[tokio::test]
async fn bad_frames_are_answered_to_their_sender_only() {
    let s = Stage::set().await;
    let (mut customer, mut agent) = (s.join(&s.customer).await, s.join(&s.agent).await);
    for (frame, code) in [
        (
            json!({ "type": "chat_message", "client_id": "c1" }),
            "empty_content",
        ),
        (
            json!({ "type": "chat_message", "content": " \n ", "client_id": "c1" }),
            "empty_content",
        ),
        (
            json!({ "type": "chat_message", "content": "x".repeat(5001), "client_id": "c1" }),
            "validation_error",
        ),
        (
            json!({ "type": "chat_message", "content": 7, "client_id": "c1" }),
            "validation_error",
        ),
        (
            json!({ "type": "chat_message", "content": "a\u{0}b", "client_id": "c1" }),
            "validation_error",
        ),
        (
            json!({ "type": "chat_message", "content_type": "image", "client_id": "c1" }),
            "image_required",
        ),
        (
            json!({ "type": "typing", "is_typing": "yes", "client_id": "c1" }),
            "validation_error",
        ),
        (json!({ "type": "read", "client_id": "c1" }), "validation_error"),
        (
            json!({ "type": "read", "message_id": 0, "client_id": "c1" }),
            "validation_error",
        ),
        (json!({ "type": "user_join", "client_id": "c1" }), "unknown_type"),
        (
            json!({ "type": "connection_established", "client_id": "c1" }),
            "unknown_type",
        ),
    ] {
        customer.send(frame.clone()).await;
        let error = customer.next().await;
        assert_eq!(error["type"], "error", "{frame}: {error}");
        assert_eq!(error["code"], code, "{frame}: {error}");
        assert_eq!(error["client_id"], "c1");
        assert!(error["message"].is_string());
    }
    customer
        .send(json!({ "type": "chat_message", "content": "" }))
        .await;
    assert_eq!(customer.next().await["message"], "文本消息不能为空");
    customer.send(json!([1])).await;
    assert_eq!(
        customer.next().await,
        json!({ "type": "error", "message": "无效的JSON格式", "code": "parse_error" })
    );
    agent.silent(50).await;
    customer.say(&"名".repeat(5000)).await;
    assert_eq!(
        agent.message().await["content"]
            .as_str()
            .expect("text")
            .chars()
            .count(),
        5000
    );
    assert_eq!(s.messages().await.len(), 2);
}

#[tokio::test]
async fn typing_is_told_and_ends_by_itself() {
    let s = Stage::set().await;
    let (mut customer, mut agent) = (s.join(&s.customer).await, s.join(&s.agent).await);
    let typing = |is_typing: bool| {
        json!({
            "type": "typing", "user": { "id": s.customer.id, "username": "customer" }, "is_typing": is_typing,
        })
    };
    for _ in 0..20 {
        customer
            .send(json!({ "type": "typing", "is_typing": true }))
            .await;
    }
    assert_eq!(agent.next().await, typing(true));
    assert_eq!(customer.next().await, typing(true), "to the sender too");
    customer
        .send(json!({ "type": "typing", "is_typing": false }))
        .await;
    assert_eq!(
        agent.next().await,
        typing(false),
        "the repetitions in between were not"
    );
    customer
        .send(json!({ "type": "typing", "is_typing": false }))
        .await;
    agent.silent(1100).await;

    customer
        .send(json!({ "type": "typing", "is_typing": true }))
        .await;
    let begun = Instant::now();
    assert_eq!(agent.next().await, typing(true));
    assert_eq!(agent.next().await, typing(false));
    assert!(
        (5..9).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );

    customer
        .send(json!({ "type": "typing", "is_typing": true }))
        .await;
    assert_eq!(agent.next().await, typing(true));
    drop(customer);
    assert_eq!(agent.next().await, typing(false), "at the end of the connection");
    assert_eq!(s.messages().await.len(), 1, "nothing of it is stored");
}

#[tokio::test]
async fn reading_is_told_to_both_sides() {
    let s = Stage::set().await;
    let first = s.say(&s.agent, "one").await["id"].as_i64().expect("id");
    let second = s.say(&s.agent, "two").await["id"].as_i64().expect("id");
    let (mut customer, mut agent) = (s.join(&s.customer).await, s.join(&s.agent).await);
    customer
        .send(json!({ "type": "read", "message_id": first }))
        .await;
    let read = |up_to: i64| json!({ "type": "messages_read", "reader": s.customer.id, "up_to": up_to });
    assert_eq!(agent.next().await, read(first));
    assert_eq!(customer.next().await, read(first));
    let unread = async || s.customer.client.get(&s.at("")).await.expect(200)["unread_count"].clone();
    assert_eq!(unread().await, 1);
    s.customer
        .client
        .post(&s.at("mark_read/"), json!({}))
        .await
        .expect(200);
    assert_eq!(agent.next().await, read(second), "over REST as well");
    assert_eq!(unread().await, 0);
}

#[tokio::test]
async fn a_closed_session_is_told_and_goes_on_by_its_rules() {
    let s = Stage::set().await;
    let (mut customer, mut agent) = (s.join(&s.customer).await, s.join(&s.agent).await);
    s.agent.client.post(&s.at("close/"), json!({})).await.expect(200);
    for socket in [&mut customer, &mut agent] {
        assert_eq!(socket.next().await["message"]["message_type"], "system");
        assert_eq!(
            socket.next().await,
            json!({ "type": "session_closed", "session": s.session })
        );
    }
    agent
        .send(json!({ "type": "chat_message", "content": "too late", "client_id": "x" }))
        .await;
    let error = agent.next().await;
    assert_eq!(
        (&error["code"], &error["client_id"]),
        (&json!("session_closed"), &json!("x"))
    );
    customer.say("one more thing").await;
    assert_eq!(agent.message().await["content"], "one more thing");
    agent.say("open again").await;
    assert_eq!(agent.message().await["content"], "open again");
    s.agent
        .client
        .post(&s.at("clear_messages/"), json!({}))
        .await
        .expect(200);
    assert_eq!(agent.end().await, ended(4404, "not_found"));
    assert_eq!(customer.end().await, ended(4404, "not_found"));
}

#[tokio::test]
async fn a_session_that_is_handed_on_takes_the_socket_from_its_agent() {
    let s = Stage::set().await;
    let (mut customer, mut agent) = (s.join(&s.customer).await, s.join(&s.agent).await);
    s.boss
        .client
        .post(&s.at("assign/"), json!({ "agent_id": s.boss.id }))
        .await
        .expect(200);
    let (code, _) = agent.end().await;
    assert_eq!(code, 4403);
    assert_eq!(customer.message().await["message_type"], "system");
    let mut boss = s.join(&s.boss).await;
    boss.say("hello from above").await;
    assert_eq!(customer.message().await["sender"], s.boss.id);
    assert_eq!(
        refused(&s.srv, &path_of(s.session, &s.agent)).await,
        ended(4403, "permission_denied")
    );
}

#[tokio::test]
async fn sends_count_against_the_limit_of_the_user() {
    let s = Stage::with(&[("RATE_LIMIT_CHAT_SEND", "1/h"), ("RATE_LIMIT_CHAT_BURST", "5")]).await;
    let mut customer = s.join(&s.customer).await;
    for n in 0..5 {
        customer.say(&n.to_string()).await;
        assert_eq!(customer.message().await["content"], n.to_string());
    }
    customer
        .send(json!({ "type": "chat_message", "content": "six", "client_id": "six" }))
        .await;
    let error = customer.next().await;
    assert_eq!(error["code"], "throttled");
    assert_eq!(error["message"], "请求过于频繁，请稍后再试");
    assert_eq!(error["client_id"], "six");
    let body = json!({ "content": "also six" });
    s.customer
        .client
        .post(&s.at("messages/"), body)
        .await
        .refused(429, "throttled");
    assert_eq!(s.messages().await.len(), 6);
}

#[tokio::test]
async fn keys_open_sockets_within_their_scopes() {
    let s = Stage::set().await;
    let path = format!("/ws/chat/sessions/{}/", s.session);
    let chat = api_key(&s.srv, &s.customer, &["chat:write"]).await;
    let end = knock(&s.srv, &path, &[("x-api-key", &chat)])
        .await
        .expect("upgraded")
        .end()
        .await;
    assert_eq!(end, ended(4403, "insufficient_scope"));
    let reader = api_key(&s.srv, &s.customer, &["agents:read"]).await;
    let mut reader = knock(&s.srv, &path, &[("x-api-key", &reader)])
        .await
        .expect("upgraded");
    assert_eq!(reader.next().await["type"], "connection_established");
    for frame in [
        json!({ "type": "chat_message", "content": "x" }),
        json!({ "type": "typing", "is_typing": true }),
        json!({ "type": "read", "message_id": 1 }),
    ] {
        reader.send(frame).await;
        assert_eq!(reader.next().await["code"], "insufficient_scope");
    }
    let writer = api_key(&s.srv, &s.customer, &["agents:write"]).await;
    let mut writer = knock(&s.srv, &path, &[("x-api-key", &writer)])
        .await
        .expect("upgraded");
    writer.next().await;
    writer.say("by a key").await;
    assert_eq!(reader.message().await["content"], "by a key");
    let key = api_key(&s.srv, &s.customer, &["*"]).await;
    for target in [format!("{path}?api_key={key}"), format!("{path}?token={key}")] {
        assert_eq!(refused(&s.srv, &target).await.0, 4401);
    }
}

#[tokio::test]
async fn many_senders_are_seen_in_one_order() {
    let s = Stage::set().await;
    let mut watchers = vec![
        s.join(&s.customer).await,
        s.join(&s.agent).await,
        s.join(&s.admin).await,
    ];
    let users = [&s.customer, &s.agent, &s.admin];
    let rest = (0..60).map(|n| {
        let s = &s;
        async move { drop(s.say(users[n % 3], &format!("rest {n}")).await) }
    });
    let sockets = (0..3).map(|n| {
        let s = &s;
        async move {
            let mut socket = s.join(users[n]).await;
            for i in 0..20 {
                socket.say(&format!("socket {n} {i}")).await;
            }
            // Its echoes are its acknowledgements.
            let mut own = 0;
            while own < 20 {
                let message = socket.message().await;
                own += usize::from(
                    message["content"]
                        .as_str()
                        .expect("text")
                        .starts_with(&format!("socket {n} ")),
                );
            }
        }
    });
    futures_util::future::join(
        futures_util::future::join_all(rest),
        futures_util::future::join_all(sockets),
    )
    .await;
    let stored: Vec<i64> = s.messages().await[1..]
        .iter()
        .map(|m| m["id"].as_i64().expect("id"))
        .collect();
    assert_eq!(stored.len(), 120);
    for watcher in &mut watchers {
        let mut seen = Vec::new();
        for _ in 0..120 {
            seen.push(watcher.message().await["id"].as_i64().expect("id"));
        }
        assert_eq!(seen, stored);
        watcher.silent(20).await;
    }
}

#[tokio::test]
async fn a_socket_is_an_operation_of_the_document() {
    let s = Stage::set().await;
    let path = s.at("").replace("/api/", "/ws/");
    s.srv.client.get(&path).await.refused(401, "not_authenticated");
    let reply = s.customer.client.get(&path).await;
    assert_eq!(reply.header("upgrade"), "websocket");
    reply.refused(426, "upgrade_required");
    s.customer
        .client
        .post(&path, json!({}))
        .await
        .refused(405, "method_not_allowed");
    let mut socket = join(&s.srv, s.session, &s.customer).await;
    socket.send(json!({ "type": "ping" })).await;
    let pong = socket.next().await;
    assert_eq!(pong["type"], "pong");
    assert!(pong["ts"].as_str().expect("a time").ends_with('Z'), "{pong}");
    let metrics = s.srv.app.ctx.metrics.render().await;
    assert!(
        metrics.contains("yunque_sockets{endpoint=\"support_session\"} 1"),
        "{metrics}"
    );
}
