//! Access and refresh tokens: claims, life, rotation, reuse.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use yunque_accounts::values::CurrentPassword;
use yunque_accounts::{Client, Surface};
use yunque_kernel::{DbError, Tx};

use super::{PASSWORD, answered, detailed, error, is_in, lives, refreshes};
use crate::support::{Reply, TestServer, jwt, sql};

async fn refresh(srv: &TestServer, token: &str) -> Reply {
    srv.client
        .post("/user/refresh-token/", json!({ "refresh": token }))
        .await
}

fn pair(body: &Value) -> (String, String) {
    (
        body["access"].as_str().expect("access").to_owned(),
        body["refresh"].as_str().expect("refresh").to_owned(),
    )
}

#[tokio::test]
async fn claims_are_the_documented_ones() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let (access, refresh) = (jwt::claims(&alice.access), jwt::claims(&alice.refresh));
    assert_eq!(
        access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(),
        3600
    );
    assert_eq!(
        refresh["exp"].as_i64().unwrap() - refresh["iat"].as_i64().unwrap(),
        604_800
    );
    for (claims, kind) in [(&access, "access"), (&refresh, "refresh")] {
        assert_eq!(
            (&claims["token_type"], &claims["typ"]),
            (&json!(kind), &json!(kind))
        );
        assert_eq!(claims["user_id"], alice.id);
        assert_eq!(claims["sub"], alice.id.to_string());
        assert_eq!(claims["iss"], "yunque");
        assert!(
            claims["jti"].is_string() && claims["tv"].is_i64() && claims["sid"].is_i64(),
            "{claims}"
        );
    }
    assert_eq!(access["sid"], refresh["sid"]);
    assert_ne!(access["jti"], refresh["jti"]);
    assert_eq!(refresh["gen"], 0);
    for token in [&alice.access, &alice.refresh] {
        let header = jwt::header(token);
        assert_eq!(header["alg"], "HS256");
        assert!(header["kid"].is_string(), "{header}");
    }
    let again = self::refresh(&srv, &alice.refresh).await.expect(200);
    assert_eq!(again.as_object().unwrap().len(), 2, "{again}");
    let (access, second) = pair(&again);
    assert_eq!(jwt::claims(&second)["gen"], 1);
    assert_eq!(jwt::claims(&access)["sid"], refresh["sid"]);
    let claims = jwt::claims(&access);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        3600
    );
}

#[tokio::test]
async fn only_the_hash_of_a_refresh_token_is_stored() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let stored = sql::text(&srv, "SELECT refresh_hash FROM auth_sessions").await;
    assert_eq!(stored, yunque_kernel::auth::api_key::sha256_hex(&alice.refresh));
}

#[tokio::test]
async fn tokens_expire_at_their_second() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    srv.clock.advance(Duration::from_secs(3590));
    assert!(is_in(&alice).await);
    srv.clock.advance(Duration::from_secs(10));
    let reply = alice.client.get("/user/profile/").await;
    assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"");
    answered(reply, 401, detailed("token无效或已过期", "token_expired"));
    let english = alice
        .client
        .with_header("accept-language", "en")
        .get("/user/profile/")
        .await;
    answered(
        english,
        401,
        detailed("Token is invalid or expired.", "token_expired"),
    );
    let (_, second) = pair(&refresh(&srv, &alice.refresh).await.expect(200));
    srv.clock.advance(Duration::from_secs(604_800));
    answered(
        refresh(&srv, &second).await,
        401,
        detailed("token无效或已过期", "token_expired"),
    );
}

#[tokio::test]
async fn a_missing_refresh_token_has_its_own_error() {
    let srv = TestServer::start().await;
    let path = "/user/refresh-token/";
    let missing = error("需要refresh token", "refresh_required");
    for body in [
        json!({}),
        json!({ "refresh": null }),
        json!({ "refresh": "" }),
        json!({ "refresh": "  " }),
    ] {
        let reply = srv.client.post(path, body).await.refused(400, "refresh_required");
        assert_eq!(
            (&reply["error"], &reply["code"]),
            (&missing["error"], &missing["code"])
        );
    }
    let english = srv
        .client
        .with_header("accept-language", "en")
        .post(path, json!({}))
        .await;
    assert_eq!(
        english.refused(400, "refresh_required")["error"],
        "Refresh token required."
    );
    for value in [json!(1), json!([]), json!(true)] {
        super::fault_of(
            srv.client.post(path, json!({ "refresh": value })).await,
            "refresh",
        );
    }
    for token in ["x", "a.b.c", "eyJ.eyJ.x", &"x".repeat(5000)] {
        let status = refresh(&srv, token).await.status;
        assert!(matches!(status, 400 | 401), "{status}");
    }
}

#[tokio::test]
async fn a_token_of_one_kind_is_refused_as_the_other() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let bad = detailed("token无效或已过期", "token_invalid");
    answered(refresh(&srv, &alice.access).await, 401, bad.clone());
    answered(
        srv.client.with_token(&alice.refresh).get("/user/profile/").await,
        401,
        bad,
    );
    assert!(is_in(&alice).await, "nothing was revoked by it");
    assert!(refreshes(&srv, &alice.refresh).await);
}

#[tokio::test]
async fn every_older_token_of_a_family_is_reuse() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let mut newest = (alice.access.clone(), alice.refresh.clone());
    for _ in 0..3 {
        newest = pair(&refresh(&srv, &newest.1).await.expect(200));
    }
    refresh(&srv, &alice.refresh).await.refused(401, "token_reused");
    assert!(!lives(
        &srv.client.with_token(&newest.0).get("/user/profile/").await
    ));
    refresh(&srv, &newest.1).await.refused(401, "token_invalid");
    refresh(&srv, &alice.refresh).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn inside_the_grace_an_old_token_is_refused_but_revokes_nothing() {
    let srv = TestServer::with(&[("JWT_REUSE_GRACE", "60s")]).await;
    let alice = srv.user("alice").await;
    let (access, second) = pair(&refresh(&srv, &alice.refresh).await.expect(200));
    refresh(&srv, &alice.refresh).await.refused(401, "token_invalid");
    assert!(lives(&srv.client.with_token(&access).get("/user/profile/").await));
    srv.clock.advance(Duration::from_secs(61));
    refresh(&srv, &alice.refresh).await.refused(401, "token_reused");
    refresh(&srv, &second).await.refused(401, "token_invalid");
}

/// Exactly one success; whose tokens are good.
async fn one_wins(srv: &TestServer, replies: Vec<Reply>) {
    let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|r| r.status == 200);
    assert_eq!(won.len(), 1);
    for reply in lost {
        answered(reply, 401, detailed("token无效或已过期", "token_invalid"));
    }
    let (access, second) = pair(&won[0].json());
    assert!(
        lives(&srv.client.with_token(&access).get("/user/profile/").await),
        "the winner's access token"
    );
    assert!(refreshes(srv, &second).await, "the winner's refresh token");
}

#[tokio::test]
async fn of_parallel_refreshes_one_succeeds_and_its_tokens_stay_valid() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let (db, sent) = (srv.app.ctx.db.clone(), tokio::sync::Barrier::new(2));
    // All requests have come in before any of them may write: none can know of another's success.
    let hold = db.write("hold", |tx: Tx| async move {
        tx.execute_unprepared("UPDATE auth_sessions SET device_type = device_type")
            .await?;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Ok::<_, DbError>(())
    });
    let begin = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        sent.wait().await;
    };
    let parallel = async {
        sent.wait().await;
        join_all((0..50).map(|_| refresh(&srv, &alice.refresh))).await
    };
    let (held, (), replies) = tokio::join!(hold, begin, parallel);
    held.expect("held");
    one_wins(&srv, replies).await;
}

#[tokio::test]
async fn simultaneous_refreshes_never_fork_the_family() {
    let srv = TestServer::start().await;
    for round in 0..5 {
        let user = srv.user(&format!("user{round}")).await;
        let replies = join_all((0..20).map(|_| refresh(&srv, &user.refresh))).await;
        let won: Vec<Reply> = replies.into_iter().filter(|r| r.status == 200).collect();
        assert_eq!(won.len(), 1);
    }
}

#[tokio::test]
async fn two_refreshes_at_the_same_time_leave_the_session_alive() {
    let srv = TestServer::start().await;
    let (mut wrong, mut met) = (Vec::new(), 0);
    for round in 0..20 {
        let user = srv.user(&format!("user{round}")).await;
        // Two open connections, so that neither request waits for one while the other is answered.
        let warm = || srv.client.get("/healthz");
        tokio::join!(warm(), warm());
        let (a, b) = tokio::join!(refresh(&srv, &user.refresh), refresh(&srv, &user.refresh));
        let (won, lost) = if a.status == 200 { (&a, &b) } else { (&b, &a) };
        let (access, _) = pair(&won.json());
        assert_ne!(a.status, b.status);
        // On a busy machine the second request may really come in after the first was answered;
        // that is reuse, and says so.
        let together = lost.json()["code"] == "token_invalid";
        met += usize::from(together);
        if together != lives(&srv.client.with_token(&access).get("/user/profile/").await) {
            wrong.push(round);
        }
    }
    assert!(wrong.is_empty(), "sessions that a double click ended: {wrong:?}");
    assert!(met > 0, "no two requests met");
}

#[tokio::test]
async fn a_refresh_token_works_on_its_own_surface_only() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let client = Client {
        ip: "127.0.0.1".into(),
        network: "127.0.0.1".into(),
        user_agent: String::new(),
        device_type: "Unknown",
        lang: Default::default(),
        request_id: None,
        received_at: srv.clock.now(),
    };
    let password = CurrentPassword::parse(PASSWORD).expect("a password");
    let login = srv
        .app
        .accounts
        .login(Surface::Api, "alice", &password, &client)
        .await
        .expect("login");
    let claims = jwt::claims(&login.tokens.access);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        604_800
    );
    refresh(&srv, &login.tokens.refresh)
        .await
        .refused(401, "token_invalid");
    assert!(
        lives(
            &srv.client
                .with_token(&login.tokens.access)
                .get("/user/profile/")
                .await
        ),
        "revokes nothing"
    );
    assert!(is_in(&alice).await);
}

#[tokio::test]
async fn a_rotated_secret_still_verifies_and_the_new_one_signs() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let old = srv.env.iter().find(|(k, _)| k == "SECRET_KEY").unwrap().1.clone();
    let new = "9c1e44b7a0d85f6238ab17cd90ef5a64728b31dc0f9e";
    let srv = srv
        .restart_with(&[("SECRET_KEY", new), ("SECRET_KEY_PREVIOUS", &old)])
        .await;
    assert!(lives(
        &srv.client.with_token(&alice.access).get("/user/profile/").await
    ));
    let body = refresh(&srv, &alice.refresh).await.expect(200);
    let (access, _) = pair(&body);
    assert_ne!(jwt::header(&access)["kid"], jwt::header(&alice.access)["kid"]);
    assert!(lives(&srv.client.with_token(&access).get("/user/profile/").await));
}
