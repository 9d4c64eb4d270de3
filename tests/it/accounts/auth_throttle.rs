//! How many guesses anybody has.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{OTHER_PASSWORD, PASSWORD, answered, detailed, try_login};
use crate::support::{Client, Reply, TestServer, sql};

const WRONG: &str = "wrong-password";

async fn fail(srv: &TestServer, name: &str, times: usize) {
    for i in 0..times {
        assert_eq!(try_login(srv, name, WRONG).await.status, 401, "attempt {i}");
    }
}

#[track_caller]
fn blocked(reply: Reply) {
    let wait: u64 = reply
        .header("retry-after")
        .parse()
        .expect("Retry-After in seconds");
    assert!((1..=300).contains(&wait), "{wait}");
    answered(
        reply,
        429,
        detailed("登录失败次数过多，请稍后重试", "login_blocked"),
    );
}

#[tokio::test]
async fn ten_failures_block_the_name_from_that_address_even_with_the_right_password() {
    let (srv, alice, _bob) = TestServer::with_users().await;
    fail(&srv, "alice", 10).await;
    blocked(try_login(&srv, "alice", WRONG).await);
    let hashes = srv.app.ctx.metrics.auth.hash_wait_seconds.get_sample_count();
    blocked(try_login(&srv, "alice", PASSWORD).await);
    assert_eq!(
        srv.app.ctx.metrics.auth.hash_wait_seconds.get_sample_count(),
        hashes,
        "it is not even verified"
    );
    let english = srv.client.with_header("accept-language", "en");
    let reply = english
        .post(
            "/user/login/",
            json!({ "username": "alice", "password": PASSWORD }),
        )
        .await;
    answered(
        reply,
        429,
        detailed("Too many failed logins; try again later.", "login_blocked"),
    );
    // Neither other names nor live sessions suffer.
    try_login(&srv, "bob", PASSWORD).await.expect(200);
    assert!(super::is_in(&alice).await);
    srv.clock.advance(Duration::from_secs(301));
    try_login(&srv, "alice", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn unknown_names_are_blocked_like_known_ones() {
    let srv = TestServer::start().await;
    fail(&srv, "nobody", 10).await;
    blocked(try_login(&srv, "nobody", WRONG).await);
}

#[tokio::test]
async fn every_spelling_of_a_name_counts_as_that_name() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let spellings = ["alice", "ALICE", " alice", "Ａlice", "aLiCe"];
    for i in 0..10 {
        assert_eq!(try_login(&srv, spellings[i % 5], WRONG).await.status, 401);
    }
    for name in spellings {
        blocked(try_login(&srv, name, PASSWORD).await);
    }
}

#[tokio::test]
async fn a_success_starts_the_count_again() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for _ in 0..3 {
        fail(&srv, "alice", 9).await;
        try_login(&srv, "alice", PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn the_window_slides() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    fail(&srv, "alice", 5).await;
    srv.clock.advance(Duration::from_secs(200));
    fail(&srv, "alice", 5).await;
    blocked(try_login(&srv, "alice", PASSWORD).await);
    // The first five have left the window, the others have not.
    srv.clock.advance(Duration::from_secs(120));
    fail(&srv, "alice", 5).await;
    blocked(try_login(&srv, "alice", PASSWORD).await);
}

#[tokio::test]
async fn of_twenty_parallel_wrong_guesses_at_most_ten_are_verified() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let hashes = || srv.app.ctx.metrics.auth.hash_wait_seconds.get_sample_count();
    let before = hashes();
    let replies = join_all((0..20).map(|_| try_login(&srv, "alice", WRONG))).await;
    let statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    assert!(
        hashes() - before <= 10,
        "{} passwords were verified",
        hashes() - before
    );
    assert_eq!(statuses.iter().filter(|s| **s == 401).count(), 10, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 10, "{statuses:?}");
    blocked(try_login(&srv, "alice", PASSWORD).await);
}

#[tokio::test]
async fn twenty_parallel_right_logins_all_succeed() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let replies = join_all((0..20).map(|_| try_login(&srv, "alice", PASSWORD))).await;
    let statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    assert!(statuses.iter().all(|s| *s == 200), "{statuses:?}");
}

#[tokio::test]
async fn one_address_has_a_limit_over_all_names() {
    let srv = TestServer::with(&[("AUTH_IP_MAX_FAILURES", "12")]).await;
    srv.user("alice").await;
    for i in 0..12 {
        fail(&srv, &format!("guess{i}"), 1).await;
    }
    let reply = try_login(&srv, "alice", PASSWORD).await;
    let wait: u64 = reply.header("retry-after").parse().expect("Retry-After");
    assert!((300..=900).contains(&wait), "{wait}");
    reply.refused(429, "login_blocked");
    srv.clock.advance(Duration::from_secs(901));
    try_login(&srv, "alice", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn the_threshold_can_be_set_and_has_no_switch() {
    let srv = TestServer::with(&[("AUTH_LOGIN_MAX_FAILURES", "3"), ("RATE_LIMIT_ENABLED", "false")]).await;
    srv.user("alice").await;
    fail(&srv, "alice", 3).await;
    blocked(try_login(&srv, "alice", PASSWORD).await);
}

#[tokio::test]
async fn a_block_survives_a_restart() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    fail(&srv, "alice", 10).await;
    let srv = srv.restart().await;
    blocked(try_login(&srv, "alice", PASSWORD).await);
}

fn from(srv: &TestServer, address: &str) -> Client {
    srv.client.with_header("x-forwarded-for", address)
}

fn login(password: &str) -> Value {
    json!({ "username": "alice", "password": password })
}

#[tokio::test]
async fn a_forged_forwarding_header_changes_nothing() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for i in 0..10 {
        let client = from(&srv, &format!("203.0.113.{i}"));
        client
            .post("/user/login/", login(WRONG))
            .await
            .refused(401, "invalid_credentials");
    }
    blocked(
        from(&srv, "198.51.100.7")
            .post("/user/login/", login(PASSWORD))
            .await,
    );
    blocked(try_login(&srv, "alice", PASSWORD).await);
    let seen = "SELECT COUNT(*) FROM auth_login_attempts WHERE ip_address <> '127.0.0.1'";
    assert_eq!(sql::number(&srv, seen).await, 0);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_up_to_the_first_untrusted_hop() {
    let srv = TestServer::with(&[("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")]).await;
    srv.user("alice").await;
    for i in 0..10 {
        // What the client wrote itself stands on the left and is not believed.
        let client = from(&srv, &format!("198.51.100.{i}, 203.0.113.1, 10.0.0.9"));
        client
            .post("/user/login/", login(WRONG))
            .await
            .refused(401, "invalid_credentials");
    }
    blocked(
        from(&srv, "203.0.113.1")
            .post("/user/login/", login(PASSWORD))
            .await,
    );
    // Nobody locks the owner out from elsewhere.
    let owner = from(&srv, "203.0.113.2")
        .post("/user/login/", login(PASSWORD))
        .await
        .expect(200);
    let sessions = srv
        .client
        .with_token(owner["access"].as_str().unwrap())
        .get("/user/sessions/")
        .await
        .expect(200);
    assert_eq!(
        sessions
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["current"] == true)
            .unwrap()["ip"],
        "203.0.113.2"
    );
    // An IPv6 client owns a whole /64.
    for i in 0..10 {
        let client = from(&srv, &format!("2001:db8:1:2::{i}"));
        client
            .post("/user/login/", login(WRONG))
            .await
            .refused(401, "invalid_credentials");
    }
    blocked(
        from(&srv, "2001:db8:1:2:ffff::1")
            .post("/user/login/", login(PASSWORD))
            .await,
    );
    from(&srv, "2001:db8:1:3::1")
        .post("/user/login/", login(PASSWORD))
        .await
        .expect(200);
}

#[tokio::test]
async fn the_current_password_may_be_guessed_five_times() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let change = |old: &str| json!({ "old_password": old, "new_password": OTHER_PASSWORD });
    let own = format!("/user/{}/", alice.id);
    for _ in 0..3 {
        alice
            .client
            .post("/user/change-password/", change(WRONG))
            .await
            .refused(400, "wrong_password");
    }
    // The alias and the deletion share the count.
    alice
        .client
        .post("/user-settings/change-password/", change(WRONG))
        .await
        .refused(400, "wrong_password");
    alice
        .client
        .delete_with(&own, json!({ "password": WRONG }))
        .await
        .refused(400, "wrong_password");
    let reply = alice
        .client
        .post("/user/change-password/", change(PASSWORD))
        .await;
    assert!(
        reply
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|s| (1..=900).contains(&s))
    );
    answered(reply, 429, detailed("请求过于频繁，请稍后再试", "throttled"));
    alice
        .client
        .delete_with(&own, json!({ "password": PASSWORD }))
        .await
        .refused(429, "throttled");
    srv.clock.advance(Duration::from_secs(901));
    alice
        .client
        .post("/user/change-password/", change(PASSWORD))
        .await
        .expect(200);
}

#[tokio::test]
async fn parallel_guesses_of_the_current_password_are_five_as_well() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let body = json!({ "old_password": WRONG, "new_password": OTHER_PASSWORD });
    let replies = join_all((0..20).map(|_| alice.client.post("/user/change-password/", body.clone()))).await;
    let statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 400).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 15, "{statuses:?}");
}
