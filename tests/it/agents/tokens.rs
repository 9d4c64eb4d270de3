//! `POST /api/token/`.

use serde_json::json;

use super::*;

const REQUIRED: &str = "用户名/邮箱和密码不能为空";

#[tokio::test]
async fn a_missing_or_blank_name_or_password_has_its_own_error() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for body in [
        json!({}),
        json!({ "login": "alice" }),
        json!({ "password": PASSWORD }),
        json!({ "login": "", "password": PASSWORD }),
        json!({ "login": "  ", "username": "", "password": PASSWORD }),
        json!({ "login": "alice", "password": "" }),
        json!({ "login": null, "username": null, "password": null }),
    ] {
        let reply = srv.client.post("/api/token/", body.clone()).await;
        answered(reply, 400, error(REQUIRED, "credentials_required"));
    }
    let english = srv.client.with_header("accept-language", "en");
    let body = english.post("/api/token/", json!({})).await.expect(400);
    assert_eq!(body["error"], "Username or e-mail and password are required.");
    for (field, value) in [
        ("login", json!(5)),
        ("username", json!([])),
        ("password", json!(true)),
    ] {
        let mut body = json!({ "login": "alice", "password": PASSWORD });
        body[field] = value;
        assert_eq!(
            fault_of(srv.client.post("/api/token/", body).await, field),
            "类型错误"
        );
    }
    let long = json!({ "login": "alice", "password": "x".repeat(129) });
    fault_of(srv.client.post("/api/token/", long).await, "password");
}

#[tokio::test]
async fn a_blank_login_leaves_the_username() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let body = json!({ "login": "", "username": "alice", "password": PASSWORD });
    srv.client.post("/api/token/", body).await.expect(200);
}

#[tokio::test]
async fn unknown_wrong_and_disabled_are_answered_alike() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let path = format!("{}disable_user/", one(&alice));
    admin.client.post(&path, json!({})).await.expect(200);
    srv.user("bob").await;
    let expected = detailed("用户名或密码错误", "invalid_credentials");
    let hashes = || srv.app.ctx.metrics.auth.hash_wait_seconds.get_sample_count();
    for (name, password) in [
        ("nobody", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("bob", "wrong-password"),
        ("bob@example.com", "wrong-password"),
        ("alice", PASSWORD),
        ("alice@example.com", PASSWORD),
    ] {
        let before = hashes();
        let reply = token(&srv.client, name, password).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"");
        answered(reply, 401, expected.clone());
        assert_eq!(hashes() - before, 1, "{name}: one hash in each case");
    }
}

#[tokio::test]
async fn an_address_wins_over_a_user_name_that_looks_like_it() {
    let srv = TestServer::start().await;
    let (alice, bob) = (srv.user("alice").await, srv.user("bob").await);
    // As another surface allows it.
    let sql = format!(
        "UPDATE users SET username = 'bob@example.com', username_key = 'bob@example.com' WHERE id = {}",
        alice.id
    );
    crate::support::sql::execute(&srv, &sql).await;
    let reply = token(&srv.client, "bob@example.com", PASSWORD).await.expect(200);
    assert_eq!(reply["user"]["id"], bob.id);
}

#[tokio::test]
async fn a_stale_token_does_not_matter_here() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let stale = srv
        .client
        .with_token("garbage")
        .with_header("x-api-key", "ak_garbage");
    token(&stale, "alice", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn ten_failures_block_and_failures_of_all_surfaces_count() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for i in 0..10 {
        if i % 2 == 0 {
            token(&srv.client, "alice", "wrong-password").await.expect(401);
        } else {
            crate::accounts::try_login(&srv, "alice", "wrong-password")
                .await
                .expect(401);
        }
    }
    let reply = token(&srv.client, "alice", PASSWORD).await;
    assert!(!reply.header("retry-after").is_empty());
    reply.refused(429, "login_blocked");
}

#[tokio::test]
async fn the_refresh_token_is_of_this_surface_only() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let alice = sign_in(&srv, "alice", PASSWORD).await;
    let body = json!({ "refresh": alice.refresh });
    srv.client
        .post("/user/refresh-token/", body)
        .await
        .refused(401, "token_invalid");
    assert!(is_in(&alice).await, "nothing is revoked by that");
}
