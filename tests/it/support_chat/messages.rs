//! Text messages: what is taken, how lists turn their pages, and taking one back.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn texts_are_stored_as_they_come() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    for (sent, kept) in [
        ("  blanks stay\n ", "  blanks stay\n "),
        ("a\r\nb\rc", "a\nb\nc"),
        (
            "😀 \u{202e}rtl <script>alert(1)</script>",
            "😀 \u{202e}rtl <script>alert(1)</script>",
        ),
        ("'; DROP TABLE users; --", "'; DROP TABLE users; --"),
    ] {
        let message = say(&stage.customer, session, sent).await;
        assert_eq!(message["content"], kept);
    }
    let longest = "字".repeat(5000);
    assert_eq!(say(&stage.customer, session, &longest).await["content"], longest);
    let path = messages_of(session);
    let body = json!({ "content": "字".repeat(5001) });
    let reply = stage.customer.client.post(&path, body).await;
    fault(reply, "validation_error", "content", "长度不能超过 5000 个字符");
    for (body, field, text) in [
        (json!({ "content": 1 }), "content", "类型错误"),
        (json!({ "content": ["a"] }), "content", "类型错误"),
        (json!({ "content": "a\u{0}b" }), "content", "包含不允许的字符"),
        (
            json!({ "content": "a", "content_type": "file" }),
            "content_type",
            "无效的选项",
        ),
        (
            json!({ "content": "a", "content_type": "TEXT" }),
            "content_type",
            "无效的选项",
        ),
        (
            json!({ "content": "a", "content_type": 1 }),
            "content_type",
            "类型错误",
        ),
    ] {
        let reply = stage.customer.client.post(&path, body.clone()).await;
        fault(reply, "validation_error", field, text);
    }
    let reply = stage.customer.client.post(&path, json!({ "content": "a" })).await;
    assert_eq!(reply.expect(201)["content_type"], "text");
}

#[tokio::test]
async fn text_may_come_as_multipart_without_an_image() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let (client, path) = (&stage.customer.client, messages_of(session));
    let kind = part("content_type", None, b"text");
    let parts = [kind.clone(), part("content", None, "你好".as_bytes())];
    let sent = send_parts(client, &path, &parts).await.expect(201);
    assert_eq!(
        (&sent["content_type"], &sent["content"]),
        (&json!("text"), &json!("你好"))
    );
    let image = part("image", Some("a.png"), &pictures::png());
    for parts in [
        vec![kind.clone(), part("content", None, b"x"), image.clone()],
        vec![image.clone(), kind.clone(), part("content", None, b"x")],
        // The default is text.
        vec![part("content", None, b"x"), image.clone()],
    ] {
        let reply = send_parts(client, &path, &parts).await;
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"]["image"].is_array(), "{body}");
    }
    let reply = send_parts(client, &path, &[part("content_type", None, b"file"), image]).await;
    fault(reply, "validation_error", "content_type", "无效的选项");
    assert_eq!(stored_images(&stage.srv), Vec::<String>::new());
}

#[tokio::test]
async fn pages_of_messages_are_turned_by_id() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let mut all = ids(&stage.customer.client, &messages_of(session)).await;
    for i in 0..9 {
        let who = if i % 2 == 0 { &stage.customer } else { &stage.agent };
        all.push(say(who, session, &format!("{i}")).await["id"].as_i64().unwrap());
    }
    assert!(all.is_sorted());
    let client = &stage.agent.client;
    let base = messages_of(session);
    let get = |query: String| {
        let path = format!("{base}{query}");
        async move {
            let reply = client.get(&path).await;
            let more = reply.header("x-has-more").to_owned();
            let list = reply.expect(200);
            let ids: Vec<i64> = list
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m["id"].as_i64().unwrap())
                .collect();
            (ids, more)
        }
    };
    assert_eq!(get(String::new()).await, (all.clone(), "false".to_owned()));
    assert_eq!(
        get("?limit=3".into()).await,
        (all[7..].to_vec(), "true".to_owned())
    );
    assert_eq!(
        get(format!("?limit=3&before_id={}", all[7])).await,
        (all[4..7].to_vec(), "true".into())
    );
    assert_eq!(
        get(format!("?limit=4&before_id={}", all[4])).await,
        (all[..4].to_vec(), "false".into())
    );
    assert_eq!(
        get(format!("?limit=3&after_id={}", all[1])).await,
        (all[2..5].to_vec(), "true".into())
    );
    assert_eq!(
        get(format!("?limit=200&after_id={}", all[8])).await,
        (all[9..].to_vec(), "false".into())
    );
    assert_eq!(
        get("?after_id=0&limit=1".into()).await,
        (all[..1].to_vec(), "true".into())
    );
    let between = format!("?after_id={}&before_id={}", all[2], all[5]);
    assert_eq!(get(between).await, (all[3..5].to_vec(), "false".into()));
    assert_eq!(
        get(format!("?after_id={}", i64::MAX)).await,
        (vec![], "false".into())
    );
    for bad in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "after_id=-1",
        "before_id=0",
        "before_id=x",
    ] {
        let reply = client.get(&format!("{base}?{bad}")).await;
        let name = bad.split('=').next().unwrap();
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"][name].is_array(), "{bad}: {body}");
    }
}

#[tokio::test]
async fn the_default_page_is_bounded() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    for i in 0..60 {
        say(&stage.customer, session, &i.to_string()).await;
    }
    let reply = stage.customer.client.get(&messages_of(session)).await;
    assert_eq!(reply.header("x-has-more"), "true");
    let list = reply.expect(200);
    assert_eq!(list.as_array().unwrap().len(), 50);
    assert_eq!(list[49]["content"], "59");
}

#[tokio::test]
async fn a_message_is_taken_back_within_two_minutes() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let path = |id: &Value| format!("{}{id}/", messages_of(session));
    let first = say(&stage.customer, session, "first").await;
    let second = say(&stage.customer, session, "second").await;
    let text = "只能删除自己两分钟内发送的消息";
    let reply = stage.agent.client.delete(&path(&second["id"])).await;
    refusal(reply, 403, "permission_denied", text);
    for who in [&stage.stranger, &stage.boss, &stage.rival] {
        let reply = who.client.delete(&path(&second["id"])).await;
        refusal(reply, 403, "permission_denied", "您没有权限访问此会话");
    }
    assert_eq!(look(&stage.agent, session).await["unread_count"], 2);
    assert_eq!(
        stage.customer.client.delete(&path(&second["id"])).await.status,
        204
    );
    let seen = look(&stage.agent, session).await;
    assert_eq!(
        (&seen["unread_count"], &seen["last_message"]["content"]),
        (&json!(1), &json!("first"))
    );
    let reply = stage.customer.client.delete(&path(&second["id"])).await;
    refusal(reply, 404, "not_found", "消息不存在");
    // What the server said is nobody's own, although it was said in the customer's name.
    let system = ids(&stage.customer.client, &messages_of(session)).await[0];
    let reply = stage.customer.client.delete(&path(&json!(system))).await;
    refusal(reply, 403, "permission_denied", text);
    stage.srv.clock.advance(Duration::from_secs(121));
    let reply = stage.customer.client.delete(&path(&first["id"])).await;
    refusal(reply, 403, "permission_denied", text);
    assert_eq!(stage.admin.client.delete(&path(&first["id"])).await.status, 204);
    assert_eq!(look(&stage.agent, session).await["unread_count"], 0);
    // A message of another session is not found through this one.
    let other = open(&stage.stranger).await;
    let foreign = say(&stage.stranger, other, "x").await;
    let reply = stage.admin.client.delete(&path(&foreign["id"])).await;
    refusal(reply, 404, "not_found", "消息不存在");
}

#[tokio::test]
async fn a_message_is_repeated_with_its_key() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let path = messages_of(session);
    let client = stage.customer.client.with_header("idempotency-key", "m-1");
    let first = client.post(&path, json!({ "content": "once" })).await.expect(201);
    let again = client.post(&path, json!({ "content": "once" })).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    client
        .post(&path, json!({ "content": "twice" }))
        .await
        .refused(422, "idempotency_key_reused");
    let key = stage.customer.client.with_header("idempotency-key", "m-2");
    let parts = [
        part("content_type", None, b"image"),
        part("image", Some("a.png"), &pictures::png()),
    ];
    let image = send_parts(&key, &path, &parts).await.expect(201);
    let again = send_parts(&key, &path, &parts).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), image);
    assert_eq!(stored_images(&stage.srv).len(), 1);
    let other = [parts[0].clone(), part("image", Some("a.gif"), &pictures::gif())];
    send_parts(&key, &path, &other)
        .await
        .refused(422, "idempotency_key_reused");
    assert_eq!(
        sql::number(&stage.srv, "SELECT COUNT(*) FROM support_messages").await,
        3
    );
}

#[tokio::test]
async fn sending_has_a_limit_of_its_own() {
    let stage = Stage::with(&[("RATE_LIMIT_CHAT_SEND", "1/min"), ("RATE_LIMIT_CHAT_BURST", "3")]).await;
    let session = stage.session().await;
    for i in 0..3 {
        say(&stage.customer, session, &i.to_string()).await;
    }
    let reply = stage
        .customer
        .client
        .post(&messages_of(session), json!({ "content": "x" }))
        .await;
    assert!(!reply.header("retry-after").is_empty());
    refusal(reply, 429, "throttled", "请求过于频繁，请稍后再试");
    send_image(&stage.customer, session, "a.png", &pictures::png())
        .await
        .refused(429, "throttled");
    // Others, and other requests, are not concerned.
    say(&stage.agent, session, "me").await;
    stage.customer.client.get(&messages_of(session)).await.expect(200);
}

#[tokio::test]
async fn answers_speak_english_when_asked_to() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let client = stage.customer.client.with_header("accept-language", "en");
    let reply = client
        .post(&messages_of(session), json!({ "content": " " }))
        .await;
    fault(reply, "empty_content", "content", "Text is required.");
    let reply = send_parts(
        &client,
        &messages_of(session),
        &[part("content_type", None, b"image")],
    )
    .await;
    fault(reply, "image_required", "image", "An image file is required.");
    // Stored text does not change.
    let list = client.get(&messages_of(session)).await.expect(200);
    assert_eq!(list[0]["content"], "会话已创建");
}
