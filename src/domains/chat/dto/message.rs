//! Messages, over HTTP and as frames.

use poem_openapi::Object;
use serde::Serialize;
use yunque_kernel::clock::rfc3339;

use super::{
    ChatNameOut, ChatPreviewOut, ChatRoomNameOut, ChatUserOut, People, message_preview, room_name, user,
};
use crate::entity::{message, room};
use crate::kinds::MessageType;

/// A message of a room.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub struct ChatMessageOut {
    pub id: i64,
    pub room: ChatRoomNameOut,
    pub sender: ChatUserOut,
    pub message_type: MessageType,
    /// `[消息已删除]` once deleted.
    pub content: String,
    pub file_url: Option<String>,
    pub file_name: Option<String>,
    /// Bytes.
    pub file_size: Option<i64>,
    pub is_edited: bool,
    pub is_deleted: bool,
    /// Id of the message that this one answers.
    pub reply_to: Option<i64>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// 1, 2, 3 … inside the room, without a gap.
    pub seq: i64,
    /// What the sender calls it.
    pub client_id: Option<String>,
    /// The message that this one answers, in short.
    pub reply_preview: Option<ChatPreviewOut>,
}

/// `reply` is the message that this one answers.
pub fn message(
    row: &message::Model,
    room: &room::Model,
    reply: Option<&message::Model>,
    people: &People,
) -> ChatMessageOut {
    shown_message(row.into(), room_name(room), reply.map(Into::into), people)
}

/// The same of what was read to be shown.
pub fn shown_message(
    row: message::Shown,
    room: ChatRoomNameOut,
    reply: Option<message::Preview>,
    people: &People,
) -> ChatMessageOut {
    let sender = row.sender();
    let message::Shown {
        id,
        seq,
        sender_id: _,
        message_type,
        content,
        file_url,
        file_name,
        file_size,
        is_edited,
        is_deleted,
        reply_to_id,
        client_id,
        created_at,
        updated_at,
    } = row;
    ChatMessageOut {
        id,
        room,
        sender: user(people, sender),
        message_type: MessageType::from_stored(&message_type),
        content,
        file_url,
        file_name,
        file_size,
        is_edited,
        is_deleted,
        reply_to: reply_to_id,
        created_at: rfc3339(created_at),
        updated_at: rfc3339(updated_at),
        seq,
        client_id,
        reply_preview: reply.map(|reply| message_preview(&reply, people)),
    }
}

/// A message as sockets get it.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatMessageFrameOut {
    pub id: i64,
    pub room_id: i64,
    /// 1, 2, 3 … inside the room, without a gap.
    pub seq: i64,
    pub sender: ChatUserOut,
    /// `[消息已删除]` once deleted.
    pub content: String,
    pub message_type: MessageType,
    /// The same as `created_at`.
    pub timestamp: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Id of the message that this one answers.
    pub reply_to: Option<i64>,
    pub file_url: Option<String>,
    pub file_name: Option<String>,
    /// Bytes.
    pub file_size: Option<i64>,
    pub is_edited: bool,
    pub is_deleted: bool,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// What the sender calls it.
    pub client_id: Option<String>,
}

pub fn message_frame(row: &message::Model, people: &People) -> ChatMessageFrameOut {
    let created_at = rfc3339(row.created_at);
    ChatMessageFrameOut {
        id: row.id,
        room_id: row.room_id,
        seq: row.seq,
        sender: user(people, row.sender()),
        content: row.content.clone(),
        message_type: row.kind(),
        timestamp: created_at.clone(),
        created_at,
        reply_to: row.reply_to_id,
        file_url: row.file_url.clone(),
        file_name: row.file_name.clone(),
        file_size: row.file_size,
        is_edited: row.is_edited,
        is_deleted: row.is_deleted,
        updated_at: rfc3339(row.updated_at),
        client_id: row.client_id.clone(),
    }
}

/// A part of a room's messages.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub struct ChatMessagePageOut {
    pub messages: Vec<ChatMessageOut>,
    pub page: u64,
    pub page_size: u64,
    /// All messages that the filters let through, on whatever page.
    pub total: u64,
}

/// Who has read a message, and when.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatReadOut {
    pub user: ChatNameOut,
    /// RFC 3339, UTC.
    pub read_at: String,
}

/// What the caller has not read in one room.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatRoomUnreadOut {
    pub room_id: i64,
    pub unread_count: i64,
    pub last_read_message_id: Option<i64>,
}

/// What the caller has not read.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatUnreadOut {
    pub total: i64,
    pub rooms: Vec<ChatRoomUnreadOut>,
}

/// A file that can be sent now.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatUploadOut {
    /// Absolute.
    pub file_url: String,
    pub file_name: String,
    /// Bytes.
    pub file_size: i64,
    /// `image` by content, else `file`.
    pub message_type: MessageType,
}
