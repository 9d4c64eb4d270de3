//! Errors that no handler makes, and the headers of every answer.

use reqwest::Method;
use serde_json::json;

use super::{is_envelope, registration};
use crate::support::TestServer;

#[tokio::test]
async fn unknown_paths_are_404_in_the_envelope() {
    let srv = TestServer::start().await;
    for path in [
        "/",
        "/nothing",
        "/nothing/",
        "/user/nothing/here/",
        "/User/profile/",
        "/file/1/x/",
        "/index.html",
        "/.env",
        "/favicon.ico",
        "/api",
    ] {
        for client in [srv.client.clone(), srv.client.with_token("garbage")] {
            let reply = client.get(path).await;
            assert_eq!(reply.status, 404, "{path}");
            let body = is_envelope(&reply, path);
            assert_eq!(
                body,
                json!({ "detail": "资源不存在", "error": "资源不存在", "code": "not_found" }),
                "{path}"
            );
        }
    }
    let reply = srv
        .client
        .with_header("accept-language", "en")
        .post("/nothing/", json!({}))
        .await;
    assert_eq!(reply.json()["error"], "Not found.");
}

#[tokio::test]
async fn wrong_methods_are_405_and_name_the_right_ones() {
    let srv = TestServer::start().await;
    for (method, path, allowed) in [
        (Method::GET, "/user/register/", &["POST"][..]),
        (Method::GET, "/user/login", &["POST"]),
        (Method::PUT, "/user/login/", &["POST"]),
        (Method::DELETE, "/user/refresh-token/", &["POST"]),
        (Method::POST, "/user/profile/", &["GET", "HEAD"]),
        (Method::DELETE, "/user/", &["GET", "HEAD", "POST"]),
        (
            Method::POST,
            "/user/1/",
            &["GET", "HEAD", "PATCH", "PUT", "DELETE"],
        ),
        (Method::GET, "/user/sessions/1/", &["DELETE"]),
        (Method::PUT, "/file/", &["GET", "HEAD", "POST"]),
        (Method::GET, "/user-settings/change-password/", &["POST"]),
        (Method::TRACE, "/user/profile/", &["GET"]),
        (Method::from_bytes(b"FOO").unwrap(), "/user/profile/", &["GET"]),
    ] {
        let what = format!("{method} {path}");
        let reply = srv.client.send(srv.client.request(method, path)).await;
        assert_eq!(reply.status, 405, "{what}");
        let body = is_envelope(&reply, &what);
        assert_eq!(body["code"], "method_not_allowed", "{what}");
        assert_eq!(body["error"], "不支持的请求方法", "{what}");
        let allow: Vec<String> = reply
            .header("allow")
            .split(',')
            .map(|m| m.trim().to_owned())
            .collect();
        for method in allowed {
            assert!(allow.iter().any(|a| a == method), "{what}: Allow: {allow:?}");
        }
    }
}

#[tokio::test]
async fn both_slash_forms_answer_alike_and_without_a_redirect() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for path in [
        "/user/profile",
        "/user/sessions",
        "/file",
        "/file/storage-info",
        "/healthz",
        "/openapi.json",
    ] {
        let (without, with) = (
            alice.client.get(path).await,
            alice.client.get(&format!("{path}/")).await,
        );
        assert_eq!((without.status, with.status), (200, 200), "{path}");
        assert_eq!(without.bytes, with.bytes, "{path}");
    }
    srv.client
        .post("/user/register", registration("bob"))
        .await
        .expect(201);
    srv.client
        .post("/user/register/", registration("carol"))
        .await
        .expect(201);
}

#[tokio::test]
async fn head_answers_wherever_get_does_without_a_body() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for (path, status) in [
        ("/user/profile/", 200),
        ("/file/", 200),
        ("/healthz", 200),
        ("/nothing/", 404),
        ("/user/login/", 405),
    ] {
        let reply = alice.client.send(alice.client.request(Method::HEAD, path)).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.bytes.is_empty(), "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
    let anonymous = srv
        .client
        .send(srv.client.request(Method::HEAD, "/user/profile/"))
        .await;
    assert_eq!(anonymous.status, 401);
}

#[tokio::test]
async fn the_language_follows_the_weights() {
    let srv = TestServer::start().await;
    for (accept, tag, text) in [
        ("", "zh", "未提供认证信息"),
        ("en", "en", "Authentication credentials were not provided."),
        (
            "en-US,en;q=0.9",
            "en",
            "Authentication credentials were not provided.",
        ),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh", "未提供认证信息"),
        ("en;q=0.3, zh;q=0.7", "zh", "未提供认证信息"),
        (
            "zh;q=0.3, en;q=0.7",
            "en",
            "Authentication credentials were not provided.",
        ),
        ("en;q=0", "zh", "未提供认证信息"),
        ("ja", "zh", "未提供认证信息"),
        ("*", "zh", "未提供认证信息"),
        ("en;q=banana,,;;==", "zh", "未提供认证信息"),
    ] {
        let client = if accept.is_empty() {
            srv.client.clone()
        } else {
            srv.client.with_header("accept-language", accept)
        };
        let reply = client.get("/user/profile/").await;
        assert_eq!(reply.header("content-language"), tag, "{accept}");
        assert_eq!(reply.json()["error"], text, "{accept}");
        assert!(vary(&reply).contains(&"accept-language".to_owned()), "{accept}");
    }
}

fn vary(reply: &crate::support::Reply) -> Vec<String> {
    let lines = reply
        .headers
        .get_all("vary")
        .iter()
        .filter_map(|v| v.to_str().ok());
    lines
        .flat_map(|l| l.split(','))
        .map(|v| v.trim().to_lowercase())
        .collect()
}

#[tokio::test]
async fn request_ids_are_kept_when_plain_and_made_otherwise() {
    let srv = TestServer::start().await;
    let longest = "x".repeat(128);
    for id in ["abc-123_X.y", "1", longest.as_str()] {
        for path in ["/healthz", "/user/profile/", "/nothing"] {
            let reply = srv.client.with_header("x-request-id", id).get(path).await;
            assert_eq!(reply.header("x-request-id"), id, "{path}");
        }
    }
    let mut made = Vec::new();
    for id in ["", "a b", "<script>", "a/b", &"x".repeat(129)] {
        let reply = srv.client.with_header("x-request-id", id).get("/healthz").await;
        let id = reply.header("x-request-id").to_owned();
        let parsed = uuid::Uuid::parse_str(&id).unwrap_or_else(|_| panic!("{id:?} is no UUID"));
        assert_eq!(parsed.get_version_num(), 7);
        made.push(id);
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 5);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for path in [
        "/user/profile/",
        "/user/sessions/",
        "/file/",
        "/nothing",
        "/healthz",
        "/user/login/",
    ] {
        let reply = alice.client.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(
            reply.header("strict-transport-security"),
            "",
            "{path}: not behind TLS"
        );
        assert_eq!(reply.header("server"), "", "{path}");
        assert_eq!(reply.header("x-powered-by"), "", "{path}");
    }
    for path in ["/user/profile/", "/user/sessions/"] {
        assert!(
            alice
                .client
                .get(path)
                .await
                .header("cache-control")
                .contains("no-store"),
            "{path}"
        );
    }
    let body = json!({ "username": "alice", "password": "wrong-password" });
    assert!(
        srv.client
            .post("/user/login/", body)
            .await
            .header("cache-control")
            .contains("no-store")
    );
    let untrusted = srv
        .client
        .with_header("x-forwarded-proto", "https")
        .get("/healthz")
        .await;
    assert_eq!(untrusted.header("strict-transport-security"), "");
    let behind = TestServer::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let reply = behind
        .client
        .with_header("x-forwarded-proto", "https")
        .get("/healthz")
        .await;
    assert!(reply.header("strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn accept_never_leads_to_anything_but_json() {
    let srv = TestServer::start().await;
    for accept in [
        "text/html",
        "application/xml",
        "image/png;q=1, application/json;q=0",
        "garbage",
    ] {
        let reply = srv
            .client
            .with_header("accept", accept)
            .get("/user/profile/")
            .await;
        assert_eq!(reply.status, 401, "{accept}");
        is_envelope(&reply, accept);
    }
}

#[tokio::test]
async fn characters_are_not_escaped() {
    let srv = TestServer::start().await;
    let reply = srv.client.get("/nothing").await;
    assert!(reply.text().contains("资源不存在"), "{}", reply.text());
}

#[tokio::test]
async fn links_use_the_configured_address_and_not_the_host_header() {
    let srv = TestServer::with(&[("PUBLIC_BASE_URL", "https://api.example.test")]).await;
    let admin = srv.admin("boss").await;
    for i in 0..3 {
        srv.client
            .post("/user/register/", registration(&format!("user{i}")))
            .await
            .expect(201);
    }
    let client = admin
        .client
        .with_header("host", "evil.example")
        .with_header("x-forwarded-host", "evil.example");
    let reply = client.get("/user/?page_size=2").await;
    let link = reply.header("link").to_owned();
    assert_eq!(reply.status, 200);
    assert!(
        link.contains("https://api.example.test/user/?") && !link.contains("evil"),
        "{link}"
    );
}
