//! A client that keeps everything it gets; and raw bytes for what no client sends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Process, SOON};

pub struct Client {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub protocol: Option<String>,
}

/// What ended a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    pub code: u16,
    /// The `code` of the last `error` frame.
    pub error: Option<String>,
}

impl Process {
    /// A handshake with these headers.
    pub async fn knock(&self, target: &str, headers: &[(&str, &str)]) -> Result<Client, Error> {
        let url = format!("ws://{}{target}", self.addr);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name: poem::http::HeaderName = name.parse().expect("name");
            request.headers_mut().append(name, value.parse().expect("value"));
        }
        let connecting = tokio_tungstenite::connect_async(request);
        let (stream, answer) = tokio::time::timeout(SOON, connecting).await.expect("in time")?;
        let protocol = answer.headers().get("sec-websocket-protocol");
        Ok(Client {
            protocol: protocol.map(|p| p.to_str().expect("text").to_owned()),
            stream,
        })
    }

    /// A socket of a user in a room, past its greeting.
    pub async fn join(&self, room: i64, user: i64) -> Client {
        let (client, _) = self.greeted(&format!("/ws/notes/{room}/?token={user}:1")).await;
        client
    }

    /// A socket and its greeting.
    pub async fn greeted(&self, target: &str) -> (Client, Value) {
        let mut client = self.knock(target, &[]).await.expect("upgraded");
        let greeting = client.json().await;
        assert_eq!(greeting["type"], "connection_established", "{greeting}");
        (client, greeting)
    }

    /// How a handshake is refused.
    pub async fn refused(&self, target: &str, headers: &[(&str, &str)]) -> End {
        let mut client = self.knock(target, headers).await.expect("upgraded");
        client.end().await
    }

    /// Status and `Retry-After` of a handshake that is answered over HTTP.
    pub async fn status(&self, target: &str) -> (u16, Option<u64>) {
        match self.knock(target, &[]).await {
            Err(Error::Http(answer)) => {
                let wait = answer.headers().get("retry-after");
                let wait = wait.map(|w| w.to_str().expect("text").parse().expect("seconds"));
                (answer.status().as_u16(), wait)
            }
            Ok(_) => (101, None),
            Err(other) => panic!("{other}"),
        }
    }

    /// A handshake by hand that nobody waits for.
    pub async fn asks(&self, room: i64, user: i64) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.expect("connected");
        let head = format!(
            "GET /ws/notes/{room}/?token={user}:1 HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream
    }

    /// Bytes after a handshake by hand, as a client's that keeps to no rule.
    pub async fn raw(&self, room: i64, user: i64) -> TcpStream {
        let mut stream = self.asks(room, user).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        let greeting = raw_frame(&mut stream).await.expect("a greeting");
        assert_eq!(greeting.0, 0x81);
        stream
    }
}

/// First byte and payload of the next frame.
pub async fn raw_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let reading = async {
        let first = stream.read_u8().await.ok()?;
        let length = match stream.read_u8().await.ok()? {
            126 => usize::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()? as usize,
            n => usize::from(n),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.ok()?;
        Some((first, payload))
    };
    tokio::time::timeout(SOON, reading).await.expect("in time")
}

/// The code of the close frame that ends a raw connection; whatever comes before it is skipped.
pub async fn raw_end(stream: &mut TcpStream) -> u16 {
    while let Some((first, payload)) = raw_frame(stream).await {
        if first == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
    1006
}

impl Client {
    pub async fn send(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("sent");
    }

    async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(SOON, self.stream.next())
            .await
            .expect("in time");
        next.expect("not ended").expect("no error")
    }

    /// The next frame; pings are skipped.
    pub async fn json(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not text: {other:?}"),
            }
        }
    }

    /// Nothing comes for a while.
    pub async fn silent(&mut self, for_ms: u64) {
        let waiting = tokio::time::timeout(Duration::from_millis(for_ms), self.stream.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
    }

    /// Waits for the end.
    pub async fn end(&mut self) -> End {
        let mut error = None;
        loop {
            match tokio::time::timeout(SOON, self.stream.next())
                .await
                .expect("in time")
            {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    if frame["type"] == "error" {
                        error = frame["code"].as_str().map(str::to_owned);
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    let code = close.map_or(1005, |CloseFrame { code, .. }| code.into());
                    return End { code, error };
                }
                Some(Ok(_)) => {}
                _ => return End { code: 1006, error },
            }
        }
    }

    /// A room's note by its text; everything else is skipped.
    pub async fn note(&mut self) -> (i64, String) {
        loop {
            let frame = self.json().await;
            if frame["type"] == "note" {
                let text = frame["text"].as_str().expect("text").to_owned();
                return (frame["id"].as_i64().expect("id"), text);
            }
        }
    }
}

/// An end without an error frame.
pub fn bare(code: u16) -> End {
    End { code, error: None }
}

/// An end with one.
pub fn told(code: u16, error: &str) -> End {
    End {
        code,
        error: Some(error.to_owned()),
    }
}
