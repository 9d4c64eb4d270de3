//! `/user/` and `/user/{id}/` for admins, and what they refuse everybody else.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{PASSWORD, account, answered, detailed, fault_of, is_in, registration, try_login};
use crate::support::{TestServer, sql};

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a bare array");
    list.iter()
        .map(|u| u["username"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn only_admins_list_and_create() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let refused = detailed("权限不足", "permission_denied");
    answered(alice.client.get("/user/").await, 403, refused.clone());
    answered(
        alice.client.post("/user/", registration("carol")).await,
        403,
        refused,
    );
    let english = alice
        .client
        .with_header("accept-language", "en")
        .get("/user/")
        .await;
    answered(english, 403, detailed("Permission denied.", "permission_denied"));
    srv.client.get("/user/").await.refused(401, "not_authenticated");
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 1);
    let admin = srv.admin("boss").await;
    let created = admin
        .client
        .post("/user/", registration("carol"))
        .await
        .expect(201);
    let id = created["id"].as_i64().unwrap();
    assert_eq!(created, account(id, "carol", "carol@example.com", "carol"));
    try_login(&srv, "carol", PASSWORD).await.expect(200);
    let mut body = registration("dave");
    (body["permission"], body["is_staff"], body["user_type"]) = (json!("admin"), json!(true), json!("admin"));
    assert_eq!(
        admin.client.post("/user/", body).await.expect(201)["permission"],
        "user"
    );
    admin
        .client
        .post("/user/", registration("carol"))
        .await
        .refused(400, "username_taken");
    fault_of(
        admin.client.post("/user/", registration("root")).await,
        "username",
    );
    fault_of(admin.client.post("/user/", json!({})).await, "password");
}

#[tokio::test]
async fn the_list_is_paged_and_searched() {
    let srv = TestServer::start().await;
    let admin = srv.admin("boss").await;
    for i in 0..24 {
        srv.client
            .post("/user/register/", registration(&format!("user_{i:02}")))
            .await
            .expect(201);
    }
    let reply = admin.client.get("/user/").await;
    assert_eq!(reply.header("x-total-count"), "25");
    assert_eq!((reply.header("x-page"), reply.header("x-page-size")), ("1", "20"));
    assert!(
        reply.header("link").contains("rel=\"next\""),
        "{}",
        reply.header("link")
    );
    let first = reply.expect(200);
    assert_eq!(first.as_array().unwrap().len(), 20, "never unbounded");
    assert_eq!(first[0], {
        let mut boss = account(admin.id, "boss", "boss@example.com", "boss");
        boss["permission"] = json!("admin");
        boss
    });
    let second = admin.client.get("/user/?page=2").await;
    assert!(
        second.header("link").contains("rel=\"prev\"") && !second.header("link").contains("rel=\"next\"")
    );
    let second = second.expect(200);
    assert_eq!(names(&second).len(), 5);
    let overlap = names(&first)
        .iter()
        .filter(|n| names(&second).contains(n))
        .count();
    assert_eq!(overlap, 0);
    let past = admin.client.get("/user/?page=999999999").await;
    assert_eq!(past.header("x-total-count"), "25");
    answered(past, 200, json!([]));
    assert_eq!(
        names(&admin.client.get("/user/?page_size=100").await.expect(200)).len(),
        25
    );
    assert_eq!(
        names(&admin.client.get("/user/?page_size=1&page=2").await.expect(200)).len(),
        1
    );
    for bad in [
        "page=0",
        "page=-1",
        "page=abc",
        "page=1.5",
        "page_size=0",
        "page_size=101",
        "page_size=x",
        "page=1e3",
        "page_size=-5",
    ] {
        admin
            .client
            .get(&format!("/user/?{bad}"))
            .await
            .refused(400, "validation_error");
    }

    let found = |query: &'static str| {
        let admin = &admin;
        async move { admin.client.get(&format!("/user/?search={query}")).await }
    };
    let reply = found("USER_1").await;
    assert_eq!(reply.header("x-total-count"), "10");
    assert_eq!(
        names(&reply.expect(200)),
        (10..20).map(|i| format!("user_{i}")).collect::<Vec<_>>()
    );
    assert_eq!(names(&found("user_07%40example").await.expect(200)), ["user_07"]);
    assert_eq!(names(&found("bOSS").await.expect(200)), ["boss"]);
    // The wildcards of the database are ordinary characters.
    for query in ["%25", "user%25", "r_1_", "boss_", "%5c", "'%20OR%201=1"] {
        answered(found(query).await, 200, json!([]));
    }
}

#[tokio::test]
async fn an_account_is_visible_to_its_owner_and_to_admins() {
    let (srv, alice, bob) = TestServer::with_users().await;
    let admin = srv.admin("boss").await;
    let path = |id: i64| format!("/user/{id}/");
    let body = account(alice.id, "alice", "alice@example.com", "alice");
    answered(alice.client.get(&path(alice.id)).await, 200, body.clone());
    answered(admin.client.get(&path(alice.id)).await, 200, body.clone());
    let hidden = detailed("资源不存在", "not_found");
    answered(alice.client.get(&path(bob.id)).await, 404, hidden.clone());
    answered(alice.client.get(&path(999_999)).await, 404, hidden.clone());
    answered(admin.client.get(&path(999_999)).await, 404, hidden.clone());
    for id in [
        "0",
        "-1",
        "abc",
        "9223372036854775808",
        "99999999999999999999",
        "1.0",
        "1e0",
        "+1",
        "%EF%BC%91",
        "1%00",
        "0x1",
    ] {
        let path = format!("/user/{id}/");
        answered(admin.client.get(&path).await, 404, hidden.clone());
        answered(
            admin.client.patch(&path, json!({ "quota": 1 })).await,
            404,
            hidden.clone(),
        );
        answered(admin.client.delete(&path).await, 404, hidden.clone());
    }
    answered(
        bob.client
            .patch(&path(alice.id), json!({ "display_name": "x" }))
            .await,
        404,
        hidden.clone(),
    );
    answered(
        bob.client
            .put(&path(alice.id), json!({ "display_name": "x" }))
            .await,
        404,
        hidden.clone(),
    );
    answered(
        bob.client
            .delete_with(&path(alice.id), json!({ "password": PASSWORD }))
            .await,
        404,
        hidden,
    );
    answered(alice.client.get("/user/profile/").await, 200, body);
}

#[tokio::test]
async fn admins_change_the_documented_fields_and_no_others() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let path = format!("/user/{}/", alice.id);
    let quota = format!("SELECT quota FROM users WHERE id = {}", alice.id);
    assert_eq!(sql::number(&srv, &quota).await, 10 << 30);
    let body = json!({ "quota": 5_000_000_000_i64, "display_name": "改名" });
    let changed = account(alice.id, "alice", "alice@example.com", "改名");
    answered(admin.client.patch(&path, body).await, 200, changed.clone());
    assert_eq!(sql::number(&srv, &quota).await, 5_000_000_000);
    let info = alice.client.get("/file/storage-info/").await.expect(200);
    assert_eq!(info["quota"], 5_000_000_000_i64);
    // PUT merges as PATCH does: what is absent stays.
    answered(admin.client.put(&path, json!({})).await, 200, changed.clone());
    let reset = account(alice.id, "alice", "alice@example.com", "alice");
    answered(
        admin.client.put(&path, json!({ "display_name": null })).await,
        200,
        reset.clone(),
    );
    for (field, value) in [
        ("quota", json!(-1)),
        ("quota", json!("5")),
        ("quota", json!(1.5)),
        ("quota", json!(1e300)),
        ("quota", json!(9_223_372_036_854_775_808_u64)),
        ("is_active", json!("false")),
        ("is_active", json!(0)),
        ("email", json!("nobody")),
        ("display_name", json!("x".repeat(151))),
    ] {
        fault_of(admin.client.patch(&path, json!({ field: value })).await, field);
    }
    let ignored =
        json!({ "permission": "admin", "is_staff": true, "username": "other", "password": "new-password-1" });
    answered(admin.client.patch(&path, ignored).await, 200, reset);
    try_login(&srv, "alice", PASSWORD).await.expect(200);
    assert!(is_in(&alice).await);
    assert_eq!(sql::number(&srv, &quota).await, 5_000_000_000);
}

#[tokio::test]
async fn the_last_admin_cannot_go() {
    let srv = TestServer::start().await;
    let admin = srv.admin("boss").await;
    let own = format!("/user/{}/", admin.id);
    let refused = |reply: crate::support::Reply| {
        let body = reply.refused(409, "last_staff");
        assert!(body["error"].as_str().is_some_and(|t| !t.is_empty()), "{body}");
    };
    refused(admin.client.patch(&own, json!({ "is_active": false })).await);
    refused(
        admin
            .client
            .put(&own, json!({ "is_active": false, "display_name": "x" }))
            .await,
    );
    refused(
        admin
            .client
            .delete_with(&own, json!({ "password": PASSWORD }))
            .await,
    );
    let by_command = srv
        .app
        .accounts
        .console_set_active(yunque_kernel::ids::UserId(admin.id), false)
        .await;
    assert!(
        matches!(by_command, Err(yunque_accounts::AccountsError::LastStaff)),
        "{by_command:?}"
    );
    assert!(is_in(&admin).await);
    assert_eq!(
        admin.client.get("/user/profile/").await.expect(200)["display_name"],
        "boss"
    );

    let deputy = srv.admin("deputy").await;
    deputy
        .client
        .patch(&own, json!({ "is_active": false }))
        .await
        .expect(200);
    refused(
        deputy
            .client
            .patch(&format!("/user/{}/", deputy.id), json!({ "is_active": false }))
            .await,
    );
    // A disabled one does not count.
    assert!(!is_in(&admin).await);
}

#[tokio::test]
async fn admins_who_remove_each_other_at_the_same_time_leave_one() {
    let srv = TestServer::start().await;
    for round in 0..5 {
        let mut admins = Vec::new();
        for i in 0..4 {
            admins.push(srv.admin(&format!("admin{round}_{i}")).await);
        }
        // Each disables all, in another order.
        let calls = (0..16).map(|n| {
            let (by, target) = (&admins[n / 4], &admins[(n / 4 + n % 4) % 4]);
            let path = format!("/user/{}/", target.id);
            async move { by.client.patch(&path, json!({ "is_active": false })).await }
        });
        for reply in join_all(calls).await {
            assert!(
                matches!(reply.status, 200 | 401 | 409),
                "{} {}",
                reply.status,
                reply.text()
            );
        }
        let active = "SELECT COUNT(*) FROM users WHERE is_staff = TRUE AND is_active = TRUE";
        assert!(sql::number(&srv, active).await >= 1, "nobody is left");
    }
}
