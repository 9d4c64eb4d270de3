//! The frames of the layer itself, as they are published and sent. Domains put them into the unions
//! of what their sockets take and send.

use poem_openapi::Object;
use poem_openapi::types::ToJSON;
use serde_json::Value;

/// Asks for a `pong`.
#[derive(Clone, Debug, Object)]
pub struct PingFrame {}

/// Goes on with a new access token of the same user.
#[derive(Clone, Debug, Object)]
pub struct AuthFrame {
    /// Access token.
    pub token: String,
}

/// The answer to `ping`.
#[derive(Clone, Debug, Object)]
pub struct PongFrame {
    /// RFC 3339, UTC.
    pub ts: String,
}

/// The answer to `auth`.
#[derive(Clone, Debug, Object)]
pub struct AuthOkFrame {
    /// RFC 3339, UTC; null when the token has no end.
    pub expires_at: Option<String>,
}

/// Something that could not be done. The socket goes on unless a close frame follows.
#[derive(Clone, Debug, Object)]
pub struct ErrorFrame {
    /// For people, in the language of the handshake.
    pub message: String,
    /// For programs.
    pub code: String,
    /// Of the frame that failed, if it had one.
    pub client_id: Option<String>,
}

/// Everything that was asked for by `since` has been sent; what follows is live.
#[derive(Clone, Debug, Object)]
pub struct ResumeCompleteFrame {
    /// Id from which on messages were asked for.
    pub from: i64,
    /// Id of the last message that was sent again.
    pub to: i64,
    /// How many were sent again.
    pub count: u64,
    /// There were more than are sent again; the list of messages has the rest.
    pub truncated: bool,
}

/// Who is on the other side, or on this one.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct SocketUserOut {
    pub id: i64,
    pub username: String,
}

/// An arm of a union of frames, with its `type` in front, so that clients need not look at the whole
/// frame to see what it is.
pub fn frame_of(union: &impl ToJSON) -> Value {
    let mut value = union.to_json().unwrap_or_default();
    if let Value::Object(map) = &mut value
        && let Some(kind) = map.shift_remove("type")
    {
        map.shift_insert(0, "type".to_owned(), kind);
    }
    value
}

/// A frame with its `type` in front.
pub(super) fn tagged(kind: &str, frame: &impl ToJSON) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("type".into(), kind.into());
    if let Some(Value::Object(body)) = frame.to_json() {
        out.extend(body);
    }
    Value::Object(out)
}
