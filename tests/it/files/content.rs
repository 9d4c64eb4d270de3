//! `GET /file/{id}/content/`: the bytes behind a link of local storage.

use reqwest::Method;
use serde_json::json;

use super::*;

/// A file of a type, and the link to it.
async fn linked(client: &Client, name: &str, content_type: &str, bytes: &[u8]) -> (i64, String) {
    let mut body = item(name, bytes);
    body["content_type"] = content_type.into();
    let id = id_of(&client.post("/file/", body).await.expect(201));
    reaches(client, id, "completed").await;
    (id, link(client, id).await)
}

async fn link(client: &Client, id: i64) -> String {
    client.get(&format!("/file/{id}/download/")).await.expect(200)["download_url"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn fetch(url: &str, range: Option<&str>) -> Reply {
    let client = Client::new("");
    let mut request = client.request(Method::GET, url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    client.send(request).await
}

#[tokio::test]
async fn bytes_are_equal_whole_and_in_ranges() {
    let (_server, alice) = local(&[]).await;
    let bytes = noise(1, 300_000);
    let (_, url) = linked(&alice.client, "a.bin", "application/x-thing", &bytes).await;
    let whole = fetch(&url, None).await;
    assert_eq!((whole.status, whole.header("content-length")), (200, "300000"));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.bytes, bytes);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=299999-", 299_999, 299_999),
        ("bytes=100000-199999", 100_000, 199_999),
        ("bytes=-5", 299_995, 299_999),
        ("bytes=5-999999999", 5, 299_999),
        ("bytes=-999999999", 0, 299_999),
    ] {
        let part = fetch(&url, Some(range)).await;
        assert_eq!(part.status, 206, "{range}: {}", part.status);
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/300000"),
            "{range}"
        );
        assert_eq!(part.bytes, bytes[first..=last], "{range}");
    }
    for range in ["bytes=300000-", "bytes=999999999-", "bytes=-0"] {
        let reply = fetch(&url, Some(range)).await;
        assert_eq!(reply.header("content-range"), "bytes */300000", "{range}");
        reply.refused(416, "range_not_satisfiable");
    }
    // What makes no sense, or is more than one, is answered with everything.
    let many = format!("bytes={}", vec!["0-1"; 1000].join(","));
    for range in [
        "bytes=a-b",
        "items=0-1",
        "bytes=5-1",
        "bytes=0-1,3-4",
        "bytes",
        "bytes=18446744073709551616-",
        &many,
    ] {
        let reply = fetch(&url, Some(range)).await;
        assert_eq!((reply.status, reply.bytes.len()), (200, 300_000), "{range}");
    }
    let client = Client::new("");
    let head = client.send(client.request(Method::HEAD, &url)).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.bytes.len()),
        (200, "300000", 0)
    );
}

#[tokio::test]
async fn only_harmless_media_is_shown_in_place() {
    let (_server, alice) = local(&[]).await;
    for (content_type, inline) in [
        ("image/png", true),
        ("video/mp4", true),
        ("audio/mpeg", true),
        ("application/pdf", true),
        ("text/html", false),
        ("TEXT/HTML; charset=utf-8", false),
        ("image/svg+xml", false),
        ("IMAGE/SVG+XML", false),
        ("application/xhtml+xml", false),
        ("text/xml", false),
        ("text/plain", false),
        ("text/javascript", false),
        ("application/octet-stream", false),
    ] {
        let script = b"<script>alert(1)</script>";
        let (_, url) = linked(&alice.client, "报告 1.x", content_type, script).await;
        let reply = fetch(&url, None).await;
        assert_eq!(
            (reply.status, reply.bytes.as_slice()),
            (200, script.as_slice()),
            "{content_type}"
        );
        assert_eq!(
            reply.header("x-content-type-options"),
            "nosniff",
            "{content_type}"
        );
        let policy = reply.header("content-security-policy");
        assert!(
            policy.contains("sandbox") && policy.contains("default-src 'none'"),
            "{policy}"
        );
        let disposition = reply.header("content-disposition");
        if inline {
            assert!(
                !disposition.starts_with("attachment"),
                "{content_type}: {disposition}"
            );
            assert_eq!(reply.header("content-type"), content_type);
        } else {
            assert_eq!(
                disposition, "attachment; filename*=UTF-8''%E6%8A%A5%E5%91%8A%201.x",
                "{content_type}"
            );
            let sent = reply.header("content-type").to_ascii_lowercase();
            let runs = sent.contains("html") || sent.contains("xml") || sent.contains("script");
            assert!(!runs, "{content_type} sent as {sent}");
        }
    }
}

#[tokio::test]
async fn links_end_with_time_and_with_the_file() {
    let (server, alice) = local(&[]).await;
    let (id, url) = linked(&alice.client, "a.png", "image/png", b"abc").await;
    let short = alice
        .client
        .get(&format!("/file/{id}/download/?expires=60"))
        .await
        .expect(200);
    let short = short["download_url"].as_str().unwrap();
    assert_eq!(fetch(short, None).await.status, 200);
    seconds_later(&server, 61).await;
    refusal(fetch(short, None).await, 403, "link_invalid", "链接无效或已过期");
    assert_eq!(fetch(&url, None).await.status, 200);
    alice.client.delete(&format!("/file/{id}/")).await.expect(204);
    not_found(fetch(&url, None).await);
    server.settle().await;
    not_found(fetch(&url, None).await);
}

#[tokio::test]
async fn links_cannot_be_bent() {
    let (server, alice) = local(&[]).await;
    let bob = server.user("bob").await;
    let (secret, _) = linked(&bob.client, "secret.txt", "text/plain", b"bob's").await;
    let (id, url) = linked(&alice.client, "a.html", "text/html", b"abc").await;
    let own = format!("/file/{id}/");
    let bent = [
        url.replace(&own, &format!("/file/{secret}/")),
        url.replace(
            &format!("files%2F{}%2F", alice.id),
            &format!("files%2F{}%2F", bob.id),
        ),
        url.replace("disposition=attachment", "disposition=inline"),
        url.replace("name=a.html", "name=b.html"),
        url.replace("expires=", "expires=1"),
        url.replace("signature=", "signature=ff"),
        format!("{url}&key=files%2F1%2Fother"),
        url.split("&signature").next().unwrap().to_owned(),
        url.split('?').next().unwrap().to_owned(),
    ];
    for bent in bent {
        assert_ne!(bent, url);
        let reply = fetch(&bent, None).await;
        assert_eq!(reply.status, 403, "{bent}: {}", reply.text());
        refusal(reply, 403, "link_invalid", "链接无效或已过期");
        // A login is no substitute for the signature.
        assert_eq!(alice.client.get(&bent).await.status, 403, "{bent}");
    }
    // The slash does not matter, other methods do.
    assert_eq!(
        fetch(&url.replace("/content/?", "/content?"), None).await.status,
        200
    );
    let client = Client::new("");
    let put = client
        .request(Method::PUT, &url)
        .header("content-type", "text/html")
        .body("evil");
    client.send(put).await.refused(403, "link_invalid");
    client
        .send(client.request(Method::DELETE, &url))
        .await
        .refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_lost_object_is_404() {
    let (server, alice) = local(&[]).await;
    let (id, url) = linked(&alice.client, "a.png", "image/png", b"abc").await;
    let key = file(&alice.client, id).await["oss_key"]
        .as_str()
        .unwrap()
        .to_owned();
    std::fs::remove_file(server.data.path().join("objects").join(key)).unwrap();
    not_found(fetch(&url, None).await);
}

/// With object storage the address exists and opens nothing.
#[tokio::test]
async fn with_object_storage_there_is_nothing_here() {
    let (_oss, server, alice) = on_oss(&[]).await;
    let done = completed(&alice.client, "a.png", b"abc").await;
    let path = format!(
        "/file/{}/content/?key=x&expires=9999999999&signature=00",
        done["id"]
    );
    server.client.get(&path).await.refused(403, "link_invalid");
    let body = alice.client.put(&path, json!({})).await;
    body.refused(403, "link_invalid");
}

/// Browsers take the last of several types, whatever the first one is.
#[tokio::test]
async fn a_list_of_types_is_refused_and_never_shown_in_place() {
    let (server, alice) = local(&[]).await;
    let client = &alice.client;
    let list = "image/png; a=b, text/html";
    let mut body = item("a.png", b"<script>");
    body["content_type"] = list.into();
    let presign = json!({ "name": "a.png", "content_type": list, "size": 8 });
    let replies = [
        client.post("/file/", body).await,
        client.post("/file/presign/", presign).await,
        client
            .multipart("/file/upload/", &[("content_type", list)], "a.png", b"<script>")
            .await,
    ];
    for reply in replies {
        fault(reply, "validation_error", "content_type", "格式不正确");
    }
    // Of a row that was accepted before.
    let (id, _) = linked(client, "a.png", "image/png", b"<script>").await;
    let values = vec![list.into(), id.into()];
    sql(&server, "UPDATE files SET content_type = ? WHERE id = ?", values).await;
    let reply = fetch(&link(client, id).await, None).await;
    assert!(reply.header("content-disposition").starts_with("attachment"));
    assert_eq!(reply.header("content-type"), "application/octet-stream");
}
