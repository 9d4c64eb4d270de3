//! What waits for whom: counters, `mark_read`, and the two lists of agents.

use super::*;

async fn total(user: &User) -> Value {
    user.client
        .get(&format!("{SESSIONS}unread_total/"))
        .await
        .expect(200)
}

fn waiting(count: i64, kind: &str) -> Value {
    json!({ "total_unread_count": count, "user_type": kind })
}

async fn read(user: &User, session: i64, body: Value) -> Value {
    user.client
        .post(&format!("{}mark_read/", at(session)), body)
        .await
        .expect(200)
}

#[tokio::test]
async fn each_side_counts_what_the_other_wrote() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    // What the server says never counts.
    assert_eq!(total(&stage.customer).await, waiting(0, "client"));
    assert_eq!(total(&stage.agent).await, waiting(0, "agent"));
    for text in ["a", "b", "c"] {
        say(&stage.customer, session, text).await;
    }
    say(&stage.agent, session, "d").await;
    // Sending says nothing about reading.
    assert_eq!(total(&stage.customer).await, waiting(1, "client"));
    assert_eq!(total(&stage.agent).await, waiting(3, "agent"));
    assert_eq!(total(&stage.boss).await, waiting(0, "agent"));
    assert_eq!(total(&stage.admin).await, waiting(3, "agent"));
    assert_eq!(total(&stage.editor).await, waiting(0, "client"));
    assert_eq!(look(&stage.customer, session).await["unread_count"], 1);
    assert_eq!(look(&stage.agent, session).await["unread_count"], 3);

    let done = read(&stage.agent, session, json!({})).await;
    assert_eq!(done, json!({ "status": "messages marked as read", "updated": 3 }));
    assert_eq!(read(&stage.agent, session, json!({})).await["updated"], 0);
    assert_eq!(total(&stage.agent).await, waiting(0, "agent"));
    assert_eq!(total(&stage.customer).await, waiting(1, "client"));
    let list = stage.agent.client.get(&messages_of(session)).await.expect(200);
    let flags: Vec<bool> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["is_read"].as_bool().unwrap())
        .collect();
    assert_eq!(flags, [true, true, true, true, false]);
    // The counters and the flags say the same.
    let unread = "SELECT COUNT(*) FROM support_messages WHERE is_read = FALSE";
    assert_eq!(sql::number(&stage.srv, unread).await, 1);
    // Without a body as well.
    let bare = stage
        .customer
        .client
        .request(Method::POST, &format!("{}mark_read/", at(session)));
    assert_eq!(stage.customer.client.send(bare).await.expect(200)["updated"], 1);
}

#[tokio::test]
async fn reading_goes_up_to_a_message() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let mut sent = Vec::new();
    for i in 0..4 {
        sent.push(say(&stage.customer, session, &i.to_string()).await["id"].clone());
    }
    assert_eq!(
        read(&stage.agent, session, json!({ "up_to": sent[1] })).await["updated"],
        2
    );
    assert_eq!(look(&stage.agent, session).await["unread_count"], 2);
    assert_eq!(
        read(&stage.agent, session, json!({ "up_to": sent[0] })).await["updated"],
        0
    );
    assert_eq!(
        read(&stage.agent, session, json!({ "up_to": i64::MAX })).await["updated"],
        2
    );
    assert_eq!(look(&stage.agent, session).await["unread_count"], 0);
    let path = format!("{}mark_read/", at(session));
    for (bad, text) in [
        (json!(0), "数值超出范围"),
        (json!(-1), "数值超出范围"),
        (json!("1"), "类型错误"),
    ] {
        let reply = stage.agent.client.post(&path, json!({ "up_to": bad })).await;
        fault(reply, "validation_error", "up_to", text);
    }
    // One's own messages are not read by oneself.
    say(&stage.customer, session, "mine").await;
    assert_eq!(read(&stage.customer, session, json!({})).await["updated"], 0);
    assert_eq!(look(&stage.agent, session).await["unread_count"], 1);
}

#[tokio::test]
async fn agents_see_whom_they_talk_to() {
    let stage = Stage::set().await;
    let second = member(&stage.srv, "zhang", "customer", Some(&stage.agent)).await;
    sql::execute(
        &stage.srv,
        "UPDATE users SET name = '张三' WHERE username = 'zhang'",
    )
    .await;
    let (first, other) = (stage.session().await, open(&second).await);
    let said = say(&stage.customer, first, "hello").await;
    let path = format!("{SESSIONS}agent_chat_users/");
    for who in [&stage.customer, &stage.admin, &stage.editor] {
        refusal(
            who.client.get(&path).await,
            403,
            "permission_denied",
            "只有代理可以访问此API",
        );
    }
    let reply = stage.agent.client.get(&path).await;
    assert_eq!(reply.header("x-total-count"), "2");
    let list = reply.expect(200);
    let expected = json!({
        "id": stage.customer.id, "username": "customer", "name": "customer", "avatar": null, "session_id": first,
        "last_message": {
            "id": said["id"], "content": "hello", "content_type": "text", "message_type": "client",
            "created_at": said["created_at"],
        },
        "unread_count": 1, "updated_at": said["created_at"],
    });
    assert_eq!(list[0], expected);
    assert_eq!(
        (&list[1]["session_id"], &list[1]["name"]),
        (&json!(other), &json!("张三"))
    );
    for (search, found) in [
        ("ZHA", 1),
        ("张", 1),
        ("cust", 1),
        ("nobody", 0),
        ("%25", 0),
        ("", 2),
    ] {
        let list = stage
            .agent
            .client
            .get(&format!("{path}?search={search}"))
            .await
            .expect(200);
        assert_eq!(list.as_array().unwrap().len(), found, "{search}");
    }
    let page = stage
        .agent
        .client
        .get(&format!("{path}?page=2&page_size=1"))
        .await;
    assert_eq!(page.header("x-total-count"), "2");
    assert_eq!(page.expect(200)[0]["session_id"], other);
    // The sessions of sub-agents are theirs.
    assert_eq!(stage.boss.client.get(&path).await.expect(200), json!([]));
}
