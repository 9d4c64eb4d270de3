//! What hostile and unlucky clients do to connections.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};

use super::*;

const QUICK: &[(&str, &str)] = &[
    ("HTTP_HEAD_TIMEOUT", "1s"),
    ("HTTP_KEEP_ALIVE", "2s"),
    ("HTTP_WRITE_TIMEOUT", "1s"),
    ("HTTP_SHUTDOWN_GRACE", "2s"),
];

#[tokio::test]
async fn slow_heads_are_ended_however_they_drip() {
    let server = TestServer::with(QUICK).await;
    let begun = Instant::now();
    assert_eq!(server.raw(b"").await, "", "silent");
    assert_eq!(server.raw(b"GET / HTTP/1.1\r\nHos").await, "", "half");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) && stream.write_all(b"a: b\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn slow_handlers_and_idle_connections_live() {
    let server = TestServer::with(QUICK).await;
    let mut stream = server.connect().await;
    for wait in [0, 1300, 0] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        stream
            .write_all(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
            .await
            .expect("sent");
        let mut buf = [0; 2048];
        let n = stream.read(&mut buf).await.expect("answered");
        assert!(
            buf[..n].starts_with(b"HTTP/1.1 204"),
            "{}",
            String::from_utf8_lossy(&buf[..n])
        );
    }
    let idle = Instant::now();
    assert_eq!(read_all(&mut stream).await, "");
    assert!(
        (1500..3500).contains(&idle.elapsed().as_millis()),
        "{:?}",
        idle.elapsed()
    );
}

#[tokio::test]
async fn readers_that_stall_are_cut_off() {
    let server = TestServer::with(QUICK).await;
    // On a machine that is busy with other tests the answer may begin late, and so does the stall.
    let mut received = usize::MAX;
    for stall in [3, 9, 27].map(Duration::from_secs) {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
            .await
            .expect("sent");
        tokio::time::sleep(stall).await;
        received = read_all(&mut stream).await.len();
        if received < 32 << 20 {
            break;
        }
    }
    assert!(received < 32 << 20, "{received}");
    // One that reads, however late, gets everything.
    let whole = server.get("/large").await;
    assert_eq!(whole.body.len(), (32 << 20) + 2);
}

#[tokio::test]
async fn ambiguous_requests_get_one_refusal() {
    let server = TestServer::start().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n";
    for head in [
        "POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET /things HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n",
        "GET /things HTTP/1.1\nHost: t\n\n",
        "GET /things HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n",
        "GET /things HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
        "GET /things HTTP/9.9\r\nHost: t\r\n\r\n",
        "GET /things\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let text = server.raw(format!("{head}{smuggled}").as_bytes()).await;
        assert!(text.matches("HTTP/1.1 ").count() <= 1, "{head:?}: {text}");
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400"),
            "{head:?}: {text}"
        );
    }
}

#[tokio::test]
async fn sizes_of_the_head_are_bounded() {
    let server = TestServer::start().await;
    for length in [8192, 100_000] {
        server
            .get(&format!("/{}", "a".repeat(length)))
            .await
            .assert_error(414, "uri_too_long");
    }
    for length in [16_400, 100_000] {
        server
            .send("GET", "/things", &[("X", &"a".repeat(length))], "")
            .await
            .assert_error(431, "headers_too_large");
    }
    let many: Vec<(String, String)> = (0..10_000).map(|i| (format!("x{i}"), "a".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    server
        .send("GET", "/things", &many, "")
        .await
        .assert_error(431, "headers_too_large");
    assert_eq!(
        server
            .send("GET", "/things", &[("X", &"a".repeat(15_000))], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start().await;
    let mut text =
        "POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 21\r\n\r\n{\"name\":\"a\",\"size\":1}"
            .to_owned();
    (0..99).for_each(|i| text.push_str(&format!("GET /things/{} HTTP/1.1\r\nHost: t\r\n\r\n", i + 1)));
    text.push_str("GET /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let answers = server.raw(text.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 101);
    assert!(
        answers.starts_with("HTTP/1.1 201")
            && answers.contains("{\"id\":99,")
            && answers.contains("HTTP/1.1 404")
    );
}

#[tokio::test]
async fn sockets_outlive_the_deadlines_of_requests() {
    let server = TestServer::with(QUICK).await;
    let url = format!("ws://{}/ws/", server.addr);
    let (mut socket, answer) = tokio_tungstenite::connect_async(url).await.expect("upgraded");
    assert!(answer.headers().contains_key("x-request-id"));
    tokio::time::sleep(Duration::from_millis(2600)).await;
    socket
        .send(tokio_tungstenite::tungstenite::Message::text("hello"))
        .await
        .expect("sent");
    let echo = socket.next().await.expect("open").expect("frame");
    assert_eq!(echo.into_text().expect("text").as_str(), "hello");
    // Nobody waits for them at shutdown here; whoever upgraded them tells them.
    server.shutdown.cancel();
    server.serving.await.expect("joined").expect("served");
}

#[tokio::test]
async fn handlers_have_a_deadline() {
    let server = TestServer::with(&[("HTTP_HANDLER_TIMEOUT", "300ms")]).await;
    server.get("/slow").await.assert_error(503, "service_unavailable");
}

#[tokio::test]
async fn connections_over_the_cap_are_told_so() {
    let server = TestServer::with(&[("HTTP_MAX_CONNECTIONS", "1")]).await;
    let _first = server.connect().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut second = server.connect().await;
    let text = read_all(&mut second).await;
    assert!(
        text.starts_with("HTTP/1.1 503") && text.contains("service_unavailable"),
        "{text}"
    );
}

#[tokio::test]
async fn half_closed_clients_get_their_answer() {
    let server = TestServer::start().await;
    for target in ["/things/5", "/slow"] {
        let mut stream = server.connect().await;
        let text = format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("half closed");
        assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 20"), "{target}");
    }
    // A body that ends early is no complete request.
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n{}")
        .await
        .expect("sent");
    stream.shutdown().await.expect("half closed");
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_body_may_be_asked_for_first() {
    let server = TestServer::start().await;
    let mut stream = server.connect().await;
    let head = "POST /things HTTP/1.1\r\nHost: t\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 21\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut buf = [0; 25];
    stream.read_exact(&mut buf).await.expect("told to go on");
    assert_eq!(&buf, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(br#"{"name":"a","size":1}"#).await.expect("sent");
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn shutdown_waits_for_work_and_for_nobody_else() {
    let server = TestServer::with(QUICK).await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("sent");
    let mut stalled = server.connect().await;
    stalled
        .write_all(b"POST /things HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n{")
        .await
        .expect("sent");
    let _idle = server.connect().await;
    let mut working = server.connect().await;
    working
        .write_all(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        .await
        .expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    server.shutdown.cancel();
    let text = read_all(&mut working).await;
    assert!(text.starts_with("HTTP/1.1 204"), "{text}");
    server.serving.await.expect("joined").expect("served");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
