//! Image messages: what counts is the content, and what is sent along is left out.

use super::*;
use crate::support::raw;

#[tokio::test]
async fn the_content_decides_the_type() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    for (name, bytes, extension, media) in [
        ("a.txt", pictures::png(), ".png", "image/png"),
        ("a.png", pictures::jpeg(&[]), ".jpg", "image/jpeg"),
        ("a.svg", pictures::gif(), ".gif", "image/gif"),
        ("a", pictures::webp(), ".webp", "image/webp"),
    ] {
        let sent = send_image(&stage.customer, session, name, &bytes)
            .await
            .expect(201);
        let image = sent["image"].as_str().unwrap();
        assert!(
            image.starts_with("chat_images/") && image.ends_with(extension),
            "{image}"
        );
        let shown = stage.srv.client.get(sent["image_url"].as_str().unwrap()).await;
        assert_eq!((shown.status, shown.header("content-type")), (200, media));
        assert_eq!(shown.bytes, bytes);
    }
    let last = &look(&stage.agent, session).await["last_message"];
    assert_eq!(
        (&last["content"], &last["content_type"]),
        (&json!("[图片]"), &json!("image"))
    );
}

#[tokio::test]
async fn hostile_names_go_nowhere() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let long = "x".repeat(5000);
    for name in [
        "../../x.png",
        "..\\\\..\\\\x.png",
        "/etc/passwd",
        ".htaccess",
        "a.png::$DATA",
        "<img onerror=alert(1)>.png",
        "\u{202e}gnp.exe",
        "文件.png",
        &long,
    ] {
        let sent = send_image(&stage.customer, session, name, &pictures::png())
            .await
            .expect(201);
        let image = sent["image"].as_str().unwrap();
        let hex = image
            .strip_prefix("chat_images/")
            .and_then(|n| n.strip_suffix(".png"));
        assert!(hex.is_some_and(|h| h.len() == 32), "{name}: {image}");
    }
    assert_eq!(stored_images(&stage.srv).len(), 9);
}

#[tokio::test]
async fn damaged_and_excessive_pictures_are_refused() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let png = pictures::png();
    let mut huge = png.clone();
    // The header claims 50,000 x 50,000; its sum no longer fits, but that is looked at later.
    huge[16..24].copy_from_slice(&[0, 0, 0xC3, 0x50, 0, 0, 0xC3, 0x50]);
    let zip = [&pictures::gif()[..], b"PK\x03\x04 a jar"].concat();
    let jpeg = pictures::jpeg(&[]);
    for (bytes, code) in [
        (&png[..png.len() - 1], "invalid_image"),
        (&png[..20], "invalid_image"),
        (&jpeg[..jpeg.len() - 2], "invalid_image"),
        (&huge[..], "image_dimensions_exceeded"),
        (b"GIF89a\xFF\xFF\xFF\xFF\0\0\0;", "image_dimensions_exceeded"),
        (&zip[..], "unsupported_image"),
    ] {
        let body = send_image(&stage.customer, session, "a.png", bytes)
            .await
            .refused(400, code);
        assert!(body["errors"]["image"].is_array(), "{body}");
    }
    assert_eq!(stored_images(&stage.srv), Vec::<String>::new());
    assert_eq!(look(&stage.agent, session).await["unread_count"], 0);
}

#[tokio::test]
async fn parts_may_come_in_any_order_and_only_one_is_the_image() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let (client, path) = (&stage.customer.client, messages_of(session));
    let image = part("image", Some("a.png"), &pictures::png());
    let kind = part("content_type", None, b"image");
    let others = part("other", Some("b.bin"), &[0; 1000]);
    let parts = [
        image.clone(),
        others,
        part("content", None, b"ignored"),
        part("message_type", None, b"system"),
        kind.clone(),
    ];
    let sent = send_parts(client, &path, &parts).await.expect(201);
    assert_eq!(
        (&sent["content"], &sent["message_type"]),
        (&json!(null), &json!("client"))
    );
    let reply = send_parts(client, &path, &[kind, image.clone(), image]).await;
    let body = reply.refused(400, "validation_error");
    assert!(body["errors"]["image"].is_array(), "{body}");
    assert_eq!(stored_images(&stage.srv).len(), 1);
}

#[tokio::test]
async fn what_is_too_large_is_read_to_its_end_up_to_64_mib() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let reply = send_image(&stage.customer, session, "a.jpg", &vec![0xFF; 40 << 20]).await;
    refusal(reply, 400, "image_too_large", "图片大小不能超过10MB");
    // Refused before it is read, so nothing is sent.
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; \
         boundary=x\r\nContent-Length: {}\r\n\r\n",
        messages_of(session),
        stage.customer.access,
        (64 << 20) + 1
    );
    let answer = raw::exchange(&stage.srv, head.as_bytes(), 10).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"),
        "{answer}"
    );
    // Several parts together are no way around it.
    let kind = part("content_type", None, b"image");
    let filler = part("other", None, &vec![0; 9 << 20]);
    let parts = [kind, filler, part("image", Some("a.png"), &pictures::png())];
    send_parts(&stage.customer.client, &messages_of(session), &parts)
        .await
        .expect(201);
}

#[tokio::test]
async fn other_bodies_are_not_taken() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let path = messages_of(session);
    for (media, body, status, code) in [
        ("text/plain", "hello", 415, "unsupported_media_type"),
        ("application/xml", "<x/>", 415, "unsupported_media_type"),
        (
            "application/x-www-form-urlencoded",
            "content=a",
            415,
            "unsupported_media_type",
        ),
        ("application/json", "{", 400, "parse_error"),
        ("application/json", "[]", 400, "parse_error"),
    ] {
        let request = stage.customer.client.request(Method::POST, &path);
        let request = request.header("content-type", media).body(body);
        stage.customer.client.send(request).await.refused(status, code);
    }
    let request = stage.customer.client.request(Method::POST, &path);
    let request = request
        .header("content-type", "multipart/form-data; boundary=x")
        .body("--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\ncut");
    assert_eq!(stage.customer.client.send(request).await.status, 400);
}
