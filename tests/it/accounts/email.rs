//! A new, unproven address: what it needs and what it entails.

use serde_json::{Value, json};

use super::{PASSWORD, account, answered, fault_of, is_in, refreshes, try_login};
use crate::support::{Reply, TestServer, User, sql};

const PATHS: [&str; 2] = ["/user/update-email/", "/user-settings/update-email/"];

async fn update(user: &User, path: &str, email: Value) -> Reply {
    user.client.post(path, json!({ "email": email })).await
}

#[tokio::test]
async fn blank_taken_and_malformed_addresses_have_the_documented_errors() {
    let (srv, alice, _bob) = TestServer::with_users().await;
    for path in PATHS {
        for email in [json!(""), json!("  "), Value::Null] {
            let reply = update(&alice, path, email).await.refused(400, "email_required");
            assert_eq!(reply["error"], "邮箱不能为空");
        }
        let absent = alice
            .client
            .post(path, json!({}))
            .await
            .refused(400, "email_required");
        assert_eq!(absent["error"], "邮箱不能为空");
        for email in ["bob@example.com", "BOB@Example.com"] {
            let reply = update(&alice, path, json!(email))
                .await
                .refused(400, "email_taken");
            assert_eq!(
                (&reply["error"], &reply["errors"]["email"]),
                (&json!("邮箱已存在"), &json!(["邮箱已存在"]))
            );
        }
        for email in [
            "nobody",
            "a@b@c.de",
            "a@example.com\r\nBcc: v@example.com",
            "x@invalid",
            "a\0@example.com",
        ] {
            fault_of(update(&alice, path, json!(email)).await, "email");
        }
        assert_eq!(
            fault_of(update(&alice, path, json!(5)).await, "email"),
            "类型错误"
        );
        let english = alice.client.with_header("accept-language", "en");
        let texts = [
            english.post(path, json!({})).await.refused(400, "email_required"),
            english
                .post(path, json!({ "email": "bob@example.com" }))
                .await
                .refused(400, "email_taken"),
        ];
        assert_eq!(
            texts.map(|b| b["error"].clone()),
            [json!("E-mail is required."), json!("E-mail is taken.")]
        );
    }
    answered(
        alice.client.get("/user/profile/").await,
        200,
        account(alice.id, "alice", "alice@example.com", "alice"),
    );
    srv.settle().await;
    assert!(srv.app.ctx.mail.outbox().expect("memory").all().is_empty());
}

#[tokio::test]
async fn the_own_current_address_changes_nothing() {
    let srv = TestServer::start().await;
    let (alice, laptop) = (srv.user("alice").await, srv.login("alice", PASSWORD).await);
    sql::execute(&srv, "UPDATE users SET is_verified = TRUE").await;
    for path in PATHS {
        for email in ["alice@example.com", "Alice@EXAMPLE.com"] {
            let body = account(alice.id, "alice", "alice@example.com", "alice");
            answered(update(&alice, path, json!(email)).await, 200, body);
        }
    }
    assert!(is_in(&laptop).await);
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM users WHERE is_verified = TRUE").await,
        1
    );
    srv.settle().await;
    assert!(srv.app.ctx.mail.outbox().expect("memory").all().is_empty());
}

#[tokio::test]
async fn a_new_address_ends_other_sessions_and_tells_the_old_mailbox() {
    let srv = TestServer::start().await;
    let own = |id: i64| format!("/user/{id}/");
    for (i, way) in ["post", "alias", "patch", "put"].into_iter().enumerate() {
        let name = format!("user{i}");
        let (user, laptop) = (srv.user(&name).await, srv.login(&name, PASSWORD).await);
        sql::execute(
            &srv,
            &format!("UPDATE users SET is_verified = TRUE WHERE id = {}", user.id),
        )
        .await;
        let body = json!({ "email": format!("New{i}@example.com") });
        let reply = match way {
            "post" => user.client.post(PATHS[0], body).await,
            "alias" => user.client.post(PATHS[1], body).await,
            "patch" => user.client.patch(&own(user.id), body).await,
            _ => user.client.put(&own(user.id), body).await,
        };
        answered(
            reply,
            200,
            account(user.id, &name, &format!("New{i}@example.com"), &name),
        );
        assert!(is_in(&user).await, "{way}: the calling session stays");
        assert!(!is_in(&laptop).await, "{way}: other sessions end");
        assert!(!refreshes(&srv, &laptop.refresh).await);
        let verified = format!(
            "SELECT COUNT(*) FROM users WHERE id = {} AND is_verified = TRUE",
            user.id
        );
        assert_eq!(sql::number(&srv, &verified).await, 0, "{way}");
        let events = format!(
            "SELECT COUNT(*) FROM security_events WHERE user_id = {} AND kind = 'email_changed'",
            user.id
        );
        assert_eq!(sql::number(&srv, &events).await, 1, "{way}");
        try_login(&srv, &format!("new{i}@EXAMPLE.com"), PASSWORD)
            .await
            .expect(200);
        try_login(&srv, &format!("{name}@example.com"), PASSWORD)
            .await
            .refused(401, "invalid_credentials");

        srv.settle().await;
        let outbox = srv.app.ctx.mail.outbox().expect("memory");
        let mails = outbox.to(&format!("{name}@example.com"));
        assert_eq!(mails.len(), 1, "{way}");
        assert_eq!(mails[0].subject, "邮箱已更改");
        assert!(
            !mails[0].text.to_lowercase().contains(&format!("new{i}@")),
            "the new address is masked"
        );
        assert!(
            outbox.to(&format!("New{i}@example.com")).is_empty(),
            "the new mailbox is not proven"
        );
    }
}

#[tokio::test]
async fn admins_prove_their_password_to_write_an_address() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let other = format!("/user/{}/", alice.id);
    let own = format!("/user/{}/", admin.id);
    for password in [None, Some("wrong-password")] {
        let mut body = json!({ "email": "moved@example.com" });
        if let Some(password) = password {
            body["password"] = json!(password);
        }
        admin
            .client
            .patch(&other, body.clone())
            .await
            .refused(400, "wrong_password");
        admin
            .client
            .post(PATHS[0], body)
            .await
            .refused(400, "wrong_password");
    }
    // Alice's own password is not the admin's.
    assert!(is_in(&alice).await);
    let body = json!({ "email": "moved@example.com", "password": PASSWORD });
    answered(
        admin.client.patch(&other, body).await,
        200,
        account(alice.id, "alice", "moved@example.com", "alice"),
    );
    assert!(!is_in(&alice).await, "all sessions of the other user end");
    assert!(is_in(&admin).await);
    let body = json!({ "email": "chief@example.com", "password": PASSWORD });
    assert_eq!(
        admin.client.put(&own, body).await.expect(200)["email"],
        "chief@example.com"
    );
    assert!(is_in(&admin).await);
    // The display name alone needs none.
    admin
        .client
        .patch(&other, json!({ "display_name": "x" }))
        .await
        .expect(200);
    srv.settle().await;
    assert_eq!(
        srv.app
            .ctx
            .mail
            .outbox()
            .expect("memory")
            .to("alice@example.com")
            .len(),
        1
    );
}

#[tokio::test]
async fn of_parallel_claims_of_one_address_one_succeeds() {
    let srv = TestServer::start().await;
    let mut users = Vec::new();
    for i in 0..8 {
        users.push(srv.user(&format!("user{i}")).await);
    }
    let replies = futures_util::future::join_all(
        users
            .iter()
            .map(|u| update(u, PATHS[0], json!("one@example.com"))),
    )
    .await;
    let seen: Vec<String> = replies
        .iter()
        .map(|r| format!("{} {}", r.status, r.text()))
        .collect();
    assert_eq!(replies.iter().filter(|r| r.status == 200).count(), 1, "{seen:#?}");
    for reply in replies.into_iter().filter(|r| r.status != 200) {
        reply.refused(400, "email_taken");
    }
}

#[tokio::test]
async fn a_refused_address_rolls_everything_back() {
    let (srv, alice, _bob) = TestServer::with_users().await;
    let laptop = srv.login("alice", PASSWORD).await;
    let body = json!({ "email": "bob@example.com", "display_name": "half" });
    alice
        .client
        .patch(&format!("/user/{}/", alice.id), body)
        .await
        .refused(400, "email_taken");
    answered(
        alice.client.get("/user/profile/").await,
        200,
        account(alice.id, "alice", "alice@example.com", "alice"),
    );
    assert!(is_in(&laptop).await, "no session ended");
    assert_eq!(
        sql::number(
            &srv,
            "SELECT COUNT(*) FROM security_events WHERE kind = 'email_changed'"
        )
        .await,
        0
    );
    srv.settle().await;
    assert!(srv.app.ctx.mail.outbox().expect("memory").all().is_empty());
}
