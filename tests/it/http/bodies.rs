//! Media types and sizes of request bodies.

use reqwest::Method;
use serde_json::json;

use super::{is_envelope, registration};
use crate::support::{Reply, TestServer, raw};

const REGISTER: &str = "/user/register/";

async fn send(srv: &TestServer, path: &str, kind: Option<&str>, body: impl Into<reqwest::Body>) -> Reply {
    let mut request = srv.client.request(Method::POST, path).body(body);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    srv.client.send(request).await
}

#[tokio::test]
async fn json_is_taken_under_its_types_and_without_one() {
    let srv = TestServer::start().await;
    let kinds = [
        Some("application/json"),
        Some("application/json; charset=utf-8"),
        Some("Application/JSON;charset=\"UTF-8\""),
        None,
    ];
    for (i, kind) in kinds.into_iter().enumerate() {
        let reply = send(
            &srv,
            REGISTER,
            kind,
            registration(&format!("user{i}")).to_string(),
        )
        .await;
        assert_eq!(reply.status, 201, "{kind:?}: {}", reply.text());
    }
}

#[tokio::test]
async fn other_media_types_are_415() {
    let srv = TestServer::start().await;
    let body = registration("alice").to_string();
    for kind in [
        "text/plain",
        "application/xml",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; charset=gbk",
        "application/json; charset=utf-16",
        "garbage",
        "application/jsonp",
    ] {
        let reply = send(&srv, REGISTER, Some(kind), body.clone()).await;
        assert_eq!(reply.status, 415, "{kind}: {}", reply.text());
        let answer = is_envelope(&reply, kind);
        assert_eq!(
            (&answer["code"], &answer["error"]),
            (&json!("unsupported_media_type"), &json!("不支持的媒体类型"))
        );
    }
    // A form is taken where it is documented.
    let reply = send(
        &srv,
        "/user/login/",
        Some("application/x-www-form-urlencoded"),
        "username=a&password=b",
    )
    .await;
    reply.refused(401, "invalid_credentials");
    let reply = send(&srv, "/user/login/", Some("text/plain"), "username=a&password=b").await;
    reply.refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn an_empty_body_is_an_empty_object_whatever_its_type() {
    let srv = TestServer::start().await;
    for kind in [
        None,
        Some("application/json"),
        Some("text/plain"),
        Some("garbage"),
    ] {
        let body = send(&srv, REGISTER, kind, "")
            .await
            .refused(400, "validation_error");
        assert_eq!(body["errors"].as_object().unwrap().len(), 3, "{kind:?}: {body}");
        send(&srv, "/user/refresh-token/", kind, "")
            .await
            .refused(400, "refresh_required");
    }
    let bare = srv.client.request(Method::POST, REGISTER);
    srv.client.send(bare).await.refused(400, "validation_error");
}

/// A registration of exactly so many bytes.
fn padded(bytes: usize) -> String {
    let body = registration("alice").to_string();
    format!("{body}{}", " ".repeat(bytes - body.len()))
}

#[tokio::test]
async fn one_mebibyte_of_json_is_allowed_and_not_one_byte_more() {
    let srv = TestServer::start().await;
    let reply = send(&srv, REGISTER, Some("application/json"), padded((1 << 20) + 1)).await;
    let body = is_envelope(&reply, "too large");
    assert_eq!(reply.status, 413);
    assert_eq!(
        (&body["code"], &body["error"]),
        (&json!("payload_too_large"), &json!("请求体过大"))
    );
    // Counted while reading where no length is announced.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = padded((1 << 20) + 1)
        .into_bytes()
        .chunks(64 * 1024)
        .map(|c| Ok(c.to_vec()))
        .collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    assert_eq!(
        send(&srv, REGISTER, Some("application/json"), stream)
            .await
            .status,
        413
    );
    send(&srv, REGISTER, Some("application/json"), padded(1 << 20))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_announced_excess_is_refused_before_it_is_sent() {
    let srv = TestServer::start().await;
    for length in [(1_u64 << 20) + 1, 10 << 30, u64::MAX / 2] {
        let head = format!(
            "POST {REGISTER} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = raw::exchange(&srv, head.as_bytes(), 10).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert!(answer.contains("payload_too_large"), "{answer}");
    }
}

#[tokio::test]
async fn compressed_bodies_are_not_expanded() {
    let srv = TestServer::start().await;
    let request = srv.client.request(Method::POST, REGISTER);
    let request = request
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(registration("alice").to_string());
    let reply = srv.client.send(request).await;
    assert!(
        matches!(reply.status, 400 | 415),
        "{} {}",
        reply.status,
        reply.text()
    );
    is_envelope(&reply, "gzip");
}

#[tokio::test]
async fn long_targets_and_heads_have_their_statuses() {
    let srv = TestServer::start().await;
    let longest = format!("/user/profile/?q={}", "x".repeat(8192 - 17));
    assert_eq!(longest.len(), 8192);
    assert_eq!(srv.client.get(&longest).await.status, 401);
    for length in [8193, 20_000, 60_000] {
        let target = format!("/user/profile/?q={}", "x".repeat(length - 17));
        let reply = srv.client.get(&target).await;
        let body = is_envelope(&reply, "long target");
        assert_eq!(
            (reply.status, &body["code"]),
            (414, &json!("uri_too_long")),
            "{length}"
        );
        assert_eq!(body["error"], "请求地址过长");
    }
    srv.client
        .with_header("x-filler", &"x".repeat(15_000))
        .get("/healthz")
        .await
        .expect(200);
    for size in [17 * 1024, 100_000] {
        let reply = srv
            .client
            .with_header("x-filler", &"x".repeat(size))
            .get("/healthz")
            .await;
        let body = is_envelope(&reply, "large head");
        assert_eq!(
            (reply.status, &body["code"]),
            (431, &json!("headers_too_large")),
            "{size}"
        );
        assert_eq!(body["error"], "请求头过大");
    }
    let head = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(100_000));
    let answer = raw::exchange(&srv, head.as_bytes(), 10).await;
    assert!(answer.starts_with("HTTP/1.1 414"), "{answer:.200}");
    let many: String = (0..10_000).map(|i| format!("x-{i}: 1\r\n")).collect();
    let head = format!("GET /healthz HTTP/1.1\r\nHost: t\r\n{many}\r\n");
    let answer = raw::exchange(&srv, head.as_bytes(), 10).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:.200}");
}

/// Bodies that are too large to be read as a whole keep the rules of small ones.
#[tokio::test]
async fn large_json_is_taken_and_refused_as_small_json_is() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let post = async |kind: Option<&str>, document: String, chunk: usize| {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> = document
            .into_bytes()
            .chunks(chunk)
            .map(|c| Ok(c.to_vec()))
            .collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let mut request = alice.client.request(Method::POST, "/file/").body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        alice.client.send(request).await
    };
    let document = json!({
        "name": "a.bin", "content_type": "a/b", "size": 150_000, "file_content": "QUJD".repeat(50_000),
    });
    let document = document.to_string();
    for kind in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=gbk",
    ] {
        let reply = post(Some(kind), document.clone(), 50_000).await;
        assert_eq!(reply.status, 415, "{kind}: {}", reply.text());
        is_envelope(&reply, kind);
    }
    for kind in [
        Some("application/json"),
        Some("Application/JSON;charset=\"UTF-8\""),
        None,
    ] {
        for chunk in [1 << 20, 50_000, 999] {
            post(kind, document.clone(), chunk).await.expect(201);
        }
    }
    for (what, broken) in [
        ("cut", document[..document.len() - 1].to_owned()),
        ("cut inside", document[..100_000].to_owned()),
        ("continued", format!("{document},")),
        ("doubled", format!("{document}{document}")),
    ] {
        let reply = post(None, broken, 50_000).await;
        is_envelope(&reply, what);
        reply.refused(400, "parse_error");
    }
    srv.settle().await;
}
