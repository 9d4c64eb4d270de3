//! What a domain says about its sockets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use poem_openapi::types::ParseFromJSON;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::broadcast::Broadcast;
use crate::auth::Caller;
use crate::error::{ApiError, Lang, common};
use crate::http::body::from_json;

/// Who is on the other side of a socket.
#[derive(Clone, Debug)]
pub struct Peer {
    pub caller: Caller,
    /// Of the handshake; for texts in frames.
    pub lang: Lang,
    pub request_id: Arc<str>,
    /// Unique in this process.
    pub connection: u64,
    /// The module that a key needs a scope of.
    pub(super) scope: Option<&'static str>,
    pub(super) may_write: bool,
}

impl Peer {
    /// Takes over the caller as the credential has it now.
    ///
    /// # Errors
    /// 403 when a key may not even read here.
    pub(super) fn set_caller(&mut self, caller: Caller) -> Result<(), ApiError> {
        let allows = |write| {
            let key = caller.key.as_ref();
            key.is_none_or(|key| key.scopes.allow(self.scope, write))
        };
        if !allows(false) {
            return Err(common::INSUFFICIENT_SCOPE.into());
        }
        self.may_write = allows(true);
        self.caller = caller;
        Ok(())
    }

    /// # Errors
    /// 403 `insufficient_scope` for an API key that may only read.
    pub fn require_write(&self) -> Result<(), ApiError> {
        if self.may_write {
            Ok(())
        } else {
            Err(common::INSUFFICIENT_SCOPE.into())
        }
    }
}

/// A frame of the client: a JSON object with a `type`.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The `type`.
    pub kind: String,
    pub body: Map<String, Value>,
    pub(super) text: String,
}

impl Incoming {
    /// The frame as a type with a published schema; unknown members are ignored.
    ///
    /// # Errors
    /// 400 with every faulty member.
    pub fn read<T: ParseFromJSON + 'static>(&self) -> Result<T, ApiError> {
        from_json(self.text.as_bytes())
    }

    /// 400 `unknown_type`.
    pub fn unknown(&self) -> ApiError {
        super::codes::UNKNOWN_TYPE.into()
    }
}

/// What comes of a frame.
pub enum Handled {
    /// It is done. The answer, if any, goes to this socket only.
    Done(Option<Value>),
    /// It has its place in the order and is done by somebody else; the next frame need not wait for that. The
    /// future only tells what came of it, and only the oldest of a socket is asked.
    Begun(BoxFuture<'static, Result<Option<Value>, ApiError>>),
}

/// What a socket gets that may be there.
#[derive(Debug)]
pub struct Opened<S> {
    /// Kept between frames.
    pub seat: S,
    /// Further members of `connection_established`.
    pub greeting: Map<String, Value>,
    /// How far the room was that the check saw.
    pub tip: Tip,
}

/// How far a room is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// Of the newest stored message, 0 for none.
    pub position: i64,
    /// How many changes there were.
    pub changes: i64,
}

/// The stored messages of all rooms of a kind. Positions are positive and grow inside a room in the
/// order of commits.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// At most `limit` messages after a position, ascending; made by [`Broadcast::stored`], whose
    /// `previous` is not needed here.
    async fn read(&self, room: i64, after: i64, limit: u64) -> Result<Vec<Broadcast>, ApiError>;

    /// Where the newest `most` messages of (`after`, `upto`] begin.
    async fn tail(&self, room: i64, after: i64, upto: i64, most: u64) -> Result<Tail, ApiError>;

    /// How messages are now that were changed within the last so-and-so long, for those who missed a
    /// change; made by [`Broadcast::event`] and
    /// [`Broadcast::about`]. One that was not missed may be among them.
    async fn changed(&self, _room: i64, _within: Duration) -> Result<Vec<Broadcast>, ApiError> {
        Ok(Vec::new())
    }

    /// How far each room is, in one query. Rooms that were never written to may be left out; one that
    /// is left out although it had messages is gone, and those in it are asked again.
    async fn tips(&self, rooms: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError>;
}

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The replay is of what comes after this position.
    pub from: i64,
    /// There were more than that.
    pub truncated: bool,
}

/// One kind of socket. Its frames go through the same service methods as HTTP.
///
/// An error of [`Endpoint::open`] and [`Endpoint::recheck`] ends the socket with the close code of
/// its status; one of [`Endpoint::on_frame`] is answered with an `error` frame, and the socket goes
/// on.
#[async_trait]
pub trait Endpoint: Send + Sync + 'static {
    /// What a connection remembers between frames.
    type Seat: Send + 'static;

    /// For metrics and logs: `support_session`.
    const NAME: &'static str;

    /// The topic on the hub.
    fn topic(&self, room: i64) -> String;

    /// Where a room's stored messages are.
    fn log(&self) -> Arc<dyn Log>;

    /// May this caller be in this room?
    async fn open(&self, peer: &Peer, room: i64) -> Result<Opened<Self::Seat>, ApiError>;

    /// The same later, when rights may have changed; `peer` has the new ones.
    async fn recheck(&self, peer: &Peer, room: i64, seat: &mut Self::Seat) -> Result<(), ApiError>;

    /// A frame that is not the layer's own (`ping`, `auth`). Clients are told what came of their frames in the
    /// order of these.
    async fn on_frame(
        &self,
        peer: &Peer,
        room: i64,
        seat: &mut Self::Seat,
        frame: Incoming,
    ) -> Result<Handled, ApiError>;

    /// May a frame of this type begin while frames before it are not done yet? Every other frame waits for them.
    fn overlaps(&self, _kind: &str) -> bool {
        false
    }

    /// When [`Endpoint::on_alarm`] is wanted; to the second.
    fn alarm(&self, _seat: &Self::Seat) -> Option<Instant> {
        None
    }

    async fn on_alarm(&self, _peer: &Peer, _room: i64, _seat: &mut Self::Seat) {}

    /// The socket has ended.
    async fn on_close(&self, _peer: &Peer, _room: i64, _seat: Self::Seat) {}
}
