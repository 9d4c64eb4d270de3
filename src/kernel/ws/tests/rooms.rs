//! Order, gaps, repair and resume.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use super::{Broadcast, Process, UserId, eventually};

async fn texts(client: &mut Client, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(client.note().await.1);
    }
    all
}

#[tokio::test]
async fn everybody_gets_every_note_in_order() {
    let p = Process::start().await;
    let mut clients = Vec::new();
    for user in 1..=5 {
        clients.push(p.join(1, user).await);
    }
    let mut elsewhere = p.join(2, 6).await;
    for n in 0..40 {
        let client = &mut clients[n % 5];
        client
            .send(json!({ "type": "note", "text": format!("{n}"), "sender": 1, "id": 1 }))
            .await;
        p.notes.say(1, "from elsewhere");
    }
    let mut seen = Vec::new();
    for client in &mut clients {
        let mut ids = Vec::new();
        for _ in 0..80 {
            ids.push(client.note().await.0);
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        seen.push(ids);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    elsewhere.silent(50).await;
    assert_eq!(p.metrics.realtime.gap_repairs.get(), 0);
}

#[tokio::test]
async fn what_comes_in_the_wrong_order_is_put_right() {
    let p = Process::start().await;
    let (mut client, mut other) = (p.join(1, 3).await, p.join(1, 4).await);
    let notes: Vec<Broadcast> = (0..6).map(|n| p.notes.store(1, &n.to_string())).collect();
    for n in [1, 0, 0, 3, 2, 1] {
        p.notes.publish(1, &notes[n]);
    }
    assert_eq!(texts(&mut client, 4).await, ["0", "1", "2", "3"]);
    assert_eq!(texts(&mut other, 4).await, ["0", "1", "2", "3"]);
    assert_eq!(
        p.notes.log_of().reads.load(Ordering::SeqCst),
        0,
        "without the database"
    );
    // One that does not come is read back, once for the room.
    p.notes.publish(1, &notes[5]);
    assert_eq!(texts(&mut client, 2).await, ["4", "5"]);
    assert_eq!(texts(&mut other, 2).await, ["4", "5"]);
    assert_eq!(p.notes.log_of().reads.load(Ordering::SeqCst), 1);
    client.silent(100).await;
}

#[tokio::test]
async fn a_message_without_its_place_is_read_from_the_database() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    for n in 0..3 {
        let note = p.notes.store(1, &n.to_string());
        let unknown = Broadcast {
            previous: None,
            ..note
        };
        p.notes.publish(1, &unknown);
    }
    assert_eq!(texts(&mut client, 3).await, ["0", "1", "2"]);
    p.hub.publish("notes:1", "{\"type\":\"of another version\"}");
    p.notes.say(1, "after");
    assert_eq!(texts(&mut client, 1).await, ["after"]);
}

#[tokio::test]
async fn lost_messages_come_late_and_not_never() {
    let p = Process::with(&[("WS_REPAIR_INTERVAL", "500ms")]).await;
    let (mut one, mut two) = (p.join(1, 3).await, p.join(2, 3).await);
    p.notes.loses.store(true, Ordering::SeqCst);
    for n in 0..250 {
        p.notes.say(1, &n.to_string());
    }
    p.notes.say(2, "two");
    let begun = Instant::now();
    let expected: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    assert_eq!(texts(&mut one, 250).await, expected);
    assert_eq!(texts(&mut two, 1).await, ["two"]);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    p.notes.loses.store(false, Ordering::SeqCst);
    p.notes.say(1, "live again");
    assert_eq!(texts(&mut one, 1).await, ["live again"]);
}

#[tokio::test]
async fn a_room_that_is_gone_unheard_is_noticed() {
    let p = Process::with(&[("WS_REPAIR_INTERVAL", "300ms")]).await;
    let (mut one, mut two) = (p.join(1, 3).await, p.join(1, 4).await);
    p.notes.say(1, "last words");
    assert_eq!(texts(&mut one, 1).await, ["last words"]);
    p.notes.remove(1);
    p.notes.banned.lock().unwrap().push(3);
    assert_eq!(one.end().await.code, 4403);
    assert_eq!(texts(&mut two, 1).await, ["last words"]);
    two.send(json!({ "type": "echo" })).await;
    assert_eq!(two.json().await["type"], "echo", "who may still be here is");
}

#[tokio::test]
async fn a_database_that_is_away_is_asked_again() {
    let p = Process::with(&[("WS_REPAIR_INTERVAL", "300ms")]).await;
    let mut client = p.join(1, 3).await;
    p.notes.log_of().is_down.store(true, Ordering::SeqCst);
    p.notes.store(1, "missing");
    p.notes.say(1, "known");
    client.silent(500).await;
    p.notes.log_of().is_down.store(false, Ordering::SeqCst);
    assert_eq!(texts(&mut client, 2).await, ["missing", "known"]);
}

#[tokio::test]
async fn events_are_for_whom_they_are_meant() {
    let p = Process::start().await;
    let (mut one, mut two) = (p.join(1, 3).await, p.join(1, 4).await);
    let event = |what: &str| Broadcast::event(&json!({ "type": what }));
    p.notes.publish(1, &event("all"));
    p.notes.publish(1, &event("not one").except(UserId(3)));
    p.notes.publish(1, &event("only one").only(UserId(3)));
    p.notes.publish(1, &event("typing").droppable());
    p.notes.publish(1, &event("end"));
    let kinds = async |client: &mut Client| {
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|last| last != "end") {
            kinds.push(client.json().await["type"].as_str().expect("type").to_owned());
        }
        kinds
    };
    assert_eq!(kinds(&mut one).await, ["all", "only one", "typing", "end"]);
    assert_eq!(kinds(&mut two).await, ["all", "not one", "typing", "end"]);
    one.send(json!({ "type": "ring" })).await;
    assert_eq!(two.json().await["type"], "rang", "an alarm of the endpoint");
}

/// Everything up to `resume_complete`: the ids, and that frame.
async fn replayed(client: &mut Client) -> (Vec<i64>, Value) {
    let mut ids = Vec::new();
    loop {
        let frame = client.json().await;
        if frame["type"] == "resume_complete" {
            return (ids, frame);
        }
        ids.push(frame["id"].as_i64().unwrap_or_else(|| panic!("{frame}")));
    }
}

#[tokio::test]
async fn a_resume_gives_what_was_missed() {
    let p = Process::start().await;
    let ids: Vec<i64> = (0..230).map(|n| p.notes.say(1, &n.to_string())).collect();
    p.notes.say(2, "elsewhere");
    for (since, from) in [
        (0, 0),
        (ids[9], 10),
        (ids[9] + 1, 10),
        (ids[228], 229),
        (ids[229], 230),
    ] {
        let (mut client, greeting) = p.greeted(&format!("/ws/notes/1/?token=3:1&since={since}")).await;
        assert_eq!(greeting["last_message_id"], ids[229]);
        let (got, end) = replayed(&mut client).await;
        assert_eq!(got, ids[from..], "since {since}");
        assert_eq!(
            end,
            json!({
                "type": "resume_complete", "from": since, "to": ids[229],
                "count": 230 - from, "truncated": false,
            })
        );
        client.silent(20).await;
    }
    // Beyond the end means the end.
    let (mut client, _) = p
        .greeted("/ws/notes/1/?token=3:1&since=9223372036854775807")
        .await;
    let (got, end) = replayed(&mut client).await;
    assert_eq!(
        (got.len(), &end["from"], &end["to"]),
        (0, &json!(ids[229]), &json!(ids[229]))
    );
    let next = p.notes.say(1, "next");
    assert_eq!(client.note().await.0, next);
    let (mut empty, _) = p.greeted("/ws/notes/3/?token=3:1&since=5").await;
    let (got, end) = replayed(&mut empty).await;
    assert_eq!((got.len(), &end["from"], &end["to"]), (0, &json!(0), &json!(0)));
}

#[tokio::test]
async fn too_much_to_resume_is_cut_and_said_so() {
    let p = Process::with(&[("CHAT_RESUME_MAX", "150")]).await;
    let ids: Vec<i64> = (0..400).map(|n| p.notes.say(1, &n.to_string())).collect();
    for (since, from, truncated) in [(0, 250, true), (ids[248], 250, true), (ids[249], 250, false)] {
        let (mut client, _) = p.greeted(&format!("/ws/notes/1/?token=3:1&since={since}")).await;
        let (got, end) = replayed(&mut client).await;
        assert_eq!(got, ids[from..], "since {since}");
        assert_eq!(
            (&end["truncated"], &end["count"], &end["from"]),
            (&json!(truncated), &json!(150), &json!(since))
        );
    }
}

#[tokio::test]
async fn the_seam_has_no_gap_and_no_repetition() {
    let p = Process::start().await;
    for n in 0..300 {
        p.notes.say(1, &n.to_string());
    }
    let writer = {
        let notes = p.notes.clone();
        crate::task::spawn(async move {
            for n in 300..1200 {
                notes.say(1, &n.to_string());
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        })
    };
    let resumes = (0..20).map(|user| {
        let p = &p;
        async move {
            tokio::time::sleep(Duration::from_millis(user * 17)).await;
            let target = format!("/ws/notes/1/?token={}:1&since=30", user + 1);
            let (mut client, _) = p.greeted(&target).await;
            let mut texts = Vec::new();
            let mut completed = 0;
            while texts.last() != Some(&1199) {
                let frame = client.json().await;
                match frame["type"].as_str() {
                    Some("note") => texts.push(frame["text"].as_str().unwrap().parse::<i64>().unwrap()),
                    Some("resume_complete") => {
                        completed += 1;
                        assert_eq!(frame["count"], texts.len());
                    }
                    _ => panic!("{frame}"),
                }
            }
            assert_eq!(completed, 1);
            assert!(texts == (10..1200).collect::<Vec<i64>>(), "{texts:?}");
        }
    });
    futures_util::future::join_all(resumes).await;
    writer.await.expect("wrote");
}

#[tokio::test]
async fn a_replay_that_is_not_read_ends_like_any_slow_client() {
    let p = Process::with(&[
        ("WS_WRITE_TIMEOUT", "1s"),
        ("WS_PING_INTERVAL", "500ms"),
        ("WS_IDLE_TIMEOUT", "60s"),
    ])
    .await;
    let text = "x".repeat(60_000);
    for _ in 0..400 {
        p.notes.say(1, &text);
    }
    let mut client = p
        .knock("/ws/notes/1/?token=3:1&since=0", &[])
        .await
        .expect("upgraded");
    eventually("given up", || p.notes.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.json().await["type"], "connection_established");
}
