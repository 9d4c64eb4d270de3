//! One's own account: `profile/`, `update_profile/`, `change_password/`.

use serde_json::json;

use super::*;
use crate::support::sql;

const UPDATE: &str = "/api/users/update_profile/";
const CHANGE: &str = "/api/users/change_password/";

#[tokio::test]
async fn the_profile_is_the_own_account_and_no_id() {
    let forest = Forest::grown().await;
    let me = &forest.customer;
    let shown = me.client.get("/api/users/profile/").await.expect(200);
    let expected = ua(
        me.id,
        "customer",
        "customer",
        Some((forest.sub.id, "sub")),
        &shown["created_at"],
    );
    assert_eq!(shown, expected);
    answered(me.client.get("/api/users/profile").await, 200, shown.clone());
    answered(me.client.get(&one(me)).await, 200, shown);
    let reply = me.client.delete("/api/users/profile/").await;
    assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
    reply.refused(405, "method_not_allowed");
    forest
        .srv
        .client
        .get("/api/users/profile/")
        .await
        .refused(401, "not_authenticated");
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let forest = Forest::grown().await;
    let me = &forest.customer;
    let mut expected = me.client.get("/api/users/profile/").await.expect(200);
    let body = json!({
        "username": "renamed", "name": "张三", "phone": "138 0013", "first_name": "三", "last_name": "张",
        "user_type": "admin", "parent_id": null, "is_active": false, "is_staff": true, "display_name": "x",
        "password": null, "id": 1,
    });
    for (field, value) in [
        ("username", "renamed"),
        ("name", "张三"),
        ("phone", "138 0013"),
        ("first_name", "三"),
        ("last_name", "张"),
    ] {
        expected[field] = json!(value);
    }
    answered(me.client.put(UPDATE, body).await, 200, expected.clone());
    expected["phone"] = Value::Null;
    answered(
        me.client.patch(UPDATE, json!({ "phone": "" })).await,
        200,
        expected.clone(),
    );
    answered(me.client.patch(UPDATE, json!({})).await, 200, expected.clone());
    // Another spelling of the own name.
    expected["username"] = json!("Renamed");
    answered(
        me.client.patch(UPDATE, json!({ "username": "Renamed" })).await,
        200,
        expected,
    );
    assert!(is_in(me).await);
    sign_in(&forest.srv, "renamed", PASSWORD).await;
    token(&forest.srv.client, "customer", PASSWORD).await.expect(401);
}

#[tokio::test]
async fn taken_and_reserved_names_are_refused() {
    let forest = Forest::grown().await;
    let me = &forest.customer;
    for (field, value, text, code) in [
        ("username", "SUB", "用户名已存在", "username_taken"),
        ("email", "Sub@example.com", "邮箱已存在", "email_taken"),
    ] {
        let body = me
            .client
            .patch(UPDATE, json!({ field: value }))
            .await
            .refused(400, code);
        assert_eq!(body["error"], text);
        assert_eq!(body["errors"], json!({ field: [text] }));
    }
    let both = json!({ "username": "sub", "email": "agent@example.com" });
    let body = me.client.patch(UPDATE, both).await.refused(400, "username_taken");
    assert_eq!(
        body["errors"],
        json!({ "username": ["用户名已存在"], "email": ["邮箱已存在"] })
    );
    for (field, value) in [
        ("username", json!("admin")),
        ("username", json!("deleted_1")),
        ("username", json!("")),
        ("username", json!("a b")),
        ("email", json!("x@invalid")),
        ("phone", json!("x")),
        ("name", json!("x".repeat(151))),
        ("first_name", json!("x".repeat(151))),
        ("last_name", json!(5)),
    ] {
        fault_of(me.client.patch(UPDATE, json!({ field: value })).await, field);
    }
    let english = me.client.with_header("accept-language", "en");
    let body = english
        .patch(UPDATE, json!({ "username": "sub" }))
        .await
        .expect(400);
    assert_eq!(body["error"], "Username is taken.");
}

#[tokio::test]
async fn a_new_address_of_ones_own_ends_other_sessions_and_voids_codes() {
    let forest = Forest::grown().await;
    let me = &forest.customer;
    let other = sign_in(&forest.srv, "customer", PASSWORD).await;
    ask_code(&forest.srv, "customer@example.com").await;
    let code = mailed_code(&forest.srv, "customer@example.com").await;
    let changed = me
        .client
        .patch(UPDATE, json!({ "email": "new@example.com" }))
        .await
        .expect(200);
    assert_eq!(changed["email"], "new@example.com");
    assert!(is_in(me).await && !is_in(&other).await);
    reset_with(&forest.srv, "customer@example.com", &code)
        .await
        .refused(400, "code_expired");
    let notice = mails(&forest.srv, "customer@example.com").await;
    assert!(notice.iter().any(|mail| mail.subject == "邮箱已更改"));
    // Staff proves who it is; a key never does.
    let body = json!({ "email": "x@example.com" });
    forest
        .admin
        .client
        .patch(UPDATE, body.clone())
        .await
        .refused(400, "wrong_password");
    let key = api_key(&forest.srv, me, &["agents:write"]).await;
    let by_key = forest.srv.client.with_header("x-api-key", &key);
    by_key
        .patch(UPDATE, body)
        .await
        .refused(403, "api_key_not_allowed");
    by_key.patch(UPDATE, json!({ "name": "x" })).await.expect(200);
    by_key
        .post(CHANGE, json!({}))
        .await
        .refused(403, "api_key_not_allowed");
}

#[tokio::test]
async fn the_password_is_changed_and_the_calling_session_stays() {
    let forest = Forest::grown().await;
    let me = &forest.customer;
    let other = sign_in(&forest.srv, "customer", PASSWORD).await;
    let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
    let wrong = me
        .client
        .put(CHANGE, change("wrong-password", OTHER_PASSWORD))
        .await;
    let body = wrong.refused(400, "wrong_password");
    assert_eq!(body["error"], "原密码错误");
    assert_eq!(body["errors"], json!({ "old_password": ["原密码错误"] }));
    let mut different = change(PASSWORD, OTHER_PASSWORD);
    different["confirm_password"] = json!("another-one-9");
    let body = me
        .client
        .post(CHANGE, different)
        .await
        .refused(400, "password_mismatch");
    assert_eq!(body["error"], "两次输入的新密码不一致");
    assert_eq!(
        fault_of(
            me.client.post(CHANGE, change(PASSWORD, "short")).await,
            "new_password"
        ),
        "密码长度不能少于 8 位"
    );
    fault_of(
        me.client.post(CHANGE, change(PASSWORD, PASSWORD)).await,
        "new_password",
    );
    let missing = me
        .client
        .post(CHANGE, json!({}))
        .await
        .refused(400, "validation_error");
    let fields: Vec<&String> = missing["errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["old_password", "new_password"]);
    assert!(is_in(&other).await);

    let mut right = change(PASSWORD, OTHER_PASSWORD);
    right["confirm_password"] = json!(OTHER_PASSWORD);
    answered(
        me.client.put(CHANGE, right).await,
        200,
        json!({ "message": "密码修改成功" }),
    );
    assert!(is_in(me).await && !is_in(&other).await);
    token(&forest.srv.client, "customer", PASSWORD).await.expect(401);
    token(&forest.srv.client, "customer", OTHER_PASSWORD)
        .await
        .expect(200);
    let english = me.client.with_header("accept-language", "en");
    let reply = english.post(CHANGE, change(OTHER_PASSWORD, PASSWORD)).await;
    answered(reply, 200, json!({ "message": "Password changed." }));
    assert_eq!(mails(&forest.srv, "customer@example.com").await.len(), 2);
}

#[tokio::test]
async fn guesses_of_the_current_password_are_few_on_all_surfaces_together() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for i in 0..5 {
        let body = json!({ "old_password": "wrong-password", "new_password": OTHER_PASSWORD });
        let path = if i % 2 == 0 {
            CHANGE
        } else {
            "/user/change-password/"
        };
        alice.client.post(path, body).await.refused(400, "wrong_password");
    }
    let body = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
    alice.client.post(CHANGE, body).await.refused(429, "throttled");
    let changed = "SELECT COUNT(*) FROM security_events WHERE kind = 'password_changed'";
    assert_eq!(sql::number(&srv, changed).await, 0);
}
