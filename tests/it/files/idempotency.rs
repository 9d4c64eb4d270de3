//! `Idempotency-Key` on the ways in.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::*;

fn keyed(user: &User, key: &str) -> Client {
    user.client.with_header("idempotency-key", key)
}

#[tokio::test]
async fn cloud_scenario_13_the_same_key_twice_makes_one_record() {
    let (server, alice) = local(&[]).await;
    let client = keyed(&alice, "0f3a-upload");
    let body = item("a.jpg", b"abc");
    let first = client.post("/file/", body.clone()).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let first = first.expect(201);
    server.settle().await;
    for path in ["/file/", "/file"] {
        let second = client.post(path, body.clone()).await;
        assert_eq!(second.header("idempotent-replayed"), "true");
        assert_eq!(second.expect(201), first);
    }
    assert_eq!(
        (files_in_table(&server).await, used_space(&alice.client).await),
        (1, 3)
    );
    server.settle().await;
    assert_eq!(objects(&server), 1);
}

#[tokio::test]
async fn another_body_is_422_and_other_scopes_are_free() {
    let (server, alice) = local(&[]).await;
    let bob = server.user("bob").await;
    let client = keyed(&alice, "key");
    client.post("/file/", item("a.jpg", b"abc")).await.expect(201);
    let other = client.post("/file/", item("a.jpg", b"abd")).await;
    refusal(other, 422, "idempotency_key_reused", "幂等键已用于不同的请求");
    client
        .post("/file/", json!([item("a.jpg", b"abc")]))
        .await
        .refused(422, "idempotency_key_reused");
    keyed(&bob, "key")
        .post("/file/", item("b.jpg", b"bob"))
        .await
        .expect(201);
    let presign = json!({ "name": "a", "content_type": "a/b", "size": 1 });
    client.post("/file/presign/", presign).await.expect(201);
    keyed(&alice, "KEY")
        .post("/file/", item("a.jpg", b"abd"))
        .await
        .expect(201);
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 4);
}

#[tokio::test]
async fn every_way_in_replays() {
    let (oss, server, alice) = on_oss(&[]).await;
    let client = keyed(&alice, "k");
    let batch = json!([item("a", b"1"), item("b", b"2")]);
    let first = client.post("/file/", batch.clone()).await.expect(201);
    let again = client.post("/file/", batch).await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.json()),
        ("true", first)
    );

    let first = client
        .multipart("/file/upload/", &[("path", "/x")], "a.bin", &noise(1, 100_000))
        .await
        .expect(201);
    let again = client
        .multipart("/file/upload/", &[("path", "/x")], "a.bin", &noise(1, 100_000))
        .await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.json()),
        ("true", first)
    );
    for (path, name, bytes) in [
        ("/y", "a.bin", noise(1, 100_000)),
        ("/x", "b.bin", noise(1, 100_000)),
        ("/x", "a.bin", noise(2, 100_000)),
    ] {
        let other = client
            .multipart("/file/upload/", &[("path", path)], name, &bytes)
            .await;
        other.refused(422, "idempotency_key_reused");
    }

    let presign = json!({ "name": "a", "content_type": "a/b", "size": 5 });
    let first = client.post("/file/presign/", presign.clone()).await.expect(201);
    let again = client.post("/file/presign/", presign).await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.json()),
        ("true", first)
    );
    server.settle().await;
    assert_eq!(
        (files_in_table(&server).await, staged_files(&server).len()),
        (4, 0)
    );

    oss.fail_always(403);
    let id = upload(&alice.client, "r", b"old").await;
    reaches(&alice.client, id, "failed").await;
    oss.recover();
    let body = json!({ "file_content": b64(b"new") });
    let path = format!("/file/{id}/retry_upload/");
    let first = client.post(&path, body.clone()).await.expect(200);
    reaches(&alice.client, id, "completed").await;
    let again = client.post(&path, body).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed"), again.json()),
        (200, "true", first)
    );
}

#[tokio::test]
async fn a_first_request_that_still_runs_is_409_until_its_lock_ends() {
    let (server, alice) = local(&[]).await;
    let client = keyed(&alice, "slow");
    let body = item("a.jpg", b"abc");
    client.post("/file/", body.clone()).await.expect(201);
    server.settle().await;
    // As if that request had not ended, or its process had died.
    let until = server.clock.now() + chrono::TimeDelta::seconds(50);
    let unfinished = "UPDATE idempotency_keys SET status = NULL, body = NULL, locked_until = ?";
    assert_eq!(sql(&server, unfinished, vec![until.into()]).await, 1);
    let reply = client.post("/file/", body.clone()).await;
    assert_eq!(reply.header("retry-after"), "1");
    refusal(reply, 409, "idempotency_in_progress", "请求冲突");
    client
        .post("/file/", item("b.jpg", b"x"))
        .await
        .refused(422, "idempotency_key_reused");
    server.clock.advance(Duration::from_secs(51));
    let taken_over = client.post("/file/", body).await;
    assert_eq!(taken_over.header("idempotent-replayed"), "");
    taken_over.expect(201);
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 2);
}

#[tokio::test]
async fn of_parallel_requests_one_does_the_work() {
    let (server, alice) = local(&[]).await;
    let client = keyed(&alice, "parallel");
    let body = item("a.jpg", &noise(1, 100_000));
    let replies = join_all((0..10).map(|_| client.post("/file/", body.clone()))).await;
    let mut ids = Vec::new();
    for reply in replies {
        match reply.status {
            201 => ids.push(id_of(&reply.json())),
            _ => refusal(reply, 409, "idempotency_in_progress", "请求冲突"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        (files_in_table(&server).await, used_space(&alice.client).await),
        (1, 100_000)
    );
    server.settle().await;
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn refusals_are_stored_and_outages_are_not() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 2).await;
    let client = keyed(&alice, "refused");
    let body = item("a.jpg", b"abc");
    let first = client
        .post("/file/", body.clone())
        .await
        .refused(400, "quota_exceeded");
    set_quota(&server, &alice, 100).await;
    let again = client.post("/file/", body).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.refused(400, "quota_exceeded"), first);
    assert_eq!(files_in_table(&server).await, 0);

    let limited = TestServer::with(&[("RATE_LIMIT_FILE_CREATE", "1/min")]).await;
    let bob = limited.user("bob").await;
    bob.client.post("/file/", item("a", b"a")).await.expect(201);
    let client = keyed(&bob, "throttled");
    client
        .post("/file/", item("b", b"b"))
        .await
        .refused(429, "throttled");
    limited.clock.advance(Duration::from_secs(61));
    client.post("/file/", item("b", b"b")).await.expect(201);
    limited.settle().await;
}

#[tokio::test]
async fn keys_are_visible_ascii_of_1_to_255() {
    let (server, alice) = local(&[]).await;
    keyed(&alice, &"k".repeat(255))
        .post("/file/", item("a", b"a"))
        .await
        .expect(201);
    for bad in ["", " ", "a b", "k\u{e9}", &"k".repeat(256)] {
        let reply = keyed(&alice, bad).post("/file/", item("a", b"a")).await;
        assert_eq!(reply.status, 400, "{bad:?}: {}", reply.text());
    }
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 1);
}

#[tokio::test]
async fn answers_are_kept_for_a_day() {
    let (server, alice) = local(&[]).await;
    let body = item("a.jpg", b"abc");
    keyed(&alice, "day")
        .post("/file/", body.clone())
        .await
        .expect(201);
    seconds_later(&server, 24 * 3600 - 60).await;
    let alice = again(&server, &alice).await;
    let replayed = keyed(&alice, "day").post("/file/", body.clone()).await;
    assert_eq!(
        (replayed.status, replayed.header("idempotent-replayed")),
        (201, "true")
    );
    seconds_later(&server, 120).await;
    keyed(&alice, "day").post("/file/", body).await.expect(201);
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 2);
}
