//! The edges of what one request may bring, and of how many may come.

use futures_util::stream;
use reqwest::Method;
use serde_json::json;

use super::*;

/// 70 MiB for JSON with base64, announced or not.
#[tokio::test]
async fn json_bodies_end_at_70_mib() {
    let (server, alice) = local(&[]).await;
    let id = upload(&alice.client, "a.txt", b"abc").await;
    for path in ["/file/".to_owned(), format!("/file/{id}/retry_upload/")] {
        let limit = 70 * MIB;
        let piece = bytes::Bytes::from(vec![b' '; MIB]);
        let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        let announced = alice
            .client
            .request(Method::POST, &path)
            .header("content-type", "application/json")
            .header("content-length", limit + 1)
            .body(reqwest::Body::wrap_stream(endless));
        // Refused before it is read, so the client may see its connection end.
        if let Ok(response) = announced.send().await {
            assert_eq!(response.status(), 413);
        }
        let blanks = alice
            .client
            .request(Method::POST, &path)
            .header("content-type", "application/json")
            .body(vec![b' '; limit]);
        // Blank is `{}`: every byte of it was taken.
        alice.client.send(blanks).await.expect(400);
    }
    server.settle().await;
}

/// Without an announcement the body is cut at the limit.
#[tokio::test]
async fn a_chunked_body_over_its_limit_is_413() {
    let (_server, alice) = local(&[]).await;
    let piece = bytes::Bytes::from(vec![b' '; MIB]);
    let pieces = (0..75).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    let request = alice
        .client
        .request(Method::POST, "/file/")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(stream::iter(pieces)));
    match request.send().await {
        Ok(response) => assert_eq!(response.status(), 413),
        Err(e) => assert!(e.is_request() || e.is_body(), "{e}"),
    }
    // The other bodies of this surface keep the ordinary limit of 1 MiB.
    let big = json!({ "name": "a", "content_type": "a/b", "size": 1, "pad": "x".repeat(MIB) });
    refusal(
        alice.client.post("/file/presign/", big).await,
        413,
        "payload_too_large",
        "请求体过大",
    );
    let fitting = json!({ "name": "a", "content_type": "a/b", "size": 1, "pad": "x".repeat(MIB - 100) });
    alice.client.post("/file/presign/", fitting).await.expect(201);
}

#[tokio::test]
async fn decoded_bytes_end_at_the_limit_per_file_and_per_batch() {
    let (server, alice) = local(&[("UPLOAD_MAX_BYTES", "100000")]).await;
    alice
        .client
        .post("/file/", item("a", &noise(1, 100_000)))
        .await
        .expect(201);
    let too_large = alice.client.post("/file/", item("a", &noise(1, 100_001))).await;
    refusal(too_large, 413, "file_too_large", "文件过大");
    let batch = |last: usize| json!([item("a", &noise(1, 50_000)), item("b", &noise(2, last))]);
    alice.client.post("/file/", batch(50_000)).await.expect(201);
    alice
        .client
        .post("/file/", batch(50_001))
        .await
        .refused(413, "file_too_large");
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 3);
    assert_eq!(used_space(&alice.client).await, 200_000);
}

/// The documented size: 50 MiB decoded. Zeros, because their base64 can be written down.
#[tokio::test]
async fn fifty_mib_are_accepted_and_a_byte_more_is_not() {
    let (server, alice) = local(&[]).await;
    let send = async |size: usize| {
        let end = ["", "AA==", "AAA="][size % 3];
        let content = "A".repeat(size / 3 * 4) + end;
        let labels = "\"name\":\"big.bin\",\"content_type\":\"a/b\"";
        let body = format!("{{{labels},\"size\":{size},\"file_content\":\"{content}\"}}");
        let request = alice.client.request(Method::POST, "/file/");
        alice
            .client
            .send(request.header("content-type", "application/json").body(body))
            .await
    };
    let size = 50 * MIB;
    let id = id_of(&send(size).await.expect(201));
    let done = reaches(&alice.client, id, "completed").await;
    let bytes = stored(&server, done["oss_key"].as_str().unwrap()).unwrap();
    assert!(bytes.len() == size && bytes.iter().all(|b| *b == 0));
    send(size + 1).await.refused(413, "file_too_large");
    assert_eq!(used_space(&alice.client).await, size as i64);
}

#[tokio::test]
async fn streamed_files_end_at_their_own_limit() {
    let (server, alice) = local(&[("UPLOAD_STREAM_MAX_BYTES", "100000")]).await;
    alice
        .client
        .multipart("/file/upload/", &[], "a.bin", &noise(1, 100_000))
        .await
        .expect(201);
    let reply = alice
        .client
        .multipart("/file/upload/", &[], "a.bin", &noise(1, 100_001))
        .await;
    refusal(reply, 413, "file_too_large", "文件过大");
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 1);
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn an_announced_stream_over_1_gib_is_refused_unread() {
    let (server, alice) = local(&[]).await;
    let (host, _) = (server.client.base().strip_prefix("http://").unwrap(), ());
    let head = format!(
        "POST /file/upload/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\r\n",
        alice.access,
        (1_u64 << 30) + (2 << 20),
    );
    let answer = answer_to_a_begun(host, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn creating_files_is_limited_per_user() {
    let (server, alice) = local(&[("RATE_LIMIT_FILE_CREATE", "3/min")]).await;
    let bob = server.user("bob").await;
    alice.client.post("/file/", item("a", b"a")).await.expect(201);
    alice
        .client
        .multipart("/file/upload/", &[], "a", b"a")
        .await
        .expect(201);
    let presign = json!({ "name": "a", "content_type": "a/b", "size": 1 });
    alice.client.post("/file/presign/", presign).await.expect(201);
    let limited = alice.client.post("/file/", item("a", b"a")).await;
    assert!(!limited.header("retry-after").is_empty());
    refusal(limited, 429, "throttled", "请求过于频繁，请稍后再试");
    bob.client.post("/file/", item("a", b"a")).await.expect(201);
    alice.client.get("/file/").await.expect(200);
    seconds_later(&server, 60).await;
    alice.client.post("/file/", item("a", b"a")).await.expect(201);
    server.settle().await;
}

#[tokio::test]
async fn every_file_of_a_batch_and_every_retry_counts() {
    let (oss, server, alice) = on_oss(&[("RATE_LIMIT_FILE_CREATE", "6/15m")]).await;
    let batch = |n: usize| Value::Array((0..n).map(|_| item("a", b"a")).collect());
    alice.client.post("/file/", batch(4)).await.expect(201);
    let limited = alice.client.post("/file/", batch(3)).await;
    refusal(limited, 429, "throttled", "请求过于频繁，请稍后再试");
    // Of a batch that is refused only its first file was counted.
    alice.client.post("/file/", item("a", b"a")).await.expect(201);
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 5);
    seconds_later(&server, 900).await;
    oss.fail_always(403);
    let id = upload(&alice.client, "b", b"abc").await;
    reaches(&alice.client, id, "failed").await;
    let retry = format!("/file/{id}/retry_upload/");
    for _ in 0..5 {
        alice.client.post(&retry, json!({})).await.expect(200);
        reaches(&alice.client, id, "failed").await;
    }
    alice
        .client
        .post(&retry, json!({}))
        .await
        .refused(429, "throttled");
}

/// Whoever is over the limit is told so before his bytes are taken.
#[tokio::test]
async fn a_limited_upload_is_refused_before_it_is_read() {
    let (server, alice) = local(&[("RATE_LIMIT_FILE_CREATE", "1/15m")]).await;
    alice.client.post("/file/", item("a", b"a")).await.expect(201);
    let host = server.client.base().strip_prefix("http://").unwrap();
    let head = format!(
        "POST /file/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n",
        alice.access,
    );
    let answer = answer_to_a_begun(host, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    server.settle().await;
}
