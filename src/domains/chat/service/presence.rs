//! Who is in which room with a socket.

use yunque_kernel::{ChatRoomId, UserId};

use crate::{Chat, frames};

/// Above so many, comings and goings are not told, and reads are told together.
pub(crate) const CROWD: usize = 50;

impl Chat {
    /// Who has a socket open in a room, on any instance.
    pub(crate) async fn online(&self, room: i64) -> Vec<UserId> {
        let topic = frames::room_topic(ChatRoomId(room));
        self.core().presence.online(&topic).await
    }

    /// Whether so many are in a room that each single thing that one of them does is too much.
    pub(crate) fn is_crowded(&self, room: i64) -> bool {
        let topic = frames::room_topic(ChatRoomId(room));
        self.core().presence.count(&topic) > CROWD
    }
}
