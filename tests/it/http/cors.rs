//! Which pages of other origins may call.

use reqwest::Method;
use serde_json::json;

use crate::support::{Reply, TestServer};

const EXPOSED: &[&str] = &[
    "x-request-id",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "ratelimit-policy",
    "retry-after",
    "x-total-count",
    "x-page",
    "x-page-size",
    "link",
    "x-has-more",
    "idempotent-replayed",
    "content-disposition",
];

async fn preflight(srv: &TestServer, origin: &str, method: &str, path: &str) -> Reply {
    let request = srv.client.request(Method::OPTIONS, path);
    let request = request
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization, content-type");
    srv.client.send(request).await
}

async fn plain(srv: &TestServer, origin: &str) -> Reply {
    srv.client
        .with_header("origin", origin)
        .get("/user/profile/")
        .await
}

fn list(reply: &Reply, name: &str) -> Vec<String> {
    let lines = reply.headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines
        .flat_map(|l| l.split(','))
        .map(|v| v.trim().to_lowercase())
        .filter(|v| !v.is_empty())
        .collect()
}

#[track_caller]
fn granted(reply: &Reply, origin: &str) {
    assert_eq!(reply.header("access-control-allow-origin"), origin);
    assert!(
        list(reply, "vary").contains(&"origin".to_owned()),
        "{:?}",
        reply.headers
    );
}

#[track_caller]
fn refused(reply: &Reply, origin: &str) {
    assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
    assert_eq!(reply.header("access-control-allow-credentials"), "", "{origin}");
}

#[tokio::test]
async fn in_development_pages_on_this_and_private_networks_may_call() {
    let srv = TestServer::start().await;
    for origin in [
        "http://localhost:3000",
        "http://127.0.0.1:5173",
        "http://192.168.1.7:8080",
        "http://10.0.0.5",
        "http://[::1]:3000",
    ] {
        let reply = plain(&srv, origin).await;
        granted(&reply, origin);
        let exposed = list(&reply, "access-control-expose-headers");
        for name in EXPOSED {
            assert!(exposed.contains(&(*name).to_owned()), "{name} in {exposed:?}");
        }
        let reply = preflight(&srv, origin, "POST", "/user/login/").await;
        assert!(matches!(reply.status, 200 | 204), "{}", reply.status);
        granted(&reply, origin);
        let methods = list(&reply, "access-control-allow-methods");
        for method in ["get", "post", "put", "patch", "delete", "options", "head"] {
            assert!(methods.contains(&method.to_owned()), "{methods:?}");
        }
        let headers = list(&reply, "access-control-allow-headers");
        for name in [
            "authorization",
            "content-type",
            "accept",
            "accept-language",
            "x-api-key",
            "x-request-id",
            "idempotency-key",
        ] {
            assert!(headers.contains(&name.to_owned()), "{headers:?}");
        }
        assert_eq!(reply.header("access-control-max-age"), "600");
    }
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://8.8.8.8",
        "file://",
        "http://localhost:3000/path",
        "chrome-extension://abc",
        "http://192.168.1.7@evil.example",
        "garbage",
        "",
    ] {
        refused(&plain(&srv, origin).await, origin);
        refused(&preflight(&srv, origin, "POST", "/user/login/").await, origin);
    }
    // Errors carry the headers as well, or a page could not read them.
    let reply = srv
        .client
        .with_header("origin", "http://localhost:3000")
        .post("/user/login/", json!({}))
        .await;
    assert_eq!(reply.status, 400);
    granted(&reply, "http://localhost:3000");
    let lost = srv
        .client
        .with_header("origin", "http://localhost:3000")
        .get("/nothing")
        .await;
    granted(&lost, "http://localhost:3000");
}

const PRODUCTION: &[(&str, &str)] = &[
    ("APP_ENV", "production"),
    ("ARGON2_MEMORY_KIB", "19456"),
    ("ARGON2_ITERATIONS", "2"),
];

#[tokio::test]
async fn in_production_only_listed_origins_may_call() {
    let mut settings = PRODUCTION.to_vec();
    settings.push((
        "CORS_ALLOWED_ORIGINS",
        "https://app.example.com, https://admin.example.com:8443",
    ));
    let srv = TestServer::with(&settings).await;
    for origin in ["https://app.example.com", "https://admin.example.com:8443"] {
        granted(&plain(&srv, origin).await, origin);
        granted(&preflight(&srv, origin, "DELETE", "/user/1/").await, origin);
    }
    for origin in [
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "https://sub.app.example.com",
        "http://localhost:3000",
        "http://192.168.1.7",
        "null",
    ] {
        refused(&plain(&srv, origin).await, origin);
        refused(&preflight(&srv, origin, "POST", "/user/login/").await, origin);
    }
}

#[tokio::test]
async fn a_star_allows_anybody_without_credentials() {
    let mut settings = PRODUCTION.to_vec();
    settings.push(("CORS_ALLOWED_ORIGINS", "*"));
    let srv = TestServer::with(&settings).await;
    for reply in [
        plain(&srv, "https://any.example").await,
        preflight(&srv, "https://any.example", "POST", "/file/").await,
    ] {
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("access-control-allow-credentials"), "");
    }
    assert_ne!(
        plain(&srv, "null").await.header("access-control-allow-origin"),
        "null"
    );
}

#[tokio::test]
async fn a_preflight_needs_no_credentials_and_reaches_no_handler() {
    let srv = TestServer::start().await;
    for (method, path) in [
        ("GET", "/user/profile/"),
        ("DELETE", "/user/1/"),
        ("POST", "/file/"),
        ("GET", "/nothing"),
    ] {
        let reply = preflight(&srv, "http://localhost:3000", method, path).await;
        assert!(matches!(reply.status, 200 | 204), "{path}: {}", reply.status);
        assert!(reply.bytes.is_empty(), "{path}");
    }
}
