//! `GET …/messages/`: pages, cursors and filters.

use super::*;

/// Ten messages by bob and alice in turn after the system message, oldest first.
async fn filled() -> (Stage, Vec<i64>) {
    let s = Stage::set().await;
    for n in 0..10 {
        let who = if n % 2 == 0 { &s.bob } else { &s.alice };
        s.say(who, &n.to_string()).await;
    }
    let all = history(&s.alice, s.room).await.iter().map(id_of).collect();
    (s, all)
}

async fn page(s: &Stage, query: &str) -> Value {
    let path = s.at(&format!("messages/?{query}"));
    s.bob.client.get(&path).await.expect(200)
}

async fn page_ids(s: &Stage, query: &str) -> Vec<i64> {
    ids(&page(s, query).await["messages"])
}

fn backwards(ids: &[i64]) -> Vec<i64> {
    ids.iter().rev().copied().collect()
}

#[tokio::test]
async fn pages_come_newest_first() {
    let (s, all) = filled().await;
    let first = page(&s, "").await;
    covers(&first, &json!({ "page": 1, "page_size": 20, "total": 11 }));
    assert_eq!(ids(&first["messages"]), backwards(&all));
    let second = page(&s, "page=2&page_size=4").await;
    covers(&second, &json!({ "page": 2, "page_size": 4, "total": 11 }));
    assert_eq!(ids(&second["messages"]), backwards(&all[3..7]));
    assert_eq!(page_ids(&s, "page=3&page_size=4").await, backwards(&all[..3]));
    let past = page(&s, "page=4&page_size=4").await;
    covers(
        &past,
        &json!({ "messages": [], "page": 4, "page_size": 4, "total": 11 }),
    );
    assert_eq!(page_ids(&s, "page=9223372036854775807").await, Vec::<i64>::new());
    assert_eq!(page_ids(&s, "page_size=100").await.len(), 11);
    for message in list_of(&first["messages"]) {
        has_keys(message, &M);
    }
}

#[tokio::test]
async fn cursors_stand_still_while_messages_arrive() {
    let (s, all) = filled().await;
    let before = format!("before_id={}&limit=3", all[7]);
    let after = format!("after_id={}&limit=3", all[2]);
    for _ in 0..2 {
        assert_eq!(page_ids(&s, &before).await, backwards(&all[4..7]));
        assert_eq!(page_ids(&s, &after).await, all[3..6]);
        s.say(&s.alice, "meanwhile").await;
    }
    assert_eq!(
        page_ids(&s, &format!("before_id={}", all[0])).await,
        Vec::<i64>::new()
    );
    assert_eq!(page_ids(&s, "after_id=0&limit=2").await, all[..2]);
    let end = format!("after_id={}", i64::MAX);
    assert_eq!(page_ids(&s, &end).await, Vec::<i64>::new());
    let end = format!("before_id={}&limit=1", i64::MAX);
    assert_eq!(page_ids(&s, &end).await.len(), 1);
    let deleted = json!({ "id": all[4] });
    delete(&s.alice, &deleted).await.expect(200);
    assert_eq!(page_ids(&s, &after).await, all[3..6], "deleting moves nothing");
}

#[tokio::test]
async fn filters_pick_messages() {
    let (s, all) = filled().await;
    let file = json!({ "content": "", "message_type": "file", "file_url": "https://example.com/a.pdf" });
    let file = id_of(&send(&s.bob, s.room, file).await.expect(201));
    assert_eq!(page_ids(&s, "message_type=system").await, all[..1]);
    assert_eq!(page_ids(&s, "message_type=file").await, [file]);
    let of_alice: Vec<i64> = all[1..].iter().skip(1).step_by(2).copied().collect();
    assert_eq!(
        page_ids(&s, &format!("sender_id={}", s.alice.id)).await,
        backwards(&of_alice)
    );
    let both = format!("sender_id={}&message_type=file", s.alice.id);
    assert_eq!(page_ids(&s, &both).await, Vec::<i64>::new());
    let by_four = format!("sender_id={}&page_size=4", s.alice.id);
    let second = page(&s, &format!("{by_four}&page=2")).await;
    assert_eq!(
        (ids(&second["messages"]), &second["total"]),
        (vec![of_alice[0]], &json!(5))
    );
    let past = page(&s, &format!("{by_four}&page=3")).await;
    covers(&past, &json!({ "messages": [], "page": 3, "total": 5 }));
    let later = page_ids(&s, &format!("{both}&after_id=0")).await;
    assert_eq!(later, Vec::<i64>::new());
    let later = format!("sender_id={}&after_id={}&limit=2", s.alice.id, of_alice[0]);
    assert_eq!(page_ids(&s, &later).await, of_alice[1..3]);
    delete(&s.alice, &json!({ "id": of_alice[0] })).await.expect(200);
    let shown = page(&s, "include_deleted=false").await;
    assert!(!ids(&shown["messages"]).contains(&of_alice[0]), "{shown}");
    assert_eq!(list_of(&shown["messages"]).len(), 11);
    assert_eq!(
        list_of(&page(&s, "include_deleted=true").await["messages"]).len(),
        12
    );
    assert_eq!(page(&s, "").await["total"], 12);
}

#[tokio::test]
async fn what_changed_since_then_is_found() {
    let (s, all) = filled().await;
    s.srv.clock.advance(std::time::Duration::from_secs(10));
    let then = yunque_kernel::clock::rfc3339(s.srv.clock.now());
    s.srv.clock.advance(std::time::Duration::from_secs(10));
    let query = format!("updated_since={then}");
    assert_eq!(page_ids(&s, &query).await, Vec::<i64>::new());
    let (edited, deleted) = (json!({ "id": all[3] }), json!({ "id": all[5] }));
    edit(&s.bob, &edited, "changed").await.expect(200);
    delete(&s.bob, &deleted).await.expect(200);
    let mut found = page_ids(&s, &query).await;
    found.sort_unstable();
    assert_eq!(found, [all[3], all[5]]);
    // Any offset of RFC 3339.
    let offset = then.replace('Z', "%2B00:00");
    let mut found = page_ids(&s, &format!("updated_since={offset}")).await;
    found.sort_unstable();
    assert_eq!(found, [all[3], all[5]]);
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let s = Stage::set().await;
    for (query, field) in [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=x", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("before_id=x", "before_id"),
        ("before_id=0", "before_id"),
        ("after_id=-1", "after_id"),
        ("after_id=1&limit=0", "limit"),
        ("after_id=1&limit=101", "limit"),
        ("updated_since=yesterday", "updated_since"),
        ("include_deleted=maybe", "include_deleted"),
        ("message_type=video", "message_type"),
        ("sender_id=x", "sender_id"),
    ] {
        let reply = s.bob.client.get(&s.at(&format!("messages/?{query}"))).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"][field].is_array(), "{query}: {body}");
    }
}

#[tokio::test]
async fn lists_are_refused_to_those_outside() {
    let s = Stage::set().await;
    for query in [
        "",
        "?message_type=text",
        "?after_id=0",
        "?page=9&include_deleted=false",
    ] {
        let list = format!("messages/{query}");
        let reply = s.carol.client.get(&s.at(&list)).await;
        reply.refused_with(403, "not_member", DENIED);
        let reply = s.bob.client.get(&at(s.room + 1000, &list)).await;
        reply.refused_with(404, "not_found", NO_ROOM);
    }
    assert_eq!(s.bob.client.get(&format!("{ROOMS}x/messages/")).await.status, 404);
    let head = s.bob.client.request(reqwest::Method::HEAD, &s.at("messages/"));
    assert_eq!(s.bob.client.send(head).await.status, 200);
}

#[tokio::test]
async fn moments_that_no_database_keeps_are_400() {
    let s = Stage::set().await;
    for moment in [
        "9999-12-31T23:59:59-12:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00%2B14:00",
    ] {
        let reply = s
            .alice
            .client
            .get(&s.at(&format!("messages/?updated_since={moment}")))
            .await;
        assert_eq!(reply.status, 400, "{moment}: {}", reply.text());
    }
    let path = s.at(&format!("members/{}/mute/", s.bob.id));
    let until = json!({ "until": "9999-12-31T23:59:59-12:00" });
    let reply = s.alice.client.post(&path, until).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
}
