//! Handshakes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::Process;
use super::client::told;

#[tokio::test]
async fn the_greeting_comes_first_on_both_spellings_of_the_path() {
    let p = Process::start().await;
    let id = p.notes.say(7, "before");
    for path in ["/ws/notes/7", "/ws/notes/7/"] {
        let (_client, greeting) = p.greeted(&format!("{path}?token=3:1")).await;
        assert_eq!(
            greeting,
            json!({
                "type": "connection_established", "message": "连接成功",
                "user": { "id": 3, "username": "user3" }, "room": { "id": 7 },
                "last_message_id": id, "heartbeat": 25,
            })
        );
    }
    let (_client, greeting) = p.greeted("/ws/notes/8/?token=3:1").await;
    assert_eq!(greeting["last_message_id"], json!(null));
}

#[tokio::test]
async fn refusals_have_a_frame_and_a_code() {
    let p = Process::start().await;
    let t = "token=3:1";
    for (target, code, error) in [
        (format!("/ws/notes/abc/?{t}"), 4400, "validation_error"),
        (format!("/ws/notes/0/?{t}"), 4400, "validation_error"),
        (format!("/ws/notes/-1/?{t}"), 4400, "validation_error"),
        (
            format!("/ws/notes/99999999999999999999/?{t}"),
            4400,
            "validation_error",
        ),
        (format!("/ws/notes/1/?{t}&since=x"), 4400, "validation_error"),
        (format!("/ws/notes/1/?{t}&since=-1"), 4400, "validation_error"),
        (format!("/ws/notes/1/?{t}&since="), 4400, "validation_error"),
        ("/ws/notes/1/".to_owned(), 4401, "not_authenticated"),
        (
            "/ws/notes/1/?api_key=ak_chat:write".to_owned(),
            4401,
            "not_authenticated",
        ),
        ("/ws/notes/1/?token=".to_owned(), 4401, "token_invalid"),
        ("/ws/notes/1/?token=garbage".to_owned(), 4401, "token_invalid"),
        (
            "/ws/notes/1/?token=ak_chat:write".to_owned(),
            4401,
            "token_invalid",
        ),
        (format!("/ws/notes/403/?{t}"), 4403, "permission_denied"),
        (format!("/ws/notes/404/?{t}"), 4404, "not_found"),
        (format!("/ws/notes/410/?{t}"), 4410, "room_closed"),
        (format!("/ws/notes/503/?{t}"), 1013, "service_unavailable"),
        (format!("/ws/notes/500/?{t}"), 1011, "internal_error"),
    ] {
        assert_eq!(p.refused(&target, &[]).await, told(code, error), "{target}");
    }
    assert_eq!(
        p.notes.closed.load(Ordering::SeqCst),
        0,
        "none of them was ever in"
    );
    super::eventually("all places are free again", || p.ws.open() == 0).await;
}

#[tokio::test]
async fn checks_have_an_order() {
    let p = Process::start().await;
    let evil = ("origin", "https://evil.example");
    assert_eq!(
        p.refused("/ws/notes/x/", &[evil]).await,
        told(4400, "validation_error"),
        "the room before the origin"
    );
    assert_eq!(
        p.refused("/ws/notes/404/", &[evil]).await,
        told(4403, "origin_refused"),
        "the origin before the token"
    );
    assert_eq!(
        p.refused("/ws/notes/404/", &[]).await,
        told(4401, "not_authenticated"),
        "the token before the room"
    );
}

#[tokio::test]
async fn origins_are_checked_when_there_is_one() {
    let p = Process::with(&[("CORS_ALLOWED_ORIGINS", "https://app.example.com")]).await;
    let target = "/ws/notes/1/?token=3:1";
    let own = format!("http://{}", p.addr);
    for good in ["https://app.example.com", own.as_str()] {
        let mut client = p.knock(target, &[("origin", good)]).await.expect("upgraded");
        assert_eq!(client.json().await["type"], "connection_established", "{good}");
    }
    for bad in [
        "null",
        "https://evil.example",
        "https://app.example.com.evil.org",
        "http://localhost:3000",
        "",
    ] {
        let end = p.refused(target, &[("origin", bad)]).await;
        assert_eq!(end, told(4403, "origin_refused"), "{bad}");
    }
}

#[tokio::test]
async fn credentials_may_stand_in_four_places() {
    let p = Process::start().await;
    let room = "/ws/notes/1/";
    for (target, headers, user) in [
        (format!("{room}?token=3%3A1"), vec![], 3),
        (room.to_owned(), vec![("authorization", "Bearer 4:1")], 4),
        (room.to_owned(), vec![("authorization", "bearer 4:1")], 4),
        (room.to_owned(), vec![("x-api-key", "ak_chat:write")], 9),
        (room.to_owned(), vec![("x-api-key", "ak_*")], 9),
        (
            format!("{room}?token=3:1"),
            vec![("authorization", "Bearer 4:1"), ("x-api-key", "ak_chat:read")],
            3,
        ),
    ] {
        let mut client = p.knock(&target, &headers).await.expect("upgraded");
        let greeting = client.json().await;
        assert_eq!(greeting["user"]["id"], user, "{target} {headers:?}: {greeting}");
        assert_eq!(client.protocol, None);
    }
    let mut client = p
        .knock(room, &[("sec-websocket-protocol", "bearer, 5:1")])
        .await
        .expect("upgraded");
    assert_eq!(client.protocol.as_deref(), Some("bearer"));
    assert_eq!(client.json().await["user"]["id"], 5);

    let bad_first = p
        .refused(&format!("{room}?token=bad"), &[("authorization", "Bearer 4:1")])
        .await;
    assert_eq!(
        bad_first,
        told(4401, "token_invalid"),
        "the first one found counts"
    );
}

#[tokio::test]
async fn keys_need_the_scope_of_the_path() {
    let p = Process::start().await;
    let room = "/ws/notes/1/";
    for scope in ["ak_cloud:write", "ak_staff"] {
        let end = p.refused(room, &[("x-api-key", scope)]).await;
        assert_eq!(end, told(4403, "insufficient_scope"), "{scope}");
    }
    let mut reader = p
        .knock(room, &[("x-api-key", "ak_chat:read")])
        .await
        .expect("upgraded");
    reader.json().await;
    reader
        .send(json!({ "type": "note", "text": "x", "client_id": "c1" }))
        .await;
    let error = reader.json().await;
    assert_eq!(
        (&error["code"], &error["client_id"]),
        (&json!("insufficient_scope"), &json!("c1"))
    );
    p.notes.say(1, "to readers too");
    assert_eq!(reader.note().await.1, "to readers too");
}

#[tokio::test]
async fn texts_are_in_the_language_of_the_handshake() {
    let p = Process::start().await;
    let english = ("accept-language", "en-GB,zh;q=0.5");
    let mut client = p
        .knock("/ws/notes/1/?token=3:1", &[english])
        .await
        .expect("upgraded");
    assert_eq!(client.json().await["message"], "Connected.");
    client.text("[1]").await;
    assert_eq!(
        client.json().await,
        json!({ "type": "error", "message": "Invalid JSON.", "code": "parse_error" })
    );
    let mut client = p.join(1, 3).await;
    client.text("[1]").await;
    assert_eq!(
        client.json().await,
        json!({ "type": "error", "message": "无效的JSON格式", "code": "parse_error" })
    );
}

#[tokio::test]
async fn a_user_has_ten_sockets_in_a_room() {
    let p = Process::start().await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(p.join(1, 3).await);
    }
    let eleventh = p.refused("/ws/notes/1/?token=3:2", &[]).await;
    assert_eq!(eleventh, told(4429, "too_many_sockets"));
    p.join(2, 3).await;
    p.join(1, 4).await;
    sockets.pop();
    super::eventually("one has left", || p.notes.closed.load(Ordering::SeqCst) >= 3).await;
    p.join(1, 3).await;
}

#[tokio::test]
async fn what_is_no_handshake_is_an_ordinary_request() {
    let p = Process::start().await;
    let answer = |head: &'static str| {
        let addr = p.addr;
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = tokio::net::TcpStream::connect(addr).await.expect("connected");
            let text = format!("GET /ws/notes/1/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{head}\r\n");
            stream.write_all(text.as_bytes()).await.expect("sent");
            let mut all = String::new();
            let reading = stream.read_to_string(&mut all);
            tokio::time::timeout(Duration::from_secs(5), reading)
                .await
                .expect("in time")
                .expect("text");
            all
        }
    };
    let nobody = answer("").await;
    assert!(
        nobody.starts_with("HTTP/1.1 401") && nobody.contains("not_authenticated"),
        "{nobody}"
    );
    let somebody = answer("Authorization: Bearer 3:1\r\n").await;
    assert!(
        somebody.starts_with("HTTP/1.1 426")
            && somebody.contains("upgrade_required")
            && somebody.to_lowercase().contains("sec-websocket-version: 13"),
        "{somebody}"
    );
    let old = answer("Authorization: Bearer 3:1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 8\r\n").await;
    assert!(old.starts_with("HTTP/1.1 426"), "{old}");
    let keyless = answer("Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n").await;
    assert!(keyless.starts_with("HTTP/1.1 400"), "{keyless}");
}

#[tokio::test]
async fn handshakes_count_for_their_user() {
    let p = Process::with(&[("RATE_LIMIT_USER", "3/min"), ("RATE_LIMIT_ANONYMOUS", "2/min")]).await;
    for _ in 0..3 {
        p.join(1, 3).await;
    }
    assert_eq!(p.status("/ws/notes/1/?token=3:1").await.0, 429);
    p.join(1, 4).await;
    for _ in 0..2 {
        let end = p.refused("/ws/notes/1/?token=bad", &[]).await;
        assert_eq!(end, told(4401, "token_invalid"));
    }
    assert_eq!(
        p.status("/ws/notes/1/?token=bad").await.0,
        429,
        "guessing counts for the address"
    );
}
