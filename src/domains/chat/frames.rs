//! What sockets are sent, made once for all of them. Frames are published after the commit of what
//! they tell; a socket that missed a message finds it in the database.

use bytes::Bytes;
use serde_json::Value;
use yunque_kernel::auth::Caller;
use yunque_kernel::ws::{Broadcast, CloseCode, SocketUserOut, frame_of};
use yunque_kernel::{ChatRoomId, UserId};

use crate::dto::{
    self, ChatCameFrame, ChatDeletedFrame, ChatEditedFrame, ChatMemberFrame, ChatMemberOut, ChatNameOut,
    ChatNotificationFrame, ChatNotificationOut, ChatReadByFrame, ChatReaderOut, ChatReadsFrame,
    ChatRoomFrame, ChatRoomOut, ChatSaidFrame, ChatServerFrame, ChatTypesFrame, ChatWentFrame,
    NotificationServerFrame, People,
};
use crate::entity::message;

/// The topic that the sockets of a room listen to.
pub fn room_topic(room: ChatRoomId) -> String {
    format!("chat:room:{room}")
}

/// The topic that the notification sockets of a user listen to.
pub fn user_topic(user: UserId) -> String {
    format!("chat:user:{user}")
}

fn event(frame: &ChatServerFrame) -> Broadcast {
    Broadcast::event(&frame_of(frame))
}

fn said(row: &message::Model, people: &People) -> Value {
    frame_of(&ChatServerFrame::Said(ChatSaidFrame {
        message: dto::message_frame(row, people),
    }))
}

/// A stored message. `previous`: the newest message of the room before this one.
pub(crate) fn stored(row: &message::Model, previous: Option<i64>, people: &People) -> Broadcast {
    Broadcast::stored(row.id, previous, &said(row, people))
}

/// The same for one socket only, which has sent it once before.
pub(crate) fn again(row: &message::Model, people: &People) -> Value {
    said(row, people)
}

pub(crate) fn edited(row: &message::Model, people: &People) -> Broadcast {
    let message = dto::message_frame(row, people);
    event(&ChatServerFrame::Edited(ChatEditedFrame { message })).about(row.id)
}

pub(crate) fn deleted(row: &message::Model, people: &People) -> Broadcast {
    let message = dto::message_frame(row, people);
    event(&ChatServerFrame::Deleted(ChatDeletedFrame { message })).about(row.id)
}

fn user(id: UserId, username: &str) -> SocketUserOut {
    SocketUserOut {
        id: id.0,
        username: username.to_owned(),
    }
}

/// Somebody types, or has stopped.
pub(crate) fn typing(caller: &Caller, is_typing: bool) -> Bytes {
    let user = user(caller.user_id, &caller.username);
    let frame = ChatServerFrame::Types(ChatTypesFrame { user, is_typing });
    event(&frame).droppable().encode()
}

fn moved(user: SocketUserOut, is_here: bool) -> Broadcast {
    let frame = match is_here {
        true => ChatServerFrame::Came(ChatCameFrame { user }),
        false => ChatServerFrame::Went(ChatWentFrame { user }),
    };
    event(&frame).droppable()
}

/// Somebody says that he comes or goes; everybody hears it.
pub(crate) fn announced(caller: &Caller, is_here: bool) -> Bytes {
    moved(user(caller.user_id, &caller.username), is_here).encode()
}

/// Somebody came online or went; the others hear it.
pub(crate) fn presence(id: UserId, username: &str, is_here: bool) -> Bytes {
    moved(user(id, username), is_here).except(id).encode()
}

/// Somebody marked a message as read.
pub(crate) fn message_read(reader: &ChatNameOut, message: i64, read_at: &str) -> Bytes {
    let frame = ChatServerFrame::ReadBy(ChatReadByFrame {
        message_id: message,
        user: reader.clone(),
        read_at: read_at.to_owned(),
    });
    event(&frame).droppable().encode()
}

/// What was read within a second, where many are online.
pub(crate) fn messages_read(reads: Vec<ChatReaderOut>) -> Bytes {
    event(&ChatServerFrame::Reads(ChatReadsFrame { reads }))
        .droppable()
        .encode()
}

/// A member's role, mute or ban changed.
pub(crate) fn member_updated(member: &ChatMemberOut) -> Bytes {
    let member = member.clone();
    event(&ChatServerFrame::Member(ChatMemberFrame { member })).encode()
}

pub(crate) fn room_updated(room: &ChatRoomOut) -> Bytes {
    let room = room.clone();
    event(&ChatServerFrame::Room(ChatRoomFrame { room })).encode()
}

/// Asks again whether this user may be here.
pub(crate) fn recheck(user: UserId) -> Broadcast {
    Broadcast::silent().only(user).then_recheck()
}

/// Nobody can be here any more.
pub(crate) fn closed() -> Broadcast {
    Broadcast::silent().then_close(CloseCode::ROOM_CLOSED)
}

pub(crate) fn notification(shown: &ChatNotificationOut) -> Bytes {
    let notification = shown.clone();
    let frame = NotificationServerFrame::Notification(ChatNotificationFrame { notification });
    Broadcast::event(&frame_of(&frame)).encode()
}
