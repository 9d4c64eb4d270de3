//! Request bodies over the wire.

use super::*;

#[tokio::test]
async fn all_faults_come_together() {
    let server = TestServer::start().await;
    let answer = server.post("/things", r#"{"name":"","size":"1"}"#).await;
    let body = answer.assert_error(400, "validation_error");
    assert_eq!(body["error"], "该字段不能为空");
    assert_eq!(
        body["errors"],
        serde_json::json!({"name": ["该字段不能为空"], "size": ["类型错误"]})
    );
    let empty = server
        .post("/things", "")
        .await
        .assert_error(400, "validation_error");
    assert_eq!(empty["errors"].as_object().map(|e| e.len()), Some(2));
    server.post("/things", "{").await.assert_error(400, "parse_error");
}

#[tokio::test]
async fn media_types_are_judged() {
    let server = TestServer::start().await;
    let good = r#"{"name":"a","size":1}"#;
    for kind in ["application/json", "Application/JSON; charset=UTF-8"] {
        assert_eq!(
            server
                .send("POST", "/things", &[("Content-Type", kind)], good)
                .await
                .status,
            201,
            "{kind}"
        );
    }
    assert_eq!(server.send("POST", "/things", &[], good).await.status, 201);
    for kind in [
        "text/plain",
        "application/json; charset=gbk",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ] {
        let answer = server
            .send("POST", "/things", &[("Content-Type", kind)], good)
            .await;
        answer.assert_error(415, "unsupported_media_type");
    }
    let packed = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    server
        .send("POST", "/things", &packed, good)
        .await
        .assert_error(415, "unsupported_media_type");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = server
        .send("POST", "/login", &form, "username=%E5%90%8D&code=42")
        .await;
    assert_eq!(answer.body, "\"名 Some(42)\"");
}

#[tokio::test]
async fn limits_hold_with_and_without_a_length() {
    let server = TestServer::start().await;
    // Announced: refused although not a byte of it was sent.
    let head = "POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 1048577\r\n\r\n";
    Answer::parse(&server.raw(head.as_bytes()).await).assert_error(413, "payload_too_large");
    // Exactly the limit is read, and judged as JSON.
    let full = format!("\"{}\"", "a".repeat((1 << 20) - 2));
    server
        .post("/things", &full)
        .await
        .assert_error(400, "parse_error");
    // Unannounced: refused while it comes, and the answer arrives although more was sent.
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    let mut text = "POST /things HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    (0..160).for_each(|_| text.push_str(&chunk));
    Answer::parse(&server.raw(text.as_bytes()).await).assert_error(413, "payload_too_large");
    let put = |n: usize| {
        format!(
            "PUT /raw HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n{}",
            "a".repeat(n)
        )
    };
    assert_eq!(
        Answer::parse(&server.raw(put(3 << 20).as_bytes()).await).body,
        "3145728"
    );
    Answer::parse(&server.raw(put((3 << 20) + 1).as_bytes()).await).assert_error(413, "payload_too_large");
}

#[tokio::test]
async fn slow_bodies_are_ended() {
    let server = TestServer::with(&[("HTTP_BODY_IDLE_TIMEOUT", "1s")]).await;
    let head = "POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n{";
    let begun = std::time::Instant::now();
    Answer::parse(&server.raw(head.as_bytes()).await).assert_error(408, "request_timeout");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // A drip does not help.
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (mut reader, mut writer) = stream.into_split();
    let drip = crate::task::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(6), reader.read_to_string(&mut text))
        .await
        .expect("ended")
        .ok();
    Answer::parse(&text).assert_error(408, "request_timeout");
    drip.abort();
}

const FORM: [(&str, &str); 1] = [("Content-Type", "multipart/form-data; boundary=b")];

fn part(name: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
}

#[tokio::test]
async fn parts_are_read_one_by_one() {
    let server = TestServer::start().await;
    let post = |body: String| {
        let server = &server;
        async move { server.send("POST", "/parts", &FORM, &body).await }
    };
    let good = format!(
        "{}{}{}--b--\r\n",
        part("path", " 名 "),
        part("x", "ignored"),
        part("file", &"a".repeat(500_000))
    );
    assert_eq!(post(good).await.body, "\"名 500000\"");
    let long = post(format!("{}--b--\r\n", part("path", &"a".repeat(900_000)))).await;
    assert_eq!(
        long.assert_error(400, "validation_error")["errors"]["path"][0],
        "长度不能超过 10 个字符"
    );
    let many = (0..101).map(|_| part("x", "")).collect::<String>();
    post(format!("{many}--b--\r\n"))
        .await
        .assert_error(413, "payload_too_large");
    let large = format!("{}--b--\r\n", part("file", &"a".repeat(1 << 20)));
    post(large).await.assert_error(413, "payload_too_large");
    for broken in [
        "nonsense".to_owned(),
        part("file", "no end"),
        "--b\r\n".to_owned(),
        format!("--b\r\nX: {}\r\n\r\n--b--", "a".repeat(900_000)),
        "--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n\x01\r\n--b--\r\n".to_owned(),
    ] {
        let answer = post(broken.clone()).await;
        assert_eq!(
            answer.status,
            400,
            "{} {answer:?}",
            &broken[..broken.len().min(60)]
        );
        answer.json();
    }
    for kind in [
        "multipart/form-data",
        "multipart/mixed; boundary=b",
        "application/json",
    ] {
        let answer = server
            .send("POST", "/parts", &[("Content-Type", kind)], "--b--")
            .await;
        assert!(matches!(answer.status, 400 | 415), "{kind} {answer:?}");
    }
    let boundary = format!("multipart/form-data; boundary={}", "b".repeat(5000));
    assert_eq!(
        server
            .send("POST", "/parts", &[("Content-Type", &boundary)], "--b--")
            .await
            .status,
        400
    );
}
