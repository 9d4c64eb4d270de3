//! `POST …/messages/`: what is taken, and what becomes of it.

use super::*;

const FILE: &str = "https://example.com/media/chat_files/a.pdf";

async fn fails(s: &Stage, body: Value, field: &str, text: &str) {
    let reply = send(&s.bob, s.room, body.clone()).await;
    assert_eq!(reply.status, 400, "{body}: {}", reply.text());
    reply.faulted(field, text);
}

#[tokio::test]
async fn a_message_is_answered_whole() {
    let s = Stage::set().await;
    let sent = send(&s.bob, s.room, json!({ "content": "消息内容" }))
        .await
        .expect(201);
    has_keys(&sent, &M);
    covers(
        &sent,
        &json!({
            "room": { "id": s.room, "name": "云雀茶馆" }, "sender": u4(&s.bob), "message_type": "text",
            "content": "消息内容", "file_url": null, "file_name": null, "file_size": null, "is_edited": false,
            "is_deleted": false, "reply_to": null, "reply_preview": null, "seq": 2, "client_id": null,
        }),
    );
    assert_eq!(sent["room"].as_object().unwrap().len(), 2, "{sent}");
    assert_eq!(sent["created_at"], sent["updated_at"]);
    assert!(sent["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(message_of(&s.alice, &sent).await, sent);
    assert_eq!(history(&s.alice, s.room).await[1], sent);
}

#[tokio::test]
async fn an_empty_message_is_none() {
    let s = Stage::set().await;
    for body in [
        json!({}),
        json!({ "content": "" }),
        json!({ "content": null }),
        json!({ "content": " \n\t \u{3000} " }),
        json!({ "content": "", "file_url": FILE }),
    ] {
        let reply = send(&s.bob, s.room, body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        reply.refused_with(400, "empty_content", "消息内容不能为空");
    }
    let english = s.bob.client.with_header("accept-language", "en-GB,zh;q=0.5");
    english
        .post(&s.at("messages/"), json!({ "content": "" }))
        .await
        .refused_with(400, "empty_content", "Content is required.");
    assert_eq!(history(&s.alice, s.room).await.len(), 1);
}

#[tokio::test]
async fn texts_are_stored_as_they_come_but_for_the_last_line_ends() {
    let s = Stage::set().await;
    for (sent, kept) in [
        ("  blanks stay  ", "  blanks stay  "),
        ("two lines\nand an end\n\n", "two lines\nand an end"),
        ("a\r\nb\rc", "a\nb\nc"),
        (
            "😀 \u{202e}rtl <script>alert(1)</script>",
            "😀 \u{202e}rtl <script>alert(1)</script>",
        ),
        (
            "'; DROP TABLE chat_messages; --",
            "'; DROP TABLE chat_messages; --",
        ),
    ] {
        assert_eq!(s.say(&s.bob, sent).await["content"], kept);
    }
    let longest = "字".repeat(10_000);
    assert_eq!(s.say(&s.bob, &longest).await["content"], longest);
    let text = "长度不能超过 10000 个字符";
    fails(&s, json!({ "content": "字".repeat(10_001) }), "content", text).await;
    fails(&s, json!({ "content": 7 }), "content", "类型错误").await;
    fails(&s, json!({ "content": ["a"] }), "content", "类型错误").await;
    fails(&s, json!({ "content": "a\u{0}b" }), "content", "包含不允许的字符").await;
}

#[tokio::test]
async fn a_type_is_one_of_four() {
    let s = Stage::set().await;
    for kind in ["video", "TEXT"] {
        let body = json!({ "content": "x", "message_type": kind });
        fails(&s, body, "message_type", "无效的选项").await;
    }
    fails(
        &s,
        json!({ "content": "x", "message_type": 1 }),
        "message_type",
        "类型错误",
    )
    .await;
    let body = json!({ "content": "x", "message_type": "system" });
    let reply = forbidden(send(&s.bob, s.room, body).await);
    assert_eq!(reply["error"], "无权发送系统消息");
}

#[tokio::test]
async fn files_and_pictures_need_an_address() {
    let s = Stage::set().await;
    for kind in ["image", "file"] {
        for body in [
            json!({ "content": "look", "message_type": kind }),
            json!({ "content": "look", "message_type": kind, "file_url": null }),
            json!({ "content": "look", "message_type": kind, "file_url": "" }),
        ] {
            let reply = send(&s.bob, s.room, body.clone()).await;
            assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        }
        let body = json!({
            "content": "", "message_type": kind, "file_url": FILE, "file_name": "年报.pdf", "file_size": 0,
        });
        let sent = send(&s.bob, s.room, body).await.expect(201);
        covers(
            &sent,
            &json!({
                "content": "", "message_type": kind, "file_url": FILE, "file_name": "年报.pdf", "file_size": 0,
            }),
        );
    }
    for bad in [
        json!("javascript:alert(1)"),
        json!("data:text/html,x"),
        json!("ftp://example.com/a"),
        json!("/media/a.pdf"),
        json!(format!("https://example.com/{}", "x".repeat(2048))),
        json!(7),
    ] {
        let body = json!({ "content": "x", "message_type": "file", "file_url": bad });
        let reply = send(&s.bob, s.room, body).await;
        assert_eq!(reply.status, 400, "{bad}: {}", reply.text());
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"]["file_url"].is_array(), "{bad}: {body}");
    }
    let of = |field: &str, value: Value| {
        let mut body = json!({ "content": "x", "message_type": "file", "file_url": FILE });
        body[field] = value;
        body
    };
    let long = "长度不能超过 255 个字符";
    fails(&s, of("file_name", json!("x".repeat(256))), "file_name", long).await;
    fails(&s, of("file_size", json!(-1)), "file_size", "数值超出范围").await;
    fails(&s, of("file_size", json!("1")), "file_size", "类型错误").await;
}

#[tokio::test]
async fn replies_stay_in_the_room_and_show_what_they_answer() {
    let s = Stage::set().await;
    let system = history(&s.bob, s.room).await[0].clone();
    let long = s.say(&s.alice, &"长".repeat(150)).await;
    for (to, preview) in [(&system, "bob 加入了房间".to_owned()), (&long, "长".repeat(100))] {
        let body = json!({ "content": "re", "reply_to": to["id"] });
        let sent = send(&s.bob, s.room, body).await.expect(201);
        assert_eq!(sent["reply_to"], to["id"]);
        let shown = &sent["reply_preview"];
        covers(
            shown,
            &json!({ "id": to["id"], "content": preview, "created_at": to["created_at"] }),
        );
        assert!(!shown["sender"].is_null(), "{shown}");
    }
    delete(&s.alice, &long).await.expect(200);
    for to in [long["id"].clone(), json!(999_999), json!(i64::MAX)] {
        let body = json!({ "content": "re", "reply_to": to });
        let reply = send(&s.bob, s.room, body).await;
        reply.refused_with(400, "invalid_reply", "回复的消息不存在");
    }
    fails(
        &s,
        json!({ "content": "re", "reply_to": "1" }),
        "reply_to",
        "类型错误",
    )
    .await;
    let body = json!({ "content": "re", "reply_to": null });
    assert_eq!(
        send(&s.bob, s.room, body).await.expect(201)["reply_to"],
        Value::Null
    );
}

#[tokio::test]
async fn a_client_id_has_a_form() {
    let s = Stage::set().await;
    for bad in [
        json!(""),
        json!("a b"),
        json!("名"),
        json!("x".repeat(65)),
        json!(7),
    ] {
        let body = json!({ "content": "x", "client_id": bad });
        let reply = send(&s.bob, s.room, body).await;
        assert_eq!(reply.status, 400, "{bad}: {}", reply.text());
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"]["client_id"].is_array(), "{bad}: {body}");
    }
    let longest = format!("{}-_Z9", "x".repeat(60));
    let body = json!({ "content": "x", "client_id": longest });
    assert_eq!(send(&s.bob, s.room, body).await.expect(201)["client_id"], longest);
    // The same in another room is another message.
    let other = create(&s.bob, "public").await;
    let body = json!({ "content": "y", "client_id": longest });
    assert_eq!(send(&s.bob, other, body).await.expect(201)["content"], "y");
}

#[tokio::test]
async fn a_message_is_repeated_with_its_key() {
    let s = Stage::set().await;
    let client = s.bob.client.with_header("idempotency-key", "m-1");
    let path = s.at("messages/");
    let first = client.post(&path, json!({ "content": "once" })).await.expect(201);
    let again = client.post(&path, json!({ "content": "once" })).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    client
        .post(&path, json!({ "content": "twice" }))
        .await
        .refused(422, "idempotency_key_reused");
    assert_eq!(history(&s.alice, s.room).await.len(), 2);
}

#[tokio::test]
async fn what_only_the_server_says_cannot_be_forged() {
    let s = Stage::set().await;
    let body = json!({
        "content": "me", "sender": s.alice.id, "sender_id": s.alice.id, "id": 1, "seq": 900, "is_edited": true,
        "is_deleted": true, "created_at": "2000-01-01T00:00:00Z", "room": 7,
    });
    let sent = send(&s.bob, s.room, body).await.expect(201);
    covers(
        &sent,
        &json!({
            "sender": u4(&s.bob), "seq": 2, "is_edited": false, "is_deleted": false, "room": { "id": s.room },
        }),
    );
    assert!(!sent["created_at"].as_str().unwrap().starts_with("2000"));
}

#[tokio::test]
async fn messages_are_refused_where_one_may_not_speak() {
    let s = Stage::set().await;
    let body = json!({ "content": "x" });
    send(&s.carol, s.room, body.clone())
        .await
        .refused_with(403, "not_member", DENIED);
    send(&s.bob, s.room + 1000, body.clone())
        .await
        .refused_with(404, "not_found", NO_ROOM);
    let path = s.at("messages/");
    s.srv
        .client
        .post(&path, body.clone())
        .await
        .refused_with(401, "not_authenticated", "未提供认证信息");
    s.alice.client.delete(&s.at("")).await.expect(204);
    for who in [&s.alice, &s.bob] {
        send(who, s.room, body.clone())
            .await
            .refused_with(409, "room_inactive", "房间已关闭");
    }
    // A stranger does not learn that the room is closed.
    send(&s.carol, s.room, body)
        .await
        .refused_with(403, "not_member", DENIED);
}
