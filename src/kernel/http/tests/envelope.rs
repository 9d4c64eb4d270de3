//! One shape for every outcome.

use super::*;

#[tokio::test]
async fn framework_errors_have_the_envelope() {
    let server = TestServer::start().await;
    server.get("/nowhere").await.assert_error(404, "not_found");
    let id = server.get("/things/abc/").await;
    let body = id.assert_error(404, "not_found");
    assert_eq!(body["detail"], "资源不存在");
    for bad in [
        "/things/-1x",
        "/things/9223372036854775808",
        "/things/%00",
        "/things/%ff",
        "//things",
        "/things//1",
        "/THINGS",
        "/things/%2e%2e/x",
        "/things/1;a",
    ] {
        server.get(bad).await.assert_error(404, "not_found");
    }
    let query = server
        .get("/things?page=x")
        .await
        .assert_error(400, "validation_error");
    assert_eq!(query["errors"], serde_json::json!({"page": ["类型错误"]}));
    let query = server
        .get("/things?page=0&page_size=101")
        .await
        .assert_error(400, "validation_error");
    assert_eq!(query["errors"], serde_json::json!({"page": ["数值超出范围"]}));
    let query = server
        .get("/things?colour=blue")
        .await
        .assert_error(400, "validation_error");
    assert_eq!(query["errors"], serde_json::json!({"colour": ["无效的选项"]}));
    let query = server
        .get("/things?q=%00")
        .await
        .assert_error(400, "validation_error");
    assert_eq!(query["errors"], serde_json::json!({"q": ["包含不允许的字符"]}));
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    let server = TestServer::start().await;
    for method in ["PUT", "TRACE", "FOO"] {
        let answer = server.send(method, "/things", &[], "").await;
        answer.assert_error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    }
    let options = server.send("OPTIONS", "/things/1/", &[], "").await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, HEAD, DELETE, OPTIONS"))
    );
}

#[tokio::test]
async fn panics_and_failures_say_nothing() {
    let server = TestServer::start().await;
    for target in ["/panic", "/broken"] {
        let answer = server
            .send("GET", target, &[("X-Request-Id", "req-1.a_B")], "")
            .await;
        let body = answer.assert_error(500, "internal_error");
        assert_eq!(
            (body["request_id"].as_str(), answer.header("x-request-id")),
            (Some("req-1.a_B"), Some("req-1.a_B"))
        );
        assert!(!answer.body.contains("secret"), "{answer:?}");
    }
    server.get("/healthz").await;
}

#[tokio::test]
async fn both_forms_of_a_path_are_one() {
    let server = TestServer::start().await;
    for (target, status) in [
        ("/things", 200),
        ("/things/", 200),
        ("/things/5", 200),
        ("/things/5/", 200),
        ("/healthz/", 200),
    ] {
        let answer = server.get(target).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, None),
            "{target}"
        );
    }
    let post = server.post("/things/", r#"{"name":"a","size":1}"#).await;
    assert_eq!((post.status, post.body.as_str()), (201, r#"{"id":1,"name":"a"}"#));
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = TestServer::start().await;
    let (get, head) = (
        server.get("/things/5").await,
        server.send("HEAD", "/things/5/", &[], "").await,
    );
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(
        head.header("content-length"),
        Some(get.body.len().to_string().as_str())
    );
    let missing = server.send("HEAD", "/nowhere", &[], "").await;
    assert_eq!((missing.status, missing.body.as_str()), (404, ""));
}

#[tokio::test]
async fn language_follows_the_client() {
    let server = TestServer::start().await;
    let english = server
        .send("GET", "/nowhere", &[("Accept-Language", "en-GB,zh;q=0.5")], "")
        .await;
    assert_eq!(english.json()["error"], "Not found.");
    assert_eq!(english.header("content-language"), Some("en"));
    let vary: Vec<&str> = english
        .headers
        .iter()
        .filter(|(n, _)| n == "vary")
        .map(|(_, v)| v.as_str())
        .collect();
    assert!(
        vary.contains(&"Accept-Language") && vary.contains(&"Origin"),
        "{vary:?}"
    );
    assert_eq!(
        server.get("/nowhere").await.header("content-language"),
        Some("zh")
    );
}

#[tokio::test]
async fn lists_tell_their_size_and_neighbours() {
    let server = TestServer::start().await;
    let page = server.get("/things/?page=2&page_size=20").await;
    assert_eq!(page.body, r#"[{"id":1,"name":"名"}]"#);
    let headers = ["x-total-count", "x-page", "x-page-size"].map(|n| page.header(n));
    assert_eq!(headers, [Some("45"), Some("2"), Some("20")]);
    let base = "http://127.0.0.1:8000/things/?page_size=20";
    assert_eq!(
        page.header("link"),
        Some(format!("<{base}&page=3>; rel=\"next\", <{base}&page=1>; rel=\"prev\"").as_str())
    );
}

#[tokio::test]
async fn credentials_are_asked_for() {
    let server = TestServer::start().await;
    let none = server.get("/secure").await;
    none.assert_error(401, "not_authenticated");
    assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"api\""));
    assert_eq!(none.header("cache-control"), Some("no-store"));
    let bad = server
        .send("GET", "/secure", &[("Authorization", "Bearer bad")], "")
        .await;
    bad.assert_error(401, "token_invalid");
    let good = server
        .send("GET", "/secure", &[("Authorization", "Bearer good")], "")
        .await;
    assert_eq!(good.status, 204);
    let public = server
        .send("GET", "/things/1", &[("Authorization", "Bearer bad")], "")
        .await;
    assert_eq!(public.status, 200);
}

#[tokio::test]
async fn pages_elsewhere_are_let_in_by_name() {
    let server = TestServer::with(&[("CORS_ALLOWED_ORIGINS", "https://app.example.com")]).await;
    let preflight = |origin: &'static str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
        let server = &server;
        async move { server.send("OPTIONS", "/things/", &headers, "").await }
    };
    let allowed = preflight("https://app.example.com").await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (204, Some("https://app.example.com"))
    );
    assert!(
        allowed
            .header("access-control-allow-methods")
            .is_some_and(|m| m.contains("PATCH"))
    );
    assert!(
        allowed
            .header("access-control-allow-headers")
            .is_some_and(|h| h.contains("idempotency-key"))
    );
    assert_eq!(allowed.header("access-control-max-age"), Some("600"));
    for origin in ["null", "https://evil.example"] {
        let refused = preflight(origin).await;
        assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(refused.header("vary"), Some("Origin"));
    }
    let answer = server
        .send("GET", "/nowhere", &[("Origin", "http://localhost:3000")], "")
        .await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://localhost:3000")
    );
    assert!(
        answer
            .header("access-control-expose-headers")
            .is_some_and(|h| h.contains("x-total-count"))
    );
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let server = TestServer::start().await;
    let json = server.get("/openapi.json").await;
    assert_eq!(json.status, 200);
    assert!(json.body.contains("\"/things/{id}/\""));
    assert_eq!(server.get("/openapi.yaml/").await.status, 200);
    let page = server.get("/docs").await;
    assert!(
        page.header("content-security-policy")
            .is_some_and(|p| p.contains("default-src 'none'"))
    );
    assert!(page.body.contains("/docs/viewer.js") && !page.body.contains("http"));
    assert!(server.get("/docs/viewer.js").await.body.len() > 1_000_000);
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_clients() {
    let secure = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "203.0.113.9")];
    let server = TestServer::start().await;
    let answer = server.send("GET", "/things/1", &secure, "").await;
    assert_eq!(answer.header("strict-transport-security"), None);
    let server = TestServer::with(&[
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("RATE_LIMIT_ANONYMOUS", "1/min"),
    ])
    .await;
    let answer = server.send("GET", "/things/1", &secure, "").await;
    assert!(answer.header("strict-transport-security").is_some());
    server
        .send("GET", "/things/1", &secure, "")
        .await
        .assert_error(429, "throttled");
    let other = [("X-Forwarded-For", "203.0.113.10")];
    assert_eq!(server.send("GET", "/things/1", &other, "").await.status, 200);
}
