//! Every operation of the document is called as nobody, with garbage, with keys that lack the right,
//! as a stranger, and with broken bodies.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::stage::Stage;
use super::table::{Names, PROBES, Probe, Who};

/// The operations of the document as `METHOD /path/`.
fn operations() -> Vec<(String, Value)> {
    let document = yunque::app::document();
    let paths = document.value()["paths"].as_object().expect("paths").clone();
    let each = |(path, item): (String, Value)| {
        let item = item.as_object().expect("a path item").clone();
        item.into_iter()
            .map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    };
    paths.into_iter().flat_map(each).collect()
}

fn documented(probe: &Probe) -> Value {
    let all = operations();
    let found = all.into_iter().find(|(name, _)| name == probe.operation);
    found
        .unwrap_or_else(|| panic!("{} is not in the document", probe.operation))
        .1
}

#[test]
fn every_operation_has_a_probe() {
    let documented: BTreeSet<String> = operations().into_iter().map(|(name, _)| name).collect();
    let probed: BTreeSet<String> = PROBES.iter().map(|p| p.operation.to_owned()).collect();
    assert_eq!(probed.len(), PROBES.len(), "a probe stands twice");
    let missing: Vec<_> = documented.difference(&probed).collect();
    assert!(
        missing.is_empty(),
        "no probe in tests/it/guards/table.rs for {missing:#?}"
    );
    let gone: Vec<_> = probed.difference(&documented).collect();
    assert!(
        gone.is_empty(),
        "probes of operations that are not documented: {gone:#?}"
    );
}

#[test]
fn the_document_names_the_credentials_of_every_operation() {
    for probe in PROBES {
        let security = documented(probe)["security"].to_string();
        let (jwt, key) = (security.contains("BearerAuth"), security.contains("ApiKeyAuth"));
        let expected = match probe.who {
            Who::Anyone | Who::Signed => (false, false),
            Who::Session => (true, false),
            Who::Login | Who::Admin => (true, true),
        };
        assert_eq!((jwt, key), expected, "{}: {security}", probe.operation);
    }
}

fn secured() -> impl Iterator<Item = &'static Probe> {
    PROBES
        .iter()
        .filter(|p| !matches!(p.who, Who::Anyone | Who::Signed))
}

#[tokio::test]
async fn without_a_token_everything_that_is_not_public_is_401() {
    let stage = Stage::set().await;
    let before = stage.belongings().await;
    for probe in secured() {
        // Whatever is sent with it: who is asking is decided first.
        for body in [
            None,
            Some(("application/json", &b"{"[..])),
            Some(("text/plain", b"x")),
        ] {
            let reply = stage.call(&stage.srv.client, probe, body).await;
            assert_eq!(reply.status, 401, "{}: {}", probe.operation, reply.text());
            assert_eq!(
                reply.header("www-authenticate"),
                "Bearer realm=\"api\"",
                "{}",
                probe.operation
            );
            reply.refused(401, "not_authenticated");
        }
    }
    assert_eq!(stage.belongings().await, before);
}

#[tokio::test]
async fn garbage_for_a_token_or_key_is_401() {
    let stage = Stage::set().await;
    let none = &stage.srv.client;
    for probe in secured() {
        for client in [
            none.with_token("garbage"),
            none.with_token(&stage.owner.refresh),
            none.with_header("authorization", "Basic dXNlcjpwYXNz"),
            none.with_header("x-api-key", "ak_garbage"),
        ] {
            let reply = stage.call(&client, probe, None).await;
            assert_eq!(reply.status, 401, "{}: {}", probe.operation, reply.text());
            reply.refused(401, "token_invalid");
        }
    }
}

#[tokio::test]
async fn public_operations_do_not_look_at_credentials() {
    let stage = Stage::set().await;
    for probe in PROBES
        .iter()
        .filter(|p| matches!(p.who, Who::Anyone | Who::Signed))
    {
        let bare = stage.call(&stage.srv.client, probe, None).await;
        for client in [
            stage.srv.client.with_token("garbage"),
            stage.srv.client.with_header("x-api-key", "ak_garbage"),
            stage.owner.client.clone(),
        ] {
            let reply = stage.call(&client, probe, None).await;
            assert_eq!(reply.status, bare.status, "{}: {}", probe.operation, reply.text());
            assert!(
                !matches!(reply.status, 401 | 500..),
                "{}: {}",
                probe.operation,
                reply.text()
            );
        }
        if probe.who == Who::Signed {
            assert_eq!(bare.status, 403, "{}: {}", probe.operation, bare.text());
        }
    }
}

#[tokio::test]
async fn keys_without_the_right_are_403() {
    let stage = Stage::set().await;
    let narrow = stage.key(&stage.owner, &["ai:write", "users:write"]).await;
    let reader = stage.key(&stage.owner, &["cloud:read"]).await;
    let full = stage.key(&stage.owner, &["*"]).await;
    let admins = stage.key(&stage.admin, &["*"]).await;
    let before = stage.belongings().await;
    for probe in secured() {
        let reply = stage.call(&narrow, probe, None).await;
        assert_eq!(reply.status, 403, "{}: {}", probe.operation, reply.text());
        if probe.who == Who::Session {
            for client in [&narrow, &full, &reader] {
                stage
                    .call(client, probe, None)
                    .await
                    .refused(403, "api_key_not_allowed");
            }
            continue;
        }
        reply.refused(403, "insufficient_scope");
        if !probe.operation.starts_with("GET ") {
            stage
                .call(&reader, probe, None)
                .await
                .refused(403, "insufficient_scope");
        }
        if probe.who == Who::Admin {
            let good =
                json!({ "username": "made", "email": "made@example.com", "password": "long-enough-1" })
                    .to_string();
            let body =
                (!probe.operation.starts_with("GET ")).then_some(("application/json", good.as_bytes()));
            for client in [&full, &admins, &stage.owner.client] {
                stage
                    .call(client, probe, body)
                    .await
                    .refused(403, "permission_denied");
            }
        }
    }
    assert_eq!(stage.belongings().await, before);
}

/// Bodies that would work for the owner, so that only the stranger is the reason.
const GOOD: &[(&str, &str)] = &[
    (
        "PATCH /user/{id}/",
        r#"{"display_name":"stolen","email":"stolen@example.com"}"#,
    ),
    ("PUT /user/{id}/", r#"{"display_name":"stolen"}"#),
    ("DELETE /user/{id}/", r#"{"password":"correct-horse-7"}"#),
    (
        "PATCH /api/users/{id}/",
        r#"{"name":"stolen","email":"stolen@example.com","is_active":false}"#,
    ),
    ("PUT /api/users/{id}/", r#"{"name":"stolen"}"#),
    (
        "POST /api/users/{id}/set_password/",
        r#"{"new_password":"stolen-horse-7"}"#,
    ),
    (
        "POST /api/chat/sessions/{id}/messages/",
        r#"{"content":"stolen"}"#,
    ),
    ("POST /api/chat/sessions/{id}/assign/", r#"{"agent_id":1}"#),
    ("PATCH /api/chat/rooms/{room_id}/", r#"{"name":"stolen"}"#),
    (
        "PUT /api/chat/rooms/{room_id}/",
        r#"{"name":"stolen","room_type":"public"}"#,
    ),
    ("POST /api/chat/rooms/{room_id}/transfer/", r#"{"user_id":1}"#),
    ("POST /api/chat/rooms/{room_id}/invite/", r#"{"user_ids":[2]}"#),
    ("PATCH /api/chat/rooms/{room_id}/me/", r#"{"notify":"none"}"#),
    (
        "PATCH /api/chat/rooms/{room_id}/members/{user_id}/",
        r#"{"role":"member"}"#,
    ),
    (
        "POST /api/chat/rooms/{room_id}/messages/",
        r#"{"content":"stolen"}"#,
    ),
    (
        "PATCH /api/chat/messages/{message_id}/",
        r#"{"content":"stolen"}"#,
    ),
    ("PUT /api/chat/messages/{message_id}/", r#"{"content":"stolen"}"#),
    ("PATCH /file/{id}/", r#"{"name":"stolen.txt"}"#),
    ("PUT /file/{id}/", r#"{"name":"stolen.txt","path":"/"}"#),
    (
        "POST /file/{id}/retry_upload/",
        r#"{"file_content":"c3RvbGVuIGZpbGU="}"#,
    ),
];

#[tokio::test]
async fn strangers_get_404_and_change_nothing() {
    let stage = Stage::set().await;
    let key = stage.key(&stage.stranger, &["*"]).await;
    let before = stage.belongings().await;
    let mut probed = 0;
    for probe in secured().filter(|p| p.names != Names::Nothing) {
        probed += 1;
        let body = GOOD
            .iter()
            .find(|(name, _)| *name == probe.operation)
            .map(|(_, b)| ("application/json", b.as_bytes()));
        let expected = match probe.names {
            Names::Support | Names::Room => 403,
            _ => 404,
        };
        let reply = stage.call(&stage.stranger.client, probe, body).await;
        assert_eq!(reply.status, expected, "{}: {}", probe.operation, reply.text());
        assert!(
            !reply.text().contains("own.txt") && !reply.text().contains("owner"),
            "{}",
            reply.text()
        );
        if probe.who != Who::Session {
            assert_eq!(
                stage.call(&key, probe, body).await.status,
                expected,
                "{} with a key",
                probe.operation
            );
        }
        if probe.names == Names::File {
            let reply = stage.call(&stage.admin.client, probe, body).await;
            assert_eq!(
                reply.status,
                404,
                "{} as an admin: {}",
                probe.operation,
                reply.text()
            );
        }
        assert_eq!(
            stage.belongings().await,
            before,
            "{} changed something",
            probe.operation
        );
    }
    assert!(probed >= 14, "{probed}");
}

#[tokio::test]
async fn ids_in_bodies_and_queries_are_checked_like_those_in_paths() {
    let stage = Stage::set().await;
    let before = stage.belongings().await;
    let client = &stage.stranger.client;
    let status = client
        .get(&format!("/file/upload_status/?file_ids={}", stage.file))
        .await
        .expect(200);
    assert_eq!(status, json!([]));
    let deleted = client
        .post("/file/batch_delete/", json!({ "file_ids": [stage.file] }))
        .await
        .expect(200);
    assert_eq!(deleted["deleted"], json!([]));
    let list = client
        .get(&format!(
            "/file/?user_id={}&user={}",
            stage.owner.id, stage.owner.id
        ))
        .await
        .expect(200);
    assert_eq!(list, json!([]));
    client
        .post("/user/logout/", json!({ "refresh": stage.owner.refresh }))
        .await
        .expect(200);
    assert_eq!(stage.belongings().await, before);
}

#[tokio::test]
async fn broken_bodies_are_400_on_every_operation_that_takes_one() {
    let stage = Stage::set().await;
    let before = stage.belongings().await;
    let mut probed = 0;
    for probe in PROBES.iter().filter(|p| p.who != Who::Signed) {
        let operation = documented(probe);
        let content = operation["requestBody"]["content"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let client = match probe.who {
            Who::Anyone => stage.srv.client.clone(),
            Who::Admin => stage.admin.client.clone(),
            _ => stage.owner.client.clone(),
        };
        if content.contains_key("application/json") {
            probed += 1;
            for bytes in [&b"{"[..], b"\xff", b"{\"a\":1,}", b"{\"a\":\"\\ud800\"}"] {
                let reply = stage
                    .call(&client, probe, Some(("application/json", bytes)))
                    .await;
                assert_eq!(reply.status, 400, "{}: {}", probe.operation, reply.text());
                reply.refused(400, "parse_error");
            }
            for bytes in [&b"null"[..], b"1", b"\"x\"", b"[[]]"] {
                let reply = stage
                    .call(&client, probe, Some(("application/json", bytes)))
                    .await;
                assert_eq!(
                    reply.status,
                    400,
                    "{} {}: {}",
                    probe.operation,
                    String::from_utf8_lossy(bytes),
                    reply.text()
                );
            }
            let reply = stage
                .call(&client, probe, Some(("application/xml", b"<x/>")))
                .await;
            reply.refused(415, "unsupported_media_type");
        }
        if content.contains_key("multipart/form-data") {
            probed += 1;
            for (kind, bytes) in [
                ("multipart/form-data", &b"x"[..]),
                ("multipart/form-data; boundary=x", b"no boundary in here"),
                (
                    "multipart/form-data; boundary=x",
                    b"--x\r\n\r\nno disposition\r\n--x--\r\n",
                ),
                (
                    "multipart/form-data; boundary=x",
                    b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\ncut",
                ),
            ] {
                let reply = stage.call(&client, probe, Some((kind, bytes))).await;
                assert!(
                    matches!(reply.status, 400 | 415),
                    "{}: {} {}",
                    probe.operation,
                    reply.status,
                    reply.text()
                );
                assert!(reply.json()["code"].is_string());
            }
        }
    }
    assert!(probed >= 18, "{probed}");
    assert_eq!(stage.belongings().await, before);
}
