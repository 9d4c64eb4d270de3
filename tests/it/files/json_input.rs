//! Bodies of `POST /file/` that are not what they should be. None may create anything, break the
//! server or be answered with 5xx.

use reqwest::Method;
use serde_json::json;

use super::*;

async fn raw(client: &Client, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = client
        .request(Method::POST, "/file/")
        .header("content-type", content_type)
        .body(body.into());
    client.send(request).await
}

#[tokio::test]
async fn malformed_json_is_a_parse_error() {
    let (server, alice) = local(&[]).await;
    let nested = |open: &str, n: usize| open.repeat(n).into_bytes();
    let utf16: Vec<u8> = "{\"name\":1}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let cases: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"[".to_vec(),
        b"{\"name\":\"a\",}".to_vec(),
        b"{'name':'a'}".to_vec(),
        b"{name:1}".to_vec(),
        b"NaN".to_vec(),
        b"{\"size\":NaN}".to_vec(),
        b"{\"size\":Infinity}".to_vec(),
        b"{\"size\":01}".to_vec(),
        b"{\"size\":0x10}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"name\":\"\xff\"}".to_vec(),
        b"{\"name\":\"\\ud800\"}".to_vec(),
        b"{\"name\":\"\\x41\"}".to_vec(),
        b"{} {}".to_vec(),
        b"{}x".to_vec(),
        b"null".to_vec(),
        b"true".to_vec(),
        b"5".to_vec(),
        b"\"text\"".to_vec(),
        b"\0".to_vec(),
        utf16,
        nested("[", 100_000),
        nested("{\"a\":", 100_000),
        format!("{{\"name\":{}1{}}}", "[".repeat(40), "]".repeat(40)).into_bytes(),
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(&case[..case.len().min(40)]).into_owned();
        let reply = raw(&alice.client, "application/json", case).await;
        assert_eq!(reply.status, 400, "{shown}: {}", reply.text());
        let body = reply.refused(400, "parse_error");
        assert_eq!(body["error"], "无效的JSON格式", "{shown}");
    }
    assert_eq!(files_in_table(&server).await, 0);
}

#[tokio::test]
async fn numbers_without_a_type_are_faults_of_their_field() {
    let (server, alice) = local(&[]).await;
    let digits = "9".repeat(400);
    for size in [
        "1e400",
        "-1e400",
        &digits,
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "1e2",
        "1.0",
    ] {
        let body =
            format!("{{\"name\":\"a\",\"content_type\":\"a/b\",\"size\":{size},\"file_content\":\"aGk=\"}}");
        let reply = raw(&alice.client, "application/json", body).await;
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"]["size"].is_array(), "{size}: {body}");
    }
    assert_eq!(files_in_table(&server).await, 0);
}

#[tokio::test]
async fn strange_but_readable_documents_do_no_harm() {
    let (server, alice) = local(&[]).await;
    let keys: String = (0..30_000).map(|i| format!("\"k{i}\":1,")).collect();
    let cases = [
        format!("{{{keys}\"name\":\"a\"}}"),
        "{\"name\":\"a\",\"name\":\"b\"}".to_owned(),
        format!("{{\"name\":\"{}\"}}", "n".repeat(1 << 20)),
        "{\"\":1}".to_owned(),
        "{\"__proto__\":{\"name\":\"a\"}}".to_owned(),
        "[[[[[[]]]]]]".to_owned(),
        "[null]".to_owned(),
        "[[]]".to_owned(),
        "[1,2,3]".to_owned(),
        "   ".to_owned(),
        String::new(),
    ];
    for case in cases {
        let shown: String = case.chars().take(40).collect();
        let reply = raw(&alice.client, "application/json", case).await;
        assert_eq!(reply.status, 400, "{shown}: {}", reply.text());
        assert_eq!(reply.json()["code"], "validation_error", "{shown}");
    }
    let many: Vec<Value> = (0..10_000).map(|_| item("a", b"x")).collect();
    alice
        .client
        .post("/file/", json!(many))
        .await
        .refused(400, "validation_error");
    assert_eq!(files_in_table(&server).await, 0);
}

#[tokio::test]
async fn controls_in_texts_are_refused_or_removed_but_never_stored() {
    let (server, alice) = local(&[]).await;
    for (field, bad) in [
        ("content_type", "a/\u{0}b"),
        ("path", "/a\u{0}b"),
        ("path", "/a\u{1b}[2J"),
    ] {
        let mut body = item("a.txt", b"abc");
        body[field] = bad.into();
        let body = alice
            .client
            .post("/file/", body)
            .await
            .refused(400, "validation_error");
        assert!(body["errors"][field].is_array(), "{body}");
    }
    assert_eq!(files_in_table(&server).await, 0);
    for name in [
        "a\u{0}b.txt",
        "a\u{7}b.txt",
        "a\r\nb.txt",
        "\ta\u{7f}b.txt",
        "a\u{85}b.txt",
    ] {
        let mut body = item("x", b"abc");
        body["name"] = name.into();
        let created = alice.client.post("/file/", body).await;
        assert_eq!(created.status, 201, "{name:?}: {}", created.text());
        assert_eq!(created.json()["name"], "ab.txt", "{name:?}");
    }
    server.settle().await;
}

#[tokio::test]
async fn other_media_types_are_415() {
    let (server, alice) = local(&[]).await;
    let good = item("a.txt", b"abc").to_string();
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/octet-stream",
        "application/json; charset=utf-16",
    ] {
        let reply = raw(&alice.client, media, good.clone()).await;
        assert_eq!(reply.status, 415, "{media}: {}", reply.text());
        refusal(reply, 415, "unsupported_media_type", "不支持的媒体类型");
    }
    let packed = alice
        .client
        .request(Method::POST, "/file/")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(good.clone());
    alice
        .client
        .send(packed)
        .await
        .refused(415, "unsupported_media_type");
    assert_eq!(files_in_table(&server).await, 0);
    for media in [
        "application/json; charset=UTF-8",
        "APPLICATION/JSON",
        "application/json;charset=\"utf-8\"",
    ] {
        raw(&alice.client, media, good.clone()).await.expect(201);
    }
    server.settle().await;
}

/// An empty body is `{}` whatever its type, so the answer is about the fields.
#[tokio::test]
async fn an_empty_body_lacks_every_field() {
    let (_server, alice) = local(&[]).await;
    for media in ["application/json", "text/plain"] {
        let body = raw(&alice.client, media, "")
            .await
            .refused(400, "validation_error");
        assert_eq!(body["errors"]["name"], json!(["该字段是必填项"]), "{media}");
    }
}
