//! Changes: told in order, after what they are about, and never lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::client::Client;
use super::{Broadcast, Process, UserId};

/// What the next frames say.
async fn texts(client: &mut Client, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..n {
        let frame = client.json().await;
        all.push(frame["text"].as_str().unwrap_or_default().to_owned());
    }
    all
}

#[tokio::test]
async fn changes_are_told_in_their_order_once() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    let all: Vec<Broadcast> = (0..5).map(|n| p.notes.change(1, &n.to_string())).collect();
    for n in [1, 0, 0, 3, 4, 1, 2] {
        p.notes.publish(1, &all[n]);
    }
    assert_eq!(texts(&mut client, 5).await, ["0", "1", "2", "3", "4"]);
    client.silent(100).await;
    assert_eq!(p.metrics.realtime.gap_repairs.get(), 0);
}

#[tokio::test]
async fn a_change_waits_for_the_message_that_it_is_about() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    let note = p.notes.store(1, "note");
    let change = p.notes.change(1, "edited").about(note.position.expect("stored"));
    p.notes.publish(1, &change);
    p.notes.publish(1, &note);
    assert_eq!(texts(&mut client, 2).await, ["note", "edited"]);
    // A message that does not come is read, and the change follows.
    let note = p.notes.store(1, "lost note");
    let change = p
        .notes
        .change(1, "edited again")
        .about(note.position.expect("stored"));
    p.notes.publish(1, &change);
    assert_eq!(texts(&mut client, 2).await, ["lost note", "edited again"]);
    client.silent(100).await;
}

#[tokio::test]
async fn a_gap_between_changes_is_closed_by_the_database() {
    let p = Process::start().await;
    p.notes.say(1, "a room without messages need not be there");
    let (mut client, mut banned) = (p.join(1, 3).await, p.join(1, 4).await);
    p.notes.change(1, "lost");
    p.notes.banned.lock().unwrap().push(4);
    p.notes.publish(1, &p.notes.change(1, "heard"));
    // As they are now: the notes of this test tell everything.
    assert_eq!(texts(&mut client, 2).await, ["lost", "heard"]);
    assert_eq!(banned.end().await.code, 4403);
    p.notes.publish(1, &p.notes.change(1, "live again"));
    assert_eq!(texts(&mut client, 1).await, ["live again"]);
}

/// The room is told of changes whose message is still on its way: the message comes as it is now.
#[tokio::test]
async fn a_message_that_comes_after_the_repair_of_its_change_is_not_told_as_it_was() {
    let p = Process::start().await;
    p.notes.say(1, "the room is there");
    let mut client = p.join(1, 3).await;
    p.notes.change(1, "lost");
    let note = p.notes.store(1, "as it is");
    let about = note.position.expect("stored");
    p.notes.change(1, "edited");
    p.notes.publish(1, &p.notes.change(1, "heard").about(about));
    // It has to read the message by itself, and what comes later is a repetition.
    let mut heard = texts(&mut client, 4).await;
    p.notes.publish(1, &note);
    heard.sort();
    assert_eq!(heard, ["as it is", "edited", "heard", "lost"]);
    client.silent(100).await;
}

#[tokio::test]
async fn lost_changes_come_late_and_not_never() {
    let p = Process::with(&[("WS_REPAIR_INTERVAL", "300ms")]).await;
    let (mut client, mut banned) = (p.join(1, 3).await, p.join(1, 4).await);
    p.notes.say(1, "a room without messages need not be there");
    for client in [&mut client, &mut banned] {
        client.note().await;
    }
    p.notes.change(1, "lost");
    p.notes.banned.lock().unwrap().push(4);
    assert_eq!(texts(&mut client, 1).await, ["lost"]);
    assert_eq!(banned.end().await.code, 4403);
    let repairs = p.metrics.realtime.gap_repairs.get();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(p.metrics.realtime.gap_repairs.get(), repairs, "once");
    client.silent(50).await;
}

#[tokio::test]
async fn who_loses_his_right_while_he_comes_in_is_asked_again() {
    let p = Process::start().await;
    p.notes.say(1, "the room is there");
    let mut first = p.join(1, 3).await;
    p.notes.late.store(400, Ordering::SeqCst);
    let (mut second, ()) = tokio::join!(p.join(1, 4), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        p.notes.banned.lock().unwrap().push(4);
        let ban = p.notes.change(1, "banned");
        p.notes.publish(1, &ban.only(UserId(4)).then_recheck());
    });
    assert_eq!(second.end().await.code, 4403);
    first.silent(50).await;
}
