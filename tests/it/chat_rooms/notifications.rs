//! `/api/chat/notifications/` and `/ws/notifications/`.

use std::time::Duration;

use super::*;
use crate::sockets::{ended, refused};
use crate::support::server::PASSWORD;

async fn unread_count(user: &User) -> Value {
    let path = format!("{NOTES}unread_count/");
    let shown = user.client.get(&path).await.expect(200);
    shown["unread_count"].clone()
}

async fn read(user: &User, note: &Value) -> Reply {
    let path = format!("{NOTES}{}/read/", id_of(note));
    user.client.post(&path, json!({})).await
}

#[tokio::test]
async fn notifications_are_listed_to_their_owner() {
    let s = Stage::set().await;
    for n in 0..3 {
        s.say(&s.alice, &n.to_string()).await;
    }
    s.say(&s.alice, "@bob").await;
    let reply = s.bob.client.get(NOTES).await;
    assert_eq!(reply.header("x-total-count"), "4");
    assert_eq!(reply.header("x-page-size"), "50");
    let list = reply.expect(200);
    let texts: Vec<&Value> = list_of(&list).iter().map(|n| &n["content"]).collect();
    assert_eq!(texts, ["@bob", "2", "1", "0"]);
    for note in list_of(&list) {
        has_keys(note, &N);
        has_keys(&note["room"], &RC);
        has_keys(&note["message"], &["id", "content", "message_type", "created_at"]);
        assert!(
            note["room"].get("members").is_none(),
            "no list of members: {note}"
        );
    }
    is_discreet(&list.to_string());
    assert_eq!(notes(&s.alice, "").await, Vec::<Value>::new());
    assert_eq!(notes_of(&s.bob, "mention").await.len(), 1);
    assert_eq!(notes_of(&s.bob, "message").await.len(), 3);
    assert_eq!(notes_of(&s.bob, "system").await.len(), 0);
    let page = s.bob.client.get(&format!("{NOTES}?page=2&page_size=3")).await;
    assert_eq!(page.header("x-total-count"), "4");
    assert_eq!(page.expect(200)[0]["content"], "0");
    assert_eq!(notes(&s.bob, "page=9").await, Vec::<Value>::new());
    for (query, field) in [
        ("notification_type=other", "notification_type"),
        ("is_read=maybe", "is_read"),
        ("page_size=101", "page_size"),
        ("page=0", "page"),
    ] {
        let reply = s.bob.client.get(&format!("{NOTES}?{query}")).await;
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"][field].is_array(), "{query}: {body}");
    }
    s.srv
        .client
        .get(NOTES)
        .await
        .refused_with(401, "not_authenticated", "未提供认证信息");
}

#[tokio::test]
async fn a_notification_is_read_by_its_owner() {
    let s = Stage::set().await;
    s.say(&s.alice, "one").await;
    s.say(&s.alice, "two").await;
    assert_eq!(unread_count(&s.bob).await, 2);
    let mine = notes(&s.bob, "").await;
    for _ in 0..2 {
        let done = read(&s.bob, &mine[0]).await.expect(200);
        assert_eq!(done["message"], "通知已标记为已读");
    }
    assert_eq!(unread_count(&s.bob).await, 1);
    let left = notes(&s.bob, "is_read=false").await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["id"], mine[1]["id"]);
    assert_eq!(notes(&s.bob, "is_read=true").await[0]["id"], mine[0]["id"]);
    for who in [&s.alice, &s.carol] {
        let reply = read(who, &mine[1]).await;
        reply.refused_with(404, "not_found", "通知不存在");
    }
    let missing = read(&s.bob, &json!({ "id": 999_999 })).await;
    missing.refused_with(404, "not_found", "通知不存在");
    assert_eq!(unread_count(&s.bob).await, 1);
}

#[tokio::test]
async fn all_are_read_at_once_or_those_of_a_room() {
    let s = Stage::set().await;
    let second = create(&s.alice, "public").await;
    join(&s.bob, second).await;
    for n in 0..3 {
        s.say(&s.alice, &n.to_string()).await;
        say(&s.alice, second, &n.to_string()).await;
    }
    let path = format!("{NOTES}read_all/");
    let read_all = async |user: &User, body: Value| user.client.post(&path, body).await.expect(200);
    let done = read_all(&s.bob, json!({ "room_id": second })).await;
    covers(&done, &json!({ "message": "全部通知已标记为已读", "updated": 3 }));
    assert_eq!(unread_count(&s.bob).await, 3);
    assert_eq!(read_all(&s.carol, json!({})).await["updated"], 0);
    assert_eq!(read_all(&s.bob, json!({})).await["updated"], 3);
    assert_eq!(read_all(&s.bob, json!({})).await["updated"], 0);
    assert_eq!(unread_count(&s.bob).await, 0);
    let reply = s.bob.client.post(&path, json!({ "room_id": "x" })).await;
    reply.faulted("room_id", "类型错误");
}

#[tokio::test]
async fn a_notification_is_deleted_by_its_owner() {
    let s = Stage::set().await;
    s.say(&s.alice, "one").await;
    let mine = notes(&s.bob, "").await;
    let path = format!("{NOTES}{}/", id_of(&mine[0]));
    s.carol
        .client
        .delete(&path)
        .await
        .refused_with(404, "not_found", "通知不存在");
    assert_eq!(notes(&s.bob, "").await.len(), 1);
    let reply = s.bob.client.delete(&path).await;
    assert_eq!((reply.status, reply.bytes.len()), (204, 0));
    s.bob
        .client
        .delete(&path)
        .await
        .refused_with(404, "not_found", "通知不存在");
    assert_eq!(unread_count(&s.bob).await, 0);
    assert_eq!(history(&s.bob, s.room).await.len(), 2, "the message stays");
}

#[tokio::test]
async fn old_ones_that_were_read_are_purged() {
    let s = Stage::set().await;
    s.say(&s.alice, "read").await;
    s.say(&s.alice, "unread").await;
    let mine = notes(&s.bob, "").await;
    read(&s.bob, &mine[1]).await.expect(200);
    s.srv.later(Duration::from_secs(89 * 86_400)).await;
    let bob = s.srv.login("bob", PASSWORD).await;
    assert_eq!(notes(&bob, "").await.len(), 2);
    s.srv.later(Duration::from_secs(3 * 86_400)).await;
    let bob = s.srv.login("bob", PASSWORD).await;
    crate::support::eventually("the read one goes", 20, || async {
        let left = notes(&bob, "").await;
        left.len() == 1 && left[0]["content"] == "unread"
    })
    .await;
}

#[tokio::test]
async fn notifications_are_pushed_to_their_owner() {
    let s = Stage::set().await;
    let target = |user: &User| format!("/ws/notifications/?token={}", user.access);
    let (mut bob, greeting) = greeted(&s.srv, &target(&s.bob)).await;
    covers(
        &greeting,
        &json!({ "message": "连接成功", "user": u2(&s.bob), "heartbeat": 25 }),
    );
    let (mut alice, _) = greeted(&s.srv, &target(&s.alice)).await;
    let sent = s.say(&s.alice, "hello @bob").await;
    let frame = bob.of("notification").await;
    let stored = notes(&s.bob, "").await;
    let pushed = frame.get("notification").or(frame.get("message")).expect("N");
    has_keys(pushed, &N);
    covers(
        pushed,
        &json!({
            "id": stored[0]["id"], "notification_type": "mention", "title": "alice 在 云雀茶馆 中提到了你",
            "message": { "id": sent["id"] }, "is_read": false,
        }),
    );
    // Invitations too, and each to its owner alone.
    let room = create(&s.bob, "private").await;
    invite(&s.bob, room, &s.alice).await.expect(200);
    let frame = alice.of("notification").await;
    let pushed = frame.get("notification").or(frame.get("message")).expect("N");
    assert_eq!(pushed["notification_type"], "room_invite");
    bob.send(json!({ "type": "ping" })).await;
    assert_eq!(bob.next().await["type"], "pong");
}

#[tokio::test]
async fn notifications_are_pushed_from_another_server() {
    let Some(s) = Stage::on_two(&[]).await else {
        return;
    };
    let target = format!("/ws/notifications/?token={}", s.bob.access);
    let (mut bob, _) = greeted(s.there(), &target).await;
    s.say(&s.alice, "hello @bob").await;
    assert_eq!(bob.of("notification").await["type"], "notification");
}

#[tokio::test]
async fn the_push_needs_a_token_and_ends_with_it() {
    let s = Stage::set().await;
    for (query, code) in [
        (String::new(), "not_authenticated"),
        ("?token=garbage".to_owned(), "token_invalid"),
        (format!("?token={}", s.bob.refresh), "token_invalid"),
    ] {
        let end = refused(&s.srv, &format!("/ws/notifications/{query}")).await;
        assert_eq!(end, ended(4401, code), "{query}");
    }
    let target = format!("/ws/notifications/?token={}", s.bob.access);
    let (mut bob, _) = greeted(&s.srv, &target).await;
    bob.send(json!({ "type": "chat_message", "content": "x" })).await;
    let error = bob.of("error").await;
    covers(
        &error,
        &json!({ "code": "unknown_type", "message": "未知的消息类型" }),
    );
    s.bob.client.post("/user/logout/", json!({})).await.expect(200);
    assert_eq!(bob.end().await, ended(4401, "token_invalid"));
}
