//! Frames that are begun before those in front of them are done.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::client::{Client, bare};
use super::{Process, eventually};

fn begin(n: i64) -> Value {
    json!({ "type": "begin", "n": n })
}

async fn begun(p: &Process, many: u64) {
    let all = || p.notes.begun.load(Ordering::SeqCst) == many;
    eventually("the frames are begun", all).await;
}

async fn done(client: &mut Client, n: i64) {
    assert_eq!(client.json().await, json!({ "type": "done", "n": n }));
}

#[tokio::test]
async fn what_came_of_frames_is_told_in_their_order() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    for n in 1..=3 {
        client.send(begin(n)).await;
    }
    begun(&p, 3).await;
    p.notes.let_end(Some(3));
    p.notes.let_end(Some(2));
    client.silent(100).await;
    p.notes.let_end(Some(1));
    for n in 1..=3 {
        done(&mut client, n).await;
    }
}

#[tokio::test]
async fn a_refusal_is_told_behind_what_was_begun_before_it() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    client.send(begin(1)).await;
    client.send(json!({ "type": "begin", "client_id": "mine" })).await;
    begun(&p, 1).await;
    client.silent(100).await;
    p.notes.let_end(None);
    done(&mut client, 1).await;
    let refusal = client.json().await;
    assert_eq!(
        (&refusal["code"], &refusal["client_id"]),
        (&json!("permission_denied"), &json!("mine"))
    );
}

#[tokio::test]
async fn other_frames_wait_for_what_was_begun_and_heartbeats_do_not() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    client.send(begin(1)).await;
    client.send(json!({ "type": "ping" })).await;
    client.send(json!({ "type": "note", "text": "behind" })).await;
    assert_eq!(client.json().await["type"], "pong");
    client.silent(100).await;
    p.notes.let_end(None);
    done(&mut client, 1).await;
    assert_eq!(client.note().await.1, "behind");
}

#[tokio::test]
async fn only_so_many_are_under_way_and_the_rest_stays_with_the_client() {
    let p = Process::with(&[("WS_FRAME_RATE", "1000/s")]).await;
    let mut client = p.join(1, 3).await;
    for n in 1..=100 {
        client.send(begin(n)).await;
    }
    begun(&p, 64).await;
    client.silent(100).await;
    begun(&p, 64).await;
    p.notes.let_end(None);
    for n in 1..=100 {
        done(&mut client, n).await;
    }
}

#[tokio::test]
async fn who_leaves_is_told_first_what_came_of_his_frames() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    client.send(begin(1)).await;
    client.send(begin(2)).await;
    client.stream.close(None).await.expect("sent");
    begun(&p, 2).await;
    p.notes.let_end(None);
    done(&mut client, 1).await;
    done(&mut client, 2).await;
    assert_eq!(client.end().await, bare(1000));
}

#[tokio::test]
async fn who_is_put_out_does_not_wait_for_his_frames_for_ever() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    client.send(begin(1)).await;
    begun(&p, 1).await;
    p.revoke_session(3, 1);
    assert_eq!(client.end().await.code, 4401);
}
