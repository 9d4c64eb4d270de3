//! `/media/…`: pictures for whoever has their address.

use super::*;

async fn shown() -> (Stage, String, Vec<u8>) {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let bytes = pictures::jpeg(&[]);
    let sent = send_image(&stage.customer, session, "a.jpg", &bytes)
        .await
        .expect(201);
    let path = format!("/media/{}", sent["image"].as_str().unwrap());
    (stage, path, bytes)
}

#[tokio::test]
async fn pictures_are_sent_with_safe_and_long_lived_headers() {
    let (stage, path, bytes) = shown().await;
    for path in [path.clone(), format!("{path}/")] {
        let reply = stage.srv.client.get(&path).await;
        assert_eq!((reply.status, &reply.bytes), (200, &bytes));
        for (name, value) in [
            ("content-type", "image/jpeg"),
            ("content-length", &bytes.len().to_string()),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'"),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
    }
    let client = &stage.srv.client;
    let head = client.send(client.request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    // Credentials are not looked at.
    assert_eq!(client.with_token("garbage").get(&path).await.status, 200);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let reply = client.send(client.request(method, &path)).await;
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
        reply.refused(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn a_range_is_a_part_of_the_picture() {
    let (stage, path, bytes) = shown().await;
    let get = |range: &str| {
        let client = stage.srv.client.with_header("range", range);
        let path = path.clone();
        async move { client.get(&path).await }
    };
    let size = bytes.len();
    for (range, part) in [
        ("bytes=0-1", 0..2),
        ("bytes=10-", 10..size),
        ("bytes=-3", size - 3..size),
    ] {
        let reply = get(range).await;
        assert_eq!(
            (reply.status, &reply.bytes[..]),
            (206, &bytes[part.clone()]),
            "{range}"
        );
        let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(reply.header("content-range"), content_range);
        assert_eq!(reply.header("content-type"), "image/jpeg");
    }
    for ignored in ["bytes=5-1", "items=0-1", "bytes=0-1,3-4", "x"] {
        let reply = get(ignored).await;
        assert_eq!((reply.status, reply.bytes.len()), (200, size), "{ignored}");
    }
    let reply = get(&format!("bytes={size}-")).await;
    assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
    reply.refused(416, "range_not_satisfiable");
}

#[tokio::test]
async fn nothing_else_is_reached_through_media() {
    let (stage, path, _) = shown().await;
    // A file of a user, in the same storage.
    let secret = stage.srv.data.path().join("objects/media/chat_images/secret.txt");
    std::fs::write(secret, "secret").unwrap();
    std::fs::write(stage.srv.data.path().join("objects/outside.png"), "secret").unwrap();
    let name = path.strip_prefix("/media/chat_images/").unwrap();
    for path in [
        "/media",
        "/media/",
        "/media/chat_images",
        "/media/chat_images/",
        "/media/avatars/",
        "/media/chat_images/secret.txt",
        "/media/chat_images/../../outside.png",
        "/media/chat_images/..%2f..%2foutside.png",
        "/media/chat_images/%2e%2e/%2e%2e/outside.png",
        "/media/chat_images/..%252f..%252foutside.png",
        "/media/chat_images//outside.png",
        "/media/chat_images/%00.png",
        "/media/chat_images/.storage-id",
        "/media/files/1.png",
        "/media/other/a.png",
        "/media/chat_images/0123456789abcdef0123456789abcdef.png",
        &format!("/media/chat_images/.{name}.type"),
        &format!("/media/chat_images/{}.png", name.strip_suffix(".jpg").unwrap()),
        &format!("/media/chat_images/{}", name.to_uppercase()),
        &format!("/media/avatars/{name}"),
        &format!("/media/{name}"),
        &format!("/MEDIA/chat_images/{name}"),
    ] {
        let reply = stage.srv.client.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert!(!reply.text().contains("secret"), "{path}");
        reply.refused(404, "not_found");
    }
}

#[tokio::test]
async fn pictures_are_outside_the_rate_limits() {
    let stage = Stage::with(&[("RATE_LIMIT_ANONYMOUS", "40/min")]).await;
    let session = stage.session().await;
    let sent = send_image(&stage.customer, session, "a.png", &pictures::png())
        .await
        .expect(201);
    let path = format!("/media/{}", sent["image"].as_str().unwrap());
    for _ in 0..60 {
        let reply = stage.srv.client.get(&path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("ratelimit-limit"), "");
    }
}
