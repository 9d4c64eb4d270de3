//! Presigned uploads that go to object storage itself.

use serde_json::json;

use super::presign::{F5_PRESIGNED, act, ask, put};
use super::*;

#[tokio::test]
async fn bytes_go_to_the_bucket_and_are_confirmed() {
    let (oss, _server, alice) = on_oss(&[]).await;
    let bytes = noise(1, 200_000);
    let made = alice
        .client
        .post("/file/presign/", ask(bytes.len()))
        .await
        .expect(201);
    has_keys(&made, &F5_PRESIGNED);
    assert!(
        made["upload_url"].as_str().unwrap().starts_with(&oss.endpoint()),
        "{made}"
    );
    let headers = made["headers"].as_object().unwrap();
    let forbid = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-oss-forbid-overwrite"));
    assert_eq!(forbid.map(|(_, value)| value), Some(&json!("true")));
    act(&alice.client, &made, "complete")
        .await
        .refused(409, "object_missing");
    put(&made, &bytes).await;
    let done = act(&alice.client, &made, "complete").await.expect(200);
    assert_eq!(done["upload_status"], "completed");
    let key = done["oss_key"].as_str().unwrap();
    is_key(&done["oss_key"], &alice, ".bin");
    assert_eq!(oss.object(key).unwrap(), bytes);
    assert_eq!(oss.objects()[key].content_type, "application/x-thing");
    // Confirmed bytes cannot be replaced.
    assert_eq!(put(&made, &noise(2, 200_000)).await.status, 409);
    assert_eq!((oss.object(key).unwrap(), oss.put_count(key)), (bytes, 1));
    assert_eq!(act(&alice.client, &made, "complete").await.expect(200), done);
}

#[tokio::test]
async fn an_object_of_another_size_is_removed() {
    let (oss, _server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(1000)).await.expect(201);
    assert_eq!(put(&made, &noise(1, 5)).await.status, 200);
    let reply = act(&alice.client, &made, "complete").await;
    fault(
        reply,
        "size_mismatch",
        "size",
        "文件大小不匹配：声明 1000 字节，实际 5 字节",
    );
    assert!(oss.objects().is_empty());
    assert_eq!(
        file(&alice.client, id_of(&made)).await["upload_status"],
        "pending"
    );
    assert_eq!(put(&made, &noise(1, 1000)).await.status, 200);
    act(&alice.client, &made, "complete").await.expect(200);
    assert_eq!(used_space(&alice.client).await, 1000);
}

#[tokio::test]
async fn the_link_is_bound_to_key_and_type() {
    let (oss, _server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    let mut typed = made.clone();
    for (name, value) in typed["headers"].as_object_mut().unwrap() {
        if name.eq_ignore_ascii_case("content-type") {
            *value = json!("text/html");
        }
    }
    assert_eq!(put(&typed, b"evil").await.status, 403);
    let mut overwriting = made.clone();
    overwriting["headers"]
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !name.eq_ignore_ascii_case("x-oss-forbid-overwrite"));
    assert_eq!(put(&overwriting, b"evil").await.status, 403);
    let mut elsewhere = made.clone();
    let url = made["upload_url"].as_str().unwrap();
    elsewhere["upload_url"] = json!(url.replace(&format!("files/{}/", alice.id), "files/999/"));
    assert_ne!(elsewhere["upload_url"], made["upload_url"]);
    assert_eq!(put(&elsewhere, b"evil").await.status, 403);
    assert!(oss.objects().is_empty());
}

#[tokio::test]
async fn confirming_while_storage_is_away_changes_nothing() {
    let (oss, _server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&made, b"good").await.status, 200);
    oss.fail_always(503);
    let body = act(&alice.client, &made, "complete")
        .await
        .refused(503, "service_unavailable");
    assert_eq!(body["error"], "服务暂不可用");
    assert!(!body.to_string().contains("vendor text"), "{body}");
    assert_eq!(
        file(&alice.client, id_of(&made)).await["upload_status"],
        "pending"
    );
    oss.recover();
    act(&alice.client, &made, "complete").await.expect(200);
}

#[tokio::test]
async fn parallel_confirmations_agree() {
    let (oss, _server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&made, b"good").await.status, 200);
    let replies = futures_util::future::join_all((0..6).map(|_| act(&alice.client, &made, "complete"))).await;
    for reply in replies {
        assert_eq!(reply.expect(200)["upload_status"], "completed");
    }
    assert_eq!((used_space(&alice.client).await, oss.objects().len()), (4, 1));
}

#[tokio::test]
async fn deleting_an_unconfirmed_upload_removes_what_came() {
    let (oss, server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    alice
        .client
        .delete(&format!("/file/{}/", made["id"]))
        .await
        .expect(204);
    assert_eq!(used_space(&alice.client).await, 0);
    // The link still works at the bucket, but not for long.
    assert_eq!(put(&made, b"late").await.status, 200);
    assert_eq!(oss.objects().len(), 1);
    seconds_later(&server, 3700).await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (0, 0));
}

#[tokio::test]
async fn a_cancelled_upload_that_arrives_all_the_same_does_not_stay() {
    let (oss, server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    act(&alice.client, &made, "cancel").await.expect(200);
    assert_eq!(put(&made, b"late").await.status, 200);
    act(&alice.client, &made, "complete")
        .await
        .refused(409, "not_pending");
    let alice = {
        seconds_later(&server, 3700).await;
        again(&server, &alice).await
    };
    alice
        .client
        .delete(&format!("/file/{}/", made["id"]))
        .await
        .expect(204);
    server.settle().await;
    assert!(oss.objects().is_empty());
}

/// The purge of an object makes room under its link for another, which has to go as well.
#[tokio::test]
async fn a_link_brings_nothing_that_stays_after_its_file_is_deleted() {
    let (oss, server, alice) = on_oss(&[]).await;
    let confirmed = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&confirmed, b"good").await.status, 200);
    act(&alice.client, &confirmed, "complete").await.expect(200);
    let cancelled = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    act(&alice.client, &cancelled, "cancel").await.expect(200);
    for made in [&confirmed, &cancelled] {
        alice
            .client
            .delete(&format!("/file/{}/", made["id"]))
            .await
            .expect(204);
    }
    server.settle().await;
    assert!(oss.objects().is_empty(), "a deleted file is gone at once");
    for made in [&confirmed, &cancelled] {
        assert_eq!(put(made, b"late").await.status, 200);
    }
    assert_eq!(used_space(&alice.client).await, 0);
    seconds_later(&server, 3700).await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (0, 0));
}

#[tokio::test]
async fn what_a_cancelled_upload_brought_is_removed_without_being_asked_for() {
    let (oss, server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&made, b"here").await.status, 200);
    act(&alice.client, &made, "cancel").await.expect(200);
    server.settle().await;
    seconds_later(&server, 3700).await;
    assert!(oss.objects().is_empty());
    let alice = again(&server, &alice).await;
    let kept = file(&alice.client, id_of(&made)).await;
    assert_eq!(kept["upload_status"], "failed");
    let audit = server.app.ctx.queue.audit().await.expect("an audit");
    assert!(
        audit.without_job.is_empty() && audit.without_subject.is_empty(),
        "{audit:?}"
    );
}

#[tokio::test]
async fn the_object_of_an_expired_upload_is_removed_however_long_storage_is_away() {
    let (oss, server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&made, b"here").await.status, 200);
    oss.fail_always(503);
    seconds_later(&server, 3700).await;
    sweep(&server).await;
    assert_eq!(oss.objects().len(), 1);
    oss.recover();
    seconds_later(&server, 60).await;
    assert!(oss.objects().is_empty());
}

/// However many see the wrong object at once, the upload goes on with the right one.
#[tokio::test]
async fn after_parallel_confirmations_of_a_wrong_object_the_right_one_is_accepted() {
    let (oss, server, alice) = on_oss(&[]).await;
    let made = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&made, b"wrong").await.status, 200);
    let replies = futures_util::future::join_all((0..6).map(|_| act(&alice.client, &made, "complete"))).await;
    for reply in &replies {
        // The wrong one, or nothing any more.
        assert!(
            matches!(reply.status, 400 | 409),
            "{} {}",
            reply.status,
            reply.text()
        );
    }
    assert!(oss.objects().is_empty());
    assert_eq!(put(&made, b"good").await.status, 200);
    act(&alice.client, &made, "complete").await.expect(200);
    server.settle().await;
    let objects = oss.objects();
    assert_eq!(objects.len(), 1);
    assert!(objects.values().all(|o| o.size == 4));
}
