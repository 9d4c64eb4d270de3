//! Frames that no honest client sends.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::Process;
use super::client::{bare, raw_end, raw_frame, told};

const LIMIT: usize = 64 * 1024;

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first, payload.len() as u64);
    let mask = [9, 8, 7, 6];
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
    out
}

fn head(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=65_535 => {
            out.push(0xFE);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xFF);
            out.extend(length.to_be_bytes());
        }
    }
    out
}

async fn code_after(p: &Process, bytes: &[u8]) -> u16 {
    let mut stream = p.raw(1, 3).await;
    // The server may stop reading before everything is sent.
    let _ = stream.write_all(bytes).await;
    raw_end(&mut stream).await
}

#[tokio::test]
async fn each_fault_of_the_protocol_has_its_code() {
    let p = Process::start().await;
    let big_head = |length: u64| [head(0x81, length), vec![0; 4], vec![b'x'; 1000]].concat();
    for (what, bytes, code) in [
        ("binary", frame(0x82, b"x"), 1003),
        ("invalid UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("a lone surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("unmasked", vec![0x81, 2, b'{', b'}'], 1002),
        ("reserved bits", frame(0xF1, b"x"), 1002),
        ("opcode 3", frame(0x83, b"x"), 1002),
        ("opcode 15", frame(0x8F, b"x"), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a ping in pieces", frame(0x09, b"x"), 1002),
        ("a large ping", frame(0x89, &[b'x'; 126]), 1002),
        ("a close of one byte", frame(0x88, &[3]), 1002),
        (
            "a close with code 1005",
            frame(0x88, &1005_u16.to_be_bytes()),
            1002,
        ),
        ("2^62 bytes declared", big_head(1 << 62), 1009),
        ("2^64-1 bytes declared", big_head(u64::MAX), 1009),
        ("one byte too many", frame(0x81, &vec![b' '; LIMIT + 1]), 1009),
        ("20 MB", frame(0x81, &vec![b' '; 20 << 20]), 1009),
        (
            "too much in pieces",
            [frame(0x01, &vec![b' '; LIMIT]), frame(0x80, b" ")].concat(),
            1009,
        ),
        (
            "100,000 empty pieces",
            [frame(0x01, b""), frame(0x00, b"").repeat(100_000)].concat(),
            1009,
        ),
    ] {
        assert_eq!(code_after(&p, &bytes).await, code, "{what}");
    }
    super::eventually("all are gone", || p.ws.open() == 0).await;
}

#[tokio::test]
async fn the_largest_message_is_taken_whole_and_in_pieces() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    let text = json!({ "type": "echo", "x": "名".repeat(100) }).to_string();
    let padded = format!("{text}{}", " ".repeat(LIMIT - text.len()));
    client.text(&padded).await;
    assert_eq!(client.json().await["body"]["x"], "名".repeat(100));
    let mut stream = p.raw(1, 4).await;
    let bytes = padded.as_bytes();
    for (i, piece) in bytes.chunks(1000).enumerate() {
        let fin = if (i + 1) * 1000 >= bytes.len() { 0x80 } else { 0 };
        let opcode = if i == 0 { 1 } else { 0 };
        stream.write_all(&frame(fin | opcode, piece)).await.expect("sent");
        stream.write_all(&frame(0x8A, b"")).await.expect("sent");
    }
    let (first, payload) = raw_frame(&mut stream).await.expect("an answer");
    assert_eq!(first, 0x81);
    assert!(String::from_utf8_lossy(&payload).contains("名名名"));
    client.text(&format!("{padded} ")).await;
    assert_eq!(client.end().await, bare(1009));
}

#[tokio::test]
async fn bad_input_keeps_the_connection() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let deep_object = format!(
        "{{\"type\":\"echo\",\"a\":{}1{}}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    for (text, code) in [
        ("", "parse_error"),
        ("   ", "parse_error"),
        ("{", "parse_error"),
        ("not JSON", "parse_error"),
        ("[1]", "parse_error"),
        ("null", "parse_error"),
        ("\"text\"", "parse_error"),
        ("1", "parse_error"),
        ("{\"type\":\"echo\",}", "parse_error"),
        ("{\"type\":\"\\ud800\"}", "parse_error"),
        (deep.as_str(), "parse_error"),
        (deep_object.as_str(), "parse_error"),
        ("{}", "unknown_type"),
        ("{\"type\":null}", "unknown_type"),
        ("{\"type\":7}", "unknown_type"),
        ("{\"type\":\"delete_everything\"}", "unknown_type"),
        ("{\"type\":\"NOTE\"}", "unknown_type"),
    ] {
        client.text(text).await;
        let error = client.json().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code)),
            "{text}"
        );
        assert!(
            error["message"].is_string() && error["client_id"].is_null(),
            "{error}"
        );
    }
    client.send(json!({ "type": "broken", "client_id": "c-1" })).await;
    let error = client.json().await;
    assert_eq!(
        (&error["code"], &error["client_id"]),
        (&json!("internal_error"), &json!("c-1"))
    );
    assert!(
        error["request_id"].is_string() && !error.to_string().contains("secret"),
        "{error}"
    );
    client
        .send(json!({ "type": "unknown", "client_id": "x".repeat(65) }))
        .await;
    assert!(client.json().await["client_id"].is_null(), "no id of that length");
    client.send(json!({ "type": "echo", "sender": 1 })).await;
    assert_eq!(client.json().await["type"], "echo");
}

#[tokio::test]
async fn pings_are_answered_and_a_flood_of_them_ends() {
    let p = Process::start().await;
    let mut stream = p.raw(1, 3).await;
    stream.write_all(&frame(0x89, b"hello")).await.expect("sent");
    assert_eq!(raw_frame(&mut stream).await, Some((0x8A, b"hello".to_vec())));
    let begun = Instant::now();
    let _ = stream.write_all(&frame(0x89, b"x").repeat(20_000)).await;
    assert_eq!(raw_end(&mut stream).await, 4429);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_flood_is_answered_with_errors_and_then_ended() {
    let p = Process::start().await;
    let mut client = p.join(1, 3).await;
    let mut other = p.join(1, 4).await;
    for _ in 0..2000 {
        if client
            .stream
            .feed(Message::text("{\"type\":\"ping\"}"))
            .await
            .is_err()
        {
            break;
        }
    }
    let _ = client.stream.flush().await;
    assert_eq!(client.end().await, told(4429, "throttled"));
    other.send(json!({ "type": "echo" })).await;
    assert_eq!(other.json().await["type"], "echo");
}

#[tokio::test]
async fn refusals_by_the_domain_count_as_well() {
    let p = Process::with(&[("WS_FRAME_RATE", "100000/s")]).await;
    let mut client = p.join(1, 3).await;
    for _ in 0..100 {
        client.send(json!({ "type": "busy" })).await;
        assert_eq!(client.json().await["code"], "throttled");
    }
    client.send(json!({ "type": "echo" })).await;
    assert_eq!(client.json().await["type"], "echo");
    client.send(json!({ "type": "busy" })).await;
    assert_eq!(client.end().await, told(4429, "throttled"));
}
