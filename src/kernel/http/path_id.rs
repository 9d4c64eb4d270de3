//! Ids as path parameters: `Path<UserId>`.
//!
//! `Path<i64>` takes `+1` and would answer for 1. An id in a path is `^[0-9]{1,19}$` and positive, or
//! the path leads nowhere (404).

use poem_openapi::registry::MetaSchema;
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult};

use crate::ids::{
    ChatInviteId, ChatMessageId, ChatNotificationId, ChatRoomId, FileId, JobId, SessionId, SupportMessageId,
    SupportSessionId, UserId,
};

macro_rules! path_ids {
    ($($name:ident),+) => {$(
        crate::inline_type!($name, concat!("integer_", stringify!($name)), {
            let mut schema = MetaSchema::new_with_format("integer", "int64");
            schema.minimum = Some(1.0);
            schema
        });

        impl ParseFromParameter for $name {
            fn parse_from_parameter(text: &str) -> ParseResult<Self> {
                $name::parse(text).ok_or_else(|| ParseError::custom("not an id"))
            }
        }
    )+};
}

path_ids!(
    UserId,
    SessionId,
    FileId,
    JobId,
    SupportSessionId,
    SupportMessageId,
    ChatRoomId,
    ChatMessageId,
    ChatInviteId,
    ChatNotificationId
);
