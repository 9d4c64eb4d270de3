//! Why a socket ends: the close codes of the contract ("chat" 4.2), and what is said before.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::frame;
use crate::error::{ApiError, Lang, common};

/// A close code as it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    pub const NORMAL: Self = CloseCode(1000);
    /// The server is shutting down.
    pub const GOING_AWAY: Self = CloseCode(1001);
    /// The peer does not speak the protocol.
    pub const PROTOCOL: Self = CloseCode(1002);
    /// A binary frame.
    pub const UNSUPPORTED: Self = CloseCode(1003);
    pub const INVALID_UTF8: Self = CloseCode(1007);
    pub const TOO_BIG: Self = CloseCode(1009);
    pub const INTERNAL: Self = CloseCode(1011);
    /// Too slow, or the service cannot serve now: come back, with `since`.
    pub const TRY_AGAIN: Self = CloseCode(1013);
    /// Bad room id or parameter.
    pub const BAD_REQUEST: Self = CloseCode(4400);
    /// No, bad or expired token.
    pub const UNAUTHENTICATED: Self = CloseCode(4401);
    /// Not a member, banned, kicked, origin refused.
    pub const FORBIDDEN: Self = CloseCode(4403);
    pub const NOT_FOUND: Self = CloseCode(4404);
    /// Nothing heard from the client.
    pub const HEARTBEAT: Self = CloseCode(4408);
    pub const ROOM_CLOSED: Self = CloseCode(4410);
    /// Too many sockets, or too many frames for too long.
    pub const TOO_MANY: Self = CloseCode(4429);

    /// The code for an error that ends a socket.
    pub fn of(error: &ApiError) -> Self {
        match error.status {
            401 => Self::UNAUTHENTICATED,
            403 => Self::FORBIDDEN,
            404 => Self::NOT_FOUND,
            409 | 410 => Self::ROOM_CLOSED,
            429 => Self::TOO_MANY,
            400..=499 => Self::BAD_REQUEST,
            503 => Self::TRY_AGAIN,
            _ => Self::INTERNAL,
        }
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How a socket ends.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub code: CloseCode,
    /// Told in an `error` frame before the close.
    pub error: Option<ApiError>,
    /// Nothing is sent any more: the peer is gone or does not read.
    pub abort: bool,
}

impl Closing {
    pub fn with(code: CloseCode) -> Self {
        Closing {
            code,
            error: None,
            abort: false,
        }
    }

    pub fn because(error: impl Into<ApiError>) -> Self {
        let error = error.into();
        Closing {
            code: CloseCode::of(&error),
            error: Some(error),
            abort: false,
        }
    }

    /// The connection is no more.
    pub fn gone() -> Self {
        Closing {
            abort: true,
            ..Self::with(CloseCode(1006))
        }
    }
}

/// An `error` frame. `client_id` is that of the frame that failed.
pub(super) fn error_frame(
    error: &ApiError,
    lang: Lang,
    request_id: &str,
    client_id: Option<&Value>,
) -> Bytes {
    let Value::Object(body) = error.body(lang, request_id) else {
        return Bytes::new();
    };
    let mut out = Map::new();
    out.insert("type".into(), "error".into());
    for (name, value) in body {
        match name.as_str() {
            "error" => out.insert("message".into(), value),
            "detail" => None,
            _ => out.insert(name, value),
        };
    }
    if let Some(id) = client_id {
        out.insert("client_id".into(), id.clone());
    }
    frame::json(&out)
}

/// Codes of frames; the rest is shared with HTTP.
pub mod codes {
    crate::codes! {
        /// The `type` of a frame is none of this socket's.
        UNKNOWN_TYPE = 400, "unknown_type", "未知的消息类型", "Unknown message type.";
        /// A WebSocket address was asked for without an upgrade.
        UPGRADE_REQUIRED = 426, "upgrade_required", "请使用WebSocket连接", "Connect with WebSocket.";
        /// The page that opens the socket may not.
        ORIGIN_REFUSED = 403, "origin_refused", "不允许的来源", "This origin is not allowed.";
        /// A user has too many sockets in one room.
        TOO_MANY_SOCKETS = 429, "too_many_sockets", "连接数过多", "Too many connections.";
        /// Nothing was heard from the client.
        HEARTBEAT_TIMEOUT = 408, "heartbeat_timeout", "心跳超时", "Heartbeat timeout.";
        /// The room was closed.
        ROOM_CLOSED = 410, "room_closed", "房间已关闭", "The room is closed.";
    }
}

/// Nothing was heard for too long.
pub(super) fn heartbeat() -> Closing {
    Closing {
        code: CloseCode::HEARTBEAT,
        error: Some(codes::HEARTBEAT_TIMEOUT.into()),
        abort: false,
    }
}

/// The access token ran out.
pub(super) fn expired() -> Closing {
    Closing::because(common::TOKEN_EXPIRED)
}

/// The session or the account ended.
pub(super) fn revoked() -> Closing {
    Closing::because(common::TOKEN_INVALID)
}
