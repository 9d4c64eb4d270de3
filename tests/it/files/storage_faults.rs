//! What happens when object storage does not do what it should. Waits pass by moving the clock.

use serde_json::json;

use super::*;

async fn state(client: &Client, id: i64) -> (String, i64, Value) {
    let file = file(client, id).await;
    let status = file["upload_status"].as_str().unwrap().to_owned();
    (
        status,
        file["attempts"].as_i64().unwrap(),
        file["upload_error"].clone(),
    )
}

#[tokio::test]
async fn cloud_scenario_07_two_failures_then_success() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_next(2, 503);
    let bytes = noise(1, 5000);
    let id = upload(&alice.client, "a.jpg", &bytes).await;
    server.settle().await;
    assert_eq!(
        state(&alice.client, id).await,
        ("pending".into(), 1, json!(UNAVAILABLE))
    );
    seconds_later(&server, 59).await;
    assert_eq!(state(&alice.client, id).await.1, 1);
    seconds_later(&server, 1).await;
    assert_eq!(
        state(&alice.client, id).await,
        ("pending".into(), 2, json!(UNAVAILABLE))
    );
    assert_eq!(used_space(&alice.client).await, 5000);
    seconds_later(&server, 119).await;
    assert_eq!(state(&alice.client, id).await.1, 2);
    seconds_later(&server, 1).await;
    assert_eq!(
        state(&alice.client, id).await,
        ("completed".into(), 3, json!(null))
    );
    let key = file(&alice.client, id).await["oss_key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        (oss.put_attempts(&key), oss.put_count(&key), oss.objects().len()),
        (3, 1, 1)
    );
    assert_eq!(oss.object(&key).unwrap(), bytes);
}

#[tokio::test]
async fn cloud_scenario_07_always_503_fails_after_four_attempts() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"old").await;
    server.settle().await;
    let mut times = vec![file(&alice.client, id).await["updated_at"].clone()];
    for (wait, attempts) in [(60, 2), (120, 3)] {
        seconds_later(&server, wait).await;
        assert_eq!(
            state(&alice.client, id).await,
            ("pending".into(), attempts, json!(UNAVAILABLE))
        );
        times.push(file(&alice.client, id).await["updated_at"].clone());
    }
    seconds_later(&server, 239).await;
    assert_eq!(state(&alice.client, id).await.0, "pending");
    seconds_later(&server, 1).await;
    assert_eq!(
        state(&alice.client, id).await,
        ("failed".into(), 4, json!(UNAVAILABLE))
    );
    times.push(file(&alice.client, id).await["updated_at"].clone());
    times.dedup();
    assert_eq!(
        times.len(),
        4,
        "every change of the worker moves updated_at: {times:?}"
    );
    assert_eq!(used_space(&alice.client).await, 0);
    let failed = file(&alice.client, id).await;
    assert_eq!(
        (&failed["oss_key"], &failed["oss_url"]),
        (&json!(null), &json!(null))
    );
    seconds_later(&server, 3000).await;
    assert_eq!(state(&alice.client, id).await.1, 4);

    oss.recover();
    let body = json!({ "file_content": b64(b"new") });
    alice
        .client
        .post(&format!("/file/{id}/retry_upload/"), body)
        .await
        .expect(200);
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(
        (&done["attempts"], &done["upload_error"]),
        (&json!(1), &json!(null))
    );
    let key = done["oss_key"].as_str().unwrap();
    assert_eq!(
        (oss.object(key).unwrap().as_slice(), oss.objects().len()),
        (b"new".as_slice(), 1)
    );
    assert_eq!((oss.put_attempts(key), oss.put_count(key)), (5, 1));
    assert_eq!(used_space(&alice.client).await, 3);
}

#[tokio::test]
async fn passing_faults_are_retried_and_refusals_are_not() {
    let (oss, server, alice) = on_oss(&[]).await;
    for status in [429, 500, 502, 503] {
        oss.fail_next(1, status);
        let id = upload(&alice.client, "a.jpg", b"abc").await;
        server.settle().await;
        assert_eq!(
            state(&alice.client, id).await,
            ("pending".into(), 1, json!(UNAVAILABLE)),
            "{status}"
        );
    }
    seconds_later(&server, 60).await;
    assert_eq!(oss.objects().len(), 4);
    assert_eq!(used_space(&alice.client).await, 12);
    for status in [400, 401, 403, 404] {
        oss.fail_always(status);
        let id = upload(&alice.client, "a.jpg", b"abc").await;
        server.settle().await;
        assert_eq!(
            state(&alice.client, id).await,
            ("failed".into(), 1, json!(REFUSED)),
            "{status}"
        );
        assert_eq!(used_space(&alice.client).await, 12, "{status}");
        oss.recover();
    }
    seconds_later(&server, 600).await;
    assert_eq!(oss.objects().len(), 4);
}

/// Vendor texts, keys and addresses stay inside.
#[tokio::test]
async fn clients_see_fixed_texts_only() {
    let (oss, server, alice) = on_oss(&[]).await;
    for status in [403, 503] {
        oss.fail_always(status);
        let id = upload(&alice.client, "a.jpg", b"abc").await;
        server.settle().await;
        let shown = alice.client.get(&format!("/file/{id}/")).await.text()
            + &alice
                .client
                .get(&format!("/file/upload_status/?file_ids={id}"))
                .await
                .text();
        for secret in [
            "vendor text",
            "AccessDenied",
            "ServiceUnavailable",
            "127.0.0.1",
            &oss.key_id,
            &oss.secret,
            "files/",
        ] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

/// No answer at all, then a connection that ends.
#[tokio::test]
async fn a_stalled_storage_is_an_outage() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.stall(true);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    eventually("it hangs", 20, || async { oss.in_flight() == 1 }).await;
    assert_eq!(state(&alice.client, id).await.0, "uploading");
    // Nothing else waits for it.
    alice.client.get("/file/").await.expect(200);
    oss.stall(false);
    server.settle().await;
    assert_eq!(
        state(&alice.client, id).await,
        ("pending".into(), 1, json!(UNAVAILABLE))
    );
    seconds_later(&server, 60).await;
    assert_eq!(
        state(&alice.client, id).await,
        ("completed".into(), 2, json!(null))
    );
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_an_outage() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.cut_after(100_000);
    let bytes = noise(1, MIB);
    let id = upload(&alice.client, "a.jpg", &bytes).await;
    server.settle().await;
    assert_eq!(
        state(&alice.client, id).await,
        ("pending".into(), 1, json!(UNAVAILABLE))
    );
    assert!(oss.objects().is_empty());
    assert_eq!(staged_files(&server).len(), 1);
    oss.recover();
    seconds_later(&server, 60).await;
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    assert_eq!((oss.objects().len(), staged_files(&server).len()), (1, 0));
}

/// Nobody listens at the storage's address.
#[tokio::test]
async fn an_unreachable_storage_is_an_outage() {
    let oss = OssEmulator::start().await;
    let env = oss.env();
    let all: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let server = TestServer::with(&all).await;
    let alice = server.user("alice").await;
    drop(oss);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    assert_eq!(
        state(&alice.client, id).await,
        ("pending".into(), 1, json!(UNAVAILABLE))
    );
    seconds_later(&server, 60).await;
    seconds_later(&server, 120).await;
    seconds_later(&server, 240).await;
    assert_eq!(
        state(&alice.client, id).await,
        ("failed".into(), 4, json!(UNAVAILABLE))
    );
}

#[tokio::test]
async fn lost_staged_bytes_end_an_upload() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_next(2, 503);
    let small = upload(&alice.client, "a.jpg", b"abc").await;
    let large = upload(&alice.client, "b.jpg", &noise(1, 200_000)).await;
    server.settle().await;
    sql(&server, "DELETE FROM staged_blobs", vec![]).await;
    for path in staged_files(&server) {
        std::fs::remove_file(path).unwrap();
    }
    seconds_later(&server, 60).await;
    for id in [small, large] {
        let (status, attempts, error) = state(&alice.client, id).await;
        assert_eq!((status.as_str(), attempts, error), ("failed", 2, json!(LOST)));
    }
    assert!(oss.objects().is_empty());
    assert_eq!(used_space(&alice.client).await, 0);
    refusal(
        alice
            .client
            .post(&format!("/file/{small}/retry_upload/"), json!({}))
            .await,
        400,
        "content_required",
        "请提供文件内容",
    );
}

/// A worker that died between storing and recording repeats the same object.
#[tokio::test]
async fn an_attempt_that_was_not_recorded_is_overwritten() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.hold_answers(true);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    eventually("the object is there", 20, || async { oss.objects().len() == 1 }).await;
    assert_eq!(state(&alice.client, id).await.0, "uploading");
    oss.hold_answers(false);
    server.settle().await;
    assert_eq!(
        state(&alice.client, id).await,
        ("pending".into(), 1, json!(UNAVAILABLE))
    );
    seconds_later(&server, 60).await;
    let done = reaches(&alice.client, id, "completed").await;
    let key = done["oss_key"].as_str().unwrap();
    assert_eq!((oss.objects().len(), oss.put_count(key)), (1, 2));
    assert_eq!(oss.object(key).unwrap(), b"abc");
}

#[tokio::test]
async fn retries_follow_their_settings() {
    let (oss, server, alice) = on_oss(&[("UPLOAD_MAX_RETRIES", "1"), ("UPLOAD_RETRY_BASE", "10s")]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    assert_eq!(state(&alice.client, id).await.0, "pending");
    seconds_later(&server, 10).await;
    assert_eq!(
        state(&alice.client, id).await,
        ("failed".into(), 2, json!(UNAVAILABLE))
    );
}
