//! The must-pass scenarios 1 to 4 of the cloud surface.

use futures_util::future::join_all;
use serde_json::json;

use super::{OTHER_PASSWORD, PASSWORD, account, answered, detailed, is_in, registration, try_login};
use crate::support::{TestServer, sql};

#[tokio::test]
async fn cloud_scenario_01_register_log_in_and_change_the_own_account() {
    let srv = TestServer::start().await;
    let body = json!({ "username": "testuser", "email": "test@example.com", "password": PASSWORD });
    let created = srv.client.post("/user/register/", body).await.expect(201);
    let id = created["id"].as_i64().expect("an integer id");
    assert_eq!(created, account(id, "testuser", "test@example.com", "testuser"));
    let body = json!({ "username": "second", "email": "second@example.com", "password": PASSWORD, "display_name": "云雀" });
    let second = srv.client.post("/user/register/", body).await.expect(201);
    assert_eq!(
        second,
        account(
            second["id"].as_i64().unwrap(),
            "second",
            "second@example.com",
            "云雀"
        )
    );

    let login = try_login(&srv, "testuser", PASSWORD).await.expect(200);
    assert_eq!(login["user"], created);
    assert_eq!(login.as_object().unwrap().len(), 3, "{login}");
    for token in ["access", "refresh"] {
        assert!(login[token].as_str().unwrap().starts_with("eyJ"), "{login}");
    }
    let me = srv.client.with_token(login["access"].as_str().unwrap());
    answered(me.get("/user/profile/").await, 200, created);

    let body = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
    answered(
        me.post("/user/change-password/", body).await,
        200,
        json!({ "status": "密码更新成功" }),
    );
    answered(
        try_login(&srv, "testuser", PASSWORD).await,
        401,
        detailed("用户名或密码错误", "invalid_credentials"),
    );
    try_login(&srv, "testuser", OTHER_PASSWORD).await.expect(200);

    let renamed = account(id, "testuser", "test@example.com", "新名字");
    answered(
        me.post("/user/update-display-name/", json!({ "display_name": "新名字" }))
            .await,
        200,
        renamed,
    );
    let moved = account(id, "testuser", "new@example.com", "新名字");
    answered(
        me.post("/user/update-email/", json!({ "email": "new@example.com" }))
            .await,
        200,
        moved.clone(),
    );
    answered(me.get("/user/profile/").await, 200, moved);
    answered(
        me.post("/user/logout/", json!({})).await,
        200,
        json!({ "status": "登出成功" }),
    );
    answered(
        me.get("/user/profile/").await,
        401,
        detailed("token无效或已过期", "token_invalid"),
    );
}

#[tokio::test]
async fn cloud_scenario_02_of_twenty_registers_with_one_name_one_succeeds() {
    let srv = TestServer::start().await;
    let all = join_all((0..20).map(|i| {
        let mut body = registration("popular");
        body["email"] = json!(format!("popular{i}@example.com"));
        srv.client.post("/user/register/", body)
    }))
    .await;
    let (created, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| r.status == 201);
    assert_eq!((created.len(), refused.len()), (1, 19));
    for reply in refused {
        let body = reply.refused(400, "username_taken");
        assert_eq!(body["error"], "用户名已存在");
    }
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM users WHERE username_key = 'popular'").await,
        1
    );
}

#[tokio::test]
async fn cloud_scenario_03_a_reused_refresh_token_ends_its_whole_family() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let other_device = srv.login("alice", PASSWORD).await;
    let refresh = |token: String| {
        srv.client
            .post("/user/refresh-token/", json!({ "refresh": token }))
    };

    let pair = refresh(alice.refresh.clone()).await.expect(200);
    let (access, second) = (
        pair["access"].as_str().unwrap(),
        pair["refresh"].as_str().unwrap().to_owned(),
    );
    assert_ne!(second, alice.refresh);
    assert_ne!(access, alice.access);
    let family = srv.client.with_token(access);
    family.get("/user/profile/").await.expect(200);

    let reused = refresh(alice.refresh.clone()).await;
    assert_eq!(reused.header("www-authenticate"), "Bearer realm=\"api\"");
    answered(reused, 401, detailed("token无效或已过期", "token_reused"));
    answered(
        family.get("/user/profile/").await,
        401,
        detailed("token无效或已过期", "token_invalid"),
    );
    assert!(!is_in(&alice).await, "the first access token of the family");
    answered(
        refresh(second).await,
        401,
        detailed("token无效或已过期", "token_invalid"),
    );
    assert!(is_in(&other_device).await, "another session of the same user");
    let events = "SELECT COUNT(*) FROM security_events WHERE kind = 'refresh_token_reused'";
    assert_eq!(sql::number(&srv, events).await, 1);
}

#[tokio::test]
async fn cloud_scenario_04_nobody_edits_others_or_gives_himself_rights() {
    let (srv, alice, bob) = TestServer::with_users().await;
    let own = format!("/user/{}/", alice.id);
    let foreign = format!("/user/{}/", bob.id);
    let quota = format!("SELECT quota FROM users WHERE id = {}", alice.id);
    let before = sql::number(&srv, &quota).await;
    let stored = sql::text(
        &srv,
        &format!("SELECT password FROM users WHERE id = {}", alice.id),
    )
    .await;
    let body = json!({
        "permission": "admin", "is_active": false, "is_staff": true, "is_superuser": true, "quota": 1,
        "password": "hijacked-99", "user_type": "admin", "id": 999, "username": "root2", "token_version": 77,
        "used_space": -5, "display_name": "mine",
    });

    answered(
        alice.client.patch(&foreign, body.clone()).await,
        404,
        detailed("资源不存在", "not_found"),
    );
    answered(
        bob.client.get("/user/profile/").await,
        200,
        account(bob.id, "bob", "bob@example.com", "bob"),
    );

    for reply in [
        alice.client.patch(&own, body.clone()).await,
        alice.client.put(&own, body).await,
    ] {
        answered(
            reply,
            200,
            account(alice.id, "alice", "alice@example.com", "mine"),
        );
    }
    assert_eq!(sql::number(&srv, &quota).await, before);
    let now = sql::text(
        &srv,
        &format!("SELECT password FROM users WHERE id = {}", alice.id),
    )
    .await;
    assert_eq!(now, stored);
    assert!(is_in(&alice).await);
    try_login(&srv, "alice", PASSWORD).await.expect(200);
}
