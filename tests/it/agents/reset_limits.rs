//! How many mails anybody may have sent, and that trouble with mail is nobody's business.

use std::time::Duration;

use serde_json::json;
use yunque_kernel::mail::MailError;

use super::*;

const ALICE: &str = "alice@example.com";

#[tokio::test]
async fn an_address_gets_one_mail_a_minute_and_five_an_hour_and_nobody_is_told() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let mut sent = 0;
    for minute in 0..7 {
        for path in [RESET, "/api/users/forgot_password/", "/user/forgot-password/"] {
            // 21 requests in all would be too many for one client.
            if minute > 5 && path != RESET {
                continue;
            }
            let reply = srv
                .client
                .post(path, json!({ "email": "Alice@example.com" }))
                .await;
            answered(reply, 200, json!({ "message": "验证码已发送到您的邮箱" }));
        }
        sent += i32::from(minute < 5);
        assert_eq!(mails(&srv, ALICE).await.len() as i32, sent, "minute {minute}");
        srv.clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn a_request_over_the_limit_leaves_the_open_code_alone() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    ask_code(&srv, ALICE).await;
    let code = mailed_code(&srv, ALICE).await;
    ask_code(&srv, ALICE).await;
    reset_with(&srv, ALICE, &code).await.expect(200);
}

#[tokio::test]
async fn a_client_asks_twenty_times_an_hour_for_whatever_address() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for i in 0..20 {
        let address = if i == 7 {
            ALICE.to_owned()
        } else {
            format!("a{i}@example.org")
        };
        ask_code(&srv, &address).await;
    }
    for (path, address) in [
        (RESET, ALICE),
        ("/api/users/forgot_password/", "nobody@example.org"),
        ("/user/forgot-password/", ALICE),
        ("/user/reset-password/", "nobody@example.org"),
    ] {
        let reply = srv.client.post(path, json!({ "email": address })).await;
        let wait: u64 = reply.header("retry-after").parse().expect("seconds");
        assert!((1..=3600).contains(&wait));
        answered(reply, 429, detailed("请求过于频繁，请稍后再试", "throttled"));
    }
    // Codes that are out may still be used.
    let code = mailed_code(&srv, ALICE).await;
    reset_with(&srv, ALICE, &code).await.expect(200);
}

#[tokio::test]
async fn a_mail_server_that_fails_is_tried_again_and_not_told_of() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let outbox = srv.app.ctx.mail.outbox().expect("memory").clone();
    outbox.fail_next(MailError::Temporary {
        reason: "busy".to_owned(),
    });
    ask_code(&srv, ALICE).await;
    srv.settle().await;
    assert!(outbox.to(ALICE).is_empty());
    srv.later(Duration::from_secs(30)).await;
    let code = mailed_code(&srv, ALICE).await;
    reset_with(&srv, ALICE, &code).await.expect(200);
}

/// Both kinds of address cost the same statements; what a test can see of it is what they leave behind.
#[tokio::test]
async fn known_and_unknown_addresses_leave_the_same_traces() {
    use crate::support::sql;
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let counts = async || {
        let mut counts = Vec::new();
        for table in [
            "password_reset_codes",
            "outgoing_mails",
            "jobs WHERE kind = 'send_mail'",
            "security_events",
        ] {
            counts.push(sql::number(&srv, &format!("SELECT COUNT(*) FROM {table}")).await);
        }
        counts
    };
    let mut added = Vec::new();
    for address in [ALICE, "nobody@example.org"] {
        let before = counts().await;
        ask_code(&srv, address).await;
        let after = counts().await;
        added.push(after.iter().zip(before).map(|(a, b)| a - b).collect::<Vec<_>>());
    }
    assert_eq!(added[0], added[1]);
    assert_eq!(added[0], [1, 1, 1, 1]);
}
