//! `/api/chat/sessions/…` and `/media/…`: customers and those who answer them.

mod concurrency;
mod images;
mod jobs;
mod media;
mod memory;
mod messages;
mod pictures;
mod rights;
mod scenarios;
mod sessions;
mod statements;
mod tree;
mod unread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::stage::{member, open};
use crate::support::{Client, Reply, Stage, TestServer, User, sql};

const SESSIONS: &str = "/api/chat/sessions/";
const SM: [&str; 11] = [
    "id",
    "session",
    "sender",
    "sender_info",
    "message_type",
    "content_type",
    "content",
    "image",
    "image_url",
    "is_read",
    "created_at",
];
const SS: [&str; 10] = [
    "id",
    "client",
    "client_info",
    "agent",
    "agent_info",
    "is_active",
    "last_message",
    "unread_count",
    "created_at",
    "updated_at",
];

fn at(session: i64) -> String {
    format!("{SESSIONS}{session}/")
}

fn messages_of(session: i64) -> String {
    format!("{SESSIONS}{session}/messages/")
}

async fn say(user: &User, session: i64, text: &str) -> Value {
    let body = json!({ "content_type": "text", "content": text });
    user.client.post(&messages_of(session), body).await.expect(201)
}

async fn look(user: &User, session: i64) -> Value {
    user.client.get(&at(session)).await.expect(200)
}

/// Ids of the messages that a list shows.
async fn ids(client: &Client, path: &str) -> Vec<i64> {
    let list = client.get(path).await.expect(200);
    list.as_array()
        .expect("a bare array")
        .iter()
        .map(|m| m["id"].as_i64().expect("id"))
        .collect()
}

/// One part of a multipart body.
fn part(name: &str, file: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let file = file.map_or(String::new(), |f| {
        format!("; filename=\"{f}\"\r\nContent-Type: application/octet-stream")
    });
    let head = format!("--x-boundary-x\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

async fn send_parts(client: &Client, path: &str, parts: &[Vec<u8>]) -> Reply {
    let mut body = parts.concat();
    body.extend_from_slice(b"--x-boundary-x--\r\n");
    let request = client
        .request(Method::POST, path)
        .header("content-type", "multipart/form-data; boundary=x-boundary-x")
        .body(body);
    client.send(request).await
}

async fn send_image(user: &User, session: i64, name: &str, bytes: &[u8]) -> Reply {
    let parts = [
        part("content_type", None, b"image"),
        part("image", Some(name), bytes),
    ];
    send_parts(&user.client, &messages_of(session), &parts).await
}

/// The keys of an object, in this order.
#[track_caller]
fn has_keys(object: &Value, keys: &[&str]) {
    let have: Vec<&str> = object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(have, keys, "{object}");
}

/// An error with exactly this text.
#[track_caller]
fn refusal(reply: Reply, status: u16, code: &str, text: &str) {
    let body = reply.refused(status, code);
    assert_eq!(body["error"], text, "{body}");
}

/// A 400 for one field, with exactly this text.
#[track_caller]
fn fault(reply: Reply, code: &str, field: &str, text: &str) {
    let body = reply.refused(400, code);
    assert_eq!(body["errors"], json!({ field: [text] }), "{body}");
    assert_eq!(body["error"], text, "{body}");
}

/// What is in storage below `media/chat_images`.
fn stored_images(srv: &TestServer) -> Vec<String> {
    let folder = srv.data.path().join("objects/media/chat_images");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}
