//! Notifications.

use poem_openapi::Object;
use yunque_kernel::clock::rfc3339;

use super::{ChatRoomOut, People, room as show_room};
use crate::entity::{message, notification, room};
use crate::kinds::{MessageType, NoticeType};

/// The message that a notification tells of.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatNotifiedMessageOut {
    pub id: i64,
    /// `[消息已删除]` once deleted.
    pub content: String,
    pub message_type: MessageType,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatNotificationOut {
    pub id: i64,
    pub notification_type: NoticeType,
    pub title: String,
    pub content: String,
    pub room: Option<ChatRoomOut>,
    pub message: Option<ChatNotifiedMessageOut>,
    pub is_read: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Messages that it stands for; in large rooms one notification stands for many.
    pub count: i32,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

pub fn notification(
    row: &notification::Model,
    of: Option<&room::Model>,
    message: Option<&message::Model>,
    people: &People,
) -> ChatNotificationOut {
    ChatNotificationOut {
        id: row.id,
        notification_type: NoticeType::from_stored(&row.notification_type),
        title: row.title.clone(),
        content: row.content.clone(),
        room: of.map(|of| show_room(of, people)),
        message: message.map(|message| ChatNotifiedMessageOut {
            id: message.id,
            content: message.content.clone(),
            message_type: message.kind(),
            created_at: rfc3339(message.created_at),
        }),
        is_read: row.is_read,
        created_at: rfc3339(row.created_at),
        count: row.count,
        updated_at: rfc3339(row.updated_at),
    }
}

/// Unread notifications.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatUnreadNotificationsOut {
    pub unread_count: u64,
}
