//! The frames of both sockets, as they are published and sent.

use poem_openapi::{Object, Union};
use yunque_kernel::ws::{
    AuthFrame, AuthOkFrame, ErrorFrame, PingFrame, PongFrame, ResumeCompleteFrame, SocketUserOut,
};

use super::{
    ChatMemberOut, ChatMessageFrameOut, ChatMessageIn, ChatNameOut, ChatNotificationOut, ChatRoomNameOut,
    ChatRoomOut,
};

/// The first frame of a socket that may be where it is.
#[derive(Clone, Debug, Object)]
pub struct ChatEstablishedFrame {
    pub message: String,
    pub user: SocketUserOut,
    pub room: ChatRoomNameOut,
    /// Id of the newest message.
    pub last_message_id: Option<i64>,
    /// Seconds between two pings of the server.
    pub heartbeat: u64,
}

/// A new message.
#[derive(Clone, Debug, Object)]
pub struct ChatSaidFrame {
    pub message: ChatMessageFrameOut,
}

/// A message has another text.
#[derive(Clone, Debug, Object)]
pub struct ChatEditedFrame {
    pub message: ChatMessageFrameOut,
}

/// A message is deleted; its content is a placeholder.
#[derive(Clone, Debug, Object)]
pub struct ChatDeletedFrame {
    pub message: ChatMessageFrameOut,
}

/// Somebody types, or has stopped.
#[derive(Clone, Debug, Object)]
pub struct ChatTypesFrame {
    pub user: SocketUserOut,
    pub is_typing: bool,
}

/// Somebody came online, or says that he comes.
#[derive(Clone, Debug, Object)]
pub struct ChatCameFrame {
    pub user: SocketUserOut,
}

/// Somebody went, or says so.
#[derive(Clone, Debug, Object)]
pub struct ChatWentFrame {
    pub user: SocketUserOut,
}

/// Somebody marked a message as read.
#[derive(Clone, Debug, Object)]
pub struct ChatReadByFrame {
    pub message_id: i64,
    pub user: ChatNameOut,
    /// RFC 3339, UTC.
    pub read_at: String,
}

/// One who has read a message.
#[derive(Clone, Debug, Object)]
pub struct ChatReaderOut {
    pub user: ChatNameOut,
    pub message_id: i64,
    /// RFC 3339, UTC.
    pub read_at: String,
}

/// What was read within a second, where many are online.
#[derive(Clone, Debug, Object)]
pub struct ChatReadsFrame {
    pub reads: Vec<ChatReaderOut>,
}

/// A member's role, mute or ban is another one.
#[derive(Clone, Debug, Object)]
pub struct ChatMemberFrame {
    pub member: ChatMemberOut,
}

/// The room has changed.
#[derive(Clone, Debug, Object)]
pub struct ChatRoomFrame {
    pub room: ChatRoomOut,
}

/// What the server sends on `/ws/chat/{room_id}/`.
#[derive(Clone, Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
pub enum ChatServerFrame {
    #[oai(mapping = "connection_established")]
    Established(ChatEstablishedFrame),
    #[oai(mapping = "chat_message")]
    Said(ChatSaidFrame),
    #[oai(mapping = "message_edited")]
    Edited(ChatEditedFrame),
    #[oai(mapping = "message_deleted")]
    Deleted(ChatDeletedFrame),
    #[oai(mapping = "typing")]
    Types(ChatTypesFrame),
    #[oai(mapping = "user_join")]
    Came(ChatCameFrame),
    #[oai(mapping = "user_leave")]
    Went(ChatWentFrame),
    #[oai(mapping = "message_read")]
    ReadBy(ChatReadByFrame),
    #[oai(mapping = "messages_read")]
    Reads(ChatReadsFrame),
    #[oai(mapping = "member_updated")]
    Member(ChatMemberFrame),
    #[oai(mapping = "room_updated")]
    Room(ChatRoomFrame),
    #[oai(mapping = "resume_complete")]
    ResumeComplete(ResumeCompleteFrame),
    #[oai(mapping = "error")]
    Error(ErrorFrame),
    #[oai(mapping = "pong")]
    Pong(PongFrame),
    #[oai(mapping = "auth_ok")]
    AuthOk(AuthOkFrame),
}

/// The client's user types, or does not any more.
#[derive(Clone, Debug, Object)]
pub struct ChatTypingFrame {
    pub is_typing: bool,
}

/// Tells the others that this user comes; no membership changes.
#[derive(Clone, Debug, Object)]
pub struct ChatComeFrame {}

/// Tells the others that this user goes; no membership changes.
#[derive(Clone, Debug, Object)]
pub struct ChatGoFrame {}

/// This user has read a message, and all before it.
#[derive(Clone, Debug, Object)]
pub struct ChatReadFrame {
    #[oai(validator(minimum(value = "1")))]
    pub message_id: i64,
}

/// What clients send on `/ws/chat/{room_id}/`.
#[derive(Clone, Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
pub enum ChatClientFrame {
    #[oai(mapping = "chat_message")]
    Say(ChatMessageIn),
    #[oai(mapping = "typing")]
    Typing(ChatTypingFrame),
    #[oai(mapping = "user_join")]
    Come(ChatComeFrame),
    #[oai(mapping = "user_leave")]
    Go(ChatGoFrame),
    #[oai(mapping = "read")]
    Read(ChatReadFrame),
    #[oai(mapping = "ping")]
    Ping(PingFrame),
    #[oai(mapping = "auth")]
    Auth(AuthFrame),
}

/// The first frame of a notification socket.
#[derive(Clone, Debug, Object)]
pub struct ChatNotificationsEstablishedFrame {
    pub message: String,
    pub user: SocketUserOut,
    /// Notifications that are not read.
    pub unread_count: u64,
    /// Always null.
    pub last_message_id: Option<i64>,
    /// Seconds between two pings of the server.
    pub heartbeat: u64,
}

/// A notification that is new or stands for more messages now.
#[derive(Clone, Debug, Object)]
pub struct ChatNotificationFrame {
    pub notification: ChatNotificationOut,
}

/// What the server sends on `/ws/notifications/`.
#[derive(Clone, Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
#[expect(
    clippy::large_enum_variant,
    reason = "sent as soon as it is made, and the others are only published"
)]
pub enum NotificationServerFrame {
    #[oai(mapping = "connection_established")]
    Established(ChatNotificationsEstablishedFrame),
    #[oai(mapping = "notification")]
    Notification(ChatNotificationFrame),
    #[oai(mapping = "error")]
    Error(ErrorFrame),
    #[oai(mapping = "pong")]
    Pong(PongFrame),
    #[oai(mapping = "auth_ok")]
    AuthOk(AuthOkFrame),
}

/// What clients send on `/ws/notifications/`.
#[derive(Clone, Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
pub enum NotificationClientFrame {
    #[oai(mapping = "ping")]
    Ping(PingFrame),
    #[oai(mapping = "auth")]
    Auth(AuthFrame),
}
