//! What the sockets of a session are sent, made once for all of them.
//!
//! Frames are published into the realtime hub after the commit of what they tell; a socket that
//! missed a message finds it in the database.

use bytes::Bytes;
use yunque_kernel::auth::Caller;
use yunque_kernel::ws::{Broadcast, SocketUserOut, frame_of};
use yunque_kernel::{SupportSessionId, UserId};

use crate::dto::{
    SupportMessageOut, SupportMessagesReadFrame, SupportSaidFrame, SupportServerFrame,
    SupportSessionClosedFrame, SupportTypesFrame,
};
use crate::kinds::MessageType;

/// The topic that the sockets of a session listen to.
pub fn topic(session: SupportSessionId) -> String {
    format!("support:session:{session}")
}

fn event(frame: &SupportServerFrame) -> Broadcast {
    Broadcast::event(&frame_of(frame))
}

/// A new message. `previous`: the last message of the session before this one, 0 for none; without
/// it whoever listens reads the database.
pub fn chat_message(message: &SupportMessageOut, previous: Option<i64>) -> Bytes {
    stored(message, previous).encode()
}

/// A message as its sockets get it. One of type `system` may tell of another agent, so whoever
/// listens is asked again whether it still may.
pub(crate) fn stored(message: &SupportMessageOut, previous: Option<i64>) -> Broadcast {
    let frame = SupportServerFrame::Said(SupportSaidFrame {
        message: message.clone(),
    });
    let broadcast = Broadcast::stored(message.id, previous, &frame_of(&frame));
    match message.message_type {
        MessageType::System => broadcast.then_recheck(),
        _ => broadcast,
    }
}

/// `reader` has seen everything of the other side up to the message `up_to`.
pub fn messages_read(reader: UserId, up_to: i64) -> Bytes {
    let frame = SupportMessagesReadFrame {
        reader: reader.0,
        up_to,
    };
    event(&SupportServerFrame::Read(frame)).encode()
}

/// The session was closed, or removed with everything in it: then nobody may be there any more.
pub fn session_closed(session: SupportSessionId) -> Bytes {
    let frame = SupportSessionClosedFrame { session: session.0 };
    event(&SupportServerFrame::Closed(frame)).then_recheck().encode()
}

/// Somebody types, or has stopped.
pub(crate) fn typing(caller: &Caller, is_typing: bool) -> Bytes {
    let user = SocketUserOut {
        id: caller.user_id.0,
        username: caller.username.to_string(),
    };
    let frame = SupportServerFrame::Types(SupportTypesFrame { user, is_typing });
    event(&frame).droppable().encode()
}

#[cfg(test)]
mod tests {
    use yunque_kernel::auth::UserType;

    use super::*;
    use crate::dto::SupportUserOut;
    use crate::kinds::{ContentType, MessageType};

    fn text(frame: &SupportServerFrame) -> String {
        frame_of(frame).to_string()
    }

    #[test]
    fn frames_are_what_clients_know() {
        let message = SupportMessageOut {
            id: 5,
            session: 2,
            sender: 3,
            sender_info: SupportUserOut {
                id: 3,
                username: "ann".to_owned(),
                name: "Ann".to_owned(),
                avatar: None,
            },
            message_type: MessageType::Client,
            content_type: ContentType::Text,
            content: Some("喂".to_owned()),
            image: None,
            image_url: None,
            is_read: false,
            created_at: "2025-01-25T15:30:00Z".to_owned(),
        };
        assert_eq!(
            text(&SupportServerFrame::Said(SupportSaidFrame { message })),
            r#"{"type":"chat_message","message":{"id":5,"session":2,"sender":3,"sender_info":{"id":3,"username":"ann","name":"Ann","avatar":null},"message_type":"client","content_type":"text","content":"喂","image":null,"image_url":null,"is_read":false,"created_at":"2025-01-25T15:30:00Z"}}"#
        );
        let caller = Caller {
            user_id: UserId(3),
            username: "ann".into(),
            is_staff: false,
            user_type: UserType::Customer,
            session: None,
            key: None,
        };
        for (encoded, expected) in [
            (
                messages_read(UserId(3), 9),
                r#"{"type":"messages_read","reader":3,"up_to":9}"#,
            ),
            (
                session_closed(SupportSessionId(2)),
                r#"{"type":"session_closed","session":2}"#,
            ),
            (
                typing(&caller, true),
                r#"{"type":"typing","user":{"id":3,"username":"ann"},"is_typing":true}"#,
            ),
        ] {
            let is_in = encoded
                .windows(expected.len())
                .any(|part| part == expected.as_bytes());
            assert!(is_in, "{expected}: {encoded:?}");
        }
    }
}
