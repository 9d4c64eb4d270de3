//! `POST /file/presign/`, `complete` and `cancel` with local storage.

use reqwest::Method;
use serde_json::json;

use super::*;

pub(super) const F5_PRESIGNED: [&str; 9] = [
    "id",
    "name",
    "content_type",
    "size",
    "upload_status",
    "upload_url",
    "method",
    "headers",
    "expires_at",
];

pub(super) fn ask(size: usize) -> Value {
    json!({ "name": "a.bin", "content_type": "application/x-thing", "size": size })
}

/// Sends the bytes as the answer says.
pub(super) async fn put(presigned: &Value, bytes: &[u8]) -> Reply {
    let client = Client::new("");
    let mut request = client
        .request(Method::PUT, presigned["upload_url"].as_str().unwrap())
        .body(bytes.to_vec());
    for (name, value) in presigned["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    client.send(request).await
}

pub(super) async fn act(client: &Client, presigned: &Value, what: &str) -> Reply {
    client
        .post(&format!("/file/{}/{what}/", presigned["id"]), json!({}))
        .await
}

#[tokio::test]
async fn bytes_go_in_by_link_and_are_confirmed() {
    let (server, alice) = local(&[]).await;
    let bytes = noise(1, 200_000);
    let made = alice
        .client
        .post("/file/presign/", ask(bytes.len()))
        .await
        .expect(201);
    has_keys(&made, &F5_PRESIGNED);
    assert_eq!(
        (&made["method"], &made["upload_status"]),
        (&json!("PUT"), &json!("pending"))
    );
    assert_eq!((&made["name"], &made["size"]), (&json!("a.bin"), &json!(200_000)));
    let expires = chrono::DateTime::parse_from_rfc3339(made["expires_at"].as_str().unwrap())
        .unwrap()
        .to_utc();
    let left = expires - server.clock.now();
    assert!((3590..=3600).contains(&left.num_seconds()), "{left}");
    let id = id_of(&made);
    assert_eq!(used_space(&alice.client).await, 200_000);
    let waiting = file(&alice.client, id).await;
    assert_eq!(
        (&waiting["oss_key"], &waiting["oss_url"]),
        (&json!(null), &json!(null))
    );

    let early = act(&alice.client, &made, "complete").await;
    refusal(early, 409, "object_missing", "文件尚未上传到存储");
    let reply = put(&made, &bytes).await;
    assert!(
        (200..300).contains(&reply.status),
        "{} {}",
        reply.status,
        reply.text()
    );
    assert_eq!(file(&alice.client, id).await["upload_status"], "pending");
    let done = act(&alice.client, &made, "complete").await.expect(200);
    has_keys(&done, &F10);
    assert_eq!(
        (&done["upload_status"], &done["upload_error"]),
        (&json!("completed"), &json!(null))
    );
    is_key(&done["oss_key"], &alice, ".bin");
    assert_ne!(done["updated_at"], done["created_at"]);
    assert_eq!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    assert_eq!(act(&alice.client, &made, "complete").await.expect(200), done);
    assert_eq!(used_space(&alice.client).await, 200_000);
    // Once: not again, neither before nor after it was confirmed.
    put(&made, &noise(2, 200_000)).await.refused(409, "not_pending");
    assert_eq!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap(), bytes);
}

#[tokio::test]
async fn a_link_takes_exactly_what_was_announced_once() {
    let (server, alice) = local(&[]).await;
    let made = alice.client.post("/file/presign/", ask(1000)).await.expect(201);
    for wrong in [0, 999, 1001, 100_000] {
        let reply = put(&made, &noise(1, wrong)).await;
        assert_eq!(reply.status, 400, "{wrong}: {}", reply.text());
    }
    // The same without an announcement.
    for wrong in [999, 1001] {
        let pieces = noise(1, wrong)
            .chunks(100)
            .map(|c| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(c)))
            .collect::<Vec<_>>();
        let client = Client::new("");
        let request = client
            .request(Method::PUT, made["upload_url"].as_str().unwrap())
            .header("content-type", "application/x-thing")
            .body(reqwest::Body::wrap_stream(futures_util::stream::iter(pieces)));
        let reply = client.send(request).await;
        assert_eq!(reply.status, 400, "{wrong}: {}", reply.text());
    }
    act(&alice.client, &made, "complete")
        .await
        .refused(409, "object_missing");
    let other_type = Client::new("");
    let request = other_type
        .request(Method::PUT, made["upload_url"].as_str().unwrap())
        .header("content-type", "text/html")
        .body(noise(1, 1000));
    other_type.send(request).await.refused(403, "link_invalid");
    put(&made, &noise(1, 1000)).await.expect(204);
    put(&made, &noise(2, 1000)).await.refused(409, "not_pending");
    let done = act(&alice.client, &made, "complete").await.expect(200);
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        noise(1, 1000)
    );
}

/// Something else lies under the key: it is removed and the upload may be tried again.
#[tokio::test]
async fn an_object_of_another_size_is_not_accepted() {
    let (server, alice) = local(&[]).await;
    let made = alice.client.post("/file/presign/", ask(1000)).await.expect(201);
    put(&made, &noise(1, 1000)).await.expect(204);
    let folder = server.data.path().join(format!("objects/files/{}", alice.id));
    let key = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .find(|e| !e.file_name().to_string_lossy().starts_with('.'));
    std::fs::write(key.unwrap().path(), b"shorter").unwrap();
    let reply = act(&alice.client, &made, "complete").await;
    fault(
        reply,
        "size_mismatch",
        "size",
        "文件大小不匹配：声明 1000 字节，实际 7 字节",
    );
    assert_eq!(objects(&server), 0);
    act(&alice.client, &made, "complete")
        .await
        .refused(409, "object_missing");
    assert_eq!(
        file(&alice.client, id_of(&made)).await["upload_status"],
        "pending"
    );
    put(&made, &noise(1, 1000)).await.expect(204);
    act(&alice.client, &made, "complete").await.expect(200);
}

#[tokio::test]
async fn a_cancelled_upload_takes_nothing_more() {
    let (server, alice) = local(&[]).await;
    let made = alice.client.post("/file/presign/", ask(1000)).await.expect(201);
    let cancelled = act(&alice.client, &made, "cancel").await.expect(200);
    has_keys(&cancelled, &F10);
    assert_eq!(
        (&cancelled["upload_status"], &cancelled["upload_error"]),
        (&json!("failed"), &json!("已取消"))
    );
    assert_ne!(cancelled["updated_at"], cancelled["created_at"]);
    assert_eq!(used_space(&alice.client).await, 0);
    refusal(
        act(&alice.client, &made, "cancel").await,
        409,
        "not_pending",
        "文件不在待上传状态",
    );
    put(&made, &noise(1, 1000)).await.refused(409, "not_pending");
    act(&alice.client, &made, "complete")
        .await
        .refused(409, "not_pending");
    assert_eq!((objects(&server), used_space(&alice.client).await), (0, 0));
}

#[tokio::test]
async fn only_a_pending_upload_can_be_cancelled() {
    let (oss, server, alice) = on_oss(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    act(&alice.client, &done, "cancel")
        .await
        .refused(409, "not_pending");
    assert_eq!(file(&alice.client, id_of(&done)).await, done);
    // One that waits for a retry is pending.
    oss.fail_always(503);
    let id = upload(&alice.client, "b.jpg", b"abc").await;
    server.settle().await;
    let cancelled = alice
        .client
        .post(&format!("/file/{id}/cancel/"), json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&cancelled["upload_status"], &cancelled["upload_error"]),
        (&json!("failed"), &json!("已取消"))
    );
    assert_eq!(used_space(&alice.client).await, 3);
    oss.recover();
    seconds_later(&server, 600).await;
    assert_eq!(file(&alice.client, id).await, cancelled);
    assert_eq!(oss.objects().len(), 1);
    // Bytes that count for nobody are not kept.
    assert_eq!(staged_rows(&server).await, 0);
    let retry = format!("/file/{id}/retry_upload/");
    refusal(
        alice.client.post(&retry, json!({})).await,
        400,
        "content_required",
        "请提供文件内容",
    );
    let content = json!({ "file_content": b64(b"abc") });
    alice.client.post(&retry, content).await.expect(200);
    reaches(&alice.client, id, "completed").await;
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing_in_the_staging_folder() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.bin", &noise(1, 200_000)).await;
    server.settle().await;
    assert_eq!(staged_files(&server).len(), 1);
    alice
        .client
        .post(&format!("/file/{id}/cancel/"), json!({}))
        .await
        .expect(200);
    assert!(staged_files(&server).is_empty());
    assert_eq!(used_space(&alice.client).await, 0);
}

#[tokio::test]
async fn links_expire_after_an_hour() {
    let (server, alice) = local(&[]).await;
    let made = alice.client.post("/file/presign/", ask(10)).await.expect(201);
    seconds_later(&server, 3590).await;
    let other = alice.client.post("/file/presign/", ask(10)).await.expect(201);
    seconds_later(&server, 11).await;
    refusal(
        put(&made, &noise(1, 10)).await,
        403,
        "link_invalid",
        "链接无效或已过期",
    );
    put(&other, &noise(1, 10)).await.expect(204);
}

#[tokio::test]
async fn links_cannot_be_bent() {
    let (server, alice) = local(&[]).await;
    let made = alice.client.post("/file/presign/", ask(10)).await.expect(201);
    let victim = alice.client.post("/file/presign/", ask(10)).await.expect(201);
    let url = made["upload_url"].as_str().unwrap();
    let victim_id = victim["id"].to_string();
    let bent = [
        url.replace("size=10", "size=11"),
        url.replace("x-thing", "x-other"),
        url.replace(&format!("/file/{}/", made["id"]), &format!("/file/{victim_id}/")),
        url.replace("files%2F", "files%2F..%2F"),
        url.replace("expires=", "expires=9"),
        url.replace("signature=", "signature=0"),
        url.split('?').next().unwrap().to_owned(),
    ];
    for (i, bent) in bent.iter().enumerate() {
        assert_ne!(bent, url, "{i}");
        let mut made = made.clone();
        made["upload_url"] = json!(bent);
        let reply = put(&made, &noise(1, if bent.contains("size=11") { 11 } else { 10 })).await;
        assert_eq!(reply.status, 403, "{bent}: {}", reply.text());
    }
    // A link to write is none to read.
    let reply = server.client.get(url).await;
    refusal(reply, 403, "link_invalid", "链接无效或已过期");
    assert_eq!(objects(&server), 0);
}

#[tokio::test]
async fn presign_checks_its_fields() {
    let (server, alice) = local(&[]).await;
    for (change, field_name, text) in [
        (json!({ "name": null }), "name", "该字段不能为空"),
        (json!({ "name": "" }), "name", "该字段不能为空"),
        (json!({ "name": ".." }), "name", "格式不正确"),
        (
            json!({ "name": "n".repeat(256) }),
            "name",
            "长度不能超过 255 个字符",
        ),
        (json!({ "content_type": "png" }), "content_type", "格式不正确"),
        (json!({ "size": -1 }), "size", "数值超出范围"),
        (json!({ "size": "1" }), "size", "类型错误"),
        (json!({ "size": 1.5 }), "size", "类型错误"),
    ] {
        let mut body = ask(10);
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        fault(
            alice.client.post("/file/presign/", body).await,
            "validation_error",
            field_name,
            text,
        );
    }
    let limit = 5_usize << 30;
    alice.client.post("/file/presign/", ask(limit)).await.expect(201);
    refusal(
        alice.client.post("/file/presign/", ask(limit + 1)).await,
        413,
        "file_too_large",
        "文件过大",
    );
    assert_eq!(files_in_table(&server).await, 1);
    let empty = alice.client.post("/file/presign/", ask(0)).await.expect(201);
    put(&empty, b"").await.expect(204);
    act(&alice.client, &empty, "complete").await.expect(200);
}

#[tokio::test]
async fn an_unfinished_upload_can_be_deleted_and_not_retried() {
    let (server, alice) = local(&[]).await;
    let made = alice.client.post("/file/presign/", ask(10)).await.expect(201);
    let retry = alice
        .client
        .post(&format!("/file/{}/retry_upload/", made["id"]), json!({}))
        .await;
    assert!(matches!(retry.status, 400 | 409), "{}", retry.text());
    put(&made, &noise(1, 10)).await.expect(204);
    alice
        .client
        .delete(&format!("/file/{}/", made["id"]))
        .await
        .expect(204);
    assert_eq!(used_space(&alice.client).await, 0);
    put(&made, &noise(1, 10)).await.expect(404);
    seconds_later(&server, 3700).await;
    assert_eq!((objects(&server), files_in_table(&server).await), (0, 0));
}

/// The link was good when the bytes began to come, and the upload is given up before they end.
#[tokio::test]
async fn bytes_that_come_too_slowly_for_their_upload_do_not_stay() {
    let (server, alice) = local(&[]).await;
    let made = alice
        .client
        .post("/file/presign/", ask(200_000))
        .await
        .expect(201);
    let (cancelled, waiting) = tokio::sync::oneshot::channel::<()>();
    let bytes = noise(1, 200_000);
    let piece = |bytes: &[u8]| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(bytes));
    let (first, last) = (piece(&bytes[..100_000]), piece(&bytes[100_000..]));
    let first = futures_util::stream::iter([first]);
    let last = futures_util::stream::once(async move {
        waiting.await.expect("a sign");
        last
    });
    let body = reqwest::Body::wrap_stream(futures_util::StreamExt::chain(first, last));
    let client = Client::new("");
    let request = client
        .request(Method::PUT, made["upload_url"].as_str().unwrap())
        .header("content-type", "application/x-thing")
        .body(body);
    let incoming = server.data.path().join("objects/.tmp");
    let has_begun = || async { std::fs::read_dir(&incoming).is_ok_and(|entries| entries.count() > 0) };
    let give_up = async {
        eventually("bytes come", 20, has_begun).await;
        act(&alice.client, &made, "cancel").await.expect(200);
        cancelled.send(()).expect("somebody waits");
    };
    let (reply, ()) = tokio::join!(client.send(request), give_up);
    reply.refused(409, "not_pending");
    assert_eq!(objects(&server), 0);
}
