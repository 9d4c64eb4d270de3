//! Two servers on one database: what one revokes the other refuses, at once with Redis and within
//! five seconds without.

use std::time::Duration;

use serde_json::json;

use super::{OTHER_PASSWORD, PASSWORD, api_key, is_in, lives, refreshes, registration, try_login};
use crate::support::{Client, TestServer, database, eventually};

/// SQLite belongs to one process.
fn two_can_share() -> bool {
    database::server_url().is_some()
}

/// A token on the other instance, which has it in its cache.
async fn known(there: &TestServer, access: &str) -> Client {
    let client = there.client.with_token(access);
    assert!(lives(&client.get("/user/profile/").await));
    client
}

async fn refused(what: &str, client: &Client, has_redis: bool) {
    if has_redis {
        assert!(
            !lives(&client.get("/user/profile/").await),
            "{what}: still accepted by the other instance"
        );
        return;
    }
    eventually(what, 5, || async { !lives(&client.get("/user/profile/").await) }).await;
}

#[tokio::test]
async fn what_one_instance_revokes_the_other_refuses() {
    if !two_can_share() {
        return;
    }
    let here = TestServer::start().await;
    let there = here.sibling().await;
    let has_redis = here.app.redis.is_some();
    // Both hear each other only when both have subscribed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let admin = here.admin("boss").await;
    for (i, what) in [
        "logout",
        "token-logout",
        "logout-all",
        "session",
        "password",
        "disable",
        "delete",
        "reuse",
        "email",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("user{i}");
        let user = here.user(&name).await;
        let other = here.login(&name, PASSWORD).await;
        let path = format!("/user/{}/", user.id);
        let client = known(&there, &other.access).await;
        match what {
            "logout" => drop(other.client.post("/user/logout/", json!({})).await.expect(200)),
            "token-logout" => drop(
                other
                    .client
                    .post("/api/token/logout/", json!({}))
                    .await
                    .expect(200),
            ),
            "logout-all" => drop(user.client.post("/user/logout-all/", json!({})).await.expect(200)),
            "session" => {
                let sid = &crate::support::jwt::claims(&other.access)["sid"];
                user.client
                    .delete(&format!("/user/sessions/{sid}/"))
                    .await
                    .expect(204);
            }
            "password" => {
                let body = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
                user.client.post("/user/change-password/", body).await.expect(200);
            }
            "disable" => drop(
                admin
                    .client
                    .patch(&path, json!({ "is_active": false }))
                    .await
                    .expect(200),
            ),
            "delete" => drop(admin.client.delete(&path).await.expect(204)),
            "reuse" => {
                assert!(refreshes(&here, &other.refresh).await);
                assert!(!refreshes(&here, &other.refresh).await);
            }
            _ => drop(
                user.client
                    .post("/user/update-email/", json!({ "email": "n@example.com" }))
                    .await
                    .expect(200),
            ),
        }
        refused(what, &client, has_redis).await;
        assert!(
            !refreshes(&there, &other.refresh).await,
            "{what}: the refresh token"
        );
    }
    assert!(is_in(&admin).await);
}

#[tokio::test]
async fn keys_and_profiles_change_on_both() {
    if !two_can_share() {
        return;
    }
    let here = TestServer::start().await;
    let there = here.sibling().await;
    let has_redis = here.app.redis.is_some();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let alice = here.user("alice").await;
    let key = api_key(&here, &alice, &["*"]).await;
    let client = there.client.with_header("x-api-key", &key);
    assert!(lives(&client.get("/user/profile/").await));
    let id = here.app.accounts.list_api_keys(None).await.expect("keys")[0].id;
    here.app.accounts.revoke_api_key(id).await.expect("revoked");
    refused("key", &client, has_redis).await;
    here.client
        .with_token(&alice.access)
        .post("/user/update-display-name/", json!({ "display_name": "新" }))
        .await
        .expect(200);
    let profile = there
        .client
        .with_token(&alice.access)
        .get("/user/profile/")
        .await
        .expect(200);
    assert_eq!(profile["display_name"], "新");
}

#[tokio::test]
async fn login_failures_registers_and_refreshes_are_counted_together() {
    if !two_can_share() {
        return;
    }
    let here = TestServer::start().await;
    let there = here.sibling().await;
    let alice = here.user("alice").await;
    let servers = [&here, &there];
    for i in 0..10 {
        try_login(servers[i % 2], "alice", "wrong-password")
            .await
            .refused(401, "invalid_credentials");
    }
    for server in servers {
        try_login(server, "alice", PASSWORD)
            .await
            .refused(429, "login_blocked");
    }
    let registers = futures_util::future::join_all((0..20).map(|i| {
        let mut body = registration("popular");
        body["email"] = json!(format!("p{i}@example.com"));
        servers[i % 2].client.post("/user/register/", body)
    }));
    let statuses: Vec<u16> = registers.await.iter().map(|r| r.status).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 400).count(), 19, "{statuses:?}");
    let body = json!({ "refresh": alice.refresh });
    let refreshes = futures_util::future::join_all(
        (0..20).map(|i| servers[i % 2].client.post("/user/refresh-token/", body.clone())),
    );
    let statuses: Vec<u16> = refreshes.await.iter().map(|r| r.status).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| matches!(s, 200 | 401)), "{statuses:?}");
}
