//! `Idempotency-Key` on registration.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{is_envelope, registration};
use crate::support::{TestServer, sql};

const PATH: &str = "/user/register/";

#[tokio::test]
async fn cloud_scenario_13_a_repeat_is_answered_from_the_record() {
    let srv = TestServer::start().await;
    let client = srv.client.with_header("idempotency-key", "first-key");
    let first = client.post(PATH, registration("alice")).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = client.post(PATH, registration("alice")).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    // Without the slash it is the same operation.
    let bare = client.post("/user/register", registration("alice")).await;
    assert_eq!((bare.status, bare.header("idempotent-replayed")), (201, "true"));
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 1);
    let without = srv.client.post(PATH, registration("alice")).await;
    without.refused(400, "username_taken");
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused() {
    let srv = TestServer::start().await;
    let client = srv.client.with_header("idempotency-key", "k");
    client.post(PATH, registration("alice")).await.expect(201);
    let reply = client.post(PATH, registration("bob")).await;
    let body = is_envelope(&reply, "other body");
    assert_eq!(
        (reply.status, &body["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    assert_eq!(body["error"], "幂等键已用于不同的请求");
    srv.client
        .with_header("idempotency-key", "k2")
        .post(PATH, registration("bob"))
        .await
        .expect(201);
}

#[tokio::test]
async fn parallel_repeats_make_one_account() {
    let srv = TestServer::start().await;
    let client = srv.client.with_header("idempotency-key", "parallel");
    let replies = join_all((0..20).map(|_| client.post(PATH, registration("alice")))).await;
    let mut fresh = 0;
    for reply in replies {
        match reply.status {
            201 if reply.header("idempotent-replayed") == "true" => {}
            201 => fresh += 1,
            409 => {
                assert_eq!(reply.header("retry-after"), "1");
                let body = reply.refused(409, "idempotency_in_progress");
                assert_eq!(body["error"], "请求冲突");
            }
            other => panic!("{other} {}", reply.text()),
        }
    }
    assert_eq!(fresh, 1);
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(
        client
            .post(PATH, registration("alice"))
            .await
            .header("idempotent-replayed"),
        "true"
    );
}

#[tokio::test]
async fn the_record_is_kept_a_day_and_holds_no_password() {
    let srv = TestServer::start().await;
    let client = srv.client.with_header("idempotency-key", "day");
    client.post(PATH, registration("alice")).await.expect(201);
    let body = sql::text(&srv, "SELECT body FROM idempotency_keys").await;
    assert!(
        body.contains("alice") && !body.contains(crate::support::server::PASSWORD),
        "{body}"
    );
    let hash = sql::text(&srv, "SELECT body_hash FROM idempotency_keys").await;
    let sent = registration("alice").to_string();
    assert_ne!(
        hash,
        yunque_kernel::auth::api_key::sha256_hex(&sent),
        "a plain hash could be tried out"
    );
    srv.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(
        client
            .post(PATH, registration("alice"))
            .await
            .header("idempotent-replayed"),
        "true"
    );
    srv.clock.advance(Duration::from_secs(2 * 3600));
    let late = client.post(PATH, registration("alice")).await;
    assert_eq!(late.header("idempotent-replayed"), "");
    late.refused(400, "username_taken");
}

#[tokio::test]
async fn keys_of_others_and_of_other_paths_are_other_keys() {
    let srv = TestServer::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let admin = srv.admin("boss").await;
    let key = |client: &crate::support::Client| client.with_header("idempotency-key", "same");
    let from = |ip: &str| key(&srv.client.with_header("x-forwarded-for", ip));
    from("203.0.113.1")
        .post(PATH, registration("alice"))
        .await
        .expect(201);
    from("203.0.113.2")
        .post(PATH, registration("bob"))
        .await
        .expect(201);
    let reply = key(&admin.client).post("/user/", registration("carol")).await;
    assert_eq!((reply.status, reply.header("idempotent-replayed")), (201, ""));
    let again = key(&admin.client).post("/user/", registration("carol")).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    assert_eq!(again.json(), reply.json());
}

#[tokio::test]
async fn malformed_keys_are_400_and_ignored_where_none_is_honoured() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let long = "k".repeat(256);
    for bad in ["", "a b", long.as_str()] {
        let reply = srv
            .client
            .with_header("idempotency-key", bad)
            .post(PATH, registration("bob"))
            .await;
        reply.refused(400, "validation_error");
        let other = alice.client.with_header("idempotency-key", bad);
        other
            .post("/user/update-display-name/", json!({}))
            .await
            .expect(200);
    }
    let longest = "k".repeat(255);
    srv.client
        .with_header("idempotency-key", &longest)
        .post(PATH, registration("bob"))
        .await
        .expect(201);
}

#[tokio::test]
async fn throttled_answers_are_not_kept() {
    let srv = TestServer::with(&[("RATE_LIMIT_REGISTER", "1/h")]).await;
    srv.client.post(PATH, registration("alice")).await.expect(201);
    let client = srv.client.with_header("idempotency-key", "later");
    client
        .post(PATH, registration("bob"))
        .await
        .refused(429, "throttled");
    srv.clock.advance(Duration::from_secs(3601));
    client.post(PATH, registration("bob")).await.expect(201);
}
