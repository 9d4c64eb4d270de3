//! `POST /user/register/`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{PASSWORD, account, answered, detailed, fault_of, registration, registration_with, try_login};
use crate::support::{Reply, TestServer, sql};

const PATH: &str = "/user/register/";

async fn register(srv: &TestServer, body: Value) -> Reply {
    srv.client.post(PATH, body).await
}

#[tokio::test]
async fn missing_fields_are_all_reported_at_once() {
    let srv = TestServer::start().await;
    let required = json!(["该字段是必填项"]);
    let body = json!({
        "error": "该字段是必填项", "code": "validation_error",
        "errors": { "username": required, "email": required, "password": required },
    });
    answered(register(&srv, json!({})).await, 400, body);
    let english = srv
        .client
        .with_header("accept-language", "en")
        .post(PATH, json!({ "username": "x" }))
        .await;
    let required = json!(["This field is required."]);
    let body = json!({
        "error": "This field is required.", "code": "validation_error",
        "errors": { "email": required, "password": required },
    });
    answered(english, 400, body);
}

#[tokio::test]
async fn faults_of_single_fields_have_the_documented_texts() {
    let srv = TestServer::start().await;
    let long = |n: usize| json!("x".repeat(n));
    let address = |n: usize| {
        json!(format!(
            "{}@{}.{}.{}.com",
            "l".repeat(64),
            "d".repeat(60),
            "e".repeat(60),
            "f".repeat(n - 191)
        ))
    };
    let cases = [
        ("username", json!("   "), "该字段不能为空"),
        ("username", json!(5), "类型错误"),
        ("username", json!(["x"]), "类型错误"),
        ("username", json!({"a": 1}), "类型错误"),
        ("username", json!(true), "类型错误"),
        ("username", long(151), "长度不能超过 150 个字符"),
        ("email", json!(""), "该字段不能为空"),
        ("email", json!(7.5), "类型错误"),
        ("email", json!("nobody"), "邮箱格式不正确"),
        ("email", json!("a@b@c.de"), "邮箱格式不正确"),
        ("email", json!("a b@example.com"), "邮箱格式不正确"),
        ("email", json!("@example.com"), "邮箱格式不正确"),
        ("email", json!("a@"), "邮箱格式不正确"),
        (
            "email",
            json!("a@example.com\nbcc: v@example.com"),
            "邮箱格式不正确",
        ),
        ("email", address(255), "长度不能超过 254 个字符"),
        ("password", json!("1234567"), "密码长度不能少于 8 位"),
        ("password", json!(12_345_678), "类型错误"),
        ("password", long(129), "长度不能超过 128 个字符"),
        ("display_name", long(151), "长度不能超过 150 个字符"),
        ("display_name", json!(1), "类型错误"),
    ];
    for (field, value, text) in cases {
        let shown = value.to_string();
        let reply = register(&srv, registration_with(field, value)).await;
        assert_eq!(fault_of(reply, field), text, "{field} = {shown:.60}");
    }
    let bad = json!({ "username": "", "email": "nobody", "password": "short", "display_name": 3 });
    let all = register(&srv, bad).await.refused(400, "validation_error");
    assert_eq!(all["errors"].as_object().unwrap().len(), 4, "{all}");
    assert_eq!(
        all["error"], all["errors"]["username"][0],
        "the first declared field speaks"
    );
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test]
async fn the_longest_values_are_accepted() {
    let srv = TestServer::start().await;
    let name = "文".repeat(150);
    let email = format!(
        "{}@{}.{}.{}.com",
        "l".repeat(64),
        "d".repeat(60),
        "e".repeat(60),
        "f".repeat(63)
    );
    assert_eq!(email.len(), 254);
    let password = "密".repeat(128);
    let shown = "名".repeat(150);
    let body = json!({ "username": name, "email": email, "password": password, "display_name": shown });
    let created = register(&srv, body).await.expect(201);
    assert_eq!(
        created,
        account(created["id"].as_i64().unwrap(), &name, &email, &shown)
    );
    try_login(&srv, &name, &password).await.expect(200);
    try_login(&srv, &email, &password).await.expect(200);
    let mut shortest = registration("a");
    shortest["password"] = json!("12345678");
    register(&srv, shortest).await.expect(201);
}

#[tokio::test]
async fn names_outside_the_rules_are_refused() {
    let srv = TestServer::start().await;
    // Sixty letters that are one hundred and eighty when compared.
    let growing = "ﬃ".repeat(60);
    let reserved = [
        "me",
        "search",
        "admin",
        "root",
        "system",
        "api",
        "null",
        "undefined",
        "Admin",
        "ＲＯＯＴ",
    ];
    let bad = [
        "a@b",
        "a b",
        "a/b",
        "a\\b",
        "<b>",
        "a\u{202e}b",
        "😀",
        "＠x",
        "a\tb",
        "deleted_7",
        "DELETED_x",
    ];
    for name in bad.into_iter().chain(reserved).chain([growing.as_str()]) {
        let reply = register(&srv, registration_with("username", json!(name))).await;
        fault_of(reply, "username");
    }
    for email in ["deleted_1@invalid", "x@INVALID"] {
        fault_of(
            register(&srv, registration_with("email", json!(email))).await,
            "email",
        );
    }
    for (field, value) in [
        ("username", "a\0b"),
        ("email", "a\0@example.com"),
        ("password", "1234567\0"),
        ("display_name", "a\u{7}b"),
    ] {
        fault_of(
            register(&srv, registration_with(field, json!(value))).await,
            field,
        );
    }
    for name in ["_", "a.b+c-d_e", "张三", "Ünïcödé", "名前", "0"] {
        let mut body = registration("valid");
        (body["username"], body["email"]) = (
            json!(name),
            json!(format!("{}@example.com", uuid::Uuid::new_v4())),
        );
        register(&srv, body).await.expect(201);
    }
}

#[tokio::test]
async fn a_taken_name_or_address_is_told_and_the_name_comes_first() {
    let srv = TestServer::start().await;
    register(&srv, registration("alice")).await.expect(201);
    let name = register(&srv, registration_with("username", json!("alice")))
        .await
        .refused(400, "username_taken");
    assert_eq!(name["error"], "用户名已存在");
    assert_eq!(name["errors"], json!({ "username": ["用户名已存在"] }));
    let email = register(&srv, registration_with("email", json!("alice@example.com"))).await;
    let email = email.refused(400, "email_taken");
    assert_eq!(email["error"], "邮箱已存在");
    assert_eq!(email["errors"], json!({ "email": ["邮箱已存在"] }));
    let both = register(&srv, registration("alice"))
        .await
        .refused(400, "username_taken");
    assert_eq!(both["error"], "用户名已存在");
    assert_eq!(
        both["errors"],
        json!({ "username": ["用户名已存在"], "email": ["邮箱已存在"] })
    );
    let english = srv
        .client
        .with_header("accept-language", "en-GB")
        .post(PATH, registration("alice"))
        .await;
    let english = english.refused(400, "username_taken");
    assert_eq!(english["error"], "Username is taken.");
    assert_eq!(
        english["errors"],
        json!({ "username": ["Username is taken."], "email": ["E-mail is taken."] })
    );
}

#[tokio::test]
async fn names_are_compared_folded_and_the_same_on_every_database() {
    let srv = TestServer::start().await;
    let mut number = 0;
    let mut with_name = |name: &str| {
        number += 1;
        json!({ "username": name, "email": format!("n{number}@example.com"), "password": PASSWORD })
    };
    for (first, equals) in [
        ("Alice", &["alice", "ALICE", "Ａｌｉｃｅ", " alice "][..]),
        ("straße", &["STRASSE", "Straße"]),
        ("ﬁne", &["fine", "FINE"]),
        ("caf\u{e9}", &["cafe\u{301}", "CAFÉ", "cafÉ"]),
        ("ΣΊΣΥΦΟΣ", &["σίσυφος"]),
    ] {
        register(&srv, with_name(first)).await.expect(201);
        for name in equals {
            register(&srv, with_name(name))
                .await
                .refused(400, "username_taken");
        }
    }
    // A mark belongs to a letter.
    fault_of(register(&srv, with_name("\u{301}cafe")).await, "username");
    // Different letters, however alike a collation may find them.
    for name in ["cafe", "Alicé", "аlice", "alice_", "alic", "straase"] {
        register(&srv, with_name(name)).await.expect(201);
    }
    let mut body = registration("mail");
    body["email"] = json!("Some.One@Example.COM");
    assert_eq!(
        register(&srv, body).await.expect(201)["email"],
        "Some.One@Example.COM"
    );
    let again = registration_with("email", json!("some.one@example.com"));
    register(&srv, again).await.refused(400, "email_taken");
    register(&srv, registration_with("email", json!("someone@example.com")))
        .await
        .expect(201);
}

#[tokio::test]
async fn texts_are_trimmed_normalised_and_stored_as_sent_but_passwords_are_not_touched() {
    let srv = TestServer::start().await;
    let body = json!({
        "username": "  carol ", "email": "\tcarol@example.com\n", "password": "  pass word  ",
        "display_name": " 😀\u{202e}مرحبا\r\nline <b>'\"\\ ",
    });
    let created = register(&srv, body).await.expect(201);
    let id = created["id"].as_i64().unwrap();
    assert_eq!(
        created,
        account(id, "carol", "carol@example.com", "😀\u{202e}مرحبا\nline <b>'\"\\")
    );
    try_login(&srv, "carol", "pass word")
        .await
        .refused(401, "invalid_credentials");
    let login = try_login(&srv, "carol", "  pass word  ").await.expect(200);
    assert_eq!(login["user"], created);
    for (field, value) in [("display_name", json!("  ")), ("display_name", Value::Null)] {
        let mut body = registration(&format!("d{}", uuid::Uuid::new_v4().simple()));
        body[field] = value;
        let created = register(&srv, body).await.expect(201);
        assert_eq!(created["display_name"], created["username"]);
    }
}

#[tokio::test]
async fn parallel_registers_of_one_address_or_one_folded_name_make_one_account() {
    let srv = TestServer::start().await;
    let spellings = ["popular", "POPULAR", "Popular", "ｐｏｐｕｌａｒ"];
    let by_name = join_all((0..20).map(|i| {
        let body = json!({ "username": spellings[i % 4], "email": format!("a{i}@example.com"), "password": PASSWORD });
        srv.client.post(PATH, body)
    }));
    let by_address = join_all((0..20).map(|i| {
        let body = json!({ "username": format!("n{i}"), "email": "Same@example.com", "password": PASSWORD });
        srv.client.post(PATH, body)
    }));
    let (by_name, by_address) = tokio::join!(by_name, by_address);
    for (all, code) in [(by_name, "username_taken"), (by_address, "email_taken")] {
        assert_eq!(all.iter().filter(|r| r.status == 201).count(), 1);
        for reply in all.into_iter().filter(|r| r.status != 201) {
            reply.refused(400, code);
        }
    }
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 2);
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM user_profiles").await, 2);
}

#[tokio::test]
async fn a_stale_credential_does_not_matter_and_the_slash_is_optional() {
    let srv = TestServer::start().await;
    let stale = srv
        .client
        .with_token("stale")
        .with_header("x-api-key", "ak_broken");
    stale
        .post("/user/register", registration("alice"))
        .await
        .expect(201);
    let login = stale
        .post(
            "/user/login",
            json!({ "username": "alice", "password": PASSWORD }),
        )
        .await
        .expect(200);
    stale
        .post("/user/refresh-token", json!({ "refresh": login["refresh"] }))
        .await
        .expect(200);
}

#[tokio::test]
async fn registration_can_be_closed() {
    let srv = TestServer::with(&[("AUTH_REGISTRATION_OPEN", "false")]).await;
    answered(
        register(&srv, registration("alice")).await,
        403,
        detailed("暂未开放注册", "registration_closed"),
    );
    let english = srv
        .client
        .with_header("accept-language", "en")
        .post(PATH, registration("alice"))
        .await;
    answered(
        english,
        403,
        detailed("Registration is closed.", "registration_closed"),
    );
    let admin = srv.admin("boss").await;
    admin
        .client
        .post("/user/", registration("alice"))
        .await
        .expect(201);
}

#[tokio::test]
async fn the_strict_policy_refuses_common_numeric_and_similar_passwords() {
    let srv = TestServer::with(&[("PASSWORD_POLICY", "strict")]).await;
    for password in ["93847561028", "Password123", "somebody1", "password"] {
        fault_of(
            register(&srv, registration_with("password", json!(password))).await,
            "password",
        );
    }
    register(&srv, registration("somebody")).await.expect(201);
}

#[tokio::test]
async fn passwords_are_stored_as_argon2id_and_used_in_full() {
    let srv = TestServer::start().await;
    let long = format!("{}{}", "x".repeat(90), "end-of-it");
    let mut body = registration("alice");
    body["password"] = json!(long);
    register(&srv, body).await.expect(201);
    let stored = sql::text(&srv, "SELECT password FROM users WHERE username_key = 'alice'").await;
    assert!(stored.starts_with("$argon2id$v=19$"), "{stored}");
    let other_tail = format!("{}{}", "x".repeat(90), "end-of-IT");
    try_login(&srv, "alice", &other_tail)
        .await
        .refused(401, "invalid_credentials");
    try_login(&srv, "alice", &long).await.expect(200);
}
