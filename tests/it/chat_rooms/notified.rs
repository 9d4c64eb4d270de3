//! Which notifications come about: mentions, messages, and what each member wants to hear.

use super::*;
use crate::support::server::PASSWORD;
use crate::support::{eventually, sql};

async fn kinds(user: &User) -> Vec<String> {
    let all = notes(user, "").await;
    all.iter()
        .map(|n| n["notification_type"].as_str().unwrap().to_owned())
        .collect()
}

async fn sets(user: &User, room: i64, notify: &str) {
    let body = json!({ "notify": notify });
    user.client.patch(&at(room, "me/"), body).await.expect(200);
}

#[tokio::test]
async fn names_are_recognised_in_the_middle_of_text() {
    let s = Stage::set().await;
    let mut users = vec![s.bob.clone()];
    for (n, name) in ["b.o-b", "张三", "bobby"].into_iter().enumerate() {
        let body = json!({ "username": name, "email": format!("m{n}@example.com"), "password": PASSWORD });
        s.srv.client.post("/user/register/", body).await.expect(201);
        let user = s.srv.login(name, PASSWORD).await;
        join(&user, s.room).await;
        users.push(user);
    }
    let names = ["bob", "b.o-b", "张三", "bobby"];
    for (text, named) in [
        ("@bob", &["bob"][..]),
        ("hello @bob!", &["bob"]),
        ("(@bob)", &["bob"]),
        ("@bob.", &["bob"]),
        ("@bob...", &["bob"]),
        ("@Bob: @BOBBY;", &["bob", "bobby"]),
        ("@ｂｏｂ", &["bob"]),
        ("@b.o-b, there", &["b.o-b"]),
        ("@b.o-b.", &["b.o-b"]),
        ("你好，@张三！", &["张三"]),
        ("first\n@bob", &["bob"]),
        ("mail bob@bob.example", &[]),
        ("x@bob", &[]),
        ("@ bob", &[]),
        ("@bobb", &[]),
        ("bob", &[]),
        ("@@", &[]),
        ("@alice", &[]),
        ("@carol", &[]),
    ] {
        let sent = s.say(&s.alice, text).await;
        for (user, name) in users.iter().zip(names) {
            let newest = notes(user, "page_size=1").await;
            assert_eq!(newest[0]["message"]["id"], sent["id"], "{text}: {name}");
            let expected = if named.contains(&name) {
                "mention"
            } else {
                "message"
            };
            assert_eq!(newest[0]["notification_type"], expected, "{text}: {name}");
        }
    }
    assert_eq!(notes(&s.alice, "").await, Vec::<Value>::new());
    assert_eq!(notes(&s.carol, "").await, Vec::<Value>::new(), "no member");
}

#[tokio::test]
async fn a_name_that_is_called_twice_is_called_once() {
    let s = Stage::set().await;
    s.say(&s.alice, "@bob @bob @BOB").await;
    assert_eq!(kinds(&s.bob).await, ["mention"]);
    let rows = "SELECT COUNT(*) FROM chat_notifications";
    assert_eq!(sql::number(&s.srv, rows).await, 1);
}

#[tokio::test]
async fn everybody_is_called_by_those_who_run_the_room() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    s.say(&s.bob, "@all listen").await;
    assert_eq!(kinds(&s.carol).await, ["message"], "text, from a member");
    assert_eq!(kinds(&s.alice).await, ["message"]);
    s.say(&s.alice, "@all listen").await;
    assert_eq!(kinds(&s.carol).await, ["mention", "message"]);
    assert_eq!(kinds(&s.bob).await, ["mention"]);
    set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
    s.say(&s.bob, "@all now I may").await;
    assert_eq!(kinds(&s.alice).await, ["mention", "message"]);
}

#[tokio::test]
async fn members_hear_what_they_want_to() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    sets(&s.bob, s.room, "mentions").await;
    sets(&s.carol, s.room, "none").await;
    s.say(&s.alice, "nothing special").await;
    s.say(&s.alice, "@bob @carol").await;
    assert_eq!(kinds(&s.bob).await, ["mention"]);
    assert_eq!(kinds(&s.carol).await, Vec::<String>::new());
    // It counts as unread nevertheless.
    assert_eq!(unread(&s.carol, s.room).await, 2);
    sets(&s.carol, s.room, "all").await;
    s.say(&s.alice, "again").await;
    assert_eq!(kinds(&s.carol).await, ["message"]);
}

#[tokio::test]
async fn banned_members_hear_nothing_and_muted_ones_do() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    act(&s.alice, s.room, &s.carol, "mute").await.expect(200);
    act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    s.say(&s.alice, "@bob @carol").await;
    assert!(!kinds(&s.bob).await.contains(&"mention".to_owned()));
    assert!(kinds(&s.carol).await.contains(&"mention".to_owned()));
}

#[tokio::test]
async fn a_message_tells_its_first_hundred_characters() {
    let s = Stage::set().await;
    s.say(&s.alice, &"长".repeat(150)).await;
    let mine = notes(&s.bob, "").await;
    covers(
        &mine[0],
        &json!({
            "notification_type": "message", "title": "新消息来自 alice", "content": "长".repeat(100), "count": 1,
            "is_read": false, "message": { "message_type": "text" },
        }),
    );
    let long = create_with(&s.alice, json!({ "name": "名".repeat(100) })).await;
    join(&s.bob, id_of(&long)).await;
    say(&s.alice, id_of(&long), "@bob").await;
    let mine = notes(&s.bob, "").await;
    let title = mine[0]["title"].as_str().unwrap();
    assert!(
        title.starts_with("alice 在 名") && title.chars().count() <= 200,
        "{title}"
    );
}

#[tokio::test]
async fn an_edit_may_call_and_takes_no_call_back() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let sent = s.say(&s.alice, "look, @bob").await;
    let ours = async |user: &User| {
        let all = notes(user, "").await;
        let of_it = all.into_iter().filter(|n| n["message"]["id"] == sent["id"]);
        of_it.collect::<Vec<_>>()
    };
    s.carol
        .client
        .post(&format!("{NOTES}read_all/"), json!({}))
        .await
        .expect(200);
    edit(&s.alice, &sent, "look, @carol").await.expect(200);
    let carols = ours(&s.carol).await;
    assert_eq!(carols.len(), 1, "{carols:?}");
    covers(
        &carols[0],
        &json!({ "notification_type": "mention", "is_read": false, "title": "alice 在 云雀茶馆 中提到了你" }),
    );
    let bobs = ours(&s.bob).await;
    assert_eq!(bobs.len(), 1, "{bobs:?}");
    assert_eq!(bobs[0]["notification_type"], "mention");
}

#[tokio::test]
async fn large_rooms_are_told_by_a_job() {
    let s = Stage::with(&[("CHAT_NOTIFY_INLINE_MAX", "2")]).await;
    join(&s.carol, s.room).await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(s.say(&s.alice, &n.to_string()).await);
    }
    let called = s.say(&s.alice, "@carol at once").await;
    // Mentions do not wait for the job.
    let mine = notes_of(&s.carol, "mention").await;
    assert_eq!(mine.len(), 1, "{mine:?}");
    assert_eq!(mine[0]["message"]["id"], called["id"]);
    eventually("bob is told of all", 15, || async {
        notes(&s.bob, "").await.len() == 6
    })
    .await;
    eventually("carol is told of the rest", 15, || async {
        notes(&s.carol, "").await.len() == 6
    })
    .await;
    let mine = notes(&s.bob, "").await;
    assert!(
        mine.iter()
            .all(|n| n["notification_type"] == "message" && n["count"] == 1)
    );
    // One row each, however often it runs.
    s.srv.later(std::time::Duration::from_secs(5)).await;
    let rows = "SELECT COUNT(*) FROM chat_notifications";
    assert_eq!(sql::number(&s.srv, rows).await, 12);
}

#[tokio::test]
async fn very_large_rooms_keep_one_unread_row_with_a_count() {
    let few = [("CHAT_NOTIFY_INLINE_MAX", "1"), ("CHAT_NOTIFY_COALESCE", "2")];
    let s = Stage::with(&few).await;
    join(&s.carol, s.room).await;
    let count = async || {
        let mine = notes_of(&s.bob, "message").await;
        assert!(mine.len() <= 1, "{mine:?}");
        mine.first().map_or(0, |n| n["count"].as_i64().expect("a count"))
    };
    let mut last = Value::Null;
    for n in 0..8 {
        last = s.say(&s.alice, &format!("message {n}")).await;
    }
    eventually("all are counted", 15, || async { count().await == 8 }).await;
    let mine = notes(&s.bob, "").await;
    covers(
        &mine[0],
        &json!({
            "title": "新消息来自 alice", "content": "message 7", "message": { "id": last["id"] }, "is_read": false,
        }),
    );
    last = s.say(&s.alice, "one more").await;
    eventually("it moves on", 15, || async {
        let mine = notes(&s.bob, "").await;
        mine.len() == 1 && mine[0]["count"] == 9 && mine[0]["message"]["id"] == last["id"]
    })
    .await;
    // Once read, the next one is a row of its own.
    let path = format!("{NOTES}{}/read/", id_of(&notes(&s.bob, "").await[0]));
    s.bob.client.post(&path, json!({})).await.expect(200);
    s.say(&s.alice, "after that").await;
    eventually("a new row", 15, || async {
        let mine = notes(&s.bob, "is_read=false").await;
        mine.len() == 1 && mine[0]["count"] == 1 && mine[0]["content"] == "after that"
    })
    .await;
    assert_eq!(notes(&s.bob, "").await.len(), 2);
}

#[tokio::test]
async fn messages_of_the_socket_are_told_as_well() {
    let s = Stage::with(&[QUIET]).await;
    let mut socket = s.open(&s.alice).await;
    socket.say("hello @bob").await;
    let sent = socket.message().await;
    let mine = notes(&s.bob, "").await;
    assert_eq!(mine.len(), 1, "{mine:?}");
    covers(
        &mine[0],
        &json!({ "notification_type": "mention", "message": { "id": sent["id"] } }),
    );
}
