//! Two servers on one database: with Redis between them, and without what it carries.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Stage, ended, greeted, join, path_of};
use crate::support::{TestServer, database, eventually};

/// SQLite belongs to one process.
fn two_can_share() -> bool {
    database::server_url().is_some()
}

/// Another instance; without a bridge between the two unless `bridged`.
async fn another(s: &mut Stage, bridged: bool) -> TestServer {
    if !bridged {
        let prefix = format!("t:{}:", uuid::Uuid::new_v4().simple());
        s.srv.env.push(("REDIS_PREFIX".into(), prefix));
    }
    s.srv.sibling().await
}

#[tokio::test]
async fn messages_reach_the_sockets_of_every_instance() {
    if !two_can_share() {
        return;
    }
    let mut s = Stage::set().await;
    let there = another(&mut s, true).await;
    let (mut here, mut far) = (s.join(&s.customer).await, join(&there, s.session, &s.agent).await);
    if s.srv.app.redis.is_none() {
        return;
    }
    let begun = Instant::now();
    let sent = s.say(&s.admin, "to both").await;
    assert_eq!(here.message().await, sent);
    assert_eq!(far.message().await, sent);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    far.send(json!({ "type": "typing", "is_typing": true })).await;
    assert_eq!(here.of("typing").await["user"]["id"], s.agent.id);
    for n in 0..100 {
        let socket = if n % 2 == 0 { &mut here } else { &mut far };
        socket.say(&n.to_string()).await;
    }
    let mut orders = Vec::new();
    for socket in [&mut here, &mut far] {
        let mut ids = Vec::new();
        for _ in 0..100 {
            ids.push(socket.message().await["id"].as_i64().expect("id"));
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        orders.push(ids);
    }
    assert_eq!(orders[0], orders[1]);
}

#[tokio::test]
async fn what_is_lost_between_instances_comes_within_five_seconds() {
    if !two_can_share() {
        return;
    }
    let mut s = Stage::set().await;
    let there = another(&mut s, false).await;
    let mut far = join(&there, s.session, &s.agent).await;
    let begun = Instant::now();
    let mut expected = Vec::new();
    for n in 0..20 {
        expected.push(s.say(&s.customer, &n.to_string()).await);
    }
    for message in expected {
        assert_eq!(far.message().await, message);
    }
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    // Who is handed on elsewhere learns it the same way.
    s.boss
        .client
        .post(&s.at("assign/"), json!({ "agent_id": s.boss.id }))
        .await
        .expect(200);
    assert_eq!(far.end().await.0, 4403);
    // What this instance has not heard of yet is there for whoever comes.
    let sent = s.say(&s.customer, "before the resume").await;
    let target = format!(
        "{}&since={}",
        path_of(s.session, &s.customer),
        sent["id"].as_i64().expect("id") - 1
    );
    let (mut late, greeting) = greeted(&there, &target).await;
    assert_eq!(greeting["last_message_id"], sent["id"]);
    assert_eq!(late.message().await, sent);
}

#[tokio::test]
async fn revocation_closes_sockets_on_every_instance() {
    if !two_can_share() {
        return;
    }
    for bridged in [true, false] {
        let mut s = Stage::set().await;
        let there = another(&mut s, bridged).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut agent = join(&there, s.session, &s.agent).await;
        let mut customer = join(&there, s.session, &s.customer).await;
        let begun = Instant::now();
        s.customer
            .client
            .post("/user/logout/", json!({}))
            .await
            .expect(200);
        s.boss
            .client
            .post(&format!("/api/users/{}/disable_user/", s.agent.id), json!({}))
            .await
            .expect(200);
        assert_eq!(
            agent.end().await,
            ended(4401, "token_invalid"),
            "bridged: {bridged}"
        );
        assert_eq!(
            customer.end().await,
            ended(4401, "token_invalid"),
            "bridged: {bridged}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        eventually("nobody is left", 5, || async { there.app.ws.open() == 0 }).await;
    }
}
