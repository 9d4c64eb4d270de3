//! What every surface shares: the envelope, headers, limits, sizes, and hostile clients. Panics,
//! budgets and stalled readers are tested beside the code, where handlers can be made for them.

mod bodies;
mod cors;
mod envelope;
mod hostile_bodies;
mod hostile_paths;
mod idempotency;
mod limits;
mod operations;
mod sockets;
mod stalled;

use serde_json::{Value, json};

use crate::support::Reply;
use crate::support::server::PASSWORD;

/// A body for `/user/register/`.
pub fn registration(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

/// Nothing of the inside, whatever was sent. What the client sent itself may come back.
#[track_caller]
pub fn tells_nothing(reply: &Reply, what: &str) {
    const INSIDE: &[&str] = &[
        "panicked",
        "src/",
        ".rs:",
        "serde",
        "sqlx",
        "sea_orm",
        "sqlite",
        "postgres",
        "mysql",
        "mariadb",
        "poem",
        "hyper",
        "tokio",
        "expected value",
        "at line",
        "SELECT ",
        "INSERT ",
        "constraint",
        "stack",
        "/home/",
        "/root/",
        "/tmp/",
        "occurred while",
        "invalid type",
    ];
    let text = reply.text();
    let lower = text.to_lowercase();
    for word in INSIDE {
        assert!(
            !lower.contains(&word.to_lowercase()),
            "{what}: {word:?} in {text:.300}"
        );
    }
    assert!(!text.contains("<html"), "{what}: {text:.300}");
}

/// An answer in the one shape of errors.
#[track_caller]
pub fn is_envelope(reply: &Reply, what: &str) -> Value {
    assert_eq!(
        reply.header("content-type"),
        "application/json; charset=utf-8",
        "{what}: {}",
        reply.status
    );
    let body = reply.json();
    let object = body.as_object().unwrap_or_else(|| panic!("{what}: {body}"));
    assert!(
        body["error"].as_str().is_some_and(|t| !t.is_empty()),
        "{what}: {body}"
    );
    let code = body["code"].as_str().unwrap_or_default();
    let snake = code
        .bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
    assert!(!code.is_empty() && snake, "{what}: {body}");
    if matches!(reply.status, 401 | 403 | 404 | 405 | 429) {
        assert_eq!(body["detail"], body["error"], "{what}");
    }
    assert_eq!(
        object.contains_key("request_id"),
        reply.status >= 500,
        "{what}: {body}"
    );
    assert!(!reply.header("x-request-id").is_empty(), "{what}: no request id");
    tells_nothing(reply, what);
    body
}
