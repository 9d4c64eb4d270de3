//! The general limits and the one of registrations.

use serde_json::json;

use super::{is_envelope, registration};
use crate::support::{Reply, TestServer};

fn number(reply: &Reply, name: &str) -> u64 {
    reply
        .header(name)
        .parse()
        .unwrap_or_else(|_| panic!("{name}: {:?}", reply.headers))
}

#[track_caller]
fn throttled(reply: &Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    let body = is_envelope(reply, "throttled");
    assert_eq!(
        (&body["code"], &body["error"]),
        (&json!("throttled"), &json!("请求过于频繁，请稍后再试"))
    );
    assert!(number(reply, "retry-after") >= 1);
}

#[tokio::test]
async fn anonymous_requests_are_limited_by_address() {
    let srv = TestServer::with(&[("RATE_LIMIT_ANONYMOUS", "5/min")]).await;
    let mut last = 5;
    for i in 0..5 {
        let reply = srv.client.get("/user/profile/").await;
        assert_eq!(reply.status, 401, "{i}");
        assert_eq!(number(&reply, "ratelimit-limit"), 5);
        assert_eq!(reply.header("ratelimit-policy"), "5;w=60");
        let left = number(&reply, "ratelimit-remaining");
        assert!(left < last, "{left} after {last}");
        last = left;
        assert!(number(&reply, "ratelimit-reset") <= 60);
    }
    assert_eq!(last, 0);
    let reply = srv.client.get("/user/profile/").await;
    throttled(&reply);
    assert_eq!(number(&reply, "ratelimit-remaining"), 0);
    throttled(&srv.client.post("/user/login/", json!({})).await);
    throttled(&srv.client.with_token("garbage").get("/user/profile/").await);
    throttled(&srv.client.get("/nothing").await);
    throttled(
        &srv.client
            .with_header("x-forwarded-for", "203.0.113.9")
            .get("/user/profile/")
            .await,
    );
    let english = srv
        .client
        .with_header("accept-language", "en")
        .get("/user/profile/")
        .await;
    assert_eq!(english.json()["error"], "Too many requests, try again later.");
    // Probes and documents are outside.
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs/"] {
        for _ in 0..3 {
            let reply = srv.client.get(path).await;
            assert_ne!(reply.status, 429, "{path}");
            assert_eq!(reply.header("ratelimit-limit"), "", "{path}");
        }
    }
}

#[tokio::test]
async fn users_are_limited_one_by_one() {
    let srv = TestServer::with(&[("RATE_LIMIT_USER", "6/min")]).await;
    let (alice, bob) = (srv.user("alice").await, srv.user("bob").await);
    for _ in 0..6 {
        let reply = alice.client.get("/user/profile/").await;
        assert_eq!((reply.status, reply.header("ratelimit-policy")), (200, "6;w=60"));
    }
    throttled(&alice.client.get("/user/profile/").await);
    throttled(
        &srv.login("alice", crate::support::server::PASSWORD)
            .await
            .client
            .get("/file/")
            .await,
    );
    bob.client.get("/user/profile/").await.expect(200);
    srv.client
        .get("/user/profile/")
        .await
        .refused(401, "not_authenticated");
}

#[tokio::test]
async fn a_trusted_proxys_clients_have_limits_of_their_own() {
    let srv = TestServer::with(&[
        ("RATE_LIMIT_ANONYMOUS", "3/min"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ])
    .await;
    let from = |ip: &str| srv.client.with_header("x-forwarded-for", ip);
    for _ in 0..3 {
        from("203.0.113.1")
            .get("/user/profile/")
            .await
            .refused(401, "not_authenticated");
    }
    throttled(&from("203.0.113.1").get("/user/profile/").await);
    from("203.0.113.2")
        .get("/user/profile/")
        .await
        .refused(401, "not_authenticated");
}

#[tokio::test]
async fn the_defaults_are_the_contracts_and_twenty_times_wider_in_development() {
    for (env, anonymous, user) in [
        ("development", "2400;w=60", "12000;w=60"),
        ("production", "120;w=60", "600;w=60"),
    ] {
        let srv = TestServer::with(&[
            ("APP_ENV", env),
            ("ARGON2_MEMORY_KIB", "19456"),
            ("ARGON2_ITERATIONS", "2"),
        ])
        .await;
        let alice = srv.user("alice").await;
        assert_eq!(
            srv.client.get("/user/profile/").await.header("ratelimit-policy"),
            anonymous
        );
        assert_eq!(
            alice
                .client
                .get("/user/profile/")
                .await
                .header("ratelimit-policy"),
            user
        );
    }
}

#[tokio::test]
async fn the_general_limits_can_be_switched_off() {
    let srv = TestServer::with(&[
        ("RATE_LIMIT_ANONYMOUS", "2/min"),
        ("RATE_LIMIT_USER", "2/min"),
        ("RATE_LIMIT_REGISTER", "1/h"),
        ("RATE_LIMIT_ENABLED", "false"),
    ])
    .await;
    let alice = srv.user("alice").await;
    srv.user("bob").await;
    for _ in 0..5 {
        alice.client.get("/user/profile/").await.expect(200);
        assert_eq!(srv.client.get("/user/profile/").await.status, 401);
    }
}

#[tokio::test]
async fn registrations_are_limited_exactly_and_across_a_restart() {
    let srv = TestServer::with(&[("RATE_LIMIT_REGISTER", "5/h")]).await;
    let all = (0..12).map(|i| {
        srv.client
            .post("/user/register/", registration(&format!("user{i}")))
    });
    let replies = futures_util::future::join_all(all).await;
    let created = replies.iter().filter(|r| r.status == 201).count();
    assert_eq!(
        created,
        5,
        "{:?}",
        replies.iter().map(|r| r.status).collect::<Vec<_>>()
    );
    replies.iter().filter(|r| r.status != 201).for_each(throttled);
    let srv = srv.restart().await;
    let reply = srv.client.post("/user/register/", registration("late")).await;
    throttled(&reply);
    assert!(number(&reply, "retry-after") <= 3600);
    srv.clock.advance(std::time::Duration::from_secs(3601));
    srv.client
        .post("/user/register/", registration("late"))
        .await
        .expect(201);
}
