//! What a domain publishes to the sockets of a room.
//!
//! The bytes on the hub are a fixed head and then the finished WebSocket frame, so a receiving
//! instance hands the very bytes it got to every socket: a message is serialized once, wherever it
//! is read.
//!
//! A message that is stored has a **position**, which grows inside its room in the order of commits,
//! and usually names the position before it. A room whose own position is not reached by that one
//! knows that something is missing and reads it from the database.
//!
//! What no stored message tells and nobody may miss (a message is edited, somebody may not be here
//! any more) is a **change**. Changes are numbered inside their room: 1, 2, 3 …

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::close::CloseCode;
use super::frame;
use crate::ids::UserId;

const VERSION: u8 = 2;
const HEAD: usize = 44;

const DROPPABLE: u8 = 1;
const RECHECK: u8 = 2;
const STORED: u8 = 4;
const CHAINED: u8 = 8;

/// One frame for a room, and who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    pub(super) position: Option<i64>,
    /// The position that comes before this.
    pub(super) previous: Option<i64>,
    /// Which change of the room this is.
    pub(super) change: Option<i64>,
    pub(super) droppable: bool,
    pub(super) recheck: bool,
    pub(super) close: Option<CloseCode>,
    pub(super) except: Option<UserId>,
    pub(super) only: Option<UserId>,
    /// Ready to be written; empty for a message without a frame.
    pub(super) frame: Bytes,
}

impl Broadcast {
    fn new(frame: Bytes) -> Self {
        Broadcast {
            position: None,
            previous: None,
            change: None,
            droppable: false,
            recheck: false,
            close: None,
            except: None,
            only: None,
            frame,
        }
    }

    /// A frame that is delivered in the order of publishing, once, to whoever is there.
    pub fn event(json: &impl Serialize) -> Self {
        Self::new(frame::json(json))
    }

    /// A frame of a stored row. `previous` is the position that was the room's last one before this
    /// row; without it every instance reads the row back.
    pub fn stored(position: i64, previous: Option<i64>, json: &impl Serialize) -> Self {
        Broadcast {
            position: Some(position),
            previous,
            ..Self::new(frame::json(json))
        }
    }

    /// For what says something about the stored message at a position: not handed out before that.
    /// Only changes wait for it.
    pub fn about(mut self, position: i64) -> Self {
        self.previous = Some(position);
        self
    }

    /// The change of the room with this number: not handed out before the change before it.
    pub fn as_change(mut self, number: i64) -> Self {
        self.change = Some(number);
        self
    }

    /// No frame; for [`Broadcast::then_recheck`] and [`Broadcast::then_close`].
    pub fn silent() -> Self {
        Self::new(Bytes::new())
    }

    /// Typing, presence: left out for clients that have fallen behind.
    pub fn droppable(mut self) -> Self {
        self.droppable = true;
        self
    }

    /// Not for this user's connections.
    pub fn except(mut self, user: UserId) -> Self {
        self.except = Some(user);
        self
    }

    /// Only for this user's connections.
    pub fn only(mut self, user: UserId) -> Self {
        self.only = Some(user);
        self
    }

    /// Everybody who gets this is asked again whether he may be here.
    pub fn then_recheck(mut self) -> Self {
        self.recheck = true;
        self
    }

    /// Everybody who gets this is closed after it.
    pub fn then_close(mut self, code: CloseCode) -> Self {
        self.close = Some(code);
        self
    }

    /// What is given to [`crate::realtime::Hub::publish`].
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD + self.frame.len());
        let mut flags = 0;
        for (is_set, flag) in [
            (self.droppable, DROPPABLE),
            (self.recheck, RECHECK),
            (self.position.is_some(), STORED),
            (self.previous.is_some(), CHAINED),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        out.put_u8(VERSION);
        out.put_u8(flags);
        out.put_u16(self.close.map_or(0, |c| c.0));
        out.put_i64(self.position.unwrap_or(0));
        out.put_i64(self.previous.unwrap_or(0));
        out.put_i64(self.change.unwrap_or(0));
        out.put_i64(self.except.map_or(0, |u| u.0));
        out.put_i64(self.only.map_or(0, |u| u.0));
        out.put_slice(&self.frame);
        out.freeze()
    }

    /// `None` for what another version wrote. The frame is a slice of `bytes`.
    pub(super) fn decode(bytes: &Bytes) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        let (flags, at) = (head[1], |i: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&head[i..i + 8]);
            i64::from_be_bytes(raw)
        });
        let user = |id: i64| (id != 0).then_some(UserId(id));
        let close = u16::from_be_bytes([head[2], head[3]]);
        (head[0] == VERSION).then(|| Broadcast {
            position: (flags & STORED != 0).then(|| at(4)),
            previous: (flags & CHAINED != 0).then(|| at(12)),
            change: Some(at(20)).filter(|number| *number != 0),
            droppable: flags & DROPPABLE != 0,
            recheck: flags & RECHECK != 0,
            close: (close != 0).then_some(CloseCode(close)),
            except: user(at(28)),
            only: user(at(36)),
            frame: bytes.slice(HEAD..),
        })
    }

    pub(super) fn concerns(&self, user: UserId) -> bool {
        self.except != Some(user) && self.only.is_none_or(|only| only == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_arrives_without_a_copy() {
        let all = [
            Broadcast::event(&serde_json::json!({ "type": "typing" }))
                .droppable()
                .except(UserId(7)),
            Broadcast::stored(9, Some(4), &serde_json::json!({ "text": "名".repeat(500) })),
            Broadcast::stored(i64::MAX, None, &"x".repeat(70_000)),
            Broadcast::silent().only(UserId(3)).then_recheck(),
            Broadcast::event(&"edited").about(9).as_change(5),
            Broadcast::silent().then_close(CloseCode::ROOM_CLOSED),
        ];
        for broadcast in all {
            let bytes = broadcast.encode();
            let back = Broadcast::decode(&bytes).expect("our version");
            assert_eq!(back, broadcast);
            assert_eq!(back.frame.as_ptr(), bytes[HEAD..].as_ptr());
        }
        assert_eq!(Broadcast::decode(&Bytes::from_static(b"{\"type\":1}")), None);
        assert_eq!(Broadcast::decode(&Bytes::from(vec![9; 80])), None);
    }

    #[test]
    fn frames_go_to_whom_they_concern() {
        let plain = Broadcast::silent();
        assert!(plain.concerns(UserId(1)));
        assert!(!plain.clone().except(UserId(1)).concerns(UserId(1)));
        assert!(plain.clone().only(UserId(1)).concerns(UserId(1)));
        assert!(!plain.only(UserId(1)).concerns(UserId(2)));
    }
}
