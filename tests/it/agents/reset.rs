//! A forgotten password, on both surfaces.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::support::sql;

const ALICE: &str = "alice@example.com";
const FORGOT: [&str; 4] = [
    RESET,
    "/api/users/forgot_password/",
    "/user/forgot-password/",
    "/user/reset-password/",
];
const VERIFY: &str = "/api/users/verify_code/";

fn expired() -> Value {
    error("验证码已过期", "code_expired")
}

fn invalid() -> Value {
    error("验证码错误", "code_invalid")
}

#[tokio::test]
async fn every_first_step_mails_a_code_in_the_language_of_the_request() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    srv.user("alice").await;
    for (i, path) in FORGOT.into_iter().enumerate() {
        let reply = srv
            .client
            .post(path, json!({ "email": " Alice@Example.com " }))
            .await;
        answered(reply, 200, json!({ "message": "验证码已发送到您的邮箱" }));
        let mail = mails(&srv, ALICE).await.pop().expect("a mail");
        assert_eq!(mail.subject, "重置密码验证码");
        let code = mailed_code(&srv, ALICE).await;
        for part in [&mail.text, &mail.html] {
            assert!(
                part.contains(&code) && part.contains("5 分钟") && part.contains("127.0.0.1"),
                "{part}"
            );
        }
        let english = srv.client.with_header("accept-language", "en-GB,en;q=0.9");
        let reply = english.post(path, json!({ "email": ALICE })).await;
        answered(
            reply,
            200,
            json!({ "message": "A code was sent to your e-mail." }),
        );
        let mail = mails(&srv, ALICE).await.pop().expect("a mail");
        assert_eq!(mail.subject, "Your password reset code");
        let code = mailed_code(&srv, ALICE).await;
        for part in [&mail.text, &mail.html] {
            assert!(
                part.contains(&code) && part.contains("5 minutes") && part.contains("127.0.0.1"),
                "{part}"
            );
        }
        assert_eq!(mails(&srv, ALICE).await.len(), 2 * (i + 1));
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_before_anything_happens() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for path in FORGOT {
        let reply = srv.client.post(path, json!({})).await;
        assert_eq!(fault_of(reply, "email"), "该字段是必填项");
        for bad in [
            json!(""),
            json!("nobody"),
            json!("a@b@c.de"),
            json!(5),
            json!("x@invalid"),
        ] {
            fault_of(srv.client.post(path, json!({ "email": bad })).await, "email");
        }
    }
    for path in [RESET, "/user/reset-password/"] {
        let post = async |body: Value| srv.client.post(path, body).await;
        for (body, field) in [
            (
                json!({ "code": "123456", "new_password": OTHER_PASSWORD }),
                "email",
            ),
            (json!({ "email": ALICE, "code": "123456" }), "new_password"),
            (json!({ "reset_token": "x" }), "new_password"),
            (
                json!({ "email": ALICE, "code": "", "new_password": OTHER_PASSWORD }),
                "code",
            ),
            (json!({ "email": ALICE, "code": "" }), "code"),
            (
                json!({ "email": ALICE, "code": 123456, "new_password": OTHER_PASSWORD }),
                "code",
            ),
            (
                json!({ "email": ALICE, "code": "1".repeat(33), "new_password": OTHER_PASSWORD }),
                "code",
            ),
            (
                json!({ "email": ALICE, "code": "123456", "new_password": "1234567" }),
                "new_password",
            ),
            (
                json!({ "email": ALICE, "code": "123456", "password": "1234567" }),
                "password",
            ),
            (
                json!({ "email": ALICE, "reset_token": "", "password": OTHER_PASSWORD }),
                "reset_token",
            ),
        ] {
            fault_of(post(body).await, field);
        }
    }
    for body in [
        json!({ "email": ALICE }),
        json!({ "code": "123456" }),
        json!({ "email": ALICE, "code": "" }),
    ] {
        srv.client
            .post(VERIFY, body)
            .await
            .refused(400, "validation_error");
    }
    assert!(mails(&srv, ALICE).await.is_empty());
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM password_reset_codes").await,
        0
    );
}

#[tokio::test]
async fn a_code_resets_under_every_spelling_and_on_both_surfaces() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    let alice = srv.user("alice").await;
    let key = api_key(&srv, &alice, &["*"]).await;
    let mut passwords = ["first-one-11", "second-one-22", "third-one-33"].into_iter();
    for (path, field) in [
        (RESET, "new_password"),
        (RESET, "password"),
        ("/user/reset-password/", "new_password"),
    ] {
        let password = passwords.next().expect("another");
        ask_code(&srv, ALICE).await;
        let code = mailed_code(&srv, ALICE).await;
        let mut body = json!({ "email": "ALICE@example.com", "code": format!(" {code} ") });
        body[field] = json!(password);
        answered(
            srv.client.post(path, body).await,
            200,
            json!({ "message": "密码重置成功" }),
        );
        token(&srv.client, "alice", password).await.expect(200);
    }
    assert!(!is_in(&alice).await);
    // Keys are left alone.
    let by_key = srv.client.with_header("x-api-key", &key);
    by_key.get("/api/users/profile/").await.expect(200);
    let notices = mails(&srv, ALICE).await;
    let notices: Vec<_> = notices
        .iter()
        .filter(|mail| mail.subject == "密码已修改")
        .collect();
    assert_eq!(notices.len(), 3);
    for kind in ["password_reset_requested", "password_changed"] {
        let events = format!("SELECT COUNT(*) FROM security_events WHERE kind = '{kind}'");
        assert_eq!(sql::number(&srv, &events).await, 3, "{kind}");
    }
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM password_reset_codes").await,
        0
    );
}

#[tokio::test]
async fn a_verified_code_is_used_up_and_its_token_works_once() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    srv.user("alice").await;
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    let verify = async |code: &str| {
        srv.client
            .post(VERIFY, json!({ "email": ALICE, "code": code }))
            .await
    };
    answered(verify(wrong(&code)).await, 400, invalid());
    let reply = verify(&code).await.expect(200);
    let token_text = reply["reset_token"].as_str().expect("a token").to_owned();
    assert_eq!(
        reply,
        json!({ "message": "验证码正确", "reset_token": token_text, "expires_in": 300 })
    );
    assert!(token_text.len() >= 43, "256 bits");
    answered(verify(&code).await, 400, expired());
    answered(reset_with(&srv, ALICE, &code).await, 400, expired());
    let by_token = async |token: &str, password: &str| {
        let body = json!({ "reset_token": token, "new_password": password });
        srv.client.post(RESET, body).await
    };
    answered(by_token("garbage", OTHER_PASSWORD).await, 400, expired());
    fault_of(by_token(&token_text, "1234567").await, "new_password");
    let replies = join_all((0..2).map(|_| by_token(&token_text, OTHER_PASSWORD))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    answered(by_token(&token_text, PASSWORD).await, 400, expired());
    token(&srv.client, "alice", OTHER_PASSWORD).await.expect(200);
    // A new code voids the token of the old one.
    ask_code(&srv, ALICE).await;
    let reply = verify(&mailed_code(&srv, ALICE).await).await.expect(200);
    ask_code(&srv, ALICE).await;
    answered(
        by_token(reply["reset_token"].as_str().unwrap(), PASSWORD).await,
        400,
        expired(),
    );
}

#[tokio::test]
async fn codes_and_tokens_end_after_five_minutes() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    srv.user("alice").await;
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    srv.clock.advance(Duration::from_secs(301));
    answered(reset_with(&srv, ALICE, &code).await, 400, expired());
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    srv.clock.advance(Duration::from_secs(290));
    let body = json!({ "email": ALICE, "code": code });
    let reply = srv.client.post(VERIFY, body).await.expect(200);
    srv.clock.advance(Duration::from_secs(290));
    let body = json!({ "reset_token": reply["reset_token"], "new_password": OTHER_PASSWORD });
    srv.clock.advance(Duration::from_secs(11));
    answered(srv.client.post(RESET, body).await, 400, expired());
}

#[tokio::test]
async fn a_new_code_voids_the_old_one_and_belongs_to_its_address() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    srv.user("alice").await;
    srv.user("bob").await;
    ask_code(&srv, ALICE).await;
    let old = mailed_code(&srv, ALICE).await;
    ask_code(&srv, "bob@example.com").await;
    let code = loop {
        ask_code(&srv, ALICE).await;
        let code = mailed_code(&srv, ALICE).await;
        if code != old {
            break code;
        }
    };
    answered(reset_with(&srv, ALICE, &old).await, 400, invalid());
    let of_bob = mailed_code(&srv, "bob@example.com").await;
    if of_bob != code {
        answered(reset_with(&srv, "bob@example.com", &code).await, 400, invalid());
    }
    reset_with(&srv, ALICE, &code).await.expect(200);
}

#[tokio::test]
async fn of_many_parallel_guesses_five_are_compared() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    let replies = join_all((0..20).map(|_| reset_with(&srv, ALICE, wrong(&code)))).await;
    let (mut wrong_ones, mut gone) = (0, 0);
    for reply in replies {
        match reply.expect(400)["code"].as_str() {
            Some("code_invalid") => wrong_ones += 1,
            Some("code_expired") => gone += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((wrong_ones, gone), (5, 15));
    answered(reset_with(&srv, ALICE, &code).await, 400, expired());
    let events = "SELECT COUNT(*) FROM security_events WHERE kind = 'password_reset_code_void'";
    assert_eq!(sql::number(&srv, events).await, 1);
}

#[tokio::test]
async fn disabled_and_deleted_accounts_get_no_mail_and_no_reset() {
    let srv = TestServer::with(&[("RATE_LIMIT_RESET_MAIL", "100/h")]).await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    let disable = format!("{}disable_user/", one(&alice));
    admin.client.post(&disable, json!({})).await.expect(200);
    answered(reset_with(&srv, ALICE, &code).await, 400, expired());
    let sent = mails(&srv, ALICE).await.len();
    ask_code(&srv, ALICE).await;
    assert_eq!(mails(&srv, ALICE).await.len(), sent);
    answered(reset_with(&srv, ALICE, wrong(&code)).await, 400, invalid());
    admin.client.delete(&one(&alice)).await.expect(204);
    srv.settle().await;
    let left = format!(
        "SELECT COUNT(*) FROM password_reset_codes WHERE user_id = {}",
        alice.id
    );
    assert_eq!(sql::number(&srv, &left).await, 0);
}

#[tokio::test]
async fn a_changed_password_voids_the_open_code() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    let body = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
    alice
        .client
        .post("/api/users/change_password/", body)
        .await
        .expect(200);
    answered(reset_with(&srv, ALICE, &code).await, 400, expired());
}

#[tokio::test]
async fn neither_codes_nor_addresses_are_kept_in_clear() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    ask_code(&srv, ALICE).await;
    ask_code(&srv, "stranger@example.org").await;
    let code = mailed_code(&srv, ALICE).await;
    let rows = "SELECT COUNT(*) FROM password_reset_codes";
    assert_eq!(
        sql::number(&srv, rows).await,
        2,
        "an unknown address gets a record too"
    );
    for column in ["email_hmac", "code_hmac"] {
        let short = format!("{rows} WHERE LENGTH({column}) <> 64");
        assert_eq!(sql::number(&srv, &short).await, 0);
    }
    let clear = format!("{rows} WHERE code_hmac LIKE '%{code}%' OR email_hmac LIKE '%alice%'");
    // A hash may hold the six digits by chance; then it is not in all rows.
    assert!(sql::number(&srv, &clear).await < 2);
    let addresses = "SELECT COUNT(*) FROM outgoing_mails WHERE to_address LIKE '%stranger%'";
    assert_eq!(sql::number(&srv, addresses).await, 0);
    let params = "SELECT COUNT(*) FROM outgoing_mails WHERE params IS NOT NULL";
    assert_eq!(
        sql::number(&srv, params).await,
        0,
        "gone once the mail is sent or dropped"
    );
    srv.clock.advance(Duration::from_secs(3 * 86_400));
    srv.app.accounts.sweep().await.expect("swept");
    assert_eq!(sql::number(&srv, rows).await, 0, "swept");
}
