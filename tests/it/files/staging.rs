//! Where accepted bytes wait, in each of its forms.

use serde_json::json;

use super::*;

#[tokio::test]
async fn small_bodies_wait_in_the_database_and_large_ones_on_disk() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let edge = 64 * 1024;
    upload(&alice.client, "small", &noise(1, edge)).await;
    upload(&alice.client, "large", &noise(2, edge + 1)).await;
    server.settle().await;
    assert_eq!((staged_rows(&server).await, staged_files(&server).len()), (1, 1));
    oss.recover();
    seconds_later(&server, 60).await;
    assert_eq!((staged_rows(&server).await, staged_files(&server).len()), (0, 0));
    let mut sizes: Vec<u64> = oss.objects().values().map(|o| o.size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [edge as u64, edge as u64 + 1]);
}

#[tokio::test]
async fn everything_may_wait_in_the_database() {
    let (oss, server, alice) = on_oss(&[("UPLOAD_STAGING", "db")]).await;
    oss.fail_always(503);
    let bytes = noise(1, MIB);
    let id = upload(&alice.client, "a.bin", &bytes).await;
    let streamed = noise(2, MIB + 12_345);
    let stream = id_of(
        &alice
            .client
            .multipart("/file/upload/", &[], "b.bin", &streamed)
            .await
            .expect(201),
    );
    server.settle().await;
    assert!(staged_files(&server).is_empty());
    // 256 KiB each.
    assert_eq!(staged_rows(&server).await, 4 + 5);
    oss.recover();
    seconds_later(&server, 60).await;
    for (id, bytes) in [(id, bytes), (stream, streamed)] {
        let done = reaches(&alice.client, id, "completed").await;
        assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    }
    assert_eq!(staged_rows(&server).await, 0);
    // Whole multiples of a row, and an odd one.
    for size in [256 * 1024, 512 * 1024, 256 * 1024 + 1] {
        let bytes = noise(3, size);
        let done = completed(&alice.client, "c", &bytes).await;
        assert_eq!(
            oss.object(done["oss_key"].as_str().unwrap()).unwrap(),
            bytes,
            "{size}"
        );
    }
}

#[tokio::test]
async fn a_missing_row_of_a_staged_body_does_not_make_a_damaged_file() {
    let (oss, server, alice) = on_oss(&[("UPLOAD_STAGING", "db")]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.bin", &noise(1, MIB)).await;
    server.settle().await;
    sql(&server, "DELETE FROM staged_blobs WHERE chunk = 2", vec![]).await;
    oss.recover();
    for wait in [60, 120, 240] {
        seconds_later(&server, wait).await;
    }
    assert_eq!(file(&alice.client, id).await["upload_status"], "failed");
    assert!(oss.objects().is_empty());
    assert_eq!(used_space(&alice.client).await, 0);
}

#[tokio::test]
async fn a_restart_loses_nothing_that_was_accepted() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let mut sent = Vec::new();
    for (name, size) in [("small", 1000), ("large", 300_000)] {
        let bytes = noise(1, size);
        sent.push((upload(&alice.client, name, &bytes).await, bytes));
    }
    server.settle().await;
    let server = server.restart().await;
    oss.recover();
    let alice = again(&server, &alice).await;
    seconds_later(&server, 60).await;
    for (id, bytes) in sent {
        let done = reaches(&alice.client, id, "completed").await;
        assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    }
    assert_eq!(oss.objects().len(), 2);
}

/// Bytes that were staged for a request that is refused afterwards do not stay.
#[tokio::test]
async fn refused_requests_leave_nothing_staged() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 10).await;
    alice
        .client
        .post("/file/", item("a", &noise(1, 200_000)))
        .await
        .refused(400, "quota_exceeded");
    alice
        .client
        .multipart("/file/upload/", &[], "a", &noise(1, 200_000))
        .await
        .refused(400, "quota_exceeded");
    alice
        .client
        .multipart("/file/upload/", &[("size", "5")], "a", &noise(1, 200_000))
        .await
        .refused(400, "size_mismatch");
    assert!(staged_files(&server).is_empty());
    assert_eq!(
        (staged_rows(&server).await, files_in_table(&server).await),
        (0, 0)
    );
    assert_eq!(alice.client.get("/file/").await.expect(200), json!([]));
}
