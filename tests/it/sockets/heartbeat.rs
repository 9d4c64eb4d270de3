//! Clients that are not there any more.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Stage, path_of};
use crate::support::{eventually, raw};

#[tokio::test]
async fn a_client_that_says_nothing_is_ended_with_4408() {
    let s = Stage::with(&[("WS_PING_INTERVAL", "300ms"), ("WS_IDLE_TIMEOUT", "1200ms")]).await;
    let mut answering = s.join(&s.agent).await;
    let mut silent = raw::connect(&s.srv).await;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        path_of(s.session, &s.customer)
    );
    silent.write_all(head.as_bytes()).await.expect("sent");
    let begun = Instant::now();
    let mut all = Vec::new();
    let reading = silent.read_to_end(&mut all);
    let answers = async {
        // Reading answers pings.
        loop {
            let _ = tokio::time::timeout(Duration::from_millis(100), answering.next()).await;
        }
    };
    tokio::select! {
        read = tokio::time::timeout(Duration::from_secs(8), reading) => drop(read.expect("in time")),
        () = answers => {}
    }
    assert!(
        (1..6).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    assert!(all.windows(4).any(|w| w == [0x88, 2, 0x11, 0x38]), "4408");
    assert!(all.windows(2).any(|w| w == [0x89, 0]), "it was pinged");
    assert!(String::from_utf8_lossy(&all).contains("heartbeat_timeout"));
    answering.send(json!({ "type": "ping" })).await;
    assert_eq!(answering.of("pong").await["type"], "pong");
    eventually("only one is left", 5, || async { s.srv.app.ws.open() == 1 }).await;
}
