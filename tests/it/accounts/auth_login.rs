//! `POST /user/login/`.

use std::collections::BTreeSet;

use serde_json::json;

use super::{PASSWORD, account, answered, api_key, detailed, fault_of, try_login};
use crate::support::{Reply, TestServer, sql};

#[tokio::test]
async fn name_and_address_log_in_in_any_case_by_json_and_by_form() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let user = account(alice.id, "alice", "alice@example.com", "alice");
    for name in [
        "alice",
        "ALICE",
        "ａｌｉｃｅ",
        "  alice ",
        "alice@example.com",
        "Alice@EXAMPLE.com",
    ] {
        let reply = try_login(&srv, name, PASSWORD).await;
        assert!(reply.header("cache-control").contains("no-store"));
        let body = reply.expect(200);
        assert_eq!(body["user"], user, "{name}");
        assert!(body["access"].is_string() && body["refresh"].is_string());
        assert_eq!(body.as_object().unwrap().len(), 3);
    }
    let form = srv.client.request(reqwest::Method::POST, "/user/login/");
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("username=alice%40example.com&password={PASSWORD}"));
    assert_eq!(srv.client.send(form).await.expect(200)["user"], user);
}

/// Everything an observer can compare, without what differs from request to request anyway.
fn outside(reply: &Reply) -> (u16, String, BTreeSet<String>) {
    (
        reply.status,
        reply.text(),
        reply
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect(),
    )
}

#[tokio::test]
async fn unknown_wrong_and_inactive_are_indistinguishable() {
    let srv = TestServer::start().await;
    let (alice, gone) = (srv.user("alice").await, srv.user("gone").await);
    let admin = srv.admin("boss").await;
    admin
        .client
        .patch(&format!("/user/{}/", gone.id), json!({ "is_active": false }))
        .await
        .expect(200);
    let body = detailed("用户名或密码错误", "invalid_credentials");
    let mut seen = Vec::new();
    for (name, password) in [
        ("alice", "wrong-password"),
        ("alice@example.com", "wrong-password"),
        ("nobody", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("gone", PASSWORD),
        ("gone", "wrong-password"),
        ("ali", PASSWORD),
        ("alice%", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ] {
        let reply = try_login(&srv, name, password).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"", "{name}");
        seen.push(outside(&reply));
        answered(reply, 401, body.clone());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    let english = srv.client.with_header("accept-language", "en;q=0.9, zh;q=0.1");
    let reply = english
        .post(
            "/user/login/",
            json!({ "username": "alice", "password": "wrong" }),
        )
        .await;
    answered(
        reply,
        401,
        detailed("Incorrect username or password.", "invalid_credentials"),
    );
    assert!(super::is_in(&alice).await);
}

#[tokio::test]
async fn each_refused_login_computes_one_hash() {
    let srv = TestServer::start().await;
    let gone = srv.user("gone").await;
    let admin = srv.admin("boss").await;
    admin
        .client
        .patch(&format!("/user/{}/", gone.id), json!({ "is_active": false }))
        .await
        .expect(200);
    let hashes = || srv.app.ctx.metrics.auth.hash_wait_seconds.get_sample_count();
    for (name, password) in [
        ("boss", "wrong-password"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
    ] {
        let before = hashes();
        try_login(&srv, name, password)
            .await
            .refused(401, "invalid_credentials");
        assert_eq!(hashes() - before, 1, "{name}");
    }
}

#[tokio::test]
async fn missing_and_malformed_fields_are_400() {
    let srv = TestServer::start().await;
    let body = srv
        .client
        .post("/user/login/", json!({}))
        .await
        .refused(400, "validation_error");
    assert_eq!(body["errors"].as_object().unwrap().len(), 2, "{body}");
    for (field, value) in [
        ("username", json!(1)),
        ("username", json!("")),
        ("username", json!("  ")),
        ("username", json!("x".repeat(300))),
        ("username", json!("a\0b")),
        ("password", json!(12_345_678)),
        ("password", json!("")),
        ("password", json!("x".repeat(5000))),
        ("password", json!(["x"])),
    ] {
        let mut body = json!({ "username": "alice", "password": PASSWORD });
        body[field] = value;
        fault_of(srv.client.post("/user/login/", body).await, field);
    }
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM auth_login_attempts").await,
        0,
        "nothing was tried"
    );
}

#[tokio::test]
async fn unverified_addresses_can_be_kept_out() {
    let srv = TestServer::with(&[("AUTH_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    srv.client
        .post("/user/register/", super::registration("alice"))
        .await
        .expect(201);
    answered(
        try_login(&srv, "alice", PASSWORD).await,
        403,
        detailed("请先完成邮箱验证", "email_not_verified"),
    );
    try_login(&srv, "alice", "wrong-password")
        .await
        .refused(401, "invalid_credentials");
    sql::execute(&srv, "UPDATE users SET is_verified = TRUE").await;
    try_login(&srv, "alice", PASSWORD).await.expect(200);
    // Made on the machine, where somebody vouches for the address.
    srv.admin("root1").await;
}

#[tokio::test]
async fn logins_are_recorded() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    try_login(&srv, "alice", "wrong-password")
        .await
        .refused(401, "invalid_credentials");
    let logs = |ok: &str| {
        format!(
            "SELECT COUNT(*) FROM user_login_logs WHERE user_id = {} AND is_successful = {ok}",
            alice.id
        )
    };
    assert_eq!(sql::number(&srv, &logs("TRUE")).await, 1);
    assert_eq!(sql::number(&srv, &logs("FALSE")).await, 1);
    let last = format!(
        "SELECT COUNT(*) FROM users WHERE id = {} AND last_login IS NOT NULL",
        alice.id
    );
    assert_eq!(sql::number(&srv, &last).await, 1);
}

#[tokio::test]
async fn credentials_count_only_where_they_belong() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let missing = detailed("未提供认证信息", "not_authenticated");
    let bad = detailed("token无效或已过期", "token_invalid");
    let reply = srv.client.get("/user/profile/").await;
    assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"");
    answered(reply, 401, missing.clone());
    answered(
        srv.client
            .get(&format!("/user/profile/?token={}", alice.access))
            .await,
        401,
        missing.clone(),
    );
    let key = api_key(&srv, &alice, &["*"]).await;
    answered(
        srv.client.get(&format!("/user/profile/?api_key={key}")).await,
        401,
        missing.clone(),
    );
    let cookie = srv
        .client
        .with_header("cookie", &format!("access={}", alice.access));
    answered(cookie.get("/user/profile/").await, 401, missing);

    let with = |value: &str| srv.client.with_header("authorization", value);
    for good in [
        format!("Bearer {}", alice.access),
        format!("bEaReR {}", alice.access),
    ] {
        with(&good).get("/user/profile/").await.expect(200);
    }
    for value in ["Bearer", "Bearer ", "Basic dTpw", "Token x", "garbage"] {
        answered(with(value).get("/user/profile/").await, 401, bad.clone());
    }
    answered(
        with(&format!("Token {}", alice.access))
            .get("/user/profile/")
            .await,
        401,
        bad.clone(),
    );
    answered(with(&alice.access).get("/user/profile/").await, 401, bad.clone());
    let two = with(&format!("Bearer {}", alice.access)).with_header("authorization", "Bearer x");
    answered(two.get("/user/profile/").await, 401, bad.clone());
    let in_key_header = srv.client.with_header("x-api-key", &alice.access);
    answered(in_key_header.get("/user/profile/").await, 401, bad);
    // Other spellings of the path do not lead around the check.
    for path in [
        "//user/profile/",
        "/user//profile/",
        "/user/%70rofile/",
        "/USER/profile/",
        "/user/./profile/",
        "/x/../user/profile/",
    ] {
        let status = srv.client.get(path).await.status;
        assert!(matches!(status, 401 | 404), "{path}: {status}");
    }
}
