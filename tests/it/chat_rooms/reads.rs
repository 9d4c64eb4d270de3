//! Receipts, and what is still unread.

use super::*;

const DONE: &str = "消息已标记为已读";

async fn read(user: &User, message: &Value) -> Reply {
    user.client.post(&message_at(message, "read/"), json!({})).await
}

async fn read_all(user: &User, room: i64, body: Value) -> Value {
    user.client.post(&at(room, "read/"), body).await.expect(200)
}

/// Who has read a message.
async fn readers(viewer: &User, message: &Value) -> Vec<i64> {
    let list = viewer
        .client
        .get(&message_at(message, "reads/"))
        .await
        .expect(200);
    let mut all: Vec<i64> = list_of(&list).iter().map(|r| id_of(&r["user"])).collect();
    all.sort_unstable();
    all
}

/// The line of a room in `/api/chat/unread/`, and the total.
async fn waiting(user: &User, room: i64) -> (i64, i64) {
    let all = user.client.get("/api/chat/unread/").await.expect(200);
    let line = list_of(&all["rooms"]).iter().find(|r| r["room_id"] == room);
    let count = line.map_or(0, |r| r["unread_count"].as_i64().expect("a number"));
    (count, all["total"].as_i64().expect("a number"))
}

#[tokio::test]
async fn a_receipt_is_kept_and_told() {
    let s = Stage::with(&[QUIET]).await;
    let sent = s.say(&s.alice, "read me").await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    assert!(!readers(&s.alice, &sent).await.contains(&s.bob.id));
    for _ in 0..2 {
        assert_eq!(read(&s.bob, &sent).await.expect(200)["message"], DONE);
    }
    for socket in [&mut alice, &mut bob] {
        let frame = socket.of("message_read").await;
        covers(&frame, &json!({ "message_id": sent["id"], "user": u2(&s.bob) }));
        assert!(frame["read_at"].as_str().unwrap().ends_with('Z'), "{frame}");
    }
    let list = s.bob.client.get(&message_at(&sent, "reads/")).await.expect(200);
    let of_bob: Vec<_> = list_of(&list)
        .iter()
        .filter(|r| r["user"]["id"] == s.bob.id)
        .collect();
    assert_eq!(of_bob.len(), 1, "{list}");
    assert_eq!(of_bob[0]["user"], u2(&s.bob));
    assert!(of_bob[0]["read_at"].as_str().unwrap().ends_with('Z'));
    let row = member(&s.alice, s.room, &s.bob).await;
    assert!(row["last_read_at"].is_string(), "{row}");
}

#[tokio::test]
async fn receipts_are_for_members() {
    let s = Stage::set().await;
    let sent = s.say(&s.alice, "read me").await;
    let body = forbidden(read(&s.carol, &sent).await);
    assert_eq!(body["error"], "无权限访问该消息");
    for missing in [json!({ "id": 999_999 }), json!({ "id": i64::MAX })] {
        read(&s.bob, &missing)
            .await
            .refused_with(404, "not_found", NO_MESSAGE);
    }
    forbidden(s.carol.client.post(&s.at("read/"), json!({})).await);
    let reply = s.bob.client.post(&at(s.room + 1000, "read/"), json!({})).await;
    reply.refused_with(404, "not_found", NO_ROOM);
    assert_eq!(
        readers(&s.alice, &sent)
            .await
            .iter()
            .filter(|id| **id == s.carol.id)
            .count(),
        0
    );
}

#[tokio::test]
async fn unread_is_what_others_wrote_after_the_mark() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    assert_eq!(unread(&s.bob, s.room).await, 0, "system messages do not count");
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(s.say(&s.alice, &n.to_string()).await);
    }
    assert_eq!(unread(&s.bob, s.room).await, 5);
    assert_eq!(waiting(&s.bob, s.room).await, (5, 5));
    assert_eq!(unread(&s.alice, s.room).await, 0, "her own");
    // A message makes everything before it read for the counts.
    read(&s.bob, &sent[2]).await.expect(200);
    assert_eq!(waiting(&s.bob, s.room).await, (2, 2));
    // Reading an older one takes nothing back.
    read(&s.bob, &sent[0]).await.expect(200);
    assert_eq!(unread(&s.bob, s.room).await, 2);
    let all = s.bob.client.get("/api/chat/unread/").await.expect(200);
    let line = list_of(&all["rooms"])
        .iter()
        .find(|r| r["room_id"] == s.room)
        .expect("the room");
    assert_eq!(line["last_read_message_id"], sent[2]["id"]);
    // But a receipt is of one message.
    assert!(!readers(&s.alice, &sent[1]).await.contains(&s.bob.id));
    assert!(readers(&s.alice, &sent[2]).await.contains(&s.bob.id));
    delete(&s.alice, &sent[4]).await.expect(200);
    assert_eq!(unread(&s.bob, s.room).await, 1, "deleted ones do not count");
    s.say(&s.bob, "mine").await;
    assert_eq!(unread(&s.bob, s.room).await, 0, "whoever speaks has read");
    assert_eq!(unread(&s.alice, s.room).await, 1);
    assert_eq!(waiting(&s.carol, s.room).await, (5, 5));
}

#[tokio::test]
async fn what_was_deleted_before_the_mark_changes_no_count() {
    let s = Stage::set().await;
    let first = s.say(&s.alice, "one").await;
    let second = s.say(&s.alice, "two").await;
    s.say(&s.alice, "three").await;
    read(&s.bob, &second).await.expect(200);
    delete(&s.alice, &first).await.expect(200);
    delete(&s.alice, &second).await.expect(200);
    assert_eq!(unread(&s.bob, s.room).await, 1);
    // Twice is once.
    delete(&s.alice, &first).await.expect(200);
    assert_eq!(unread(&s.bob, s.room).await, 1);
}

#[tokio::test]
async fn a_room_is_read_up_to_a_message_or_to_the_end() {
    let s = Stage::set().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(s.say(&s.alice, &n.to_string()).await);
    }
    let done = read_all(&s.bob, s.room, json!({ "up_to": sent[1]["id"] })).await;
    covers(&done, &json!({ "message": DONE, "updated": 2 }));
    assert_eq!(unread(&s.bob, s.room).await, 3);
    assert!(readers(&s.alice, &sent[0]).await.contains(&s.bob.id));
    assert!(!readers(&s.alice, &sent[2]).await.contains(&s.bob.id));
    assert_eq!(
        read_all(&s.bob, s.room, json!({ "up_to": sent[0]["id"] })).await["updated"],
        0
    );
    assert_eq!(read_all(&s.bob, s.room, json!({})).await["updated"], 3);
    assert_eq!(read_all(&s.bob, s.room, json!({})).await["updated"], 0);
    assert_eq!(waiting(&s.bob, s.room).await, (0, 0));
    for bad in [json!(0), json!(-1), json!("1")] {
        let reply = s.bob.client.post(&s.at("read/"), json!({ "up_to": bad })).await;
        assert_eq!(reply.status, 400, "{bad}: {}", reply.text());
    }
    // An empty body is none.
    let bare = s.bob.client.request(reqwest::Method::POST, &s.at("read/"));
    assert_eq!(s.bob.client.send(bare).await.expect(200)["updated"], 0);
}

#[tokio::test]
async fn reading_over_the_socket_is_the_same() {
    let s = Stage::with(&[QUIET]).await;
    let first = s.say(&s.alice, "one").await;
    let second = s.say(&s.alice, "two").await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    bob.send(json!({ "type": "read", "message_id": first["id"] }))
        .await;
    covers(
        &alice.of("message_read").await,
        &json!({ "message_id": first["id"], "user": u2(&s.bob) }),
    );
    assert_eq!(unread(&s.bob, s.room).await, 1);
    assert!(!readers(&s.alice, &second).await.contains(&s.bob.id));
    for bad in [
        json!({ "type": "read" }),
        json!({ "type": "read", "message_id": "1" }),
    ] {
        bob.send(bad).await;
        assert_eq!(bob.of("error").await["code"], "validation_error");
    }
    let other = create(&s.alice, "public").await;
    let elsewhere = say(&s.alice, other, "elsewhere").await;
    bob.send(json!({ "type": "read", "message_id": elsewhere["id"] }))
        .await;
    assert_eq!(bob.of("error").await["type"], "error");
}

#[tokio::test]
async fn reading_a_message_reads_its_notification() {
    let s = Stage::set().await;
    let one = s.say(&s.alice, "one").await;
    s.say(&s.alice, "two").await;
    read(&s.bob, &one).await.expect(200);
    let left = notes(&s.bob, "is_read=false").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["content"], "two");
}

#[tokio::test]
async fn totals_are_over_all_rooms() {
    let s = Stage::set().await;
    let second = create(&s.alice, "group").await;
    admit(&s.alice, second, &s.bob).await;
    s.say(&s.alice, "one").await;
    say(&s.alice, second, "two").await;
    say(&s.alice, second, "three").await;
    assert_eq!(waiting(&s.bob, s.room).await, (1, 3));
    assert_eq!(waiting(&s.bob, second).await, (2, 3));
    assert_eq!(listed(&s.bob, second).await["unread_count"], 2);
    leave(&s.bob, second).await;
    assert_eq!(
        waiting(&s.bob, s.room).await,
        (1, 1),
        "what one left does not wait"
    );
    s.srv
        .client
        .get("/api/chat/unread/")
        .await
        .refused(401, "not_authenticated");
}

#[tokio::test]
async fn who_comes_later_counts_from_what_they_read() {
    let s = Stage::set().await;
    for n in 0..3 {
        s.say(&s.alice, &n.to_string()).await;
    }
    join(&s.carol, s.room).await;
    s.say(&s.alice, "welcome").await;
    let waiting = waiting(&s.carol, s.room).await.0;
    // Whether what was said before counts is not promised; what is said from now on does.
    assert!(waiting >= 1, "{waiting}");
    read_all(&s.carol, s.room, json!({})).await;
    s.say(&s.alice, "hello").await;
    assert_eq!(unread(&s.carol, s.room).await, 1);
}
