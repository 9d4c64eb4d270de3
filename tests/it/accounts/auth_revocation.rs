//! Logout, sessions, and everything else that takes access away: refused on the next request.

use secrecy::SecretString;
use serde_json::{Value, json};
use yunque_kernel::ids::UserId;

use super::{OTHER_PASSWORD, PASSWORD, answered, detailed, is_in, refreshes, try_login};
use crate::support::{TestServer, User, jwt, sql};

fn signed_out() -> Value {
    json!({ "status": "登出成功" })
}

async fn is_dead(srv: &TestServer, user: &User) {
    answered(
        user.client.get("/user/profile/").await,
        401,
        detailed("token无效或已过期", "token_invalid"),
    );
    assert!(!refreshes(srv, &user.refresh).await, "the refresh token");
}

#[tokio::test]
async fn logout_ends_its_own_session_only() {
    let srv = TestServer::start().await;
    let (phone, laptop) = (srv.user("alice").await, srv.login("alice", PASSWORD).await);
    answered(
        phone.client.post("/user/logout/", json!({})).await,
        200,
        signed_out(),
    );
    is_dead(&srv, &phone).await;
    assert!(is_in(&laptop).await && refreshes(&srv, &laptop.refresh).await);
    phone
        .client
        .post("/user/logout/", json!({}))
        .await
        .refused(401, "token_invalid");
    srv.client
        .post("/user/logout/", json!({}))
        .await
        .refused(401, "not_authenticated");
}

#[tokio::test]
async fn logout_without_a_body_works_and_speaks_english() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let client = alice.client.with_header("accept-language", "en");
    let bare = client.request(reqwest::Method::POST, "/user/logout");
    answered(client.send(bare).await, 200, json!({ "status": "Signed out." }));
    is_dead(&srv, &alice).await;
}

#[tokio::test]
async fn logout_takes_another_own_refresh_token_but_no_foreign_one() {
    let (srv, phone, bob) = TestServer::with_users().await;
    let (laptop, desk) = (
        srv.login("alice", PASSWORD).await,
        srv.login("alice", PASSWORD).await,
    );
    let body = json!({ "refresh": laptop.refresh });
    answered(phone.client.post("/user/logout/", body).await, 200, signed_out());
    is_dead(&srv, &phone).await;
    is_dead(&srv, &laptop).await;
    assert!(is_in(&desk).await);
    for token in [
        json!(bob.refresh),
        json!(bob.access),
        json!("garbage"),
        json!(null),
        json!(""),
    ] {
        let session = srv.login("alice", PASSWORD).await;
        answered(
            session
                .client
                .post("/user/logout/", json!({ "refresh": token }))
                .await,
            200,
            signed_out(),
        );
        is_dead(&srv, &session).await;
    }
    assert!(is_in(&desk).await);
    assert!(is_in(&bob).await && refreshes(&srv, &bob.refresh).await);
}

#[tokio::test]
async fn logout_all_ends_every_session_of_the_user() {
    let (srv, phone, bob) = TestServer::with_users().await;
    let laptop = srv.login("alice", PASSWORD).await;
    answered(
        phone.client.post("/user/logout-all/", json!({})).await,
        200,
        signed_out(),
    );
    for session in [&phone, &laptop] {
        is_dead(&srv, session).await;
    }
    assert!(is_in(&bob).await);
    assert!(is_in(&srv.login("alice", PASSWORD).await).await);
}

#[tokio::test]
async fn sessions_are_listed_with_the_current_one_marked() {
    let (srv, phone, _bob) = TestServer::with_users().await;
    let agent = srv
        .client
        .with_header("user-agent", "Mozilla/5.0 (X11; Linux) Test");
    let login = json!({ "username": "alice", "password": PASSWORD });
    let laptop = agent.post("/user/login/", login).await.expect(200);
    let list = phone.client.get("/user/sessions/").await.expect(200);
    let list = list.as_array().expect("a bare array");
    assert_eq!(list.len(), 2);
    let current: Vec<&Value> = list.iter().filter(|s| s["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["sid"], jwt::claims(&phone.access)["sid"]);
    for session in list {
        let keys: Vec<&String> = session.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["sid", "created_at", "last_used_at", "user_agent", "ip", "current"]
        );
        assert_eq!(session["ip"], "127.0.0.1");
        for time in ["created_at", "last_used_at"] {
            let text = session[time].as_str().unwrap();
            assert!(
                text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok(),
                "{text}"
            );
        }
    }
    let sid = &jwt::claims(laptop["access"].as_str().unwrap())["sid"];
    let other = list.iter().find(|s| s["sid"] == *sid).expect("the laptop");
    assert_eq!(other["user_agent"], "Mozilla/5.0 (X11; Linux) Test");
}

#[tokio::test]
async fn one_session_is_ended_by_its_owner_only() {
    let (srv, phone, bob) = TestServer::with_users().await;
    let laptop = srv.login("alice", PASSWORD).await;
    let path = |user: &User| format!("/user/sessions/{}/", jwt::claims(&user.access)["sid"]);
    let hidden = detailed("资源不存在", "not_found");
    answered(bob.client.delete(&path(&laptop)).await, 404, hidden.clone());
    let admin = srv.admin("boss").await;
    answered(admin.client.delete(&path(&laptop)).await, 404, hidden.clone());
    assert!(is_in(&laptop).await);
    let reply = phone.client.delete(&path(&laptop)).await;
    assert!(reply.bytes.is_empty());
    reply.expect(204);
    is_dead(&srv, &laptop).await;
    answered(phone.client.delete(&path(&laptop)).await, 404, hidden.clone());
    for id in ["999999", "0", "-1", "abc", "9223372036854775808", "1.0"] {
        answered(
            phone.client.delete(&format!("/user/sessions/{id}/")).await,
            404,
            hidden.clone(),
        );
    }
    phone.client.delete(&path(&phone)).await.expect(204);
    is_dead(&srv, &phone).await;
}

#[tokio::test]
async fn a_password_change_ends_the_other_sessions() {
    let srv = TestServer::start().await;
    let (phone, laptop) = (srv.user("alice").await, srv.login("alice", PASSWORD).await);
    let body = json!({ "old_password": PASSWORD, "new_password": OTHER_PASSWORD });
    phone
        .client
        .post("/user/change-password/", body)
        .await
        .expect(200);
    is_dead(&srv, &laptop).await;
    assert!(is_in(&phone).await, "the calling session");
    assert!(refreshes(&srv, &phone.refresh).await);
}

#[tokio::test]
async fn disabling_ends_everything_and_enabling_revives_nothing() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let path = format!("/user/{}/", alice.id);
    let body = admin
        .client
        .patch(&path, json!({ "is_active": false }))
        .await
        .expect(200);
    assert_eq!(body["is_active"], false);
    is_dead(&srv, &alice).await;
    try_login(&srv, "alice", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    admin
        .client
        .patch(&path, json!({ "is_active": true }))
        .await
        .expect(200);
    is_dead(&srv, &alice).await;
    assert!(is_in(&srv.login("alice", PASSWORD).await).await);
}

#[tokio::test]
async fn deletion_ends_everything() {
    let srv = TestServer::start().await;
    let (alice, bob, admin) = (
        srv.user("alice").await,
        srv.user("bob").await,
        srv.admin("boss").await,
    );
    admin
        .client
        .delete(&format!("/user/{}/", alice.id))
        .await
        .expect(204);
    is_dead(&srv, &alice).await;
    bob.client
        .delete_with(&format!("/user/{}/", bob.id), json!({ "password": PASSWORD }))
        .await
        .expect(204);
    is_dead(&srv, &bob).await;
}

#[tokio::test]
async fn commands_end_sessions_too() {
    let srv = TestServer::start().await;
    let accounts = &srv.app.accounts;
    let alice = srv.user("alice").await;
    let id = UserId(alice.id);
    accounts
        .console_set_password(id, &SecretString::from(OTHER_PASSWORD))
        .await
        .expect("set");
    is_dead(&srv, &alice).await;
    let again = srv.login("alice", OTHER_PASSWORD).await;
    accounts.console_revoke_sessions(id).await.expect("revoked");
    is_dead(&srv, &again).await;
    let again = srv.login("alice", OTHER_PASSWORD).await;
    accounts.console_set_active(id, false).await.expect("disabled");
    is_dead(&srv, &again).await;
}

#[tokio::test]
async fn a_revoked_session_is_not_listed_and_does_not_come_back_after_a_restart() {
    let srv = TestServer::start().await;
    let (phone, laptop) = (srv.user("alice").await, srv.login("alice", PASSWORD).await);
    laptop.client.post("/user/logout/", json!({})).await.expect(200);
    assert_eq!(
        phone
            .client
            .get("/user/sessions/")
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let srv = srv.restart().await;
    srv.client
        .with_token(&laptop.access)
        .get("/user/profile/")
        .await
        .refused(401, "token_invalid");
    srv.client
        .with_token(&phone.access)
        .get("/user/profile/")
        .await
        .expect(200);
}

#[tokio::test]
async fn old_sessions_and_attempts_are_removed_by_the_sweep() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    try_login(&srv, "alice", "wrong-password")
        .await
        .refused(401, "invalid_credentials");
    srv.clock.advance(std::time::Duration::from_secs(200 * 86_400));
    srv.app.accounts.sweep().await.expect("swept");
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM auth_sessions").await, 0);
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM auth_login_attempts").await,
        0
    );
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 1);
    assert!(!is_in(&alice).await);
}
