//! Clients that begin and do not go on.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::support::{TestServer, raw};

#[tokio::test]
async fn half_a_head_is_ended_however_it_drips() {
    let srv = TestServer::with(&[("HTTP_HEAD_TIMEOUT", "2s")]).await;
    let silent = async {
        let mut stream = raw::connect(&srv).await;
        raw::read_to_end(&mut stream, 15).await.1
    };
    let half = async {
        let mut stream = raw::connect(&srv).await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHos")
            .await
            .expect("sent");
        raw::read_to_end(&mut stream, 15).await.1
    };
    let drip = async {
        let mut stream = raw::connect(&srv).await;
        let begun = Instant::now();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .expect("sent");
        while begun.elapsed() < Duration::from_secs(15) && stream.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        begun.elapsed()
    };
    let (silent, half, drip) = tokio::join!(silent, half, drip);
    for (what, took) in [("silent", silent), ("half", half), ("drip", drip)] {
        assert!(took < Duration::from_secs(5), "{what}: {took:?}");
    }
}

#[tokio::test]
async fn the_default_head_deadline_is_within_fifteen_seconds() {
    let srv = TestServer::start().await;
    let mut stream = raw::connect(&srv).await;
    stream
        .write_all(b"POST /user/login/ HTTP/1.1\r\nHost: t\r\nX:")
        .await
        .expect("sent");
    let (_, took) = raw::read_to_end(&mut stream, 15).await;
    assert!(took > Duration::from_secs(8), "{took:?}");
}

const BODY: &str = "POST /user/register/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";

#[tokio::test]
async fn a_body_that_stops_is_ended() {
    let srv = TestServer::with(&[("HTTP_BODY_IDLE_TIMEOUT", "2s")]).await;
    for sent in ["", "{\"username\":"] {
        let mut stream = raw::connect(&srv).await;
        stream
            .write_all(format!("{BODY}{sent}").as_bytes())
            .await
            .expect("sent");
        let (answer, took) = raw::read_to_end(&mut stream, 15).await;
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    srv.client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn many_half_sent_requests_hold_nobody_up() {
    let srv = TestServer::start().await;
    let mut held = Vec::new();
    for i in 0..300 {
        let mut stream = raw::connect(&srv).await;
        let bytes = if i % 2 == 0 {
            "GET /healthz HTTP/1.1\r\nHost"
        } else {
            BODY
        };
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    for _ in 0..20 {
        let begun = Instant::now();
        srv.client.get("/healthz").await.expect(200);
        assert!(
            begun.elapsed() < Duration::from_millis(500),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn half_sent_requests_do_not_delay_the_end() {
    let srv = TestServer::start().await;
    let mut held = Vec::new();
    for bytes in ["", "GET /healthz HTTP/1.1\r\nHost", BODY, NEXT_TO_DONE] {
        let mut stream = raw::connect(&srv).await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    srv.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

const NEXT_TO_DONE: &str = "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\nGET /he";

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_half_done() {
    let srv = TestServer::start().await;
    let body = super::registration("vanished").to_string();
    for _ in 0..20 {
        let mut stream = raw::connect(&srv).await;
        let head = format!(
            "POST /user/register/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        drop(stream);
    }
    // Whether it was made or not: never a user without a profile.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let users = crate::support::sql::number(&srv, "SELECT COUNT(*) FROM users").await;
    let profiles = crate::support::sql::number(&srv, "SELECT COUNT(*) FROM user_profiles").await;
    assert_eq!(users, profiles);
    assert!(users <= 1);
    srv.client.get("/healthz").await.expect(200);
}
