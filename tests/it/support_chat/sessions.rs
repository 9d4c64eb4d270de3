//! Opening, listing, closing and clearing sessions.

use super::*;

#[tokio::test]
async fn a_customer_opens_the_session_with_the_agent() {
    let stage = Stage::set().await;
    let reply = stage.customer.client.post(SESSIONS, json!({})).await;
    let created = reply.expect(201);
    has_keys(&created, &SS);
    let brief =
        |user: &User| json!({ "id": user.id, "username": user.name, "name": user.name, "avatar": null });
    let last = &created["last_message"];
    let expected = json!({
        "id": created["id"], "client": stage.customer.id, "client_info": brief(&stage.customer),
        "agent": stage.agent.id, "agent_info": brief(&stage.agent), "is_active": true,
        "last_message": {
            "id": last["id"], "content": "会话已创建", "content_type": "text", "message_type": "system",
            "created_at": last["created_at"],
        },
        "unread_count": 0, "created_at": created["created_at"], "updated_at": created["updated_at"],
    });
    assert_eq!(created, expected);
    // Again: the same one, with 200. Without a body as well.
    let again = stage.customer.client.post(SESSIONS, json!({})).await.expect(200);
    assert_eq!(again, created);
    let bare = stage.customer.client.request(Method::POST, SESSIONS);
    let again = stage.customer.client.send(bare).await.expect(200);
    assert_eq!(again, created);
    let session = created["id"].as_i64().unwrap();
    assert_eq!(look(&stage.customer, session).await, created);
    assert_eq!(look(&stage.agent, session).await, created);
}

#[tokio::test]
async fn only_customers_open_sessions() {
    let stage = Stage::set().await;
    for agent in [&stage.boss, &stage.agent] {
        let reply = agent.client.post(SESSIONS, json!({})).await;
        refusal(reply, 403, "agent_cannot_open", "代理不能创建聊天会话");
    }
    for other in [&stage.admin, &stage.editor] {
        let reply = other.client.post(SESSIONS, json!({})).await;
        refusal(reply, 403, "permission_denied", "权限不足");
    }
    stage
        .srv
        .client
        .post(SESSIONS, json!({}))
        .await
        .refused(401, "not_authenticated");
}

#[tokio::test]
async fn customers_without_an_agent_wait_or_are_refused() {
    let stage = Stage::set().await;
    let created = stage.stranger.client.post(SESSIONS, json!({})).await.expect(201);
    assert_eq!(
        (&created["agent"], &created["agent_info"]),
        (&json!(null), &json!(null))
    );
    let session = created["id"].as_i64().unwrap();
    // Accepted meanwhile, and answered by any admin.
    say(&stage.stranger, session, "anybody there?").await;
    let answer = say(&stage.admin, session, "yes").await;
    assert_eq!(answer["message_type"], "agent");
    let strict = Stage::with(&[("SUPPORT_REQUIRE_AGENT", "true")]).await;
    let reply = strict.stranger.client.post(SESSIONS, json!({})).await;
    refusal(reply, 409, "no_agent", "您还没有专属客服，请联系管理员");
    strict.customer.client.post(SESSIONS, json!({})).await.expect(201);
}

#[tokio::test]
async fn lists_hold_what_one_may_read_newest_activity_first() {
    let stage = Stage::set().await;
    let other = member(&stage.srv, "customer2", "customer", Some(&stage.boss)).await;
    let first = stage.session().await;
    let second = open(&other).await;
    let waiting = open(&stage.stranger).await;
    say(&stage.customer, first, "bump").await;
    let shown = |user: &User| {
        let client = user.client.clone();
        async move {
            let page = client.get(SESSIONS).await.expect(200);
            has_keys(&page, &["count", "next", "previous", "results"]);
            let ids: Vec<i64> = page["results"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s["id"].as_i64().unwrap())
                .collect();
            assert_eq!(page["count"], ids.len());
            ids
        }
    };
    assert_eq!(shown(&stage.customer).await, [first]);
    assert_eq!(shown(&stage.stranger).await, [waiting]);
    assert_eq!(shown(&stage.agent).await, [first]);
    assert_eq!(shown(&stage.boss).await, [first, second]);
    assert_eq!(shown(&stage.admin).await, [first, waiting, second]);
    for nobody in [&stage.rival, &stage.editor] {
        assert_eq!(shown(nobody).await, Vec::<i64>::new());
    }
    let page = stage
        .admin
        .client
        .get(&format!("{SESSIONS}?page=2&page_size=2"))
        .await
        .expect(200);
    assert_eq!((&page["count"], &page["next"]), (&json!(3), &json!(null)));
    assert_eq!(page["results"][0]["id"], second);
    assert!(page["previous"].as_str().unwrap().contains("page=1"));
    for bad in ["page=0", "page_size=0", "page_size=101", "page=x"] {
        assert_eq!(
            stage.admin.client.get(&format!("{SESSIONS}?{bad}")).await.status,
            400,
            "{bad}"
        );
    }
    // What a session shows in a list is what it shows alone.
    let list = stage.boss.client.get(SESSIONS).await.expect(200);
    assert_eq!(list["results"][0], look(&stage.boss, first).await);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let client = &stage.admin.client;
    for id in ["0", "999999", "abc", "-1", "9223372036854775808"] {
        let path = format!("{SESSIONS}{id}/");
        assert_eq!(client.get(&path).await.status, 404, "{id}");
        assert_eq!(client.get(&format!("{path}messages/")).await.status, 404, "{id}");
    }
    let path = at(999_999);
    let missing = |reply: Reply| refusal(reply, 404, "not_found", "会话不存在");
    missing(client.get(&path).await);
    missing(client.get(&format!("{path}messages/")).await);
    missing(
        client
            .post(&format!("{path}messages/"), json!({ "content": "x" }))
            .await,
    );
    missing(send_image(&stage.admin, 999_999, "a.png", &pictures::png()).await);
    missing(client.delete(&format!("{path}messages/1/")).await);
    for action in ["mark_read", "clear_messages", "close", "reopen"] {
        missing(client.post(&format!("{path}{action}/"), json!({})).await);
    }
    missing(
        client
            .post(&format!("{path}assign/"), json!({ "agent_id": stage.agent.id }))
            .await,
    );
    let gone = client.delete(&format!("{}999999/", messages_of(session))).await;
    refusal(gone, 404, "not_found", "消息不存在");
}

#[tokio::test]
async fn closing_and_opening_say_so_once() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let close = format!("{}close/", at(session));
    for who in [&stage.stranger, &stage.boss, &stage.rival, &stage.editor] {
        refusal(
            who.client.post(&close, json!({})).await,
            403,
            "permission_denied",
            "您没有权限访问此会话",
        );
    }
    let closed = stage.agent.client.post(&close, json!({})).await.expect(200);
    has_keys(&closed, &SS);
    assert_eq!(
        (
            &closed["is_active"],
            &closed["last_message"]["content"],
            &closed["last_message"]["message_type"]
        ),
        (&json!(false), &json!("会话已关闭"), &json!("system"))
    );
    let again = stage.customer.client.post(&close, json!({})).await.expect(200);
    assert_eq!(again["last_message"], closed["last_message"]);
    let reopen = format!("{}reopen/", at(session));
    let opened = stage.admin.client.post(&reopen, json!({})).await.expect(200);
    assert_eq!(
        (&opened["is_active"], &opened["last_message"]["content"]),
        (&json!(true), &json!("会话已重新打开"))
    );
    assert_eq!(ids(&stage.customer.client, &messages_of(session)).await.len(), 3);
    // Opening it as the customer does not repeat anything.
    stage.agent.client.post(&close, json!({})).await.expect(200);
    let active = stage.customer.client.post(SESSIONS, json!({})).await.expect(200);
    assert_eq!(
        (&active["is_active"], &active["id"]),
        (&json!(true), &json!(session))
    );
}

#[tokio::test]
async fn a_closed_session_takes_the_customers_message_only() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let close = format!("{}close/", at(session));
    stage.agent.client.post(&close, json!({})).await.expect(200);
    let body = json!({ "content": "still there?" });
    for who in [&stage.agent, &stage.admin] {
        let reply = who.client.post(&messages_of(session), body.clone()).await;
        refusal(reply, 409, "session_closed", "会话已关闭");
        let reply = send_image(who, session, "a.png", &pictures::png()).await;
        refusal(reply, 409, "session_closed", "会话已关闭");
    }
    assert_eq!(stored_images(&stage.srv), Vec::<String>::new());
    say(&stage.customer, session, "one more thing").await;
    assert_eq!(look(&stage.customer, session).await["is_active"], true);
    say(&stage.agent, session, "yes?").await;

    let strict = Stage::with(&[("SUPPORT_AUTO_REOPEN", "false")]).await;
    let session = strict.session().await;
    strict
        .customer
        .client
        .post(&format!("{}close/", at(session)), json!({}))
        .await
        .expect(200);
    let reply = strict.customer.client.post(&messages_of(session), body).await;
    refusal(reply, 409, "session_closed", "会话已关闭");
}

#[tokio::test]
async fn clearing_removes_everything_and_is_not_for_customers() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    say(&stage.customer, session, "text").await;
    send_image(&stage.customer, session, "a.png", &pictures::png())
        .await
        .expect(201);
    let clear = format!("{}clear_messages/", at(session));
    for who in [
        &stage.customer,
        &stage.boss,
        &stage.stranger,
        &stage.rival,
        &stage.editor,
    ] {
        let reply = who.client.post(&clear, json!({})).await;
        refusal(reply, 403, "permission_denied", "您没有权限删除此会话记录");
    }
    let cleared = stage.agent.client.post(&clear, json!({})).await.expect(200);
    assert_eq!(
        cleared,
        json!({
            "status": "success", "message": "会话记录已删除", "deleted_session_id": session, "client_name": "customer",
        })
    );
    assert_eq!(stage.customer.client.get(&at(session)).await.status, 404);
    stage.srv.settle().await;
    assert_eq!(stored_images(&stage.srv), Vec::<String>::new());
    assert_eq!(
        sql::number(&stage.srv, "SELECT COUNT(*) FROM support_messages").await,
        0
    );
    // The next one is a new one.
    let next = stage.customer.client.post(SESSIONS, json!({})).await.expect(201);
    assert_ne!(next["id"], session);
}

#[tokio::test]
async fn a_session_create_is_repeated_with_its_key() {
    let stage = Stage::set().await;
    let client = stage.customer.client.with_header("idempotency-key", "open-1");
    let first = client.post(SESSIONS, json!({})).await;
    let body = first.expect(201);
    let again = client.post(SESSIONS, json!({})).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), body);
    let other = stage.customer.client.with_header("idempotency-key", "open-2");
    let found = other.post(SESSIONS, json!({})).await;
    assert_eq!(found.header("idempotent-replayed"), "");
    assert_eq!(found.expect(200)["id"], body["id"]);
    let again = other.post(SESSIONS, json!({})).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
}
