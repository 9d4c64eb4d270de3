//! Many at once: order, counters, and frames of what was committed.

use std::time::Duration;

use futures_util::future::join_all;
use yunque_kernel::SupportSessionId;
use yunque_kernel::realtime::Subscription;

use super::*;

/// The next frame, as its sockets get it.
async fn next(frames: &mut Subscription) -> Value {
    let frame = tokio::time::timeout(Duration::from_secs(5), frames.recv()).await;
    let payload = frame.expect("in time").expect("a frame").payload;
    // Behind what the instances tell each other about it.
    let start = payload.windows(8).position(|w| w == b"{\"type\":");
    serde_json::from_slice(&payload[start.expect("JSON")..]).expect("JSON")
}

#[tokio::test]
async fn parallel_messages_are_counted_and_ordered() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let topic = yunque_support::frames::topic(SupportSessionId(session));
    let mut frames = stage.srv.app.ctx.realtime.subscribe(&topic);
    let mut sends = Vec::new();
    for i in 0..40 {
        let who = if i % 2 == 0 { &stage.customer } else { &stage.agent };
        sends.push(say(who, session, "at once"));
    }
    let sent = join_all(sends).await;
    let mut answered: Vec<i64> = sent.iter().map(|m| m["id"].as_i64().unwrap()).collect();
    answered.sort_unstable();
    let listed = ids(
        &stage.customer.client,
        &format!("{}?limit=200", messages_of(session)),
    )
    .await;
    assert_eq!(listed[1..], answered);
    let seen = look(&stage.agent, session).await;
    assert_eq!(
        (&seen["unread_count"], &seen["last_message"]["id"]),
        (&json!(20), &json!(listed[40]))
    );
    assert_eq!(look(&stage.customer, session).await["unread_count"], 20);
    // Each message was published once.
    let mut published = Vec::new();
    for _ in 0..40 {
        let frame = next(&mut frames).await;
        assert_eq!(frame["type"], "chat_message");
        has_keys(&frame["message"], &SM);
        published.push(frame["message"]["id"].as_i64().unwrap());
    }
    published.sort_unstable();
    assert_eq!(published, answered);
    assert!(matches!(frames.try_recv(), Ok(None)));
}

#[tokio::test]
async fn parallel_reads_count_each_message_once() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    for _ in 0..10 {
        say(&stage.customer, session, "x").await;
    }
    let path = format!("{}mark_read/", at(session));
    let reads = (0..8).map(|_| stage.agent.client.post(&path, json!({})));
    let counts: Vec<i64> = join_all(reads)
        .await
        .into_iter()
        .map(|r| r.expect(200)["updated"].as_i64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<i64>(), 10, "{counts:?}");
    assert_eq!(look(&stage.agent, session).await["unread_count"], 0);
}

#[tokio::test]
async fn what_happens_is_published() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let topic = yunque_support::frames::topic(SupportSessionId(session));
    let mut frames = stage.srv.app.ctx.realtime.subscribe(&topic);
    let sent = say(&stage.customer, session, "hello").await;
    let path = format!("{}mark_read/", at(session));
    stage.agent.client.post(&path, json!({})).await.expect(200);
    let close = format!("{}close/", at(session));
    stage.agent.client.post(&close, json!({})).await.expect(200);
    assert_eq!(
        next(&mut frames).await,
        json!({ "type": "chat_message", "message": sent })
    );
    let read = json!({ "type": "messages_read", "reader": stage.agent.id, "up_to": sent["id"] });
    assert_eq!(next(&mut frames).await, read);
    let system = next(&mut frames).await;
    assert_eq!(system["message"]["content"], "会话已关闭");
    assert_eq!(next(&mut frames).await["type"], "session_closed");
}

/// The number of queries does not grow with the list; so neither does what one answer costs.
#[tokio::test]
async fn a_long_list_is_answered_from_the_counters() {
    let stage = Stage::set().await;
    for i in 0..25 {
        let customer = member(&stage.srv, &format!("c{i}"), "customer", Some(&stage.agent)).await;
        let session = open(&customer).await;
        say(&customer, session, &format!("from {i}")).await;
    }
    let page = stage
        .agent
        .client
        .get(&format!("{SESSIONS}?page_size=25"))
        .await
        .expect(200);
    let results = page["results"].as_array().unwrap();
    assert_eq!(results.len(), 25);
    for (i, session) in results.iter().rev().enumerate() {
        assert_eq!(session["last_message"]["content"], format!("from {i}"));
        assert_eq!(session["unread_count"], 1);
        assert_eq!(session["client_info"]["username"], format!("c{i}"));
    }
}
