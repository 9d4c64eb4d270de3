//! The must-pass scenarios of the contract, those that need no socket or little of it. The others are in
//! `scenarios_live`, 7 and 14 in `concurrency`, 15 in `statements`.

use super::*;
use crate::sockets::{ended, refused};
use crate::support::eventually;

#[tokio::test]
async fn chat_scenario_01_the_test_account_talks_over_the_socket_and_reads_over_rest() {
    let srv = TestServer::start().await;
    let developer = developer(&srv).await;
    let body = json!({
        "name": "开发者交流群", "description": "用于开发者技术交流", "room_type": "public", "max_members": 100,
    });
    let created = developer.client.post(ROOMS, body).await.expect(201);
    has_keys(&created, &RC);
    let room = id_of(&created);
    let author = json!({
        "id": developer.id, "username": "developer", "first_name": "Developer", "last_name": "User",
    });
    covers(
        &created,
        &json!({
            "name": "开发者交流群", "description": "用于开发者技术交流", "room_type": "public", "created_by": author,
            "member_count": 1, "is_active": true, "max_members": 100,
        }),
    );
    let list = developer.client.get(ROOMS).await.expect(200);
    has_keys(&list[0], &RL);
    covers(
        &list[0],
        &json!({
            "id": room, "name": "开发者交流群", "created_by": author, "member_count": 1, "last_message": null,
            "created_at": created["created_at"], "is_member": true, "unread_count": 0,
        }),
    );

    let (mut socket, greeting) = greeted(&srv, &socket_of(room, &developer)).await;
    covers(
        &greeting,
        &json!({
            "type": "connection_established", "message": "连接成功", "user": u2(&developer),
            "room": { "id": room, "name": "开发者交流群" }, "heartbeat": 25,
        }),
    );
    socket.say("消息内容").await;
    let echo = socket.next().await;
    assert_eq!(echo["type"], "chat_message");
    let sent = &echo["message"];
    has_keys(sent, &MF);
    covers(
        sent,
        &json!({
            "room_id": room, "seq": 1, "sender": author, "content": "消息内容", "message_type": "text",
            "reply_to": null, "file_url": null, "file_name": null, "file_size": null, "is_edited": false,
            "is_deleted": false,
        }),
    );
    assert_eq!(sent["timestamp"], sent["created_at"]);
    assert!(sent["timestamp"].as_str().unwrap().ends_with('Z'), "{sent}");

    let page = developer.client.get(&at(room, "messages/")).await.expect(200);
    has_keys(&page["messages"][0], &M);
    covers(
        &page,
        &json!({
            "page": 1, "page_size": 20, "total": 1,
            "messages": [{
                "id": sent["id"], "room": { "id": room, "name": "开发者交流群" }, "sender": author,
                "content": "消息内容", "created_at": sent["timestamp"], "seq": 1, "reply_preview": null,
            }],
        }),
    );
    let list = developer.client.get(ROOMS).await.expect(200);
    assert_eq!(
        list[0]["last_message"],
        json!({
            "id": sent["id"], "content": "消息内容", "sender": "developer", "created_at": sent["timestamp"],
        })
    );
}

#[tokio::test]
async fn chat_scenario_08_a_stranger_gets_nowhere_near_a_private_room() {
    let s = Stage::set().await;
    for kind in ["private", "group"] {
        let named = json!({ "room_type": kind, "name": "secret name" });
        let room = id_of(&create_with(&s.alice, named).await);
        say(&s.alice, room, "secret text").await;
        let stranger = &s.carol.client;
        let replies = [
            stranger.get(&at(room, "")).await,
            stranger.get(&at(room, "messages/")).await,
            send(&s.carol, room, json!({ "content": "let me in" })).await,
            stranger.get(&at(room, "members/")).await,
        ];
        for reply in replies {
            assert!(!reply.text().contains("secret"), "{}", reply.text());
            reply.refused_with(403, "not_member", DENIED);
        }
        let reply = stranger.post(&at(room, "join/"), json!({})).await;
        reply.refused_with(403, "invite_required", "该房间需要邀请才能加入");
        let end = refused(&s.srv, &socket_of(room, &s.carol)).await;
        assert_eq!(end, ended(4403, "not_member"), "{kind}");
        assert_eq!(history(&s.alice, room).await.len(), 1, "{kind}");
        assert_eq!(listed(&s.carol, room).await, Value::Null, "{kind}");
    }
}

#[tokio::test]
async fn chat_scenario_09_a_reply_to_another_room_is_refused_and_shows_nothing() {
    let s = Stage::set().await;
    let hidden = create(&s.carol, "private").await;
    let secret = say(&s.carol, hidden, "the secret of carol").await;
    let body = json!({ "content": "what was that?", "reply_to": secret["id"] });
    let reply = send(&s.bob, s.room, body).await;
    reply.refused_with(400, "invalid_reply", "回复的消息不存在");
    let mut socket = s.open(&s.bob).await;
    let frame = json!({
        "type": "chat_message", "content": "and this?", "reply_to": secret["id"], "client_id": "c1",
    });
    socket.send(frame).await;
    covers(
        &socket.of("error").await,
        &json!({ "code": "invalid_reply", "message": "回复的消息不存在", "client_id": "c1" }),
    );
    // Not even to somebody who may read both.
    admit(&s.carol, hidden, &s.bob).await;
    let body = json!({ "content": "what was that?", "reply_to": secret["id"] });
    let reply = send(&s.bob, s.room, body).await;
    reply.refused_with(400, "invalid_reply", "回复的消息不存在");

    s.say(&s.bob, "never mind").await;
    for user in [&s.alice, &s.bob] {
        for path in [s.at("messages/"), s.at(""), NOTES.to_owned()] {
            let shown = user.client.get(&path).await;
            assert_eq!(shown.status, 200);
            let text = shown.text();
            assert!(!text.contains("the secret of carol"), "{path}: {text}");
        }
    }
    assert_eq!(history(&s.alice, s.room).await.len(), 2);
}

#[tokio::test]
async fn chat_scenario_10_a_deleted_message_is_a_placeholder_everywhere() {
    let s = Stage::with(&[QUIET]).await;
    let before = s.say(&s.alice, "before").await;
    let body = json!({
        "content": "regretted", "message_type": "file", "file_url": "https://example.com/regretted.pdf",
        "file_name": "regretted.pdf", "file_size": 7,
    });
    let gone = send(&s.alice, s.room, body).await.expect(201);
    let body = json!({ "content": "why?", "reply_to": gone["id"] });
    let answer = send(&s.bob, s.room, body).await.expect(201);
    assert_eq!(answer["reply_preview"]["content"], "regretted");
    let total = s.bob.client.get(&s.at("messages/")).await.expect(200)["total"].clone();
    let mut sockets = [s.open(&s.alice).await, s.open(&s.bob).await];

    let done = delete(&s.alice, &gone).await.expect(200);
    assert_eq!(done["message"], "消息已删除");
    let shown = json!({
        "id": gone["id"], "content": PLACEHOLDER, "is_deleted": true, "file_url": null, "file_name": null,
        "file_size": null, "seq": gone["seq"], "created_at": gone["created_at"],
    });
    for socket in &mut sockets {
        let frame = socket.of("message_deleted").await;
        has_keys(&frame["message"], &MF);
        covers(&frame["message"], &shown);
    }
    let page = s.bob.client.get(&s.at("messages/")).await.expect(200);
    assert_eq!(page["total"], total);
    covers(&page["messages"][1], &shown);
    assert_eq!(page["messages"][0]["reply_preview"]["id"], gone["id"]);
    assert_eq!(page["messages"][0]["reply_preview"]["content"], PLACEHOLDER);
    let single = message_of(&s.bob, &gone).await;
    covers(&single, &shown);
    assert_ne!(single["updated_at"], gone["updated_at"]);
    eventually("the notification is rewritten", 10, || async {
        let mine = notes(&s.bob, "").await;
        let of_it = mine.iter().find(|n| n["message"]["id"] == gone["id"]);
        let note = of_it.expect("a notification");
        note["content"] == PLACEHOLDER && note["message"]["content"] == PLACEHOLDER
    })
    .await;
    for path in [s.at(""), s.at("messages/"), ROOMS.to_owned(), NOTES.to_owned()] {
        let text = s.bob.client.get(&path).await.text();
        assert!(!text.contains("regretted"), "{path}: {text}");
    }
    // What a list shows as the last message is one that is still there.
    assert_eq!(listed(&s.bob, s.room).await["last_message"]["id"], answer["id"]);
    delete(&s.bob, &answer).await.expect(200);
    let last = listed(&s.bob, s.room).await["last_message"].clone();
    assert_eq!((&last["id"], &last["content"]), (&before["id"], &json!("before")));
    delete(&s.alice, &gone).await.expect(200);
}

#[tokio::test]
async fn chat_scenario_11_who_is_named_is_mentioned_and_the_others_are_told() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let sent = s.say(&s.alice, "@bob, hi @BOB @nobody").await;
    let mine = notes(&s.bob, "").await;
    assert_eq!(mine.len(), 1, "{mine:?}");
    has_keys(&mine[0], &N);
    covers(
        &mine[0],
        &json!({
            "notification_type": "mention", "title": "alice 在 云雀茶馆 中提到了你",
            "content": "@bob, hi @BOB @nobody", "is_read": false,
            "room": { "id": s.room, "name": "云雀茶馆", "member_count": 3, "created_by": u4(&s.alice) },
            "message": {
                "id": sent["id"], "content": "@bob, hi @BOB @nobody", "message_type": "text",
                "created_at": sent["created_at"],
            },
        }),
    );
    has_keys(&mine[0]["room"], &RC);
    let theirs = notes(&s.carol, "").await;
    assert_eq!(theirs.len(), 1, "{theirs:?}");
    covers(
        &theirs[0],
        &json!({
            "notification_type": "message", "title": "新消息来自 alice", "content": "@bob, hi @BOB @nobody",
            "message": { "id": sent["id"] },
        }),
    );
    assert_eq!(notes(&s.alice, "").await, Vec::<Value>::new(), "the sender");
}
