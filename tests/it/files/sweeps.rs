//! What comes round: lost jobs, links that ran out, bytes that nobody wants.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::presign::{act, ask, put};
use super::*;

/// The sweep that comes by itself every five minutes must not find what a test is about to lose.
async fn between_two_sweeps(server: &TestServer) {
    let (every, offset) = (300, 120);
    let left = every - (server.clock.unix() - offset).rem_euclid(every);
    if left < 30 {
        server.clock.advance(Duration::from_secs(left.unsigned_abs() + 1));
        // The schedule looks at the clock once a second.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        server.settle().await;
    }
}

#[tokio::test]
async fn an_upload_whose_job_was_lost_gets_another() {
    let (oss, server, alice) = on_oss(&[]).await;
    between_two_sweeps(&server).await;
    oss.fail_always(503);
    let waiting = upload(&alice.client, "a.jpg", b"abc").await;
    let running = upload(&alice.client, "b.jpg", &noise(1, 200_000)).await;
    server.settle().await;
    oss.recover();
    let lost = sql(&server, "DELETE FROM jobs WHERE kind = 'upload_file'", vec![]).await;
    assert_eq!(lost, 2);
    sql(
        &server,
        "UPDATE files SET upload_status = 'uploading' WHERE id = ?",
        vec![running.into()],
    )
    .await;
    let audit = server.app.ctx.queue.audit().await.expect("an audit");
    assert_eq!(audit.without_job["upload_file"].len(), 2);
    sweep(&server).await;
    for id in [waiting, running] {
        reaches(&alice.client, id, "completed").await;
    }
    assert_eq!(oss.objects().len(), 2);
    server.settle().await;
    let audit = server.app.ctx.queue.audit().await.expect("an audit");
    assert!(
        audit.without_job.is_empty() && audit.without_subject.is_empty(),
        "{audit:?}"
    );
}

#[tokio::test]
async fn uploads_with_a_job_do_not_get_a_second_one() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    upload(&alice.client, "a.jpg", b"abc").await;
    alice.client.post("/file/presign/", ask(5)).await.expect(201);
    server.settle().await;
    sweep(&server).await;
    sweep(&server).await;
    assert_eq!(
        count(
            &server,
            "SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file'",
            vec![]
        )
        .await,
        1
    );
}

#[tokio::test]
async fn a_presigned_upload_that_never_came_gives_its_space_back() {
    let (oss, server, alice) = on_oss(&[]).await;
    let never = alice.client.post("/file/presign/", ask(100)).await.expect(201);
    let unconfirmed = alice.client.post("/file/presign/", ask(4)).await.expect(201);
    assert_eq!(put(&unconfirmed, b"late").await.status, 200);
    let confirmed = alice.client.post("/file/presign/", ask(7)).await.expect(201);
    assert_eq!(put(&confirmed, b"in time").await.status, 200);
    act(&alice.client, &confirmed, "complete").await.expect(200);
    seconds_later(&server, 1800).await;
    sweep(&server).await;
    assert_eq!(
        file(&alice.client, id_of(&never)).await["upload_status"],
        "pending"
    );
    seconds_later(&server, 1900).await;
    sweep(&server).await;
    let alice = again(&server, &alice).await;
    for made in [&never, &unconfirmed] {
        let expired = file(&alice.client, id_of(made)).await;
        assert_eq!(
            (&expired["upload_status"], &expired["upload_error"]),
            (&json!("failed"), &json!("上传已过期"))
        );
        assert_ne!(expired["updated_at"], expired["created_at"]);
        act(&alice.client, made, "complete")
            .await
            .refused(409, "not_pending");
    }
    assert_eq!(
        file(&alice.client, id_of(&confirmed)).await["upload_status"],
        "completed"
    );
    assert_eq!((used_space(&alice.client).await, oss.objects().len()), (7, 1));
}

#[tokio::test]
async fn staged_bytes_of_failed_uploads_are_kept_a_day() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(403);
    let small = upload(&alice.client, "a.jpg", b"abc").await;
    let large = upload(&alice.client, "b.jpg", &noise(1, 200_000)).await;
    for id in [small, large] {
        reaches(&alice.client, id, "failed").await;
    }
    oss.recover();
    seconds_later(&server, 23 * 3600).await;
    sweep(&server).await;
    assert_eq!((staged_rows(&server).await, staged_files(&server).len()), (1, 1));
    seconds_later(&server, 2 * 3600).await;
    sweep(&server).await;
    assert_eq!((staged_rows(&server).await, staged_files(&server).len()), (0, 0));
    let alice = again(&server, &alice).await;
    for id in [small, large] {
        let reply = alice
            .client
            .post(&format!("/file/{id}/retry_upload/"), json!({}))
            .await;
        refusal(reply, 400, "content_required", "请提供文件内容");
    }
    let body = json!({ "file_content": b64(b"abc") });
    alice
        .client
        .post(&format!("/file/{small}/retry_upload/"), body)
        .await
        .expect(200);
    reaches(&alice.client, small, "completed").await;
}

#[tokio::test]
async fn old_files_without_a_row_leave_the_staging_folder() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    upload(&alice.client, "wanted", &noise(1, 200_000)).await;
    server.settle().await;
    let folder = server.data.path().join("staging");
    let make = |name: &str, age: u64| {
        let path = folder.join(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
        path
    };
    let wanted = staged_files(&server).pop().unwrap();
    let handle = std::fs::File::options().write(true).open(&wanted).unwrap();
    handle
        .set_modified(SystemTime::now() - Duration::from_secs(7200))
        .unwrap();
    let old = make(&"a".repeat(32), 3700);
    let partial = make(&format!("{}.tmp", "b".repeat(32)), 3700);
    let young = make(&"c".repeat(32), 3000);
    let stranger = make("README", 7200);
    sweep(&server).await;
    assert_eq!((old.exists(), partial.exists()), (false, false));
    assert_eq!(
        (wanted.exists(), young.exists(), stranger.exists()),
        (true, true, true)
    );
    assert!(folder.join(".staging-id").exists());
    oss.recover();
    seconds_later(&server, 60).await;
    assert_eq!(oss.objects().len(), 1);
}

#[tokio::test]
async fn a_removal_whose_job_was_lost_gets_another() {
    let (oss, server, alice) = on_oss(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    oss.fail_always(503);
    alice
        .client
        .delete(&format!("/file/{}/", done["id"]))
        .await
        .expect(204);
    server.settle().await;
    sql(&server, "DELETE FROM jobs WHERE kind = 'purge_object'", vec![]).await;
    oss.recover();
    sweep(&server).await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (0, 0));
}

/// Schedules run without anybody asking.
#[tokio::test]
async fn sweeps_come_round_by_themselves() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    oss.recover();
    sql(&server, "DELETE FROM jobs WHERE kind = 'upload_file'", vec![]).await;
    server.clock.advance(Duration::from_secs(301));
    reaches(&alice.client, id, "completed").await;
}

/// However many there are, and in whatever order the folder lists them.
#[tokio::test]
async fn one_sweep_looks_at_every_old_file() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    upload(&alice.client, "wanted", &noise(1, 200_000)).await;
    server.settle().await;
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    let wanted = staged_files(&server).pop().unwrap();
    let handle = std::fs::File::options().write(true).open(&wanted).unwrap();
    handle.set_modified(long_ago).unwrap();
    let folder = server.data.path().join("staging");
    for n in 0..2500 {
        let file = std::fs::File::create(folder.join(format!("{n:032x}"))).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    sweep(&server).await;
    assert_eq!(staged_files(&server), [wanted]);
    oss.recover();
    seconds_later(&server, 60).await;
    assert_eq!(oss.objects().len(), 1);
}
