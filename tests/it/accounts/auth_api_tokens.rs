//! `/api/token/refresh/`, `verify/`, `logout/`: the second surface over the same sessions.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PASSWORD, answered, api_key, detailed, error, fault_of, is_in, lives, refreshes};
use crate::support::{Reply, TestServer, User, jwt, sql};

const MONTH: u64 = 2_592_000;

async fn sign_in(srv: &TestServer, name: &str) -> User {
    let body = json!({ "login": name, "password": PASSWORD });
    let reply = srv.client.post("/api/token/", body).await.expect(200);
    srv.signed_in(&reply, name, PASSWORD)
}

/// Alice, by her tokens of this surface.
async fn alice() -> (TestServer, User) {
    let srv = TestServer::start().await;
    srv.register("alice").await;
    let alice = sign_in(&srv, "alice").await;
    (srv, alice)
}

async fn refresh(srv: &TestServer, token: &str) -> Reply {
    let body = json!({ "refresh": token });
    srv.client.post("/api/token/refresh/", body).await
}

async fn verify(srv: &TestServer, token: &str) -> Reply {
    let body = json!({ "token": token });
    srv.client.post("/api/token/verify/", body).await
}

async fn profile(srv: &TestServer, access: &Value) -> Reply {
    let access = access.as_str().expect("a token");
    srv.client.with_token(access).get("/api/users/profile/").await
}

fn invalid() -> Value {
    detailed("token无效或已过期", "token_invalid")
}

fn signed_out() -> Value {
    json!({ "message": "登出成功" })
}

fn life(token: &str) -> u64 {
    let claims = jwt::claims(token);
    claims["exp"].as_u64().expect("exp") - claims["iat"].as_u64().expect("iat")
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_a_pair_of_this_surface() {
    let (srv, alice) = alice().await;
    let reply = refresh(&srv, &alice.refresh).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let pair = reply.expect(200);
    let keys: Vec<&String> = pair.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["access", "refresh"]);
    let (access, second) = (
        pair["access"].as_str().unwrap(),
        pair["refresh"].as_str().unwrap(),
    );
    assert!(access != alice.access && second != alice.refresh);
    assert_eq!((life(access), life(second)), (604_800, MONTH));
    assert_eq!(jwt::claims(access)["sid"], jwt::claims(&alice.access)["sid"]);
    assert_eq!(jwt::claims(second)["gen"], 1);
    profile(&srv, &pair["access"]).await.expect(200);
    assert!(
        is_in(&alice).await,
        "the former access token lives as long as it says"
    );
    // With a slash and without, and whatever credentials come along.
    let body = json!({ "refresh": second, "access": "ignored" });
    let stale = srv.client.with_token("garbage");
    stale.post("/api/token/refresh", body).await.expect(200);
}

#[tokio::test]
async fn a_missing_refresh_token_has_its_own_error() {
    let srv = TestServer::start().await;
    for body in [
        json!({}),
        json!({ "refresh": null }),
        json!({ "refresh": "" }),
        json!({ "refresh": "  " }),
    ] {
        let reply = srv.client.post("/api/token/refresh/", body).await;
        answered(reply, 400, error("需要refresh token", "refresh_required"));
    }
    let english = srv.client.with_header("accept-language", "en");
    let reply = english.post("/api/token/refresh/", json!({})).await;
    answered(reply, 400, error("Refresh token required.", "refresh_required"));
    for value in [json!(1), json!([]), json!(true)] {
        let reply = srv
            .client
            .post("/api/token/refresh/", json!({ "refresh": value }))
            .await;
        assert_eq!(fault_of(reply, "refresh"), "类型错误");
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_on_its_own_surface_only() {
    let (srv, alice) = alice().await;
    let cloud = srv.login("alice", PASSWORD).await;
    for token in [&alice.access, &cloud.refresh, "garbage", "a.b.c"] {
        let reply = refresh(&srv, token).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"");
        answered(reply, 401, invalid());
    }
    assert!(!refreshes(&srv, &alice.refresh).await);
    assert!(is_in(&alice).await && is_in(&cloud).await, "nothing was revoked");
    refresh(&srv, &alice.refresh).await.expect(200);
    assert!(refreshes(&srv, &cloud.refresh).await);
}

#[tokio::test]
async fn a_token_that_is_used_twice_ends_its_session() {
    let (srv, alice) = alice().await;
    let other = sign_in(&srv, "alice").await;
    let second = refresh(&srv, &alice.refresh).await.expect(200);
    srv.clock.advance(Duration::from_secs(1));
    answered(
        refresh(&srv, &alice.refresh).await,
        401,
        detailed("token无效或已过期", "token_reused"),
    );
    assert!(!lives(&profile(&srv, &second["access"]).await));
    assert!(!is_in(&alice).await);
    let newest = second["refresh"].as_str().unwrap();
    answered(refresh(&srv, newest).await, 401, invalid());
    answered(verify(&srv, newest).await, 401, invalid());
    assert!(is_in(&other).await, "other sessions stay");
    let kind = sql::text(
        &srv,
        "SELECT kind FROM security_events WHERE kind LIKE 'refresh%'",
    )
    .await;
    assert_eq!(kind, "refresh_token_reused");
}

#[tokio::test]
async fn refresh_tokens_expire_at_their_second() {
    let (srv, alice) = alice().await;
    let second = refresh(&srv, &alice.refresh).await.expect(200);
    let second = second["refresh"].as_str().unwrap();
    srv.clock.advance(Duration::from_secs(MONTH));
    let expired = detailed("token无效或已过期", "token_expired");
    answered(refresh(&srv, second).await, 401, expired.clone());
    answered(verify(&srv, second).await, 401, expired.clone());
    answered(verify(&srv, &alice.access).await, 401, expired);
    let english = srv.client.with_header("accept-language", "en");
    let reply = english
        .post("/api/token/refresh/", json!({ "refresh": second }))
        .await;
    answered(
        reply,
        401,
        detailed("Token is invalid or expired.", "token_expired"),
    );
}

#[tokio::test]
async fn without_rotation_the_refresh_token_stays() {
    let srv = TestServer::with(&[("JWT_ROTATE_REFRESH", "false")]).await;
    srv.register("alice").await;
    let alice = sign_in(&srv, "alice").await;
    for _ in 0..2 {
        let pair = refresh(&srv, &alice.refresh).await.expect(200);
        assert_eq!(pair["refresh"], alice.refresh);
        answered(verify(&srv, &alice.refresh).await, 200, json!({}));
    }
}

#[tokio::test]
async fn a_good_token_of_any_kind_and_surface_is_verified_and_not_used_up() {
    let (srv, alice) = alice().await;
    let cloud = srv.login("alice", PASSWORD).await;
    for user in [&alice, &cloud] {
        for token in [&user.access, &user.refresh] {
            for _ in 0..2 {
                answered(verify(&srv, token).await, 200, json!({}));
            }
        }
    }
    let stale = srv.client.with_token("garbage");
    let body = json!({ "token": alice.access });
    answered(stale.post("/api/token/verify/", body).await, 200, json!({}));
    refresh(&srv, &alice.refresh).await.expect(200);
    assert!(refreshes(&srv, &cloud.refresh).await);
}

#[tokio::test]
async fn what_would_be_refused_is_not_verified() {
    let (srv, alice) = alice().await;
    let (_, admin) = (srv.register("bob").await, srv.admin("boss").await);
    let bob = sign_in(&srv, "bob").await;
    let key = api_key(&srv, &bob, &["*"]).await;
    let forged = format!("{}x", alice.access);
    for token in ["garbage", "a.b.c", &key, &forged, &"x".repeat(5000)] {
        let reply = verify(&srv, token).await;
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"");
        answered(reply, 401, invalid());
    }
    let second = refresh(&srv, &alice.refresh).await.expect(200);
    srv.clock.advance(Duration::from_secs(1));
    answered(verify(&srv, &alice.refresh).await, 401, invalid());
    let newest = second["refresh"].as_str().unwrap();
    answered(verify(&srv, newest).await, 200, json!({}));
    refresh(&srv, newest).await.expect(200);

    answered(verify(&srv, &bob.access).await, 200, json!({}));
    let path = format!("/api/users/{}/disable_user/", bob.id);
    admin.client.post(&path, json!({})).await.expect(200);
    for token in [&bob.access, &bob.refresh] {
        answered(verify(&srv, token).await, 401, invalid());
    }
}

#[tokio::test]
async fn a_token_to_verify_is_required() {
    let srv = TestServer::start().await;
    for (body, fault) in [
        (json!({}), "该字段是必填项"),
        (json!({ "token": null }), "该字段不能为空"),
        (json!({ "token": "" }), "该字段不能为空"),
        (json!({ "token": " " }), "该字段不能为空"),
        (json!({ "token": 1 }), "类型错误"),
    ] {
        let reply = srv.client.post("/api/token/verify/", body).await;
        assert_eq!(fault_of(reply, "token"), fault);
    }
}

async fn is_dead(srv: &TestServer, user: &User) {
    answered(user.client.get("/api/users/profile/").await, 401, invalid());
    answered(refresh(srv, &user.refresh).await, 401, invalid());
    for token in [&user.access, &user.refresh] {
        answered(verify(srv, token).await, 401, invalid());
    }
}

#[tokio::test]
async fn logout_ends_its_own_session_only() {
    let (srv, phone) = alice().await;
    let (laptop, cloud) = (sign_in(&srv, "alice").await, srv.login("alice", PASSWORD).await);
    let reply = phone.client.post("/api/token/logout/", json!({})).await;
    answered(reply, 200, signed_out());
    is_dead(&srv, &phone).await;
    assert!(is_in(&laptop).await && is_in(&cloud).await);
    let again = phone.client.post("/api/token/logout/", json!({})).await;
    answered(again, 401, invalid());
    let nobody = srv.client.post("/api/token/logout/", json!({})).await;
    answered(nobody, 401, detailed("未提供认证信息", "not_authenticated"));
    // One account under every surface.
    let reply = cloud.client.post("/api/token/logout/", json!({})).await;
    answered(reply, 200, signed_out());
    assert!(!is_in(&cloud).await && !refreshes(&srv, &cloud.refresh).await);
    refresh(&srv, &laptop.refresh).await.expect(200);
}

#[tokio::test]
async fn logout_without_a_body_works_and_speaks_english() {
    let (srv, alice) = alice().await;
    let client = alice.client.with_header("accept-language", "en");
    let bare = client.request(reqwest::Method::POST, "/api/token/logout");
    answered(client.send(bare).await, 200, json!({ "message": "Signed out." }));
    is_dead(&srv, &alice).await;
}

#[tokio::test]
async fn logout_takes_another_own_refresh_token_but_no_foreign_one() {
    let (srv, phone) = alice().await;
    srv.register("bob").await;
    let bob = sign_in(&srv, "bob").await;
    let laptop = sign_in(&srv, "alice").await;
    let body = json!({ "refresh": laptop.refresh });
    let reply = phone.client.post("/api/token/logout/", body).await;
    answered(reply, 200, signed_out());
    is_dead(&srv, &phone).await;
    is_dead(&srv, &laptop).await;
    for token in [
        json!(bob.refresh),
        json!(bob.access),
        json!("garbage"),
        json!(null),
        json!(""),
    ] {
        let session = sign_in(&srv, "alice").await;
        let body = json!({ "refresh": token });
        let reply = session.client.post("/api/token/logout/", body).await;
        answered(reply, 200, signed_out());
        is_dead(&srv, &session).await;
    }
    assert!(is_in(&bob).await);
    refresh(&srv, &bob.refresh).await.expect(200);
}

#[tokio::test]
async fn a_key_logs_nobody_out() {
    let (srv, alice) = alice().await;
    let key = api_key(&srv, &alice, &["*"]).await;
    let client = srv.client.with_header("x-api-key", &key);
    let reply = client
        .post("/api/token/logout/", json!({ "refresh": alice.refresh }))
        .await;
    assert!(reply.json()["detail"].is_string());
    reply.refused(403, "api_key_not_allowed");
    assert!(is_in(&alice).await);
}
