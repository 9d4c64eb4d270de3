//! `?since=`: what was missed comes first.

use super::*;
use crate::sockets::Socket;

async fn resumed(s: &Stage, since: i64) -> (Socket, Value) {
    let target = format!("{}&since={since}", socket_of(s.room, &s.bob));
    greeted(&s.srv, &target).await
}

/// Everything up to `resume_complete`: ids, and that frame.
async fn replayed(socket: &mut Socket) -> (Vec<i64>, Value) {
    let mut got = Vec::new();
    loop {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("chat_message") => got.push(id_of(&frame["message"])),
            Some("resume_complete") => return (got, frame),
            _ => panic!("{frame}"),
        }
    }
}

async fn filled(extra: &[(&str, &str)], messages: usize) -> (Stage, Vec<i64>) {
    let mut all = vec![QUIET];
    all.extend_from_slice(extra);
    let s = Stage::with(&all).await;
    for n in 0..messages {
        s.say(&s.alice, &n.to_string()).await;
    }
    let ids = history(&s.alice, s.room).await.iter().map(id_of).collect();
    (s, ids)
}

#[tokio::test]
async fn what_was_missed_comes_first_and_then_its_end() {
    let (s, all) = filled(&[], 120).await;
    let last = *all.last().unwrap();
    for from in [0, 1, 60, all.len()] {
        let since = if from == 0 { 0 } else { all[from - 1] };
        let (mut socket, greeting) = resumed(&s, since).await;
        assert_eq!(greeting["last_message_id"], last);
        let (got, end) = replayed(&mut socket).await;
        assert_eq!(got, all[from..], "since {since}");
        assert_eq!(
            end,
            json!({
                "type": "resume_complete", "from": since, "to": last, "count": all.len() - from, "truncated": false,
            })
        );
    }
    // Further than the last is the last.
    let (mut socket, _) = resumed(&s, last + 1000).await;
    let (got, end) = replayed(&mut socket).await;
    assert_eq!((got.len(), &end["count"]), (0, &json!(0)));
    let next = s.say(&s.alice, "live").await;
    assert_eq!(socket.message().await["id"], next["id"]);
}

#[tokio::test]
async fn a_replay_shows_messages_as_they_are_now() {
    let s = Stage::with(&[QUIET]).await;
    let edited = s.say(&s.alice, "old").await;
    let deleted = s.say(&s.alice, "regretted").await;
    edit(&s.alice, &edited, "new").await.expect(200);
    delete(&s.alice, &deleted).await.expect(200);
    let (mut socket, _) = resumed(&s, id_of(&edited) - 1).await;
    let first = socket.message().await;
    has_keys(&first, &MF);
    covers(
        &first,
        &json!({ "id": edited["id"], "content": "new", "is_edited": true }),
    );
    covers(
        &socket.message().await,
        &json!({ "id": deleted["id"], "content": PLACEHOLDER, "is_deleted": true }),
    );
}

#[tokio::test]
async fn a_long_absence_is_cut_and_said_so() {
    let (s, all) = filled(&[("CHAT_RESUME_MAX", "10")], 24).await;
    assert_eq!(all.len(), 25);
    for (from, truncated) in [(0, true), (14, true), (15, false)] {
        let since = if from == 0 { 0 } else { all[from - 1] };
        let (mut socket, _) = resumed(&s, since).await;
        let (got, end) = replayed(&mut socket).await;
        assert_eq!(got, all[15..], "from {from}");
        covers(&end, &json!({ "count": 10, "truncated": truncated }));
    }
    // The rest is fetched.
    let path = s.at("messages/?after_id=0&limit=15");
    let page = s.bob.client.get(&path).await.expect(200);
    assert_eq!(ids(&page["messages"]), all[..15]);
}

#[tokio::test]
async fn without_since_nothing_is_replayed() {
    let (s, _) = filled(&[], 5).await;
    let mut socket = s.open(&s.bob).await;
    let next = s.say(&s.alice, "live").await;
    let frame = socket.next().await;
    assert_eq!(frame["message"]["id"], next["id"], "{frame}");
}
