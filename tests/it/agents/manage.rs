//! What ancestors and admins do to others: PATCH and PUT `/{id}/`, `disable_user/`, `start_user/`,
//! `set_password/`.

use serde_json::json;

use super::*;
use crate::support::sql;

#[tokio::test]
async fn ancestors_and_admins_change_what_they_may() {
    let forest = Forest::grown().await;
    for (by, target) in [
        (&forest.agent, &forest.sub),
        (&forest.agent, &forest.customer),
        (&forest.sub, &forest.customer),
        (&forest.admin, &forest.other_sub),
    ] {
        let before = by.client.get(&one(target)).await.expect(200);
        let body = json!({
            "name": "新名字", "phone": "12345", "display_name": "显示", "username": "renamed",
            "id": 1, "created_at": "2000-01-01T00:00:00Z", "password_hash": "x", "token_version": 9,
            "first_name": "x", "quota": 1, "used_space": 5, "is_staff": true,
        });
        let mut expected = before.clone();
        expected["name"] = json!("新名字");
        expected["phone"] = json!("12345");
        expected["display_name"] = json!("显示");
        answered(by.client.patch(&one(target), body).await, 200, expected.clone());
        answered(
            by.client.put(&one(target), json!({})).await,
            200,
            expected.clone(),
        );
        expected["phone"] = Value::Null;
        expected["name"] = json!("");
        expected["display_name"] = before["username"].clone();
        let body = json!({ "name": "", "phone": null, "display_name": "" });
        answered(by.client.put(&one(target), body).await, 200, expected.clone());
        answered(by.client.get(&one(target)).await, 200, expected);
        assert!(is_in(target).await, "names end no session");
    }
}

#[tokio::test]
async fn agents_cannot_write_kind_or_place() {
    let forest = Forest::grown().await;
    let before = forest.admin.client.get(&one(&forest.customer)).await.expect(200);
    let body = json!({ "user_type": "agent_l1", "parent_id": forest.agent.id });
    for by in [&forest.agent, &forest.sub] {
        let reply = by.client.patch(&one(&forest.customer), body.clone()).await;
        answered(reply, 200, before.clone());
    }
    assert!(is_in(&forest.customer).await);
}

#[tokio::test]
async fn nobody_manages_himself_and_editors_nobody() {
    let forest = Forest::grown().await;
    let editor = forest.editor().await;
    let selfish = json!({ "name": "x", "user_type": "admin", "parent_id": null, "is_active": true });
    let password = json!({ "new_password": OTHER_PASSWORD });
    for who in [&forest.agent, &forest.sub, &forest.customer, &editor] {
        let path = one(who);
        let replies = [
            who.client.patch(&path, selfish.clone()).await,
            who.client.put(&path, selfish.clone()).await,
            who.client.delete(&path).await,
            who.client.post(&format!("{path}disable_user/"), json!({})).await,
            who.client.post(&format!("{path}start_user/"), json!({})).await,
            who.client
                .post(&format!("{path}set_password/"), password.clone())
                .await,
        ];
        for reply in replies {
            answered(reply, 400, error("不能对自己执行该操作", "cannot_target_self"));
        }
        assert!(is_in(who).await);
        let path = one(&forest.other_sub);
        let replies = [
            who.client.patch(&path, selfish.clone()).await,
            who.client.delete(&path).await,
            who.client.post(&format!("{path}disable_user/"), json!({})).await,
            who.client
                .post(&format!("{path}set_password/"), password.clone())
                .await,
        ];
        for reply in replies {
            answered(reply, 404, detailed("资源不存在", "not_found"));
        }
    }
    let path = format!("{}set_password/", one(&forest.admin));
    forest
        .admin
        .client
        .post(&path, password)
        .await
        .refused(400, "cannot_target_self");
}

#[tokio::test]
async fn a_new_address_ends_the_sessions_of_its_user() {
    let forest = Forest::grown().await;
    let body = json!({ "email": "new@example.com" });
    let changed = forest
        .sub
        .client
        .patch(&one(&forest.customer), body)
        .await
        .expect(200);
    assert_eq!(changed["email"], "new@example.com");
    assert!(!is_in(&forest.customer).await);
    assert!(is_in(&forest.sub).await);
    assert_eq!(mails(&forest.srv, "customer@example.com").await.len(), 1);
    let taken = json!({ "email": "SUB@example.com" });
    forest
        .agent
        .client
        .patch(&one(&forest.own_customer), taken)
        .await
        .refused(400, "email_taken");
    // Admins prove that it is they.
    let path = one(&forest.other_sub);
    for password in [Value::Null, json!("wrong-password")] {
        let body = json!({ "email": "x@example.com", "password": password });
        let reply = forest.admin.client.patch(&path, body).await;
        assert_eq!(reply.refused(400, "wrong_password")["error"], "当前密码有误");
    }
    let body = json!({ "email": "x@example.com", "password": PASSWORD });
    forest.admin.client.patch(&path, body.clone()).await.expect(200);
    // A key never writes an address.
    let key = api_key(&forest.srv, &forest.agent, &["agents:write"]).await;
    let by_key = forest.srv.client.with_header("x-api-key", &key);
    by_key
        .patch(&one(&forest.sub), json!({ "email": "y@example.com" }))
        .await
        .refused(403, "api_key_not_allowed");
    by_key
        .patch(&one(&forest.sub), json!({ "name": "y" }))
        .await
        .expect(200);
    // Whether a foreign account is there is not told by another error.
    by_key
        .patch(&one(&forest.other_sub), body)
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn disabling_signs_out_and_enabling_lets_in_again() {
    let forest = Forest::grown().await;
    for (by, target) in [
        (&forest.agent, &forest.customer),
        (&forest.sub, &forest.customer),
        (&forest.agent, &forest.sub),
        (&forest.admin, &forest.other_agent),
    ] {
        let target = sign_in(&forest.srv, &target.name, PASSWORD).await;
        let (disable, start) = (
            format!("{}disable_user/", one(&target)),
            format!("{}start_user/", one(&target)),
        );
        for _ in 0..2 {
            let reply = by.client.post(&disable, json!({})).await;
            answered(reply, 200, json!({ "message": "用户已停用" }));
        }
        assert!(!is_in(&target).await);
        let reply = token(&forest.srv.client, &target.name, PASSWORD).await;
        answered(reply, 401, detailed("用户名或密码错误", "invalid_credentials"));
        assert_eq!(by.client.get(&one(&target)).await.expect(200)["is_active"], false);
        for _ in 0..2 {
            let reply = by.client.post(&start, json!({})).await;
            answered(reply, 200, json!({ "message": "用户已启用" }));
        }
        assert!(!is_in(&target).await, "old tokens stay dead");
        sign_in(&forest.srv, &target.name, PASSWORD).await;
        let by_patch = by
            .client
            .patch(&one(&target), json!({ "is_active": false }))
            .await;
        assert_eq!(by_patch.expect(200)["is_active"], false);
        by.client
            .patch(&one(&target), json!({ "is_active": true }))
            .await
            .expect(200);
    }
    let english = forest.agent.client.with_header("accept-language", "en");
    let path = format!("{}start_user/", one(&forest.sub));
    answered(
        english.post(&path, json!({})).await,
        200,
        json!({ "message": "User enabled." }),
    );
}

#[tokio::test]
async fn admins_are_not_disabled_here() {
    let forest = Forest::grown().await;
    let deputy = forest.srv.admin("deputy").await;
    for target in [&deputy, &forest.admin] {
        let path = one(target);
        for reply in [
            forest
                .admin
                .client
                .post(&format!("{path}disable_user/"), json!({}))
                .await,
            forest
                .admin
                .client
                .patch(&path, json!({ "is_active": false }))
                .await,
        ] {
            answered(
                reply,
                400,
                error("不能停用超级管理员账户", "cannot_disable_admin"),
            );
        }
        assert!(is_in(target).await);
    }
}

#[tokio::test]
async fn a_set_password_ends_every_session_of_its_user() {
    let forest = Forest::grown().await;
    let path = format!("{}set_password/", one(&forest.customer));
    let set =
        async |by: &User, password: Value| by.client.post(&path, json!({ "new_password": password })).await;
    let second = sign_in(&forest.srv, "customer", PASSWORD).await;
    let reply = set(&forest.sub, json!(OTHER_PASSWORD)).await;
    answered(reply, 200, json!({ "message": "密码重置成功" }));
    assert!(!is_in(&second).await && !is_in(&forest.customer).await);
    token(&forest.srv.client, "customer", PASSWORD).await.expect(401);
    token(&forest.srv.client, "customer", OTHER_PASSWORD)
        .await
        .expect(200);
    let notices = mails(&forest.srv, "customer@example.com").await;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].subject, "密码已修改");
    let events = format!(
        "SELECT COUNT(*) FROM security_events WHERE kind = 'password_changed' AND user_id = {}",
        forest.customer.id
    );
    assert_eq!(sql::number(&forest.srv, &events).await, 1);
    assert_eq!(
        fault_of(set(&forest.agent, json!("1234567")).await, "new_password"),
        "密码长度不能少于 8 位"
    );
    assert_eq!(
        fault_of(set(&forest.agent, Value::Null).await, "new_password"),
        "该字段不能为空"
    );
    let reply = forest.agent.client.post(&path, json!({})).await;
    assert_eq!(fault_of(reply, "new_password"), "该字段是必填项");
    // Credentials are out of reach for keys.
    let key = api_key(&forest.srv, &forest.agent, &["*"]).await;
    let by_key = forest.srv.client.with_header("x-api-key", &key);
    by_key
        .post(&path, json!({ "new_password": OTHER_PASSWORD }))
        .await
        .refused(403, "api_key_not_allowed");
    by_key
        .delete(&one(&forest.sub))
        .await
        .refused(403, "api_key_not_allowed");
}

#[tokio::test]
async fn the_strict_policy_holds_on_every_way_to_a_password() {
    let srv = TestServer::with(&[("PASSWORD_POLICY", "strict")]).await;
    let admin = srv.admin("boss").await;
    let agent = made_by(&srv, &admin, "create_agent", "agent").await;
    let weak = "password123";
    for (client, path) in [
        (&admin.client, "/api/users/create_agent/"),
        (&agent.client, "/api/users/create_sub_agent/"),
        (&agent.client, "/api/users/create_customer/"),
        (&srv.client, "/api/users/register/"),
    ] {
        let reply = client.post(path, newcomer_with("password", json!(weak))).await;
        assert_eq!(fault_of(reply, "password"), "密码过于常见");
    }
    let customer = made_by(&srv, &agent, "create_customer", "customer").await;
    let path = format!("{}set_password/", one(&customer));
    let reply = agent.client.post(&path, json!({ "new_password": weak })).await;
    assert_eq!(fault_of(reply, "new_password"), "密码过于常见");
    let body = json!({ "old_password": PASSWORD, "new_password": weak });
    let reply = customer.client.post("/api/users/change_password/", body).await;
    assert_eq!(fault_of(reply, "new_password"), "密码过于常见");
    ask_code(&srv, "customer@example.com").await;
    let code = mailed_code(&srv, "customer@example.com").await;
    for _ in 0..7 {
        // The right code with a bad password is no wrong guess.
        let body = json!({ "email": "customer@example.com", "code": code, "password": weak });
        let reply = srv.client.post(RESET, body).await;
        assert_eq!(fault_of(reply, "password"), "密码过于常见");
    }
    reset_with(&srv, "customer@example.com", &code).await.expect(200);
}
