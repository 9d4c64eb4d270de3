//! `/ws/chat/{room_id}/` and `/ws/notifications/`.
//!
//! Frames go through the same service methods as requests. Who may read in a room may be here; that
//! is asked again whenever the server says that rights may have changed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::ToJSON;
use serde_json::Map;
use tokio::time::Instant;
use yunque_kernel::error::common;
use yunque_kernel::realtime::Present;
use yunque_kernel::ws::{
    Broadcast, Endpoint, Handled, Handshake, Incoming, Log, Opened, Peer, SharedReads, Tail, Tip, Typing,
    Typists, Upgraded, Ws,
};
use yunque_kernel::{ApiError, ChatMessageId, ChatRoomId, UserId};

use crate::api::ChatTags;
use crate::dto::{self, ChatMessageIn, ChatReadFrame, ChatTypingFrame};
use crate::policy::Standing;
use crate::{Chat, ChatError, frames, repo};

/// How often somebody may say that he comes or goes.
const ANNOUNCED_EVERY: Duration = Duration::from_secs(2);

/// What a connection remembers.
pub struct Seat {
    typing: Typing,
    announced_at: Option<Instant>,
    /// `None` for a platform admin who only looks.
    _present: Option<Present>,
}

/// The sockets of rooms.
pub struct RoomSocket {
    chat: Chat,
    log: Arc<dyn Log>,
    typists: Typists,
}

impl RoomSocket {
    /// Whoever may read in a room that is open.
    async fn enter(&self, peer: &Peer, room: i64) -> Result<Standing, ChatError> {
        let standing = self.chat.reader(&peer.caller, ChatRoomId(room)).await?;
        is_open(&standing)?;
        Ok(standing)
    }

    async fn send(&self, peer: &Peer, room: ChatRoomId, frame: &Incoming) -> Result<Handled, ApiError> {
        peer.require_write()?;
        let input: ChatMessageIn = frame.read()?;
        let outgoing = self.chat.prepare(&peer.caller, room, input).await?;
        let people = outgoing.people.clone();
        let sent = self.chat.begin_send(outgoing).await?;
        let told = async move {
            let delivered = sent.await?;
            // A new one comes back to its sender as to everybody.
            Ok((!delivered.is_new).then(|| frames::again(&delivered.row, &people)))
        };
        Ok(Handled::Begun(told.boxed()))
    }

    async fn typing(&self, peer: &Peer, room: i64, typing: &Typing, is_typing: bool) -> Result<(), ApiError> {
        let was_told = typing.is_told();
        if !typing.set(is_typing) {
            return Ok(());
        }
        if is_typing && let Err(error) = self.may_speak(peer, room).await {
            typing.take_back();
            if was_told {
                self.tell_typing(peer, room, false);
            }
            return Err(error.into());
        }
        self.tell_typing(peer, room, is_typing);
        Ok(())
    }

    async fn may_speak(&self, peer: &Peer, room: i64) -> Result<(), ChatError> {
        let standing = self.chat.standing(&peer.caller, ChatRoomId(room)).await?;
        standing.speak(self.chat.now()).map(drop)
    }

    fn tell_typing(&self, peer: &Peer, room: i64, is_typing: bool) {
        self.publish(room, frames::typing(&peer.caller, is_typing));
    }

    fn publish(&self, room: i64, frame: bytes::Bytes) {
        let topic = frames::room_topic(ChatRoomId(room));
        self.chat.ctx().realtime.publish(&topic, frame);
    }

    /// One more connection of a member; the others hear of his first one, unless they are many.
    async fn present(&self, peer: &Peer, room: i64) -> Present {
        let user = peer.caller.user_id;
        let topic = frames::room_topic(ChatRoomId(room));
        let (chat, username) = (self.chat.clone(), peer.caller.username.clone());
        let tell = move |is_here: bool| {
            if chat.settings().presence_broadcast && !chat.is_crowded(room) {
                let topic = frames::room_topic(ChatRoomId(room));
                let frame = frames::presence(user, &username, is_here);
                chat.ctx().realtime.publish(&topic, frame);
            }
        };
        let left = tell.clone();
        let presence = &self.chat.core().presence;
        let (present, is_first) = presence.enter(&topic, user, move || left(false)).await;
        if is_first {
            tell(true);
        }
        present
    }
}

fn is_open(standing: &Standing) -> Result<(), ChatError> {
    if standing.room.is_active {
        Ok(())
    } else {
        Err(ChatError::RoomInactive)
    }
}

#[async_trait]
impl Endpoint for RoomSocket {
    type Seat = Seat;

    const NAME: &'static str = "chat_room";

    fn topic(&self, room: i64) -> String {
        frames::room_topic(ChatRoomId(room))
    }

    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    async fn open(&self, peer: &Peer, room: i64) -> Result<Opened<Seat>, ApiError> {
        let standing = self.enter(peer, room).await?;
        let mut greeting = Map::new();
        let shown = dto::room_name(&standing.room).to_json().unwrap_or_default();
        greeting.insert("room".to_owned(), shown);
        let present = match standing.member() {
            Some(_) => Some(self.present(peer, room).await),
            None => None,
        };
        Ok(Opened {
            seat: Seat {
                typing: self.typists.join(room, peer.caller.user_id),
                announced_at: None,
                _present: present,
            },
            greeting,
            tip: Tip {
                position: standing.room.head_id,
                changes: standing.room.changes,
            },
        })
    }

    async fn recheck(&self, peer: &Peer, room: i64, _seat: &mut Seat) -> Result<(), ApiError> {
        // That he reads was recorded when he came.
        let standing = self.chat.standing(&peer.caller, ChatRoomId(room)).await?;
        standing.read()?;
        Ok(is_open(&standing)?)
    }

    async fn on_frame(
        &self,
        peer: &Peer,
        room: i64,
        seat: &mut Seat,
        frame: Incoming,
    ) -> Result<Handled, ApiError> {
        match frame.kind.as_str() {
            "chat_message" => return self.send(peer, ChatRoomId(room), &frame).await,
            "typing" => {
                peer.require_write()?;
                let input: ChatTypingFrame = frame.read()?;
                self.typing(peer, room, &seat.typing, input.is_typing).await?;
            }
            kind @ ("user_join" | "user_leave") => {
                peer.require_write()?;
                let now = Instant::now();
                if seat.announced_at.is_some_and(|at| now < at + ANNOUNCED_EVERY) {
                    return Err(common::THROTTLED.into());
                }
                seat.announced_at = Some(now);
                self.publish(room, frames::announced(&peer.caller, kind == "user_join"));
            }
            "read" => {
                peer.require_write()?;
                let input: ChatReadFrame = frame.read()?;
                let message = ChatMessageId(input.message_id);
                self.chat.mark_read(&peer.caller, message).await?;
            }
            _ => return Err(frame.unknown()),
        }
        Ok(Handled::Done(None))
    }

    /// A sender's messages share transactions.
    fn overlaps(&self, kind: &str) -> bool {
        kind == "chat_message"
    }

    fn alarm(&self, seat: &Seat) -> Option<Instant> {
        seat.typing.alarm()
    }

    async fn on_alarm(&self, peer: &Peer, room: i64, seat: &mut Seat) {
        let Some(is_typing) = seat.typing.ring() else {
            return;
        };
        if is_typing && self.may_speak(peer, room).await.is_err() {
            seat.typing.take_back();
            return;
        }
        self.tell_typing(peer, room, is_typing);
    }

    async fn on_close(&self, peer: &Peer, room: i64, seat: Seat) {
        if seat.typing.set(false) {
            self.tell_typing(peer, room, false);
        }
    }
}

/// The stored messages of all rooms. A position is the id of a message.
struct Messages(Chat);

#[async_trait]
impl Log for Messages {
    async fn read(&self, room: i64, after: i64, limit: u64) -> Result<Vec<Broadcast>, ApiError> {
        Ok(self.0.messages_after(room, after, limit).await?)
    }

    async fn tail(&self, room: i64, after: i64, upto: i64, most: u64) -> Result<Tail, ApiError> {
        let reader = self.0.ctx().db.reader();
        let before = repo::find_before_newest(reader, room, after, upto, most)
            .await
            .map_err(ChatError::from)?;
        Ok(Tail {
            from: before.unwrap_or(after),
            truncated: before.is_some(),
        })
    }

    async fn changed(&self, room: i64, within: Duration) -> Result<Vec<Broadcast>, ApiError> {
        Ok(self.0.messages_changed(room, within).await?)
    }

    async fn tips(&self, rooms: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError> {
        let tips = repo::list_tips(self.0.ctx().db.reader(), rooms).await;
        let tips = tips.map_err(ChatError::from)?;
        let tip = |(id, position, changes)| (id, Tip { position, changes });
        Ok(tips.into_iter().map(tip).collect())
    }
}

/// The sockets on which users hear of their notifications. The room is the user.
pub struct NotificationSocket {
    chat: Chat,
    log: Arc<dyn Log>,
}

#[async_trait]
impl Endpoint for NotificationSocket {
    type Seat = ();

    const NAME: &'static str = "notifications";

    fn topic(&self, room: i64) -> String {
        frames::user_topic(UserId(room))
    }

    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    async fn open(&self, peer: &Peer, _room: i64) -> Result<Opened<()>, ApiError> {
        self.chat.admit(&peer.caller).await?;
        let unread = self.chat.count_unread_notifications(&peer.caller).await?;
        let mut greeting = Map::new();
        greeting.insert("unread_count".to_owned(), unread.into());
        Ok(Opened {
            seat: (),
            greeting,
            tip: Tip::default(),
        })
    }

    async fn recheck(&self, peer: &Peer, _room: i64, _seat: &mut ()) -> Result<(), ApiError> {
        Ok(self.chat.admit(&peer.caller).await?)
    }

    async fn on_frame(
        &self,
        _peer: &Peer,
        _room: i64,
        _seat: &mut (),
        frame: Incoming,
    ) -> Result<Handled, ApiError> {
        Err(frame.unknown())
    }
}

/// Notifications are not replayed: the list of them is there.
struct Nothing;

#[async_trait]
impl Log for Nothing {
    async fn read(&self, _room: i64, _after: i64, _limit: u64) -> Result<Vec<Broadcast>, ApiError> {
        Ok(Vec::new())
    }

    async fn tail(&self, _room: i64, after: i64, _upto: i64, _most: u64) -> Result<Tail, ApiError> {
        Ok(Tail {
            from: after,
            truncated: false,
        })
    }

    async fn tips(&self, _rooms: &[i64]) -> Result<Vec<(i64, Tip)>, ApiError> {
        Ok(Vec::new())
    }
}

impl Chat {
    /// The sockets of this domain.
    pub fn sockets(&self, ws: &Ws) -> impl OpenApi + use<> {
        SocketApi {
            ws: ws.clone(),
            rooms: Arc::new(RoomSocket {
                chat: self.clone(),
                log: Arc::new(SharedReads::of(Messages(self.clone()))),
                typists: Typists::default(),
            }),
            notifications: Arc::new(NotificationSocket {
                chat: self.clone(),
                log: Arc::new(Nothing),
            }),
        }
    }
}

struct SocketApi {
    ws: Ws,
    rooms: Arc<RoomSocket>,
    notifications: Arc<NotificationSocket>,
}

#[OpenApi(prefix_path = "/ws", tag = "ChatTags::Chat")]
impl SocketApi {
    /// Opens a WebSocket to a room.
    ///
    /// For members. The token stands in `?token=`, in `Authorization`, or in
    /// `Sec-WebSocket-Protocol: bearer, <token>`; an API key in `X-API-Key`. With `since` every message
    /// with a larger id comes first, then `resume_complete`. Frames are JSON text of at most 64 KiB;
    /// `/asyncapi.json` describes them. Refusals come over the socket: an `error` frame and the close
    /// code 4400, 4401, 4403, 4404, 4410 or 4429.
    /// Errors: 426 `upgrade_required`, 503.
    #[oai(path = "/chat/:room_id", method = "get", operation_id = "open_chat_socket")]
    async fn room(
        &self,
        handshake: Handshake,
        /// Id of the room.
        room_id: Path<String>,
        /// Access token.
        #[oai(name = "token")]
        _token: Query<Option<String>>,
        /// Id of the last message that the client has; 0 for all.
        #[oai(name = "since")]
        _since: Query<Option<String>>,
    ) -> Result<Upgraded, ApiError> {
        handshake.open(&self.ws, &self.rooms, &room_id.0).await
    }

    /// Opens a WebSocket on which the caller hears of new notifications.
    ///
    /// Credentials, heartbeat and close codes are those of `/ws/chat/{room_id}/`.
    /// Errors: 426 `upgrade_required`, 503.
    #[oai(
        path = "/notifications",
        method = "get",
        operation_id = "open_notification_socket"
    )]
    async fn notifications(
        &self,
        handshake: Handshake,
        /// Access token.
        #[oai(name = "token")]
        _token: Query<Option<String>>,
    ) -> Result<Upgraded, ApiError> {
        handshake.open_own(&self.ws, &self.notifications).await
    }
}
