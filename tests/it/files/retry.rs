//! `POST /file/{id}/retry_upload/` in every state.

use serde_json::json;

use super::*;

const RESTARTED: &str = "重新上传任务已启动";

async fn retry(client: &Client, id: i64, body: Value) -> Reply {
    client.post(&format!("/file/{id}/retry_upload/"), body).await
}

fn content(bytes: &[u8]) -> Value {
    json!({ "file_content": b64(bytes) })
}

async fn failed(oss: &OssEmulator, alice: &User, bytes: &[u8]) -> i64 {
    oss.fail_always(403);
    let id = upload(&alice.client, "a.jpg", bytes).await;
    reaches(&alice.client, id, "failed").await;
    oss.recover();
    id
}

#[tokio::test]
async fn a_failed_upload_starts_again_with_new_content() {
    let (oss, server, alice) = on_oss(&[]).await;
    let id = failed(&oss, &alice, b"old").await;
    let body = retry(&alice.client, id, content(b"new")).await.expect(200);
    has_keys(&body, &["message", "task_id", "file_id", "upload_status"]);
    assert_eq!(
        (&body["message"], &body["file_id"]),
        (&json!(RESTARTED), &json!(id))
    );
    assert_eq!(body["upload_status"], "pending");
    assert!(!body["task_id"].as_str().unwrap().is_empty());
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(
        (&done["attempts"], &done["upload_error"]),
        (&json!(1), &json!(null))
    );
    assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), b"new");
    assert_eq!(oss.objects().len(), 1);
    server.settle().await;
    assert_eq!(staged_rows(&server).await, 0);
}

#[tokio::test]
async fn staged_bytes_can_be_used_again() {
    let (oss, server, alice) = on_oss(&[]).await;
    for bytes in [noise(1, 100), noise(2, 200_000)] {
        let id = failed(&oss, &alice, &bytes).await;
        retry(&alice.client, id, json!({})).await.expect(200);
        let done = reaches(&alice.client, id, "completed").await;
        assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    }
    // An entirely empty body is `{}`.
    let id = failed(&oss, &alice, b"abc").await;
    let request = alice
        .client
        .request(reqwest::Method::POST, &format!("/file/{id}/retry_upload"));
    alice.client.send(request).await.expect(200);
    reaches(&alice.client, id, "completed").await;
    server.settle().await;
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn without_staged_bytes_content_is_needed() {
    let (oss, server, alice) = on_oss(&[]).await;
    let id = failed(&oss, &alice, b"abc").await;
    sql(&server, "DELETE FROM staged_blobs", vec![]).await;
    refusal(
        retry(&alice.client, id, json!({})).await,
        400,
        "content_required",
        "请提供文件内容",
    );
    refusal(
        retry(&alice.client, id, json!({ "file_content": null })).await,
        400,
        "content_required",
        "请提供文件内容",
    );
    let large = failed(&oss, &alice, &noise(1, 200_000)).await;
    for path in staged_files(&server) {
        std::fs::remove_file(path).unwrap();
    }
    refusal(
        retry(&alice.client, large, json!({})).await,
        400,
        "content_required",
        "请提供文件内容",
    );
    assert_eq!(used_space(&alice.client).await, 0);
    retry(&alice.client, id, content(b"abc")).await.expect(200);
    reaches(&alice.client, id, "completed").await;
}

#[tokio::test]
async fn a_completed_upload_is_final() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    for body in [json!({}), content(b"new"), json!({ "file_content": "***" })] {
        let reply = retry(&alice.client, id_of(&done), body).await;
        refusal(reply, 400, "already_completed", "文件已经上传成功，无需重试");
    }
    server.settle().await;
    assert_eq!(file(&alice.client, id_of(&done)).await, done);
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        b"abc"
    );
}

#[tokio::test]
async fn a_waiting_upload_takes_new_content_at_once() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"old").await;
    server.settle().await;
    oss.recover();
    retry(&alice.client, id, content(b"new")).await.expect(200);
    let done = reaches(&alice.client, id, "completed").await;
    let key = done["oss_key"].as_str().unwrap();
    assert_eq!(oss.object(key).unwrap(), b"new");
    // The job of the older generation does nothing when its time comes.
    seconds_later(&server, 600).await;
    assert_eq!(
        (oss.object(key).unwrap().as_slice(), oss.put_count(key)),
        (b"new".as_slice(), 1)
    );
    assert_eq!(file(&alice.client, id).await, done);
    assert_eq!(used_space(&alice.client).await, 3);
}

#[tokio::test]
async fn a_running_upload_is_left_alone() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.stall(true);
    let id = upload(&alice.client, "a.jpg", b"old").await;
    let running = reaches(&alice.client, id, "uploading").await;
    assert_eq!(
        (&running["attempts"], &running["oss_key"]),
        (&json!(1), &json!(null))
    );
    for body in [json!({}), content(b"new")] {
        refusal(
            retry(&alice.client, id, body).await,
            409,
            "upload_in_progress",
            "文件正在上传中",
        );
    }
    alice
        .client
        .post(&format!("/file/{id}/cancel/"), json!({}))
        .await
        .refused(409, "not_pending");
    assert_eq!(file(&alice.client, id).await, running);
    oss.stall(false);
    server.settle().await;
    assert_eq!(file(&alice.client, id).await["upload_error"], UNAVAILABLE);
    seconds_later(&server, 60).await;
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), b"old");
}

/// `uploading` whose job is not running any more is no reason to refuse.
#[tokio::test]
async fn an_upload_that_lost_its_job_can_be_restarted() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"old").await;
    server.settle().await;
    oss.recover();
    sql(
        &server,
        "UPDATE files SET upload_status = 'uploading' WHERE id = ?",
        vec![id.into()],
    )
    .await;
    retry(&alice.client, id, content(b"new")).await.expect(200);
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), b"new");
}

#[tokio::test]
async fn new_content_must_be_valid_and_of_the_recorded_size() {
    let (oss, server, alice) = on_oss(&[]).await;
    let id = failed(&oss, &alice, b"abc").await;
    let before = file(&alice.client, id).await;
    for (bytes, actual) in [(b"ab".as_slice(), 2), (b"abcd", 4)] {
        let text = format!("文件大小不匹配：声明 3 字节，实际 {actual} 字节");
        fault(
            retry(&alice.client, id, content(bytes)).await,
            "size_mismatch",
            "size",
            &text,
        );
    }
    let bad = retry(&alice.client, id, json!({ "file_content": "***" })).await;
    fault(
        bad,
        "invalid_base64",
        "file_content",
        "文件内容不是有效的base64编码",
    );
    let empty = retry(&alice.client, id, json!({ "file_content": "" })).await;
    fault(empty, "content_required", "file_content", "请提供文件内容");
    fault(
        retry(&alice.client, id, json!({ "file_content": 5 })).await,
        "validation_error",
        "file_content",
        "类型错误",
    );
    retry(&alice.client, id, json!([]))
        .await
        .refused(400, "parse_error");
    server.settle().await;
    assert_eq!(file(&alice.client, id).await, before);
    assert_eq!(used_space(&alice.client).await, 0);
    assert!(oss.objects().is_empty());
}

/// However many ask at once: one generation runs, the space is taken once, one object is left.
#[tokio::test]
async fn parallel_retries_have_one_effect() {
    let (oss, server, alice) = on_oss(&[]).await;
    set_quota(&server, &alice, 100).await;
    let id = failed(&oss, &alice, &noise(1, 60)).await;
    let replies =
        futures_util::future::join_all((0..8).map(|i| retry(&alice.client, id, content(&noise(i, 60)))))
            .await;
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 400 | 409), "{}", reply.text());
    }
    assert!(replies.iter().any(|r| r.status == 200));
    server.settle().await;
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(used_space(&alice.client).await, 60);
    assert_eq!(oss.objects().len(), 1);
    let bytes = oss.object(done["oss_key"].as_str().unwrap()).unwrap();
    assert!((0..8).any(|i| noise(i, 60) == bytes));
    // The checksum belongs to the bytes that are there.
    let digest: String = <sha2::Sha256 as sha2::Digest>::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(done["sha256"], digest);
    assert_eq!(staged_rows(&server).await, 0);
}

/// A write that waited for a second connection would hold up everybody as soon as all of them write.
#[tokio::test]
async fn more_retries_at_once_than_connections_all_succeed() {
    let few = [
        ("DATABASE_MAX_CONNECTIONS", "2"),
        ("DATABASE_ACQUIRE_TIMEOUT", "5s"),
    ];
    let (oss, server, alice) = on_oss(&few).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(failed(&oss, &alice, &noise(n, 100)).await);
    }
    let retries = ids.iter().map(|id| retry(&alice.client, *id, json!({})));
    for reply in futures_util::future::join_all(retries).await {
        reply.expect(200);
    }
    for id in ids {
        reaches(&alice.client, id, "completed").await;
    }
    server.settle().await;
}
