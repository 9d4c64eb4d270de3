//! The must-pass scenarios 1 to 5 of the agents' surface, and the accounts' half of 10.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::support::{jwt, sql};

#[tokio::test]
async fn agents_scenario_01_a_token_by_any_name_in_json_or_form() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let address = "alice@example.com";
    let bodies = [
        json!({ "login": "alice", "password": PASSWORD }),
        json!({ "login": address, "password": PASSWORD }),
        json!({ "username": "alice", "password": PASSWORD }),
        json!({ "username": address, "password": PASSWORD }),
        // `login` wins.
        json!({ "login": "alice", "username": "nobody", "password": PASSWORD }),
    ];
    for body in bodies {
        let fields: Vec<(&str, &str)> = body
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let form = url_encoded(&fields);
        let request = srv
            .client
            .request(reqwest::Method::POST, "/api/token/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        for reply in [
            srv.client.post("/api/token/", body.clone()).await,
            srv.client.send(request).await,
        ] {
            let reply = reply.expect(200);
            let keys: Vec<&String> = reply.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["access", "refresh", "user"]);
            let created_at = reply["user"]["created_at"].clone();
            assert_eq!(
                reply["user"],
                ua(alice.id, "alice", "customer", None, &created_at)
            );
            let claims = jwt::claims(reply["access"].as_str().unwrap());
            let life = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert_eq!(life(&claims), 604_800);
            assert_eq!(life(&jwt::claims(reply["refresh"].as_str().unwrap())), 2_592_000);
            let me = srv.client.with_token(reply["access"].as_str().unwrap());
            answered(me.get("/api/users/profile/").await, 200, reply["user"].clone());
            // Tokens of any surface work on all.
            me.get("/user/profile/").await.expect(200);
        }
    }
}

fn url_encoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encode(name), encode(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn agents_scenario_02_only_first_level_agents_make_sub_agents_and_only_below_themselves() {
    let forest = Forest::grown().await;
    let path = "/api/users/create_sub_agent/";
    let mut body = newcomer("second");
    for (field, value) in [
        ("parent", json!(forest.other_agent.id)),
        ("parent_id", json!(forest.other_agent.id)),
        ("user_type", json!("admin")),
        ("is_active", json!(false)),
        ("balance", json!(1_000_000)),
        ("is_staff", json!(true)),
    ] {
        body[field] = value;
    }
    let made = forest.agent.client.post(path, body).await.expect(201);
    let expected = ua(
        made["id"].as_i64().expect("id"),
        "second",
        "agent_l2",
        Some((forest.agent.id, "agent")),
        &made["created_at"],
    );
    assert_eq!(made, expected);
    let second = sign_in(&forest.srv, "second", PASSWORD).await;
    for refused in [&forest.sub, &second, &forest.customer, &forest.admin] {
        let reply = refused.client.post(path, newcomer("third")).await;
        answered(
            reply,
            403,
            detailed("只有一级代理可以创建二级代理", "not_agent_l1"),
        );
    }
}

#[tokio::test]
async fn agents_scenario_03_another_agent_neither_sees_nor_touches_it() {
    let forest = Forest::grown().await;
    let strangers = [&forest.other_agent, &forest.other_sub, &forest.other_customer];
    for target in [&forest.sub, &forest.customer, &forest.own_customer, &forest.agent] {
        let before = forest.admin.client.get(&one(target)).await.expect(200);
        for stranger in strangers {
            let client = &stranger.client;
            let path = one(target);
            let not_found = |reply| answered(reply, 404, detailed("资源不存在", "not_found"));
            not_found(client.get(&path).await);
            not_found(client.patch(&path, json!({ "name": "x" })).await);
            not_found(client.put(&path, json!({ "is_active": false })).await);
            not_found(client.post(&format!("{path}disable_user/"), json!({})).await);
            not_found(client.post(&format!("{path}start_user/"), json!({})).await);
            let password = json!({ "new_password": OTHER_PASSWORD });
            not_found(client.post(&format!("{path}set_password/"), password).await);
            not_found(client.delete(&path).await);
            not_found(client.delete(&format!("{path}delete_user/")).await);
            let taken = format!("{path}?reassign_to=self");
            not_found(client.delete(&taken).await);
        }
        let after = forest.admin.client.get(&one(target)).await.expect(200);
        assert_eq!(after, before);
        assert!(is_in(target).await);
    }
    for list in ["/api/users/", "/api/users/customers/"] {
        let seen = listed(&forest.other_agent, &format!("{list}?page_size=100")).await;
        assert!(
            !seen
                .iter()
                .any(|n| ["sub", "customer", "own_customer", "agent"].contains(&n.as_str()))
        );
    }
    let subs = listed(&forest.other_agent, "/api/users/sub_agents/").await;
    assert_eq!(subs, ["other_sub"]);
}

#[tokio::test]
async fn agents_scenario_04_a_reset_by_mail_tells_nothing_and_works_once() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    let alice = srv.user("alice").await;
    let (known, unknown) = ("alice@example.com", "nobody@example.org");
    // Step 1 answers alike, six times in a row.
    for _ in 0..6 {
        let mut replies = Vec::new();
        for address in [known, unknown] {
            let reply = srv.client.post(RESET, json!({ "email": address })).await;
            replies.push((reply.status, reply.text()));
        }
        assert_eq!(replies[0], replies[1]);
        assert_eq!(replies[0].0, 200);
    }
    assert!(mails(&srv, unknown).await.is_empty());
    assert_eq!(mails(&srv, known).await.len(), 6);
    // Step 2 with a wrong code as well; five of them void it.
    let code = mailed_code(&srv, known).await;
    for attempt in 1..=6 {
        let mut replies = Vec::new();
        for address in [known, unknown] {
            let reply = reset_with(&srv, address, wrong(&code)).await;
            replies.push((reply.status, reply.text()));
        }
        assert_eq!(replies[0], replies[1], "attempt {attempt}");
        let (text, kind) = if attempt <= 5 {
            ("验证码错误", "code_invalid")
        } else {
            ("验证码已过期", "code_expired")
        };
        let body: Value = serde_json::from_str(&replies[0].1).expect("JSON");
        assert_eq!((replies[0].0, body), (400, error(text, kind)));
    }
    // The right one is void now.
    answered(
        reset_with(&srv, known, &code).await,
        400,
        error("验证码已过期", "code_expired"),
    );
    assert!(is_in(&alice).await);

    ask_code(&srv, known).await;
    let code = mailed_code(&srv, known).await;
    let replies = join_all((0..2).map(|_| reset_with(&srv, known, &code))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    for reply in replies {
        match reply.status {
            200 => answered(reply, 200, json!({ "message": "密码重置成功" })),
            _ => answered(reply, 400, error("验证码已过期", "code_expired")),
        }
    }
    answered(
        reset_with(&srv, known, &code).await,
        400,
        error("验证码已过期", "code_expired"),
    );
    assert!(!is_in(&alice).await, "old sessions are dead");
    token(&srv.client, "alice", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    token(&srv.client, "alice", OTHER_PASSWORD).await.expect(200);
}

#[tokio::test]
async fn agents_scenario_05_a_new_password_without_proof_changes_nothing() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let stored = "SELECT password FROM users WHERE username = 'alice'";
    let before = sql::text(&srv, stored).await;
    ask_code(&srv, "alice@example.com").await;
    let sent = mails(&srv, "alice@example.com").await.len();
    for body in [
        json!({ "email": "alice@example.com", "password": OTHER_PASSWORD }),
        json!({ "email": "alice@example.com", "new_password": OTHER_PASSWORD }),
        json!({ "email": "alice@example.com", "new_password": OTHER_PASSWORD, "code": null }),
        json!({ "email": "nobody@example.org", "password": OTHER_PASSWORD }),
        json!({ "password": OTHER_PASSWORD }),
    ] {
        for path in [RESET, "/user/reset-password/"] {
            let reply = srv.client.post(path, body.clone()).await;
            assert_eq!(fault_of(reply, "code"), "该字段是必填项", "{body}");
        }
    }
    assert_eq!(sql::text(&srv, stored).await, before);
    assert_eq!(mails(&srv, "alice@example.com").await.len(), sent);
    assert!(is_in(&alice).await);
}

/// The sockets' half is with the support sessions.
#[tokio::test]
async fn agents_scenario_10_disabling_an_agent_ends_its_tokens_at_once() {
    let forest = Forest::grown().await;
    assert!(is_in(&forest.agent).await);
    let path = format!("{}disable_user/", one(&forest.agent));
    answered(
        forest.admin.client.post(&path, json!({})).await,
        200,
        json!({ "message": "用户已停用" }),
    );
    assert!(!is_in(&forest.agent).await);
    token(&forest.srv.client, "agent", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    let refresh = json!({ "refresh": forest.agent.refresh });
    assert_eq!(
        forest
            .srv
            .client
            .post("/user/refresh-token/", refresh)
            .await
            .status,
        401
    );
    // Its sub-agents keep working.
    assert!(is_in(&forest.sub).await);
    made_by(&forest.srv, &forest.sub, "create_customer", "fresh").await;
}
