//! The caller's own account: profile, password, display name, and the aliases.

use serde_json::{Value, json};

use super::{OTHER_PASSWORD, PASSWORD, account, answered, fault_of, is_in, try_login};
use crate::support::{TestServer, sql};

#[tokio::test]
async fn the_profile_is_the_callers_with_and_without_a_slash() {
    let (srv, alice, _bob) = TestServer::with_users().await;
    let body = account(alice.id, "alice", "alice@example.com", "alice");
    for path in ["/user/profile/", "/user/profile", "/user/profile/?id=2&user_id=2"] {
        let reply = alice.client.get(path).await;
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
        assert!(reply.header("cache-control").contains("no-store"));
        answered(reply, 200, body.clone());
    }
    let admin = srv.admin("boss").await;
    let profile = admin.client.get("/user/profile/").await.expect(200);
    assert_eq!(profile["permission"], "admin");
}

#[tokio::test]
async fn a_password_change_needs_the_old_one_and_a_good_new_one() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for path in ["/user/change-password/", "/user-settings/change-password/"] {
        let change = |old: Value, new: Value| {
            alice
                .client
                .post(path, json!({ "old_password": old, "new_password": new }))
        };
        let wrong = change(json!("wrong-password"), json!(OTHER_PASSWORD))
            .await
            .refused(400, "wrong_password");
        assert_eq!(wrong["error"], "旧密码错误");
        let english = alice.client.with_header("accept-language", "en");
        let body = json!({ "old_password": "wrong-password", "new_password": OTHER_PASSWORD });
        assert_eq!(
            english.post(path, body).await.refused(400, "wrong_password")["error"],
            "Current password is wrong."
        );

        let missing = alice.client.post(path, json!({ "old_password": PASSWORD })).await;
        assert_eq!(fault_of(missing, "new_password"), "该字段是必填项");
        let missing = alice
            .client
            .post(path, json!({ "new_password": OTHER_PASSWORD }))
            .await;
        assert_eq!(fault_of(missing, "old_password"), "该字段是必填项");
        let weak = change(json!(PASSWORD), json!("1234567")).await;
        assert_eq!(fault_of(weak, "new_password"), "密码长度不能少于 8 位");
        for new in [
            json!(PASSWORD),
            json!("x".repeat(129)),
            json!(null),
            json!(12_345_678),
            json!(""),
            json!("1234567\0"),
        ] {
            fault_of(change(json!(PASSWORD), new).await, "new_password");
        }
        try_login(&srv, "alice", PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_the_owner_is_told() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let body = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
    answered(
        alice.client.post("/user/change-password/", body).await,
        200,
        json!({ "status": "密码更新成功" }),
    );
    try_login(&srv, "alice", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    try_login(&srv, "alice", OTHER_PASSWORD).await.expect(200);
    let stored = sql::text(&srv, "SELECT password FROM users").await;
    assert!(stored.starts_with("$argon2id$"), "{stored}");
    srv.settle().await;
    let mails = srv.app.ctx.mail.outbox().expect("memory").to("alice@example.com");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "密码已修改");
    assert!(!mails[0].text.contains(OTHER_PASSWORD) && !mails[0].text.contains(PASSWORD));

    let english = alice.client.with_header("accept-language", "en");
    let body = json!({ "old_password": OTHER_PASSWORD, "new_password": PASSWORD });
    answered(
        english.post("/user-settings/change-password", body).await,
        200,
        json!({ "status": "Password changed." }),
    );
    assert!(is_in(&alice).await);
}

#[tokio::test]
async fn spaces_of_a_password_are_part_of_it() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let body = json!({ "old_password": PASSWORD, "new_password": format!(" {PASSWORD} ") });
    alice
        .client
        .post("/user/change-password/", body)
        .await
        .expect(200);
    try_login(&srv, "alice", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    try_login(&srv, "alice", &format!(" {PASSWORD} "))
        .await
        .expect(200);
}

#[tokio::test]
async fn parallel_password_changes_leave_one_known_password() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let news: Vec<String> = (0..4).map(|i| format!("parallel-pass-{i}")).collect();
    let replies = futures_util::future::join_all(news.iter().map(|new| {
        alice.client.post(
            "/user/change-password/",
            json!({ "old_password": PASSWORD, "new_password": new }),
        )
    }))
    .await;
    let won: Vec<usize> = (0..4).filter(|i| replies[*i].status == 200).collect();
    assert_eq!(
        won.len(),
        1,
        "{:?}",
        replies.iter().map(|r| r.status).collect::<Vec<_>>()
    );
    assert!(replies.iter().all(|r| matches!(r.status, 200 | 400 | 409)));
    try_login(&srv, "alice", &news[won[0]]).await.expect(200);
}

#[tokio::test]
async fn the_display_name_is_set_and_reset() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for path in [
        "/user/update-display-name/",
        "/user-settings/update-display-name/",
    ] {
        let named = |name: &str| account(alice.id, "alice", "alice@example.com", name);
        answered(
            alice
                .client
                .post(path, json!({ "display_name": " 云 雀 " }))
                .await,
            200,
            named("云 雀"),
        );
        for body in [
            json!({}),
            json!({ "display_name": null }),
            json!({ "display_name": "  " }),
        ] {
            answered(
                alice.client.post(path, json!({ "display_name": "x" })).await,
                200,
                named("x"),
            );
            answered(alice.client.post(path, body).await, 200, named("alice"));
        }
        let longest = "名".repeat(150);
        answered(
            alice.client.post(path, json!({ "display_name": longest })).await,
            200,
            named(&longest),
        );
        let reply = alice
            .client
            .post(path, json!({ "display_name": "名".repeat(151) }))
            .await;
        assert_eq!(fault_of(reply, "display_name"), "长度不能超过 150 个字符");
        for bad in [json!(1), json!([]), json!({}), json!(false)] {
            let reply = alice.client.post(path, json!({ "display_name": bad })).await;
            assert_eq!(fault_of(reply, "display_name"), "类型错误");
        }
        fault_of(
            alice.client.post(path, json!({ "display_name": "a\0" })).await,
            "display_name",
        );
        answered(alice.client.get("/user/profile/").await, 200, named(&longest));
    }
}

#[tokio::test]
async fn updated_at_moves_with_every_change_and_never_back() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let unchanged = format!(
        "SELECT COUNT(*) FROM users WHERE id = {} AND updated_at > date_joined",
        alice.id
    );
    assert_eq!(
        sql::number(&srv, &unchanged).await,
        0,
        "a login is no change of the account"
    );
    alice
        .client
        .post("/user/update-display-name/", json!({ "display_name": "x" }))
        .await
        .expect(200);
    assert_eq!(sql::number(&srv, &unchanged).await, 1);
}
