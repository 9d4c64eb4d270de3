//! Faults of the original that are not to be repeated (contract "agents" 6), where they concern
//! accounts and no other test names them.

use serde_json::json;

use super::*;
use crate::support::sql;

/// 1: asking for a code needs no login.
#[tokio::test]
async fn fault_01_the_reset_is_public() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    ask_code(&srv, "alice@example.com").await;
    let code = mailed_code(&srv, "alice@example.com").await;
    let body = json!({ "email": "alice@example.com", "code": code });
    srv.client.post("/api/users/verify_code/", body).await.expect(200);
    for path in [RESET, "/api/users/forgot_password/", "/api/users/verify_code/"] {
        let stale = srv.client.with_token("garbage");
        assert_eq!(stale.post(path, json!({})).await.status, 400, "{path}");
    }
}

/// 2: an outstanding code alone resets nothing.
#[tokio::test]
async fn fault_02_an_outstanding_code_is_no_right_to_reset() {
    let (srv, alice, bob) = TestServer::with_users().await;
    ask_code(&srv, "alice@example.com").await;
    for body in [
        json!({ "email": "alice@example.com", "password": OTHER_PASSWORD }),
        json!({ "email": "alice@example.com", "code": "", "password": OTHER_PASSWORD }),
    ] {
        bob.client
            .post(RESET, body)
            .await
            .refused(400, "validation_error");
    }
    assert!(is_in(&alice).await);
    token(&srv.client, "alice", PASSWORD).await.expect(200);
}

/// 3: six digits, each time others.
#[tokio::test]
async fn fault_03_codes_are_six_random_digits() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    srv.user("alice").await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        ask_code(&srv, "alice@example.com").await;
        seen.insert(mailed_code(&srv, "alice@example.com").await);
    }
    assert!(seen.len() >= 9, "{seen:?}");
}

/// 4: is `unknown_wrong_and_disabled_are_answered_alike` and scenario 4.
/// 5: a sub-agent is made as one, with its telephone number and without a repetition.
#[tokio::test]
async fn fault_05_sub_agents_can_be_made() {
    let forest = Forest::grown().await;
    let mut body = newcomer("second");
    body["phone"] = json!("13800138000");
    let made = forest
        .agent
        .client
        .post("/api/users/create_sub_agent/", body)
        .await
        .expect(201);
    assert_eq!(
        (&made["user_type"], &made["phone"], &made["parent_id"]),
        (&json!("agent_l2"), &json!("13800138000"), &json!(forest.agent.id))
    );
}

/// 7: an id in a path names that user and no other.
#[tokio::test]
async fn fault_07_an_id_names_that_user() {
    let forest = Forest::grown().await;
    forest
        .agent
        .client
        .delete(&one(&forest.own_customer))
        .await
        .expect(204);
    assert!(is_in(&forest.agent).await && !is_in(&forest.own_customer).await);
    let stored = format!("SELECT password FROM users WHERE id = {}", forest.sub.id);
    let before = sql::text(&forest.srv, &stored).await;
    let body = json!({ "password": OTHER_PASSWORD, "parent": 1, "parent_id": forest.other_agent.id });
    let shown = forest
        .agent
        .client
        .patch(&one(&forest.sub), body)
        .await
        .expect(200);
    assert_eq!(
        (&shown["id"], &shown["parent_id"]),
        (&json!(forest.sub.id), &json!(forest.agent.id))
    );
    assert_eq!(
        sql::text(&forest.srv, &stored).await,
        before,
        "never a password in passing"
    );
}

/// 9: a first-level agent does not see the customers of the platform.
#[tokio::test]
async fn fault_09_customers_are_scoped_to_the_tree() {
    let forest = Forest::grown().await;
    for path in [
        "/api/users/",
        "/api/users/customers/",
        "/api/users/?user_type=customer",
    ] {
        let seen = listed(&forest.agent, path).await;
        assert!(
            !seen.iter().any(|name| name.starts_with("other")),
            "{path}: {seen:?}"
        );
    }
}

/// 16: enabling says so, and every login refuses the disabled.
#[tokio::test]
async fn fault_16_disabled_users_get_in_nowhere() {
    let forest = Forest::grown().await;
    let disable = format!("{}disable_user/", one(&forest.sub));
    forest.agent.client.post(&disable, json!({})).await.expect(200);
    token(&forest.srv.client, "sub", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    crate::accounts::try_login(&forest.srv, "sub", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    let start = format!("{}start_user/", one(&forest.sub));
    let reply = forest.agent.client.post(&start, json!({})).await;
    answered(reply, 200, json!({ "message": "用户已启用" }));
}

/// 18: lists are pages also without parameters.
#[tokio::test]
async fn fault_18_lists_are_never_unbounded() {
    let forest = Forest::grown().await;
    for i in 0..12 {
        let body = newcomer(&format!("more{i}"));
        forest
            .agent
            .client
            .post("/api/users/create_customer/", body)
            .await
            .expect(201);
    }
    for path in ["/api/users/", "/api/users/customers/"] {
        let page = forest.agent.client.get(path).await.expect(200);
        assert_eq!(page["results"].as_array().unwrap().len(), 10, "{path}");
        assert!(page["next"].is_string());
    }
}

/// 20: one envelope, true statuses.
#[tokio::test]
async fn fault_20_errors_have_one_shape() {
    let forest = Forest::grown().await;
    let client = &forest.customer.client;
    for reply in [
        client.get("/api/users/999999/").await,
        client.get("/api/users/customers/").await,
        client.post("/api/users/create_sub_agent/", newcomer("x")).await,
        client.post("/api/users/create_customer/", json!({})).await,
        client.post(RESET, json!({})).await,
        forest.srv.client.get("/api/users/").await,
    ] {
        assert!(reply.status >= 400, "{}", reply.text());
        let body = reply.json();
        assert!(body["error"].is_string() && body["code"].is_string(), "{body}");
        assert!(body.get("data").is_none());
    }
}
