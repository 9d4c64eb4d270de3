//! Multipart bodies that are not what they should be. None may create anything by accident, hang,
//! or be answered with 5xx.

use super::multipart::{BOUNDARY, field, file_part, part, send, send_raw};
use super::*;

const MEDIA: &str = "multipart/form-data; boundary=----------yunque";

async fn refused(server: &TestServer, what: &str, reply: Reply) {
    assert!(
        (400..500).contains(&reply.status),
        "{what}: {} {}",
        reply.status,
        reply.text()
    );
    let body = reply.json();
    assert!(
        body["code"].is_string() && body["error"].is_string(),
        "{what}: {body}"
    );
    assert_eq!(files_in_table(server).await, 0, "{what}");
    assert!(staged_files(server).is_empty(), "{what}");
}

/// A body that is refused before its end may cost the client its connection instead.
async fn cut_or_refused(server: &TestServer, what: &str, client: &Client, mut parts: Vec<Vec<u8>>) {
    parts.push(format!("--{BOUNDARY}--\r\n").into_bytes());
    let request = client
        .request(reqwest::Method::POST, "/file/upload/")
        .header("content-type", MEDIA)
        .body(parts.concat());
    if let Ok(response) = request.send().await {
        let status = response.status().as_u16();
        assert!((400..500).contains(&status), "{what}: {status}");
    }
    assert_eq!(files_in_table(server).await, 0, "{what}");
    eventually("nothing stays staged", 5, || async {
        staged_files(server).is_empty()
    })
    .await;
}

#[tokio::test]
async fn broken_frames_are_refused() {
    let (server, alice) = local(&[]).await;
    let whole = || {
        let mut body = file_part("a.png", b"abc");
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        body
    };
    let unclosed = file_part("a.png", b"abc");
    let half = whole()[..60].to_vec();
    let long = "b".repeat(5000);
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("no boundary", "multipart/form-data", whole()),
        ("empty boundary", "multipart/form-data; boundary=", whole()),
        ("another boundary", "multipart/form-data; boundary=other", whole()),
        ("nothing at all", MEDIA, Vec::new()),
        ("only noise", MEDIA, noise(1, 1000)),
        ("half a head", MEDIA, half),
        ("no end", MEDIA, unclosed),
        ("only the end", MEDIA, format!("--{BOUNDARY}--\r\n").into_bytes()),
    ];
    for (what, media, body) in cases {
        let reply = send_raw(&alice.client, media, body).await;
        refused(&server, what, reply).await;
    }
    // A boundary beyond every rule, used consistently: an error or an upload, never a fault.
    let mut body =
        format!("--{long}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n")
            .into_bytes();
    body.extend_from_slice(format!("--{long}--\r\n").as_bytes());
    let reply = send_raw(
        &alice.client,
        &format!("multipart/form-data; boundary={long}"),
        body,
    )
    .await;
    assert!(reply.status < 500, "{}", reply.text());
}

#[tokio::test]
async fn floods_of_parts_and_heads_are_refused() {
    let (server, alice) = local(&[]).await;
    let many: Vec<Vec<u8>> = (0..10_000).map(|i| field(&format!("f{i}"), "x")).collect();
    cut_or_refused(&server, "10,000 parts", &alice.client, many).await;
    let empty: Vec<Vec<u8>> = (0..10_000)
        .map(|_| format!("--{BOUNDARY}\r\n\r\n\r\n").into_bytes())
        .collect();
    cut_or_refused(&server, "boundary flood", &alice.client, empty).await;
    let head = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nX-Pad: {}",
        "x".repeat(4 * MIB)
    );
    cut_or_refused(&server, "4 MiB head", &alice.client, vec![part(&head, b"abc")]).await;
    cut_or_refused(
        &server,
        "noise in front",
        &alice.client,
        vec![vec![b'x'; 4 * MIB], file_part("a", b"abc")],
    )
    .await;
    let heads = "X-A: b\r\n".repeat(5000);
    let head = format!("{heads}Content-Disposition: form-data; name=\"file\"; filename=\"a\"");
    let reply = send(&alice.client, &[part(&head, b"abc")]).await;
    assert!(reply.status < 500, "{}", reply.text());
    server.settle().await;
}

#[tokio::test]
async fn strange_parts_are_refused_or_ignored() {
    let (server, alice) = local(&[]).await;
    let latin = part("Content-Disposition: form-data; name=\"path\"", b"/\xff\xfe");
    refused(
        &server,
        "field not UTF-8",
        send(&alice.client, &[latin, file_part("a", b"abc")]).await,
    )
    .await;
    let long = field("path", &"p".repeat(100_000));
    refused(
        &server,
        "long field",
        send(&alice.client, &[long, file_part("a", b"abc")]).await,
    )
    .await;
    let control = field("path", "/a\u{0}b");
    refused(
        &server,
        "NUL in a field",
        send(&alice.client, &[control, file_part("a", b"abc")]).await,
    )
    .await;
    let undisposed = part("Content-Type: image/png", b"abc");
    refused(
        &server,
        "no disposition",
        send(&alice.client, &[undisposed]).await,
    )
    .await;
    let nested = format!(
        "--{BOUNDARY}\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n--inner--\r\n"
    );
    refused(
        &server,
        "nested",
        send(&alice.client, &[nested.into_bytes()]).await,
    )
    .await;
}

/// Fields mean the same wherever they stand; a second file is not stored.
#[tokio::test]
async fn fields_after_the_file_count_as_well() {
    let (server, alice) = local(&[]).await;
    let send_late = async |size: &str, path: &str| {
        let parts = [
            file_part("a.png", b"first"),
            file_part("b.png", b"second"),
            field("size", size),
            field("path", path),
        ];
        send(&alice.client, &parts).await
    };
    send_late("99", "/late").await.refused(400, "size_mismatch");
    send_late("9223372036854775808", "/late")
        .await
        .refused(400, "size_mismatch");
    send_late("5", "/a/../b").await.refused(400, "validation_error");
    assert_eq!(files_in_table(&server).await, 0);
    let created = send_late("5", "/late").await.expect(201);
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert_eq!(
        (&done["name"], &done["path"]),
        (&serde_json::json!("a.png"), &serde_json::json!("/late"))
    );
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        b"first"
    );
    assert_eq!(files_in_table(&server).await, 1);
    server.settle().await;
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn hostile_names_in_the_head_are_labels() {
    let (server, alice) = local(&[]).await;
    for (name, kept) in [
        ("a\u{7}b.txt", "ab.txt"),
        ("..\\\\..\\\\x.ini", "x.ini"),
        ("/etc/passwd", "passwd"),
        ("<img>.svg", "<img>.svg"),
    ] {
        let reply = send(&alice.client, &[file_part(name, b"abc")]).await;
        assert!(matches!(reply.status, 201 | 400), "{name:?}: {}", reply.text());
        if reply.status == 201 {
            let body = reply.json();
            assert_eq!(body["name"], kept, "{name:?}");
            let done = reaches(&alice.client, id_of(&body), "completed").await;
            assert!(
                done["oss_key"]
                    .as_str()
                    .unwrap()
                    .starts_with(&format!("files/{}/", alice.id))
            );
        }
    }
    server.settle().await;
}
