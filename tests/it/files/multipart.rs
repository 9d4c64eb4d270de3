//! `POST /file/upload/`: one streamed file.

use futures_util::stream;
use reqwest::Method;
use serde_json::json;

use super::*;

pub(super) const BOUNDARY: &str = "----------yunque";

/// A part with any head; `head` is everything between the boundary and the empty line.
pub(super) fn part(head: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("--{BOUNDARY}\r\n{head}\r\n\r\n").into_bytes();
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    out
}

pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    part(
        &format!("Content-Disposition: form-data; name=\"{name}\""),
        value.as_bytes(),
    )
}

pub(super) fn file_part(name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/png"
    );
    part(&head, body)
}

/// Sends parts with the closing boundary.
pub(super) async fn send(client: &Client, parts: &[Vec<u8>]) -> Reply {
    let mut body = parts.concat();
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    send_raw(client, &format!("multipart/form-data; boundary={BOUNDARY}"), body).await
}

pub(super) async fn send_raw(client: &Client, content_type: &str, body: Vec<u8>) -> Reply {
    let request = client
        .request(Method::POST, "/file/upload/")
        .header("content-type", content_type)
        .body(body);
    client.send(request).await
}

#[tokio::test]
async fn a_file_is_streamed_with_its_fields() {
    let (server, alice) = local(&[]).await;
    let bytes = noise(1, 300_000);
    let size = bytes.len().to_string();
    let fields = [
        field("path", "/pictures/"),
        field("content_type", "image/webp"),
        field("size", &size),
    ];
    let parts = [fields.concat(), file_part("猫.WEBP", &bytes)];
    let created = send(&alice.client, &parts).await.expect(201);
    has_keys(&created, &F5);
    let expected = json!({
        "id": created["id"], "name": "猫.WEBP", "content_type": "image/webp", "size": 300_000, "upload_status": "pending",
    });
    assert_eq!(created, expected);
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert_eq!(done["path"], "/pictures");
    is_key(&done["oss_key"], &alice, ".webp");
    assert_eq!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn small_empty_and_plain_files() {
    let (server, alice) = local(&[]).await;
    // The type of the part, then the general one.
    let created = send(&alice.client, &[file_part("a.png", b"tiny")])
        .await
        .expect(201);
    assert_eq!(created["content_type"], "image/png");
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        b"tiny"
    );
    let bare = part(
        "Content-Disposition: form-data; name=\"file\"; filename=\"a\"",
        b"",
    );
    let created = send(&alice.client, &[bare]).await.expect(201);
    assert_eq!(
        (&created["content_type"], &created["size"]),
        (&json!("application/octet-stream"), &json!(0))
    );
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert_eq!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap(), b"");
    // Bytes that look like the protocol.
    let tricky = format!("\r\n--{}\r\n\r\n--\r\n", &BOUNDARY[..BOUNDARY.len() - 1]).into_bytes();
    let created = send(&alice.client, &[file_part("a.png", &tricky)])
        .await
        .expect(201);
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        tricky
    );
}

#[tokio::test]
async fn the_announced_size_must_be_exact() {
    let (server, alice) = local(&[]).await;
    for declared in ["0", "2", "4", "99999999999"] {
        let reply = send(
            &alice.client,
            &[field("size", declared), file_part("a.png", b"abc")],
        )
        .await;
        let text = format!("文件大小不匹配：声明 {declared} 字节，实际 3 字节");
        fault(reply, "size_mismatch", "size", &text);
    }
    for bad in ["abc", "-1", "3.0", "", "9".repeat(30).as_str()] {
        let reply = send(&alice.client, &[field("size", bad), file_part("a.png", b"abc")]).await;
        fault(reply, "validation_error", "size", "类型错误");
    }
    send(&alice.client, &[field("size", " 3 "), file_part("a.png", b"abc")])
        .await
        .expect(201);
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 1);
}

#[tokio::test]
async fn a_file_is_needed_and_its_labels_are_checked() {
    let (server, alice) = local(&[]).await;
    for parts in [vec![], vec![field("path", "/")], vec![field("image", "x")]] {
        let body = send(&alice.client, &parts).await.refused(400, "content_required");
        assert!(body["errors"]["file"].is_array(), "{body}");
    }
    let nameless = part("Content-Disposition: form-data; name=\"file\"", b"abc");
    let body = send(&alice.client, &[nameless])
        .await
        .refused(400, "validation_error");
    assert!(body["errors"].is_object(), "{body}");
    for (parts, fault_in) in [
        (vec![file_part("..", b"abc")], "name"),
        (vec![file_part(&"n".repeat(256), b"abc")], "name"),
        (
            vec![field("content_type", "png"), file_part("a", b"abc")],
            "content_type",
        ),
        (
            vec![
                field("content_type", &format!("a/{}", "b".repeat(254))),
                file_part("a", b"abc"),
            ],
            "content_type",
        ),
        (vec![field("path", "/a/../b"), file_part("a", b"abc")], "path"),
        (
            vec![field("path", &"p".repeat(1025)), file_part("a", b"abc")],
            "path",
        ),
    ] {
        let body = send(&alice.client, &parts).await.refused(400, "validation_error");
        assert!(body["errors"][fault_in].is_array(), "{fault_in}: {body}");
    }
    assert_eq!(files_in_table(&server).await, 0);
    let path_as_name = send(&alice.client, &[file_part("../../etc/passwd", b"abc")])
        .await
        .expect(201);
    assert_eq!(path_as_name["name"], "passwd");
    let longest = send(&alice.client, &[file_part(&"文".repeat(255), b"abc")])
        .await
        .expect(201);
    assert_eq!(longest["name"], "文".repeat(255));
    server.settle().await;
}

#[tokio::test]
async fn only_multipart_is_taken() {
    let (server, alice) = local(&[]).await;
    for media in [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
    ] {
        let reply = send_raw(&alice.client, media, b"{}".to_vec()).await;
        assert_eq!(reply.status, 415, "{media}: {}", reply.text());
        refusal(reply, 415, "unsupported_media_type", "不支持的媒体类型");
    }
    assert_eq!(files_in_table(&server).await, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let (server, alice) = local(&[]).await;
    let head = [
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n")
            .into_bytes(),
        noise(1, 500_000),
    ];
    let pieces = stream::iter([
        Ok(bytes::Bytes::from(head.concat())),
        Err(std::io::Error::other("gone")),
    ]);
    let request = alice
        .client
        .request(Method::POST, "/file/upload/")
        .header(
            "content-type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .body(reqwest::Body::wrap_stream(pieces));
    assert!(request.send().await.is_err());
    eventually("the partial body is gone", 10, || async {
        staged_files(&server).is_empty()
    })
    .await;
    assert_eq!(
        (files_in_table(&server).await, used_space(&alice.client).await),
        (0, 0)
    );
}

#[tokio::test]
async fn parallel_streams_stay_apart() {
    let (server, alice) = local(&[]).await;
    let sent = futures_util::future::join_all((0..6_u8).map(|i| {
        let client = alice.client.clone();
        async move {
            let bytes = noise(i, 200_000);
            (
                send(&client, &[file_part("a.png", &bytes)]).await.expect(201),
                bytes,
            )
        }
    }))
    .await;
    for (created, bytes) in sent {
        let done = reaches(&alice.client, id_of(&created), "completed").await;
        assert_eq!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap(), bytes);
    }
}
