//! `/ws/…`: what holds for every socket, seen through that of support sessions. Faults of the protocol
//! and limits are tested beside the layer (`src/kernel/ws/tests`).

mod heartbeat;
mod instances;
mod resume;
mod revocation;
mod session;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::{self, TestServer, User};

const SOON: Duration = Duration::from_secs(10);

/// A socket that keeps the order of everything it gets.
struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

async fn knock(srv: &TestServer, target: &str, headers: &[(&str, &str)]) -> Result<Socket, Error> {
    let url = format!("{}{target}", srv.client.base().replace("http://", "ws://"));
    let mut request = url.into_client_request().expect("a request");
    for (name, value) in headers {
        let name: hyper::header::HeaderName = name.parse().expect("name");
        request.headers_mut().append(name, value.parse().expect("value"));
    }
    let connecting = tokio_tungstenite::connect_async(request);
    let (stream, _) = tokio::time::timeout(SOON, connecting).await.expect("in time")?;
    Ok(Socket { stream })
}

fn path_of(session: i64, user: &User) -> String {
    format!("/ws/chat/sessions/{session}/?token={}", user.access)
}

/// A socket and its greeting.
async fn greeted(srv: &TestServer, target: &str) -> (Socket, Value) {
    let mut socket = knock(srv, target, &[]).await.expect("upgraded");
    let greeting = socket.next().await;
    assert_eq!(greeting["type"], "connection_established", "{greeting}");
    (socket, greeting)
}

async fn join(srv: &TestServer, session: i64, user: &User) -> Socket {
    greeted(srv, &path_of(session, user)).await.0
}

/// Code of the close and of the `error` frame before it.
async fn refused(srv: &TestServer, target: &str) -> (u16, String) {
    knock(srv, target, &[]).await.expect("upgraded").end().await
}

impl Socket {
    async fn send(&mut self, frame: Value) {
        let text = frame.to_string();
        self.stream.send(Message::text(text)).await.expect("sent");
    }

    async fn say(&mut self, text: &str) {
        self.send(json!({ "type": "chat_message", "content": text }))
            .await;
    }

    /// The next frame.
    async fn next(&mut self) -> Value {
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
    async fn of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The next message of the session.
    async fn message(&mut self) -> Value {
        self.of("chat_message").await["message"].clone()
    }

    async fn silent(&mut self, for_ms: u64) {
        let waiting = tokio::time::timeout(Duration::from_millis(for_ms), self.stream.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
    }

    async fn end(&mut self) -> (u16, String) {
        let mut error = String::new();
        loop {
            match tokio::time::timeout(SOON, self.stream.next())
                .await
                .expect("in time")
            {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    if frame["type"] == "error" {
                        error = frame["code"].as_str().expect("a code").to_owned();
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    let code = close.map_or(1005, |CloseFrame { code, .. }| code.into());
                    return (code, error);
                }
                Some(Ok(_)) => {}
                _ => return (1006, error),
            }
        }
    }
}

fn ended(code: u16, error: &str) -> (u16, String) {
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
