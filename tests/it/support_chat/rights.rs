//! Who may do what, row by row. Ancestors of the agent read and do nothing else.

use super::*;

#[tokio::test]
async fn ancestors_read_and_do_not_write() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let said = say(&stage.customer, session, "hello").await;
    let client = &stage.boss.client;
    assert_eq!(ids(client, &messages_of(session)).await.len(), 2);
    let seen = look(&stage.boss, session).await;
    assert_eq!((&seen["id"], &seen["unread_count"]), (&json!(session), &json!(1)));
    let history = format!("{SESSIONS}user_chat_history/?client_id={}", stage.customer.id);
    client.get(&history).await.expect(200);
    let reply = client
        .post(&messages_of(session), json!({ "content": "x" }))
        .await;
    refusal(reply, 403, "not_participant", "您没有权限在此会话中发送消息");
    let reply = send_image(&stage.boss, session, "a.png", &pictures::png()).await;
    refusal(reply, 403, "not_participant", "您没有权限在此会话中发送消息");
    for action in ["mark_read", "close", "reopen"] {
        let reply = client.post(&format!("{}{action}/", at(session)), json!({})).await;
        refusal(reply, 403, "permission_denied", "您没有权限访问此会话");
    }
    let reply = client
        .delete(&format!("{}{}/", messages_of(session), said["id"]))
        .await;
    refusal(reply, 403, "permission_denied", "您没有权限访问此会话");
    assert_eq!(look(&stage.agent, session).await["unread_count"], 1);
    // Until the session is theirs.
    let assign = format!("{}assign/", at(session));
    let own = client
        .post(&assign, json!({ "agent_id": stage.boss.id }))
        .await
        .expect(200);
    assert_eq!(own["agent"], stage.boss.id);
    assert_eq!(
        say(&stage.boss, session, "I am here").await["message_type"],
        "agent"
    );
    // The former agent is out.
    refusal(
        stage.agent.client.get(&messages_of(session)).await,
        403,
        "permission_denied",
        "您没有权限访问此会话",
    );
    // And it can be handed back.
    let back = client
        .post(&assign, json!({ "agent_id": stage.agent.id }))
        .await
        .expect(200);
    assert_eq!(back["agent"], stage.agent.id);
    say(&stage.agent, session, "back again").await;
}

#[tokio::test]
async fn assigning_is_for_those_above_and_to_those_below() {
    let stage = Stage::set().await;
    let colleague = member(&stage.srv, "colleague", "agent_l2", Some(&stage.boss)).await;
    let foreign = member(&stage.srv, "foreign", "agent_l2", Some(&stage.rival)).await;
    let idle = member(&stage.srv, "idle", "agent_l2", Some(&stage.boss)).await;
    let disable = format!("UPDATE users SET is_active = FALSE WHERE id = {}", idle.id);
    sql::execute(&stage.srv, &disable).await;
    let session = stage.session().await;
    let path = format!("{}assign/", at(session));
    let body = json!({ "agent_id": colleague.id });
    for who in [
        &stage.customer,
        &stage.agent,
        &stage.stranger,
        &stage.rival,
        &colleague,
        &stage.editor,
    ] {
        let reply = who.client.post(&path, body.clone()).await;
        refusal(reply, 403, "permission_denied", "您没有权限访问此会话");
    }
    let text = "请选择您名下的有效代理";
    for target in [
        foreign.id,
        stage.rival.id,
        stage.customer.id,
        stage.admin.id,
        idle.id,
        999_999,
    ] {
        let reply = stage.boss.client.post(&path, json!({ "agent_id": target })).await;
        fault(reply, "validation_error", "agent_id", text);
    }
    for target in [stage.customer.id, stage.admin.id, idle.id, 999_999] {
        let reply = stage
            .admin
            .client
            .post(&path, json!({ "agent_id": target }))
            .await;
        fault(reply, "validation_error", "agent_id", text);
    }
    for (bad, text) in [
        (json!({}), "该字段是必填项"),
        (json!({ "agent_id": null }), "该字段不能为空"),
        (json!({ "agent_id": "1" }), "类型错误"),
        (json!({ "agent_id": 0 }), "数值超出范围"),
    ] {
        fault(
            stage.admin.client.post(&path, bad).await,
            "validation_error",
            "agent_id",
            text,
        );
    }
    assert_eq!(ids(&stage.customer.client, &messages_of(session)).await.len(), 1);
    let moved = stage.boss.client.post(&path, body.clone()).await.expect(200);
    has_keys(&moved, &SS);
    assert_eq!(
        (
            &moved["agent"],
            &moved["agent_info"]["username"],
            &moved["last_message"]["message_type"]
        ),
        (&json!(colleague.id), &json!("colleague"), &json!("system"))
    );
    // To the same again changes nothing.
    let again = stage.boss.client.post(&path, body).await.expect(200);
    assert_eq!(again["last_message"], moved["last_message"]);
    // Admins may choose anybody.
    let far = stage
        .admin
        .client
        .post(&path, json!({ "agent_id": foreign.id }))
        .await
        .expect(200);
    assert_eq!(far["agent"], foreign.id);
    stage.rival.client.get(&messages_of(session)).await.expect(200);
    refusal(
        stage.boss.client.get(&messages_of(session)).await,
        403,
        "permission_denied",
        "您没有权限访问此会话",
    );
}

#[tokio::test]
async fn admins_take_part_in_every_session() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    say(&stage.customer, session, "hello").await;
    let said = say(&stage.admin, session, "this is the management").await;
    assert_eq!(
        (&said["message_type"], &said["sender"]),
        (&json!("agent"), &json!(stage.admin.id))
    );
    let read = stage
        .admin
        .client
        .post(&format!("{}mark_read/", at(session)), json!({}))
        .await;
    assert_eq!(read.expect(200)["updated"], 1);
    assert_eq!(look(&stage.customer, session).await["unread_count"], 1);
}

#[tokio::test]
async fn the_history_is_for_those_who_answer() {
    let stage = Stage::set().await;
    let path = format!("{SESSIONS}user_chat_history/");
    let of = |id: i64| format!("{path}?client_id={id}");
    for query in [
        "",
        "?client_id=",
        "?client_id=abc",
        "?client_id=0",
        "?client_id=-1",
    ] {
        let reply = stage.agent.client.get(&format!("{path}{query}")).await;
        refusal(reply, 400, "validation_error", "请提供客户ID");
    }
    let none = "未找到与该用户的聊天记录";
    for who in [&stage.agent, &stage.boss, &stage.admin] {
        refusal(
            who.client.get(&of(stage.customer.id)).await,
            404,
            "not_found",
            none,
        );
    }
    let denied = "您没有权限查看此用户的聊天记录";
    for who in [&stage.rival, &stage.customer, &stage.stranger, &stage.editor] {
        let reply = who.client.get(&of(stage.customer.id)).await;
        refusal(reply, 403, "permission_denied", denied);
        let reply = who.client.get(&of(999_999)).await;
        refusal(reply, 403, "permission_denied", denied);
    }
    let session = stage.session().await;
    let text = say(&stage.customer, session, "hello").await;
    let image = send_image(&stage.agent, session, "a.png", &pictures::png())
        .await
        .expect(201);
    for who in [&stage.rival, &stage.customer, &stage.stranger, &stage.editor] {
        let reply = who.client.get(&of(stage.customer.id)).await;
        refusal(reply, 403, "permission_denied", denied);
    }
    let reply = stage.agent.client.get(&of(stage.customer.id)).await;
    assert_eq!(reply.header("x-has-more"), "false");
    let shown = reply.expect(200);
    let expected = json!({
        "session_info": {
            "id": session, "created_at": shown["session_info"]["created_at"], "is_active": true,
            "client": { "id": stage.customer.id, "username": "customer", "name": "customer", "avatar": null },
        },
        "messages": [
            shown["messages"][0],
            {
                "id": text["id"], "content": "hello", "content_type": "text", "message_type": "client",
                "is_read": false, "created_at": text["created_at"], "sender": text["sender_info"], "image_url": null,
            },
            {
                "id": image["id"], "content": null, "content_type": "image", "message_type": "agent",
                "is_read": false, "created_at": image["created_at"], "sender": image["sender_info"],
                "image_url": image["image_url"],
            },
        ],
    });
    assert_eq!(shown, expected);
    let reply = stage
        .agent
        .client
        .get(&format!("{}&limit=1", of(stage.customer.id)))
        .await;
    assert_eq!(reply.header("x-has-more"), "true");
    assert_eq!(reply.expect(200)["messages"][0]["id"], image["id"]);
    let bad = format!("{}&limit=0", of(stage.customer.id));
    stage
        .agent
        .client
        .get(&bad)
        .await
        .refused(400, "validation_error");
}

#[tokio::test]
async fn keys_need_the_scope_of_agents() {
    use secrecy::ExposeSecret as _;
    let stage = Stage::set().await;
    let session = stage.session().await;
    let key = |scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|s| (*s).to_owned()).collect();
        let name = format!("k{}", scopes.join("-").replace([':', '*'], "x"));
        let accounts = stage.srv.app.accounts.clone();
        let (user, client) = (yunque_kernel::UserId(stage.customer.id), stage.srv.client.clone());
        async move {
            let key = accounts
                .create_api_key(user, &name, &scopes, None)
                .await
                .expect("key");
            client.with_header("x-api-key", key.text.expose_secret())
        }
    };
    let body = json!({ "content": "by key" });
    let reader = key(&["agents:read"]).await;
    reader.get(&messages_of(session)).await.expect(200);
    reader
        .post(&messages_of(session), body.clone())
        .await
        .refused(403, "insufficient_scope");
    key(&["chat:write"])
        .await
        .get(&messages_of(session))
        .await
        .refused(403, "insufficient_scope");
    key(&["agents:write"])
        .await
        .post(&messages_of(session), body)
        .await
        .expect(201);
}
