//! What the sockets of a session are sent, made once for all of them.
//!
//! Frames are published into the realtime hub after the commit of what they tell; a socket that
//! missed a message finds it in the database.

use bytes::Bytes;
use poem_openapi::types::ToJSON;
use serde_json::json;
use yunque_kernel::auth::Caller;
use yunque_kernel::ws::Broadcast;
use yunque_kernel::{SupportSessionId, UserId};

use crate::dto::SupportMessageOut;
use crate::kinds::MessageType;

/// The topic that the sockets of a session listen to.
pub fn topic(session: SupportSessionId) -> String {
    format!("support:session:{session}")
}

/// A new message. `previous`: the last message of the session before this one, 0 for none; without
/// it whoever listens reads the database.
pub fn chat_message(message: &SupportMessageOut, previous: Option<i64>) -> Bytes {
    stored(message, previous).encode()
}

/// A message as its sockets get it. One of type `system` may tell of another agent, so whoever
/// listens is asked again whether it still may.
pub(crate) fn stored(message: &SupportMessageOut, previous: Option<i64>) -> Broadcast {
    let frame = json!({ "type": "chat_message", "message": message.to_json() });
    let broadcast = Broadcast::stored(message.id, previous, &frame);
    match message.message_type {
        MessageType::System => broadcast.then_recheck(),
        _ => broadcast,
    }
}

/// `reader` has seen everything of the other side up to the message `up_to`.
pub fn messages_read(reader: UserId, up_to: i64) -> Bytes {
    let frame = json!({ "type": "messages_read", "reader": reader, "up_to": up_to });
    Broadcast::event(&frame).encode()
}

/// The session was closed, or removed with everything in it: then nobody may be there any more.
pub fn session_closed(session: SupportSessionId) -> Bytes {
    let frame = json!({ "type": "session_closed", "session": session });
    Broadcast::event(&frame).then_recheck().encode()
}

/// Somebody types, or has stopped.
pub(crate) fn typing(caller: &Caller, is_typing: bool) -> Bytes {
    let user = json!({ "id": caller.user_id, "username": &*caller.username });
    let frame = json!({ "type": "typing", "user": user, "is_typing": is_typing });
    Broadcast::event(&frame).droppable().encode()
}
