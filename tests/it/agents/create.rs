//! The ways to an account: `register`, `create_sub_agent`, `create_agent`, `create_customer`.

use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::support::sql;

const CREATE: [(&str, &str); 3] = [
    ("create_sub_agent", "agent_l2"),
    ("create_agent", "agent_l1"),
    ("create_customer", "customer"),
];

fn maker<'a>(forest: &'a Forest, operation: &str) -> &'a User {
    match operation {
        "create_agent" => &forest.admin,
        _ => &forest.agent,
    }
}

fn path_of(operation: &str) -> String {
    format!("/api/users/{operation}/")
}

#[tokio::test]
async fn each_operation_makes_its_kind_at_its_place() {
    let forest = Forest::grown().await;
    for (i, (operation, kind)) in CREATE.into_iter().enumerate() {
        let name = format!("made{i}");
        let mut body = newcomer(&name);
        for (field, value) in [
            ("phone", json!("+86 138-0013-8000")),
            ("name", json!("张三")),
            ("display_name", json!("老张")),
            ("confirm_password", json!(PASSWORD)),
            ("user_type", json!("admin")),
            ("parent_id", json!(1)),
        ] {
            body[field] = value;
        }
        let by = maker(&forest, operation);
        let made = by.client.post(&path_of(operation), body).await.expect(201);
        let id = made["id"].as_i64().expect("id");
        let parent = (kind != "agent_l1").then_some((by.id, by.name.as_str()));
        let mut expected = ua(id, &name, kind, parent, &made["created_at"]);
        expected["phone"] = json!("+86 138-0013-8000");
        expected["name"] = json!("张三");
        expected["display_name"] = json!("老张");
        assert_eq!(made, expected);
        assert_eq!(
            forest
                .admin
                .client
                .get(&format!("/api/users/{id}/"))
                .await
                .expect(200),
            made
        );
        assert!(is_in(&sign_in(&forest.srv, &name, PASSWORD).await).await);
    }
}

#[tokio::test]
async fn customers_hang_below_the_caller_or_one_of_its_sub_agents() {
    let forest = Forest::grown().await;
    let make = async |by: &User, name: &str, agent: i64| {
        let mut body = newcomer(name);
        body["agent_id"] = json!(agent);
        by.client.post("/api/users/create_customer/", body).await
    };
    let made = make(&forest.agent, "c1", forest.sub.id).await.expect(201);
    assert_eq!(made["parent_id"], forest.sub.id);
    let made = make(&forest.agent, "c2", forest.agent.id).await.expect(201);
    assert_eq!(made["parent_id"], forest.agent.id);
    let made = make(&forest.sub, "c3", forest.sub.id).await.expect(201);
    assert_eq!(made["parent_username"], "sub");
    let made = make(&forest.admin, "c4", forest.other_sub.id).await.expect(201);
    assert_eq!(made["parent_id"], forest.other_sub.id);
    let body = newcomer("c5");
    let made = forest
        .admin
        .client
        .post("/api/users/create_customer/", body)
        .await
        .expect(201);
    assert_eq!(made["parent_id"], Value::Null);

    let cases = [
        (&forest.agent, forest.other_sub.id),
        (&forest.agent, forest.other_agent.id),
        (&forest.agent, forest.customer.id),
        (&forest.agent, forest.admin.id),
        (&forest.agent, 999_999),
        (&forest.sub, forest.agent.id),
        (&forest.admin, forest.customer.id),
        (&forest.admin, forest.admin.id),
    ];
    for (by, agent) in cases {
        let body = make(by, "nobody", agent).await.refused(400, "agent_not_found");
        assert_eq!(body["errors"], json!({ "agent_id": ["未找到匹配的代理"] }));
    }
    let disable = format!("{}disable_user/", one(&forest.sub));
    forest.agent.client.post(&disable, json!({})).await.expect(200);
    make(&forest.agent, "nobody", forest.sub.id)
        .await
        .refused(400, "agent_not_found");
    for bad in [json!("1"), json!(1.5), json!(true)] {
        let mut body = newcomer("nobody");
        body["agent_id"] = bad;
        fault_of(
            forest
                .agent
                .client
                .post("/api/users/create_customer/", body)
                .await,
            "agent_id",
        );
    }
    assert_eq!(
        sql::number(
            &forest.srv,
            "SELECT COUNT(*) FROM users WHERE username = 'nobody'"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn only_those_who_may_make_accounts() {
    let forest = Forest::grown().await;
    let editor = forest.editor().await;
    let body = newcomer("nobody");
    let denied = detailed("权限不足", "permission_denied");
    for by in [&forest.agent, &forest.sub, &forest.customer, &editor] {
        let reply = by.client.post("/api/users/create_agent/", body.clone()).await;
        answered(reply, 403, denied.clone());
    }
    for by in [&forest.customer, &editor] {
        let reply = by.client.post("/api/users/create_customer/", body.clone()).await;
        answered(reply, 403, denied.clone());
    }
    // A key has no admin rights without the scope `staff`.
    let key = api_key(&forest.srv, &forest.admin, &["*"]).await;
    let by_key = forest.srv.client.with_header("x-api-key", &key);
    for operation in ["create_agent", "create_customer"] {
        let reply = by_key.post(&path_of(operation), body.clone()).await;
        answered(reply, 403, denied.clone());
    }
    let staff = api_key(&forest.srv, &forest.admin, &["*", "staff"]).await;
    let by_key = forest.srv.client.with_header("x-api-key", &staff);
    by_key
        .post("/api/users/create_agent/", newcomer("by_key"))
        .await
        .expect(201);
}

#[tokio::test]
async fn fields_are_checked_and_all_faults_told_at_once() {
    let forest = Forest::grown().await;
    for (operation, _) in CREATE {
        let by = &maker(&forest, operation).client;
        let path = path_of(operation);
        let body = by.post(&path, json!({})).await.refused(400, "validation_error");
        let missing: Vec<&String> = body["errors"].as_object().unwrap().keys().collect();
        assert_eq!(missing, ["username", "password", "email"]);
        for (field, value, text) in [
            ("phone", json!("12"), "格式不正确"),
            ("phone", json!("１２３４"), "格式不正确"),
            ("phone", json!("0".repeat(21)), "长度不能超过 20 个字符"),
            ("phone", json!(13800138000_i64), "类型错误"),
            ("name", json!("x".repeat(151)), "长度不能超过 150 个字符"),
            ("display_name", json!("x".repeat(151)), "长度不能超过 150 个字符"),
            ("password", json!("1234567"), "密码长度不能少于 8 位"),
            ("email", json!("nobody"), "邮箱格式不正确"),
            ("username", json!("a@b"), "用户名格式不符合要求"),
            ("username", json!("admin"), "用户名格式不符合要求"),
            ("username", json!("deleted_7"), "用户名格式不符合要求"),
            ("confirm_password", json!("another-one-9"), "两次输入的密码不一致"),
            ("confirm_password", json!(""), "两次输入的密码不一致"),
        ] {
            let reply = by.post(&path, newcomer_with(field, value.clone())).await;
            assert_eq!(fault_of(reply, field), text, "{operation} {field} {value}");
        }
        for (field, value) in [
            ("phone", json!("123")),
            ("name", json!("文".repeat(150))),
            ("phone", json!("0".repeat(20))),
            ("phone", Value::Null),
            ("confirm_password", Value::Null),
        ] {
            let mut body = newcomer(&format!("ok{}", uuid::Uuid::new_v4().simple()));
            body[field] = value;
            by.post(&path, body).await.expect(201);
        }
    }
}

#[tokio::test]
async fn taken_names_and_addresses_are_told_by_name() {
    let forest = Forest::grown().await;
    for (operation, _) in CREATE {
        let by = &maker(&forest, operation).client;
        let path = path_of(operation);
        let mut body = newcomer("Customer");
        body["email"] = json!("free@example.com");
        let reply = by.post(&path, body.clone()).await.refused(400, "username_taken");
        assert_eq!(reply["error"], "用户名已存在");
        let reply = by
            .post(&path, newcomer_with("email", json!("CUSTOMER@example.com")))
            .await
            .refused(400, "email_taken");
        assert_eq!(reply["error"], "邮箱已存在");
        body["email"] = json!("sub@example.com");
        let reply = by.post(&path, body).await.refused(400, "username_taken");
        assert_eq!(
            reply["errors"],
            json!({ "username": ["用户名已存在"], "email": ["邮箱已存在"] })
        );
    }
}

#[tokio::test]
async fn of_parallel_creations_with_one_name_one_succeeds() {
    let forest = Forest::grown().await;
    let replies = join_all((0..8).map(|i| {
        let mut body = newcomer("popular");
        body["email"] = json!(format!("popular{i}@example.com"));
        let by = if i % 2 == 0 {
            &forest.agent
        } else {
            &forest.other_agent
        };
        by.client.post("/api/users/create_sub_agent/", body)
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|r| r.status == 201);
    assert_eq!((made.len(), refused.len()), (1, 7));
    for reply in refused {
        assert_eq!(reply.refused(400, "username_taken")["error"], "用户名已存在");
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer() {
    let forest = Forest::grown().await;
    let register = ("register", &forest.srv.client);
    let others = CREATE.map(|(operation, _)| (operation, &maker(&forest, operation).client));
    for (i, (operation, client)) in others.into_iter().chain([register]).enumerate() {
        let client = client.with_header("idempotency-key", &format!("key-{i}"));
        let (path, body) = (path_of(operation), newcomer(&format!("once{i}")));
        let first = client.post(&path, body.clone()).await.expect(201);
        let again = client.post(&path, body.clone()).await;
        assert_eq!(again.header("idempotent-replayed"), "true", "{operation}");
        answered(again, 201, first);
        let other = newcomer(&format!("twice{i}"));
        client
            .post(&path, other)
            .await
            .refused(422, "idempotency_key_reused");
        let name = format!("once{i}");
        let count = format!("SELECT COUNT(*) FROM users WHERE username = '{name}'");
        assert_eq!(sql::number(&forest.srv, &count).await, 1);
    }
    let kept = "SELECT COUNT(*) FROM idempotency_keys WHERE body LIKE '%correct-horse%'";
    assert_eq!(sql::number(&forest.srv, kept).await, 0, "no password is kept");
}

#[tokio::test]
async fn anyone_registers_perhaps_with_an_agent() {
    let forest = Forest::grown().await;
    let register = async |body: Value| forest.srv.client.post("/api/users/register/", body).await;
    let made = register(newcomer("free")).await.expect(201);
    let id = made["id"].as_i64().expect("id");
    assert_eq!(made, ua(id, "free", "customer", None, &made["created_at"]));
    for (i, (agent, parent)) in [("sub", &forest.sub), ("AGENT", &forest.agent)]
        .into_iter()
        .enumerate()
    {
        let mut body = newcomer(&format!("led{i}"));
        for (field, value) in [
            ("agent", json!(agent)),
            ("confirm_password", json!(PASSWORD)),
            ("name", json!("李四")),
            ("phone", json!("13800138000")),
            ("user_type", json!("agent_l1")),
            ("parent_id", json!(forest.other_agent.id)),
            ("is_staff", json!(true)),
        ] {
            body[field] = value;
        }
        let made = register(body).await.expect(201);
        assert_eq!(made["user_type"], "customer");
        assert_eq!(
            (&made["parent_id"], &made["name"]),
            (&json!(parent.id), &json!("李四"))
        );
    }
    for agent in ["nobody", "customer", "boss"] {
        let reply = register(newcomer_with("agent", json!(agent))).await;
        let body = reply.refused(400, "agent_not_found");
        assert_eq!(body["error"], "未找到匹配的代理");
        assert_eq!(body["errors"], json!({ "agent": ["未找到匹配的代理"] }));
    }
    let disable = format!("{}disable_user/", one(&forest.sub));
    forest.agent.client.post(&disable, json!({})).await.expect(200);
    register(newcomer_with("agent", json!("sub")))
        .await
        .refused(400, "agent_not_found");
    for blank in [json!(""), Value::Null] {
        let mut body = newcomer(&format!("blank{}", blank.is_null()));
        body["agent"] = blank;
        assert_eq!(register(body).await.expect(201)["parent_id"], Value::Null);
    }
    assert_eq!(
        fault_of(
            register(newcomer_with("confirm_password", json!("another-one-9"))).await,
            "confirm_password"
        ),
        "两次输入的密码不一致"
    );
}

#[tokio::test]
async fn registration_can_be_closed_and_agents_go_on() {
    let srv = TestServer::with(&[("AUTH_REGISTRATION_OPEN", "false")]).await;
    let admin = srv.admin("boss").await;
    let reply = srv.client.post("/api/users/register/", newcomer("free")).await;
    answered(reply, 403, detailed("暂未开放注册", "registration_closed"));
    made_by(&srv, &admin, "create_agent", "agent").await;
}

#[tokio::test]
async fn registrations_are_limited_for_each_address() {
    let srv = TestServer::with(&[("RATE_LIMIT_REGISTER", "2/h")]).await;
    for name in ["a1", "a2"] {
        srv.client
            .post("/api/users/register/", newcomer(name))
            .await
            .expect(201);
    }
    let reply = srv.client.post("/api/users/register/", newcomer("a3")).await;
    assert!(!reply.header("retry-after").is_empty());
    reply.refused(429, "throttled");
    // The limit is one for all surfaces.
    srv.client
        .post("/user/register/", newcomer("a3"))
        .await
        .refused(429, "throttled");
}
