//! `/ws/…`: what holds for every socket, seen through that of support sessions. Faults of the protocol
//! and limits are tested beside the layer (`src/kernel/ws/tests`). Chat rooms use the same client.

mod heartbeat;
mod instances;
mod resume;
mod revocation;
mod session;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::{self, TestServer, User};

pub const SOON: Duration = Duration::from_secs(10);

/// A socket that keeps the order of everything it gets.
pub struct Socket {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

pub async fn knock(srv: &TestServer, target: &str, headers: &[(&str, &str)]) -> Result<Socket, Error> {
    let connecting = tokio_tungstenite::connect_async(request(srv, target, headers));
    let (stream, _) = tokio::time::timeout(SOON, connecting).await.expect("in time")?;
    Ok(Socket { stream })
}

/// A socket whose kernel keeps little for it, so that the server notices soon when it is not read.
pub async fn narrow(srv: &TestServer, target: &str) -> Socket {
    let address = srv.client.base().trim_start_matches("http://");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(address.parse().expect("an address")).await;
    let plain = MaybeTlsStream::Plain(stream.expect("a connection"));
    let (stream, _) = tokio_tungstenite::client_async(request(srv, target, &[]), plain)
        .await
        .expect("upgraded");
    Socket { stream }
}

fn request(srv: &TestServer, target: &str, headers: &[(&str, &str)]) -> Request {
    let url = format!("{}{target}", srv.client.base().replace("http://", "ws://"));
    let mut request = url.into_client_request().expect("a request");
    for (name, value) in headers {
        let name: hyper::header::HeaderName = name.parse().expect("name");
        request.headers_mut().append(name, value.parse().expect("value"));
    }
    request
}

fn path_of(session: i64, user: &User) -> String {
    format!("/ws/chat/sessions/{session}/?token={}", user.access)
}

/// A socket and its greeting.
pub async fn greeted(srv: &TestServer, target: &str) -> (Socket, Value) {
    let mut socket = knock(srv, target, &[]).await.expect("upgraded");
    let greeting = socket.next().await;
    assert_eq!(greeting["type"], "connection_established", "{greeting}");
    (socket, greeting)
}

async fn join(srv: &TestServer, session: i64, user: &User) -> Socket {
    greeted(srv, &path_of(session, user)).await.0
}

/// Code of the close and of the `error` frame before it.
pub async fn refused(srv: &TestServer, target: &str) -> (u16, String) {
    knock(srv, target, &[]).await.expect("upgraded").end().await
}

impl Socket {
    pub async fn send(&mut self, frame: Value) {
        let text = frame.to_string();
        self.stream.send(Message::text(text)).await.expect("sent");
    }

    pub async fn say(&mut self, text: &str) {
        self.send(json!({ "type": "chat_message", "content": text }))
            .await;
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(SOON, self.stream.next())
                .await
                .expect("in time");
            match next.expect("not ended").expect("no error") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("not text: {other:?}"),
            }
        }
    }

    /// The next frame of a type; others are skipped.
    pub async fn of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The next message of the session.
    pub async fn message(&mut self) -> Value {
        self.of("chat_message").await["message"].clone()
    }

    pub async fn silent(&mut self, for_ms: u64) {
        let waiting = tokio::time::timeout(Duration::from_millis(for_ms), self.stream.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
    }

    /// How it ends: the close code, and the code of the `error` frame before it.
    pub async fn end(&mut self) -> (u16, String) {
        let (frames, code) = self.rest().await;
        let last = frames.iter().rev().find(|frame| frame["type"] == "error");
        let error = last.map_or("", |e| e["code"].as_str().expect("a code"));
        (code, error.to_owned())
    }

    /// Every frame until the end, and the close code.
    pub async fn rest(&mut self) -> (Vec<Value>, u16) {
        let mut frames = Vec::new();
        loop {
            match tokio::time::timeout(SOON, self.stream.next())
                .await
                .expect("in time")
            {
                Some(Ok(Message::Text(text))) => frames.push(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(close))) => {
                    let code = close.map_or(1005, |CloseFrame { code, .. }| code.into());
                    return (frames, code);
                }
                Some(Ok(_)) => {}
                _ => return (frames, 1006),
            }
        }
    }
}

pub fn ended(code: u16, error: &str) -> (u16, String) {
    (code, error.to_owned())
}

/// A customer with an open session, and those around.
struct Stage {
    people: support::Stage,
    session: i64,
}

impl Deref for Stage {
    type Target = support::Stage;

    fn deref(&self) -> &support::Stage {
        &self.people
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut support::Stage {
        &mut self.people
    }
}

impl Stage {
    async fn set() -> Self {
        Self::with(&[]).await
    }

    async fn with(extra: &[(&str, &str)]) -> Self {
        let people = support::Stage::with(extra).await;
        Stage {
            session: people.session().await,
            people,
        }
    }

    async fn join(&self, user: &User) -> Socket {
        join(&self.srv, self.session, user).await
    }

    fn at(&self, rest: &str) -> String {
        format!("/api/chat/sessions/{}/{rest}", self.session)
    }

    /// Sends over REST.
    async fn say(&self, user: &User, text: &str) -> Value {
        let body = json!({ "content_type": "text", "content": text });
        user.client.post(&self.at("messages/"), body).await.expect(201)
    }

    async fn messages(&self) -> Vec<Value> {
        let path = self.at("messages/?limit=200&after_id=0");
        let list = self.customer.client.get(&path).await.expect(200);
        list.as_array().expect("a list").clone()
    }
}
