//! Requests that a proxy and a server might read differently: one refusal, never two answers.

use serde_json::json;

use super::registration;
use crate::support::{TestServer, raw, sql};

const NEXT: &str = "GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn ambiguous_framing_is_refused_and_ends_the_connection() {
    let srv = TestServer::start().await;
    let body = registration("smuggled").to_string();
    let n = body.len();
    let post = |headers: &str, body: &str| {
        format!(
            "POST /user/register/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let chunked = format!("{n:x}\r\n{body}\r\n0\r\n\r\n");
    let cases = [
        post(&format!("Content-Length: {n}\r\nContent-Length: {n}\r\n"), &body),
        post(
            &format!("Content-Length: {n}\r\nContent-Length: {}\r\n", n + 1),
            &body,
        ),
        post(&format!("Content-Length: {n}, {n}\r\n"), &body),
        post(
            &format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n"),
            &chunked,
        ),
        post(
            &format!("Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n"),
            &chunked,
        ),
        post("Transfer-Encoding: xchunked\r\n", &chunked),
        post("Transfer-Encoding: chunked, identity\r\n", &chunked),
        post("Transfer-Encoding: identity\r\n", &body),
        post("Transfer-Encoding : chunked\r\n", &chunked),
        post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            &chunked,
        ),
        post("Content-Length: -1\r\n", &body),
        post("Content-Length: +3\r\n", &body),
        post("Content-Length: 0x10\r\n", &body),
        post("Content-Length: 18446744073709551616\r\n", &body),
        post("Content-Length: 99999999999999999999999\r\n", &body),
        post("Content-Length: 1 2\r\n", &body),
        post("Content-Length: \r\n", &body),
        post("X: a\r\n folded\r\n", &body),
        post("X: a\r\n\tfolded\r\n", &body),
        post(&format!("Content-Length: {n}\nX: bare\r\n"), &body),
        post(&format!("Content-Length: {n}\rX: bare\r\n"), &body),
        post("X\0: nul\r\n", &body),
        post("X: a\0b\r\n", &body),
        post("No colon here\r\n", &body),
        post(": no name\r\n", &body),
        post("Host: other\r\n", &body),
        "GET /healthz HTTP/1.1\nHost: t\n\n".to_owned(),
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /healthz HTTP/0.9\r\nHost: t\r\n\r\n".to_owned(),
        "GET /healthz HTTP/9.9\r\nHost: t\r\n\r\n".to_owned(),
        "GET /healthz\r\n\r\n".to_owned(),
        "GET  /healthz  HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
        "GET /heal thz HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
        "G\x01T /healthz HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(),
        "\r\n\r\n\r\n\r\nGARBAGE\r\n\r\n".to_owned(),
    ];
    for case in cases {
        let answer = raw::exchange(&srv, format!("{case}{NEXT}").as_bytes(), 15).await;
        let shown = case.escape_debug().to_string();
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{shown}\n{answer}");
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(
            matches!(
                status,
                "closed" | "400" | "404" | "405" | "413" | "431" | "501" | "505"
            ),
            "{shown}\n{answer}"
        );
        assert!(!answer.to_lowercase().contains("panicked"), "{shown}\n{answer}");
    }
    assert_eq!(
        sql::number(&srv, "SELECT COUNT(*) FROM users").await,
        0,
        "nothing of it was done"
    );
    srv.client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn broken_chunks_are_refused() {
    let srv = TestServer::start().await;
    for chunks in [
        "zz\r\nab\r\n0\r\n\r\n",
        "-1\r\nab\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nab\r\n0\r\n\r\n",
        "2\r\nabcd\r\n0\r\n\r\n",
        "2 \t\r\nab0\r\n\r\n",
        "\r\n\r\n",
    ] {
        let head = "POST /user/register/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let answer = raw::exchange(&srv, format!("{head}{chunks}").as_bytes(), 15).await;
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(matches!(status, "closed" | "400" | "413"), "{chunks:?}\n{answer}");
    }
    let extension = format!(
        "POST /user/register/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n2;x={}\r\n{{}}\r\n0\r\n\r\n",
        "y".repeat(100_000)
    );
    let answer = raw::exchange(&srv, extension.as_bytes(), 15).await;
    let status = answer.split(' ').nth(1).unwrap_or("closed");
    assert!(matches!(status, "closed" | "400" | "413" | "431"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let srv = TestServer::start().await;
    let mut all = String::new();
    for i in 0..100 {
        let close = if i == 99 { "Connection: close\r\n" } else { "" };
        all.push_str(&format!(
            "GET /nothing HTTP/1.1\r\nHost: t\r\nX-Request-Id: id-{i}\r\n{close}\r\n"
        ));
    }
    let answer = raw::exchange(&srv, all.as_bytes(), 20).await;
    assert_eq!(answer.matches("HTTP/1.1 404").count(), 100);
    let seen: Vec<&str> = answer
        .lines()
        .filter_map(|l| l.strip_prefix("x-request-id: "))
        .collect();
    let expected: Vec<String> = (0..100).map(|i| format!("id-{i}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn absolute_targets_and_unusual_heads_are_harmless() {
    let srv = TestServer::start().await;
    for head in [
        "GET http://evil.example/healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nConnection: close\r\n\r\n",
        "TRACE /healthz HTTP/1.1\r\nHost: t\r\nCookie: secret\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: t\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw::exchange(&srv, head.as_bytes(), 15).await;
        assert!(answer.starts_with("HTTP/1."), "{head:?}: {answer}");
        assert!(
            !answer.contains("secret") && !answer.contains(" 5"),
            "{head:?}: {answer}"
        );
        assert!(!answer.starts_with("HTTP/1.1 101"), "{head:?}: {answer}");
    }
    let ranges = vec!["0-1"; 1000].join(",");
    let reply = srv
        .client
        .with_header("range", &format!("bytes={ranges}"))
        .get("/openapi.json")
        .await;
    assert!(matches!(reply.status, 200 | 206 | 416), "{}", reply.status);
    assert!(reply.bytes.len() < 2_000_000);
}

#[tokio::test]
async fn expect_continue_is_honoured() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let srv = TestServer::start().await;
    let body = registration("polite").to_string();
    let mut stream = raw::connect(&srv).await;
    let head = format!(
        "POST /user/register/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut buffer = [0; 256];
    let n = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read(&mut buffer)).await;
    let n = n.expect("within five seconds").expect("read");
    assert!(
        buffer[..n].starts_with(b"HTTP/1.1 100"),
        "{}",
        String::from_utf8_lossy(&buffer[..n])
    );
    stream.write_all(body.as_bytes()).await.expect("sent");
    let (answer, _) = raw::read_to_end(&mut stream, 10).await;
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
    let login = json!({ "username": "polite", "password": crate::support::server::PASSWORD });
    srv.client.post("/user/login/", login).await.expect(200);
}
