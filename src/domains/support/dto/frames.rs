//! The frames of `/ws/chat/sessions/{id}/`, as they are published and sent.

use poem_openapi::{Object, Union};
use yunque_kernel::ws::{
    AuthFrame, AuthOkFrame, ErrorFrame, PingFrame, PongFrame, ResumeCompleteFrame, SocketUserOut,
};

use super::{SupportMessageIn, SupportMessageOut};

/// The session that a socket is open to.
#[derive(Clone, Debug, Object)]
pub struct SupportSocketSessionOut {
    pub id: i64,
    /// Whether it is open.
    pub is_active: bool,
}

/// The first frame of a socket that may be where it is.
#[derive(Clone, Debug, Object)]
pub struct SupportEstablishedFrame {
    pub message: String,
    pub user: SocketUserOut,
    pub session: SupportSocketSessionOut,
    /// Id of the newest message.
    pub last_message_id: Option<i64>,
    /// Seconds between two pings of the server.
    pub heartbeat: u64,
}

/// A new message.
#[derive(Clone, Debug, Object)]
pub struct SupportSaidFrame {
    pub message: SupportMessageOut,
}

/// Somebody types, or has stopped.
#[derive(Clone, Debug, Object)]
pub struct SupportTypesFrame {
    pub user: SocketUserOut,
    pub is_typing: bool,
}

/// Somebody has read the messages of the other side.
#[derive(Clone, Debug, Object)]
pub struct SupportMessagesReadFrame {
    /// Id of the user who read.
    pub reader: i64,
    /// Id of the last message that was read.
    pub up_to: i64,
}

/// The session was closed, or removed with everything in it.
#[derive(Clone, Debug, Object)]
pub struct SupportSessionClosedFrame {
    /// Id of the session.
    pub session: i64,
}

/// What the server sends on `/ws/chat/sessions/{id}/`.
#[derive(Clone, Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
pub enum SupportServerFrame {
    #[oai(mapping = "connection_established")]
    Established(SupportEstablishedFrame),
    #[oai(mapping = "chat_message")]
    Said(SupportSaidFrame),
    #[oai(mapping = "typing")]
    Types(SupportTypesFrame),
    #[oai(mapping = "messages_read")]
    Read(SupportMessagesReadFrame),
    #[oai(mapping = "session_closed")]
    Closed(SupportSessionClosedFrame),
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
pub struct SupportTypingFrame {
    pub is_typing: bool,
}

/// This user has read a message, and all before it.
#[derive(Clone, Debug, Object)]
pub struct SupportReadFrame {
    #[oai(validator(minimum(value = "1")))]
    pub message_id: i64,
}

/// What clients send on `/ws/chat/sessions/{id}/`. Of `chat_message` only text can be sent here.
#[derive(Clone, Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
pub enum SupportClientFrame {
    #[oai(mapping = "chat_message")]
    Say(SupportMessageIn),
    #[oai(mapping = "typing")]
    Typing(SupportTypingFrame),
    #[oai(mapping = "read")]
    Read(SupportReadFrame),
    #[oai(mapping = "ping")]
    Ping(PingFrame),
    #[oai(mapping = "auth")]
    Auth(AuthFrame),
}
