//! Space: reserved with the row, given back with the state, never overdrawn.

use futures_util::future::join_all;
use serde_json::json;

use super::*;

const FULL: &str = "存储空间不足";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud_scenario_09_of_fifty_parallel_uploads_exactly_ten_fit() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 10 * MIB as i64).await;
    // Written once: a client that is busy with fifty texts would let its connections wait.
    let body = bytes::Bytes::from(item("a.bin", &noise(1, MIB)).to_string());
    let send = || {
        let request = alice.client.request(reqwest::Method::POST, "/file/");
        alice.client.send(
            request
                .header("content-type", "application/json")
                .body(body.clone()),
        )
    };
    let replies = join_all((0..50).map(|_| send())).await;
    let accepted: Vec<i64> = replies
        .iter()
        .filter(|r| r.status == 201)
        .map(|r| id_of(&r.json()))
        .collect();
    assert_eq!(accepted.len(), 10);
    for refused in replies.into_iter().filter(|r| r.status != 201) {
        refusal(refused, 400, "quota_exceeded", FULL);
    }
    assert_eq!(used_space(&alice.client).await, 10 * MIB as i64);
    server.settle().await;
    for id in accepted {
        reaches(&alice.client, id, "completed").await;
    }
    assert_eq!((objects(&server), files_in_table(&server).await), (10, 10));
    assert!(
        staged_files(&server).is_empty(),
        "refused uploads leave nothing staged"
    );
    assert_eq!(used_space(&alice.client).await, 10 * MIB as i64);
}

/// Uploads that come together are accepted together; the one without space must not take the others along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_of_many_users_at_once_are_each_accepted_or_refused() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 150).await;
    let mut users = vec![alice];
    for name in ["bob", "carol", "dave"] {
        users.push(server.user(name).await);
    }
    let (small, large) = (noise(1, 100), noise(2, 100_000));
    let (small, large) = (item("s.bin", &small), item("l.bin", &large));
    let sent = users.iter().flat_map(|user| {
        let (small, large) = (&small, &large);
        (0..12).map(move |n| async move {
            let body = if n % 3 == 0 { large } else { small };
            user.client.post("/file/", body.clone()).await
        })
    });
    let replies = join_all(sent).await;
    let (of_alice, of_others) = replies.split_at(12);
    let accepted = |replies: &[Reply]| replies.iter().filter(|r| r.status == 201).count();
    assert_eq!((accepted(of_alice), accepted(of_others)), (1, 36));
    assert!(of_alice.iter().all(|r| r.status == 201 || r.status == 400));
    assert_eq!(used_space(&users[0].client).await, 100);
    server.settle().await;
    for user in &users[1..] {
        assert_eq!(used_space(&user.client).await, 8 * 100 + 4 * 100_000);
        let files = user.client.get("/file/?page_size=100").await.expect(200);
        let files = files.as_array().expect("an array").clone();
        assert_eq!(files.len(), 12);
        assert!(files.iter().all(|f| f["upload_status"] == "completed"));
    }
    assert_eq!((objects(&server), files_in_table(&server).await), (37, 37));
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn the_quota_is_met_to_the_byte() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 100).await;
    refusal(
        alice.client.post("/file/", item("a", &noise(1, 101))).await,
        400,
        "quota_exceeded",
        FULL,
    );
    let id = upload(&alice.client, "a", &noise(1, 100)).await;
    let over = alice.client.post("/file/", item("b", b"x")).await;
    refusal(over, 400, "quota_exceeded", FULL);
    let nothing = json!({ "name": "n", "content_type": "a/b", "size": 0, "file_content": "" });
    alice.client.post("/file/", nothing).await.expect(201);
    server.settle().await;
    alice.client.delete(&format!("/file/{id}/")).await.expect(204);
    upload(&alice.client, "b", &noise(2, 100)).await;
    server.settle().await;
}

#[tokio::test]
async fn every_way_in_counts_the_same() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 30).await;
    upload(&alice.client, "a", &noise(1, 10)).await;
    alice
        .client
        .multipart("/file/upload/", &[], "b", &noise(2, 10))
        .await
        .expect(201);
    let presign = |size: i64| json!({ "name": "c", "content_type": "a/b", "size": size });
    refusal(
        alice.client.post("/file/presign/", presign(11)).await,
        400,
        "quota_exceeded",
        FULL,
    );
    alice.client.post("/file/presign/", presign(10)).await.expect(201);
    assert_eq!(used_space(&alice.client).await, 30);
    let reply = alice.client.multipart("/file/upload/", &[], "d", b"x").await;
    refusal(reply, 400, "quota_exceeded", FULL);
    let too_many = json!({ "name": "c", "content_type": "a/b", "size": i64::MAX });
    alice
        .client
        .post("/file/presign/", too_many)
        .await
        .refused(413, "file_too_large");
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 3);
}

#[tokio::test]
async fn a_failed_upload_gives_its_space_back_and_a_retry_takes_it_again() {
    let (oss, server, alice) = on_oss(&[]).await;
    set_quota(&server, &alice, 100).await;
    oss.fail_always(403);
    let id = upload(&alice.client, "a", &noise(1, 60)).await;
    reaches(&alice.client, id, "failed").await;
    assert_eq!(used_space(&alice.client).await, 0);
    oss.recover();
    let other = upload(&alice.client, "b", &noise(2, 60)).await;
    reaches(&alice.client, other, "completed").await;
    let again = json!({ "file_content": b64(&noise(1, 60)) });
    let retry = format!("/file/{id}/retry_upload/");
    refusal(
        alice.client.post(&retry, again.clone()).await,
        400,
        "quota_exceeded",
        FULL,
    );
    assert_eq!(file(&alice.client, id).await["upload_status"], "failed");
    alice.client.delete(&format!("/file/{other}/")).await.expect(204);
    alice.client.post(&retry, again).await.expect(200);
    assert_eq!(used_space(&alice.client).await, 60);
    reaches(&alice.client, id, "completed").await;
    assert_eq!(used_space(&alice.client).await, 60);
    // Deleting a failed file does not give back twice.
    oss.fail_always(403);
    let failed = upload(&alice.client, "c", &noise(3, 30)).await;
    reaches(&alice.client, failed, "failed").await;
    oss.recover();
    alice.client.delete(&format!("/file/{failed}/")).await.expect(204);
    assert_eq!(used_space(&alice.client).await, 60);
    server.settle().await;
}

#[tokio::test]
async fn retries_of_a_waiting_file_do_not_take_space_twice() {
    let (oss, server, alice) = on_oss(&[]).await;
    set_quota(&server, &alice, 100).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a", &noise(1, 60)).await;
    server.settle().await;
    for _ in 0..3 {
        let body = json!({ "file_content": b64(&noise(1, 60)) });
        alice
            .client
            .post(&format!("/file/{id}/retry_upload/"), body)
            .await
            .expect(200);
        server.settle().await;
    }
    assert_eq!(used_space(&alice.client).await, 60);
    oss.recover();
    seconds_later(&server, 60).await;
    reaches(&alice.client, id, "completed").await;
    assert_eq!(used_space(&alice.client).await, 60);
}

#[tokio::test]
async fn the_recount_corrects_drift() {
    let (server, alice) = local(&[]).await;
    completed(&alice.client, "a", &noise(1, 60)).await;
    for wrong in [1000_i64, 5] {
        sql(
            &server,
            "UPDATE users SET used_space = ? WHERE id = ?",
            vec![wrong.into(), alice.id.into()],
        )
        .await;
        run_job(&server, NewJob::new(&yunque_files::FilesRecount {})).await;
        assert_eq!(used_space(&alice.client).await, 60);
    }
}

/// Nobody has to send a gigabyte to hear that there is no room for it.
#[tokio::test]
async fn a_stream_that_cannot_fit_is_refused_before_it_ends() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 100_000).await;
    let host = server.client.base().strip_prefix("http://").unwrap();
    let part = |field: &str, more: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{field}\"{more}\r\n\r\n")
    };
    let file = part("file", "; filename=\"a.bin\"\r\nContent-Type: a/b");
    let declared = format!("{}200000\r\n{file}", part("size", ""));
    for fields in [declared, file] {
        let head = format!(
            "POST /file/upload/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n{fields}",
            alice.access,
        );
        let mut begun = head.into_bytes();
        begun.extend(noise(1, 200_000));
        let answer = answer_to_a_begun(host, &begun).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(staged_files(&server).is_empty());
    assert_eq!(files_in_table(&server).await, 0);
}

/// A repeat hears the stored answer, although what it brings would not fit a second time.
#[tokio::test]
async fn a_repeated_stream_that_filled_the_quota_is_answered_as_before() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 1000).await;
    let client = alice.client.with_header("Idempotency-Key", "full");
    let send = || async { client.multipart("/file/upload/", &[], "a", &noise(1, 900)).await };
    let first = send().await.expect(201);
    assert_eq!(send().await.expect(201), first);
    assert_eq!(files_in_table(&server).await, 1);
    server.settle().await;
}
