//! Sockets end with the rights they were opened with.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Stage, ended, greeted, path_of, refused};
use crate::support::jwt;
use crate::support::server::PASSWORD;

const PROMISED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn agents_scenario_10_disabling_an_agent_ends_its_tokens_and_sockets() {
    let s = Stage::set().await;
    let mut sockets = vec![s.join(&s.agent).await, s.join(&s.agent).await];
    let other = s.srv.login("agent2", PASSWORD).await;
    sockets.push(s.join(&other).await);
    let mut customer = s.join(&s.customer).await;
    let begun = Instant::now();
    s.boss
        .client
        .post(&format!("/api/users/{}/disable_user/", s.agent.id), json!({}))
        .await
        .expect(200);
    for user in [&s.agent, &other] {
        user.client
            .get("/api/users/profile/")
            .await
            .refused(401, "token_invalid");
    }
    for socket in &mut sockets {
        assert_eq!(socket.end().await, ended(4401, "token_invalid"));
    }
    assert!(begun.elapsed() < PROMISED, "{:?}", begun.elapsed());
    assert_eq!(
        refused(&s.srv, &path_of(s.session, &s.agent)).await,
        ended(4401, "token_invalid")
    );
    customer.say("anybody there?").await;
    assert_eq!(customer.message().await["content"], "anybody there?");
}

#[tokio::test]
async fn whatever_ends_a_session_ends_its_sockets() {
    let s = Stage::set().await;
    for what in [
        "logout",
        "token logout",
        "logout-all",
        "one session",
        "password",
        "admin password",
        "deletion",
    ] {
        let user = s.srv.login("customer", PASSWORD).await;
        let kept = s.srv.login("customer", PASSWORD).await;
        let (mut socket, mut other) = (s.join(&user).await, s.join(&kept).await);
        let mut agent = s.join(&s.agent).await;
        let begun = Instant::now();
        let (reply, others_too) = match what {
            "logout" => (user.client.post("/user/logout/", json!({})).await, false),
            "token logout" => (user.client.post("/api/token/logout/", json!({})).await, false),
            "logout-all" => (kept.client.post("/user/logout-all/", json!({})).await, true),
            "one session" => {
                let sid = &jwt::claims(&user.access)["sid"];
                (kept.client.delete(&format!("/user/sessions/{sid}/")).await, false)
            }
            "password" => {
                let body = json!({ "old_password": PASSWORD, "new_password": PASSWORD.replace('7', "8") });
                let reply = kept.client.post("/user/change-password/", body).await;
                let back = json!({ "old_password": PASSWORD.replace('7', "8"), "new_password": PASSWORD });
                kept.client.post("/user/change-password/", back).await.expect(200);
                (reply, false)
            }
            "admin password" => {
                let path = format!("/api/users/{}/set_password/", user.id);
                let body = json!({ "new_password": PASSWORD });
                (s.admin.client.post(&path, body).await, true)
            }
            _ => (s.admin.client.delete(&format!("/user/{}/", user.id)).await, true),
        };
        assert!(reply.status < 300, "{what}: {}", reply.text());
        assert_eq!(socket.end().await, ended(4401, "token_invalid"), "{what}");
        if others_too {
            assert_eq!(other.end().await, ended(4401, "token_invalid"), "{what}");
        } else {
            other.send(json!({ "type": "ping" })).await;
            assert_eq!(other.of("pong").await["type"], "pong", "{what}");
        }
        assert!(begun.elapsed() < PROMISED, "{what}: {:?}", begun.elapsed());
        agent.send(json!({ "type": "ping" })).await;
        assert_eq!(agent.of("pong").await["type"], "pong", "{what}: somebody else");
    }
}

#[tokio::test]
async fn a_token_that_runs_out_during_a_connection_ends_it() {
    let s = Stage::set().await;
    let (mut lazy, mut careful) = (s.join(&s.customer).await, s.join(&s.agent).await);
    let body = json!({ "refresh": s.agent.refresh });
    s.srv.clock.advance(Duration::from_secs(3000));
    let fresh = s.srv.client.post("/user/refresh-token/", body).await.expect(200);
    careful
        .send(json!({ "type": "auth", "token": fresh["refresh"] }))
        .await;
    assert_eq!(careful.next().await["code"], "token_invalid");
    careful
        .send(json!({ "type": "auth", "token": s.customer.access }))
        .await;
    assert_eq!(careful.next().await["code"], "token_invalid", "somebody else's");
    careful
        .send(json!({ "type": "auth", "token": fresh["access"] }))
        .await;
    let renewed = careful.next().await;
    assert_eq!(renewed["type"], "auth_ok");
    assert!(renewed["expires_at"].as_str().expect("a time").ends_with('Z'));
    s.srv.clock.advance(Duration::from_secs(601));
    assert_eq!(lazy.end().await, ended(4401, "token_expired"));
    careful.send(json!({ "type": "ping" })).await;
    assert_eq!(careful.next().await["type"], "pong");
    assert_eq!(
        refused(&s.srv, &path_of(s.session, &s.customer)).await,
        ended(4401, "token_expired")
    );
}

#[tokio::test]
async fn a_role_that_is_lost_ends_the_socket() {
    let s = Stage::set().await;
    let second = s.srv.admin("second").await;
    let mut admin = s.join(&second).await;
    let body = json!({ "user_type": "customer" });
    let path = format!("/api/users/{}/", second.id);
    s.admin.client.patch(&path, body).await.expect(200);
    assert_eq!(admin.end().await.0, 4401);
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let s = Stage::set().await;
    let mut sockets = Vec::new();
    for user in [&s.customer, &s.agent, &s.admin] {
        for _ in 0..5 {
            sockets.push(greeted(&s.srv, &path_of(s.session, user)).await.0);
        }
    }
    let begun = Instant::now();
    let srv = s.people.srv;
    let stopping = tokio::spawn(async move { srv.stop().await });
    for socket in &mut sockets {
        assert_eq!(socket.end().await.0, 1001);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(sockets);
    stopping.await.expect("stopped");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
