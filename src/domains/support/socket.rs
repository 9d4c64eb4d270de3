//! `/ws/chat/sessions/{id}/`: a support session, live.
//!
//! Frames go through the same service methods as requests. Whoever may take part in the session may
//! be here; that is asked again after every system message, since it may tell of another agent.

use std::sync::Arc;

use async_trait::async_trait;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::ToJSON;
use serde_json::Map;
use tokio::time::Instant;
use yunque_kernel::http::Bucket;
use yunque_kernel::ws::{
    Broadcast, Endpoint, Handled, Handshake, Incoming, Log, Opened, Peer, Tail, Tip, Typing, Typists,
    Upgraded, Ws,
};
use yunque_kernel::{ApiError, SupportSessionId};

use crate::api::SupportTags;
use crate::dto::{self, SupportMessageIn, SupportReadFrame, SupportSocketSessionOut, SupportTypingFrame};
use crate::entity::message;
use crate::kinds::ContentType;
use crate::repo::{self, Cursor};
use crate::{Support, SupportError, frames};

/// What a connection remembers.
#[derive(Debug)]
pub struct Seat {
    typing: Typing,
}

/// The sockets of support sessions.
pub struct SupportSocket {
    support: Support,
    log: Arc<dyn Log>,
    typists: Typists,
}

impl SupportSocket {
    fn new(support: Support) -> Self {
        SupportSocket {
            log: Arc::new(Messages(support.clone())),
            support,
            typists: Typists::default(),
        }
    }

    async fn send(&self, peer: &Peer, id: SupportSessionId, frame: &Incoming) -> Result<(), ApiError> {
        peer.require_write()?;
        self.support
            .limits()
            .quick(Bucket::ChatSend, peer.caller.user_id)?;
        let input: SupportMessageIn = frame.read()?;
        if input.content_type == Some(ContentType::Image) {
            return Err(SupportError::ImageRequired.into());
        }
        let text = input.content.ok_or(SupportError::EmptyContent)?.into_valid()?;
        self.support.send_text(&peer.caller, id, text).await?;
        Ok(())
    }

    fn tell_typing(&self, peer: &Peer, room: i64, is_typing: bool) {
        let topic = frames::topic(SupportSessionId(room));
        let frame = frames::typing(&peer.caller, is_typing);
        self.support.hub().publish(&topic, frame);
    }
}

#[async_trait]
impl Endpoint for SupportSocket {
    type Seat = Seat;

    const NAME: &'static str = "support_session";

    fn topic(&self, room: i64) -> String {
        frames::topic(SupportSessionId(room))
    }

    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    async fn open(&self, peer: &Peer, room: i64) -> Result<Opened<Seat>, ApiError> {
        let id = SupportSessionId(room);
        let joined = self.support.can_join(id, &peer.caller).await?;
        let mut greeting = Map::new();
        let session = SupportSocketSessionOut {
            id: joined.session.0,
            is_active: joined.is_active,
        };
        greeting.insert("session".to_owned(), session.to_json().unwrap_or_default());
        Ok(Opened {
            seat: Seat {
                typing: self.typists.join(room, peer.caller.user_id),
            },
            greeting,
            tip: tip(joined.last_message_id),
        })
    }

    async fn recheck(&self, peer: &Peer, room: i64, _seat: &mut Seat) -> Result<(), ApiError> {
        self.support
            .can_join(SupportSessionId(room), &peer.caller)
            .await?;
        Ok(())
    }

    async fn on_frame(
        &self,
        peer: &Peer,
        room: i64,
        seat: &mut Seat,
        frame: Incoming,
    ) -> Result<Handled, ApiError> {
        let id = SupportSessionId(room);
        match frame.kind.as_str() {
            "chat_message" => self.send(peer, id, &frame).await?,
            "typing" => {
                peer.require_write()?;
                let input: SupportTypingFrame = frame.read()?;
                if seat.typing.set(input.is_typing) {
                    self.tell_typing(peer, room, input.is_typing);
                }
            }
            "read" => {
                peer.require_write()?;
                let input: SupportReadFrame = frame.read()?;
                self.support
                    .mark_read(&peer.caller, id, Some(input.message_id))
                    .await?;
            }
            _ => return Err(frame.unknown()),
        }
        Ok(Handled::Done(None))
    }

    fn alarm(&self, seat: &Seat) -> Option<Instant> {
        seat.typing.alarm()
    }

    async fn on_alarm(&self, peer: &Peer, room: i64, seat: &mut Seat) {
        if let Some(is_typing) = seat.typing.ring() {
            self.tell_typing(peer, room, is_typing);
        }
    }

    async fn on_close(&self, peer: &Peer, room: i64, seat: Seat) {
        if seat.typing.set(false) {
            self.tell_typing(peer, room, false);
        }
    }
}

/// Nothing changes in a session without a message.
fn tip(last: i64) -> Tip {
    Tip {
        position: last,
        changes: 0,
    }
}

/// The stored messages of all sessions.
struct Messages(Support);

#[async_trait]
impl Log for Messages {
    async fn read(&self, room: i64, after: i64, limit: u64) -> Result<Vec<Broadcast>, ApiError> {
        Ok(self.0.messages_after(room, after, limit).await?)
    }

    async fn tail(&self, room: i64, after: i64, upto: i64, most: u64) -> Result<Tail, ApiError> {
        let reader = self.0.0.ctx.db.reader();
        let before = repo::find_before_newest(reader, room, after, upto, most)
            .await
            .map_err(SupportError::from)?;
        Ok(Tail {
            from: before.unwrap_or(after),
            truncated: before.is_some(),
        })
    }

    async fn tips(&self, rooms: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError> {
        let reader = self.0.0.ctx.db.reader();
        let last = repo::list_last_messages(reader, rooms).await;
        let last = last.map_err(SupportError::from)?;
        Ok(last.into_iter().map(|(id, last)| (id, tip(last))).collect())
    }
}

impl Support {
    async fn messages_after(
        &self,
        session: i64,
        after: i64,
        limit: u64,
    ) -> Result<Vec<Broadcast>, SupportError> {
        let cursor = Cursor {
            after: Some(after),
            before: None,
            limit,
        };
        let (rows, _) = repo::list_messages(self.0.ctx.db.reader(), session, cursor).await?;
        let senders: Vec<_> = rows.iter().map(message::Model::sender).collect();
        let people = self.0.accounts.briefs(&senders).await?;
        let shown = rows
            .iter()
            .map(|row| frames::stored(&dto::message(row, &people, &self.0.ctx.public_base_url), None));
        Ok(shown.collect())
    }

    fn hub(&self) -> &yunque_kernel::realtime::Hub {
        &self.0.ctx.realtime
    }

    /// The sockets of this domain.
    pub fn sockets(&self, ws: &Ws) -> impl OpenApi + use<> {
        SocketApi {
            ws: ws.clone(),
            endpoint: Arc::new(SupportSocket::new(self.clone())),
        }
    }
}

struct SocketApi {
    ws: Ws,
    endpoint: Arc<SupportSocket>,
}

#[OpenApi(prefix_path = "/ws/chat/sessions", tag = "SupportTags::Support")]
impl SocketApi {
    /// Opens a WebSocket to a session.
    ///
    /// For participants. The token stands in `?token=`, in `Authorization`, or in
    /// `Sec-WebSocket-Protocol: bearer, <token>`; an API key in `X-API-Key`. With `since` every message
    /// with a larger id comes first, then `resume_complete`. Frames are JSON text of at most 64 KiB;
    /// `/asyncapi.json` describes them. Refusals come over the socket: an `error` frame and the close
    /// code 4400, 4401, 4403, 4404 or 4429.
    /// Errors: 426 `upgrade_required`, 503.
    #[oai(path = "/:id", method = "get", operation_id = "open_support_socket")]
    async fn open(
        &self,
        handshake: Handshake,
        /// Id of the session.
        id: Path<String>,
        /// Access token.
        #[oai(name = "token")]
        _token: Query<Option<String>>,
        /// Id of the last message that the client has; 0 for all.
        #[oai(name = "since")]
        _since: Query<Option<String>>,
    ) -> Result<Upgraded, ApiError> {
        handshake.open(&self.ws, &self.endpoint, &id.0).await
    }
}
