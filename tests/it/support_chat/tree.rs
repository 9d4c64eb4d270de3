//! Sessions follow their customers through the tree.

use super::*;

async fn moved(stage: &Stage, parent: Value) {
    let path = format!("/api/users/{}/", stage.customer.id);
    let reply = stage
        .admin
        .client
        .patch(&path, json!({ "parent_id": parent }))
        .await;
    reply.expect(200);
}

#[tokio::test]
async fn a_session_follows_its_customer_to_another_agent() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    say(&stage.customer, session, "hello").await;
    moved(&stage, json!(stage.rival.id)).await;
    let seen = look(&stage.rival, session).await;
    let last = &seen["last_message"];
    assert_eq!(
        (&seen["agent"], &last["message_type"], &last["content"]),
        (&json!(stage.rival.id), &json!("system"), &json!("会话已转接"))
    );
    // Nothing is lost: neither what was said, nor what is unread.
    assert_eq!(seen["unread_count"], 1);
    assert_eq!(ids(&stage.rival.client, &messages_of(session)).await.len(), 3);
    let history = format!("{SESSIONS}user_chat_history/?client_id={}", stage.customer.id);
    stage.rival.client.get(&history).await.expect(200);
    for former in [&stage.agent, &stage.boss] {
        assert_eq!(former.client.get(&messages_of(session)).await.status, 403);
        assert_eq!(former.client.get(&history).await.status, 403);
        assert_eq!(former.client.get(SESSIONS).await.expect(200)["count"], 0);
    }
    say(&stage.rival, session, "I take over").await;
    // To nobody: it waits.
    moved(&stage, Value::Null).await;
    let seen = look(&stage.customer, session).await;
    assert_eq!(
        (&seen["agent"], &seen["agent_info"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(stage.rival.client.get(&at(session)).await.status, 403);
    say(&stage.customer, session, "anybody?").await;
    let path = format!("{}assign/", at(session));
    let body = json!({ "agent_id": stage.agent.id });
    stage.admin.client.post(&path, body).await.expect(200);
    say(&stage.agent, session, "me").await;
}

#[tokio::test]
async fn a_deleted_agents_sessions_go_to_the_heir() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let path = format!("/api/users/{}/?reassign_to=self", stage.agent.id);
    let reply = stage.boss.client.delete(&path).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    let seen = look(&stage.boss, session).await;
    assert_eq!(
        (&seen["agent"], &seen["last_message"]["message_type"]),
        (&json!(stage.boss.id), &json!("system"))
    );
    say(&stage.boss, session, "hello").await;
}

#[tokio::test]
async fn who_gets_a_sub_agent_reads_its_sessions_at_once() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    // The agent and who is above it are remembered now.
    look(&stage.boss, session).await;
    look(&stage.agent, session).await;
    let path = format!("/api/users/{}/?reassign_to={}", stage.boss.id, stage.rival.id);
    assert_eq!(stage.admin.client.delete(&path).await.status, 204);
    let seen = look(&stage.rival, session).await;
    assert_eq!(seen["agent"], json!(stage.agent.id));
    assert_eq!(stage.rival.client.get(SESSIONS).await.expect(200)["count"], 1);
}

#[tokio::test]
async fn many_customers_go_to_the_heir_with_their_sessions() {
    let stage = Stage::set().await;
    let mut sessions = Vec::new();
    for n in 0..6 {
        let customer = member(&stage.srv, &format!("c{n}"), "customer", Some(&stage.agent)).await;
        // Not all of them ever said a word.
        if n % 2 == 0 {
            sessions.push(open(&customer).await);
        }
    }
    let path = format!("/api/users/{}/?reassign_to=self", stage.agent.id);
    assert_eq!(stage.boss.client.delete(&path).await.status, 204);
    for session in sessions {
        let seen = look(&stage.boss, session).await;
        let last = &seen["last_message"];
        assert_eq!(
            (&seen["agent"], &last["content"]),
            (&json!(stage.boss.id), &json!("会话已转接"))
        );
    }
    let list = stage.boss.client.get(SESSIONS).await.expect(200);
    assert_eq!(list["count"], 3, "only sessions there are");
}

#[tokio::test]
async fn a_customer_without_a_session_moves_quietly() {
    let stage = Stage::set().await;
    moved(&stage, json!(stage.rival.id)).await;
    assert_eq!(
        sql::number(&stage.srv, "SELECT COUNT(*) FROM support_sessions").await,
        0
    );
    let session = stage.session().await;
    assert_eq!(look(&stage.customer, session).await["agent"], stage.rival.id);
}

#[tokio::test]
async fn who_is_gone_is_shown_without_a_name() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    say(&stage.customer, session, "remember me").await;
    let path = format!("/api/users/{}/", stage.customer.id);
    assert_eq!(stage.admin.client.delete(&path).await.status, 204);
    stage.srv.settle().await;
    let shown = stage.agent.client.get(&messages_of(session)).await.expect(200);
    let id = stage.customer.id;
    let expected =
        json!({ "id": id, "username": format!("deleted_{id}"), "name": "已注销用户", "avatar": null });
    assert_eq!(shown[1]["sender_info"], expected);
    assert_eq!(shown[1]["content"], "remember me");
    let body = json!({ "content": "let me in" });
    assert_eq!(
        stage
            .customer
            .client
            .post(&messages_of(session), body)
            .await
            .status,
        401
    );
}
