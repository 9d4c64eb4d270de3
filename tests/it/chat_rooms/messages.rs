//! One message: looking at it, changing it, taking it back.

use std::time::Duration;

use super::*;
use crate::support::{eventually, sql};

#[tokio::test]
async fn a_message_is_shown_to_members() {
    let s = Stage::set().await;
    let sent = s.say(&s.alice, "hello").await;
    assert_eq!(message_of(&s.bob, &sent).await, sent);
    for rest in ["", "reads/"] {
        let body = forbidden(s.carol.client.get(&message_at(&sent, rest)).await);
        assert_eq!(body["error"], "无权限访问该消息");
    }
    for path in ["/api/chat/messages/999999/", "/api/chat/messages/999999/reads/"] {
        s.bob
            .client
            .get(path)
            .await
            .refused_with(404, "not_found", NO_MESSAGE);
    }
    assert_eq!(s.bob.client.get("/api/chat/messages/0/").await.status, 404);
    assert_eq!(s.bob.client.get("/api/chat/messages/x/").await.status, 404);
}

#[tokio::test]
async fn a_message_is_edited_by_its_sender() {
    let s = Stage::with(&[QUIET]).await;
    let sent = s.say(&s.bob, "helo").await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    let edited = edit(&s.bob, &sent, "hello\n").await.expect(200);
    has_keys(&edited, &M);
    covers(
        &edited,
        &json!({ "id": sent["id"], "seq": sent["seq"], "content": "hello", "is_edited": true, "is_deleted": false }),
    );
    assert_eq!(edited["created_at"], sent["created_at"]);
    assert_ne!(edited["updated_at"], sent["updated_at"]);
    for socket in [&mut alice, &mut bob] {
        let frame = socket.of("message_edited").await;
        has_keys(&frame["message"], &MF);
        covers(
            &frame["message"],
            &json!({ "id": sent["id"], "content": "hello", "is_edited": true, "timestamp": sent["created_at"] }),
        );
    }
    assert_eq!(message_of(&s.alice, &sent).await, edited);
    assert_eq!(listed(&s.alice, s.room).await["last_message"]["content"], "hello");
    // PUT is the same.
    let body = json!({ "content": "hello again" });
    let again = s.bob.client.put(&message_at(&sent, ""), body).await.expect(200);
    assert_eq!(again["content"], "hello again");
    assert_eq!(history(&s.alice, s.room).await.len(), 2, "no new message");
}

#[tokio::test]
async fn an_edit_is_checked_like_a_message() {
    let s = Stage::set().await;
    let sent = s.say(&s.bob, "fine").await;
    for text in ["", " \n "] {
        let reply = edit(&s.bob, &sent, text).await;
        reply.refused_with(400, "empty_content", "消息内容不能为空");
    }
    edit(&s.bob, &sent, &"字".repeat(10_001))
        .await
        .faulted("content", "长度不能超过 10000 个字符");
    for who in [&s.alice, &s.carol] {
        forbidden(edit(who, &sent, "not mine").await);
    }
    let missing = json!({ "id": 999_999 });
    let reply = edit(&s.bob, &missing, "x").await;
    reply.refused_with(404, "not_found", NO_MESSAGE);
    // Only the text is changed.
    let body = json!({ "content": "finer", "message_type": "system", "seq": 1, "file_url": "https://example.com/x" });
    let edited = s.bob.client.patch(&message_at(&sent, ""), body).await.expect(200);
    covers(
        &edited,
        &json!({ "message_type": "text", "seq": sent["seq"], "file_url": null, "content": "finer" }),
    );
}

#[tokio::test]
async fn some_messages_cannot_be_edited_any_more() {
    let s = Stage::with(&[("CHAT_EDIT_WINDOW", "10m")]).await;
    let sent = s.say(&s.bob, "old").await;
    let gone = s.say(&s.bob, "gone").await;
    delete(&s.bob, &gone).await.expect(200);
    // Bob is named as the sender of what was said about him.
    let system = history(&s.bob, s.room).await[0].clone();
    let conflict = async |message: &Value| {
        let reply = edit(&s.bob, message, "changed").await;
        let body = reply.expect(409);
        has_keys(&body, &["error", "code"]);
    };
    conflict(&gone).await;
    conflict(&system).await;
    s.srv.clock.advance(Duration::from_secs(590));
    edit(&s.bob, &sent, "in time").await.expect(200);
    s.srv.clock.advance(Duration::from_secs(11));
    conflict(&sent).await;
    assert_eq!(message_of(&s.bob, &sent).await["content"], "in time");
    assert_eq!(message_of(&s.bob, &gone).await["content"], PLACEHOLDER);
}

#[tokio::test]
async fn a_message_is_deleted_in_either_form() {
    let s = Stage::set().await;
    let one = s.say(&s.bob, "one").await;
    let two = s.say(&s.bob, "two").await;
    for _ in 0..2 {
        let done = delete(&s.bob, &one).await.expect(200);
        assert_eq!(done["message"], "消息已删除");
        let reply = s.bob.client.delete(&message_at(&two, "")).await;
        assert_eq!(reply.expect(200)["message"], "消息已删除");
    }
    for message in [&one, &two] {
        covers(
            &message_of(&s.alice, message).await,
            &json!({ "content": PLACEHOLDER, "is_deleted": true, "is_edited": false }),
        );
    }
    s.bob
        .client
        .delete("/api/chat/messages/999999/delete/")
        .await
        .refused_with(404, "not_found", NO_MESSAGE);
}

#[tokio::test]
async fn a_message_is_not_deleted_by_just_anybody() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let sent = s.say(&s.bob, "mine").await;
    delete(&s.carol, &sent)
        .await
        .refused_with(403, "not_sender", "只能删除自己的消息");
    leave(&s.carol, s.room).await;
    forbidden(delete(&s.carol, &sent).await);
    assert_eq!(message_of(&s.alice, &sent).await["content"], "mine");
    delete(&s.alice, &sent).await.expect(200);
}

#[tokio::test]
async fn the_old_text_is_gone_from_the_database() {
    let s = Stage::set().await;
    let sent = s.say(&s.bob, "regretted words").await;
    s.say(&s.bob, "kept words").await;
    delete(&s.bob, &sent).await.expect(200);
    let left = "SELECT COUNT(*) FROM chat_messages WHERE content LIKE '%regretted%'";
    assert_eq!(sql::number(&s.srv, left).await, 0);
    eventually("the notification is rewritten", 10, || async {
        let left = "SELECT COUNT(*) FROM chat_notifications WHERE content LIKE '%regretted%'";
        sql::number(&s.srv, left).await == 0
    })
    .await;
}

#[tokio::test]
async fn deleting_the_newest_message_moves_the_last_message_back() {
    let s = Stage::set().await;
    let mut sent = Vec::new();
    for n in 0..4 {
        sent.push(s.say(&s.bob, &n.to_string()).await);
    }
    let last = async || listed(&s.alice, s.room).await["last_message"]["content"].clone();
    delete(&s.bob, &sent[1]).await.expect(200);
    assert_eq!(last().await, "3");
    delete(&s.bob, &sent[3]).await.expect(200);
    assert_eq!(last().await, "2");
    delete(&s.bob, &sent[2]).await.expect(200);
    assert_eq!(last().await, "0", "over what was deleted before");
    let next = s.say(&s.bob, "next").await;
    assert_eq!(next["seq"], 6, "nothing is counted backwards");
}

#[tokio::test]
async fn updated_at_moves_with_every_change() {
    let s = Stage::set().await;
    let sent = s.say(&s.bob, "one").await;
    let time = |message: &Value| message["updated_at"].as_str().unwrap().to_owned();
    let mut times = vec![time(&sent)];
    s.srv.clock.advance(Duration::from_secs(1));
    times.push(time(&edit(&s.bob, &sent, "two").await.expect(200)));
    s.srv.clock.advance(Duration::from_secs(1));
    delete(&s.bob, &sent).await.expect(200);
    times.push(time(&message_of(&s.bob, &sent).await));
    let parsed: Vec<_> = times
        .iter()
        .map(|t| chrono::DateTime::parse_from_rfc3339(t).expect("RFC 3339"))
        .collect();
    assert!(parsed.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[tokio::test]
async fn a_text_that_is_kept_is_still_shown_to_nobody() {
    let s = Stage::with(&[("CHAT_KEEP_DELETED", "true")]).await;
    let sent = s.say(&s.bob, "regretted words").await;
    delete(&s.bob, &sent).await.expect(200);
    let left = "SELECT COUNT(*) FROM chat_messages WHERE content LIKE '%regretted%'";
    assert_eq!(sql::number(&s.srv, left).await, 0, "it has a table of its own");
    for user in [&s.alice, &s.bob] {
        for path in [
            s.at("messages/"),
            message_at(&sent, ""),
            ROOMS.to_owned(),
            NOTES.to_owned(),
        ] {
            let text = user.client.get(&path).await.text();
            assert!(!text.contains("regretted"), "{path}: {text}");
        }
    }
}
