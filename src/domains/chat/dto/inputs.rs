//! What clients send.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use poem_openapi::types::{Example, MaybeUndefined};

use crate::kinds::{MessageType, Notify, Role, RoomType};
use crate::text::{ChatText, ClientId};

/// A new room.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ChatRoomCreateIn {
    /// 1 to 100 characters.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub name: String,
    /// At most 2000 characters.
    #[oai(validator(max_length = 2000))]
    pub description: MaybeUndefined<String>,
    pub room_type: RoomType,
    /// 50 when absent.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    pub max_members: Option<i32>,
    /// Users to invite, at most 50.
    #[oai(validator(max_items = 50))]
    pub member_ids: Option<Vec<i64>>,
}

impl Example for ChatRoomCreateIn {
    fn example() -> Self {
        ChatRoomCreateIn {
            name: "开发讨论".to_owned(),
            description: MaybeUndefined::Value("开发组的房间".to_owned()),
            room_type: RoomType::Public,
            max_members: Some(50),
            member_ids: None,
        }
    }
}

/// Changes of a room; what is absent stays.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ChatRoomUpdateIn {
    /// 1 to 100 characters.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub name: Option<String>,
    /// At most 2000 characters.
    #[oai(validator(max_length = 2000))]
    pub description: MaybeUndefined<String>,
    pub room_type: Option<RoomType>,
    /// Not below the present number of members.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    pub max_members: Option<i32>,
    /// True opens a closed room again, false closes it.
    pub is_active: Option<bool>,
}

impl Example for ChatRoomUpdateIn {
    fn example() -> Self {
        ChatRoomUpdateIn {
            name: Some("开发讨论".to_owned()),
            description: MaybeUndefined::Undefined,
            room_type: None,
            max_members: Some(100),
            is_active: None,
        }
    }
}

/// Changes of a member; what is absent stays.
#[derive(Clone, Debug, Object)]
pub struct ChatMemberUpdateIn {
    pub role: Option<Role>,
    pub is_muted: Option<bool>,
    pub is_banned: Option<bool>,
    /// RFC 3339, not in the past: mutes until then. Null takes the end from a mute.
    pub mute_until: MaybeUndefined<DateTime<Utc>>,
}

/// How long to mute.
#[derive(Clone, Debug, Object)]
pub struct ChatMuteIn {
    /// RFC 3339, not in the past. Without it the mute has no end.
    pub until: MaybeUndefined<DateTime<Utc>>,
}

/// Users to invite, 1 to 50 together.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ChatInviteIn {
    #[oai(validator(max_items = 50))]
    pub user_ids: Option<Vec<i64>>,
    #[oai(validator(max_items = 50))]
    pub usernames: Option<Vec<String>>,
}

impl Example for ChatInviteIn {
    fn example() -> Self {
        ChatInviteIn {
            user_ids: None,
            usernames: Some(vec!["developer".to_owned()]),
        }
    }
}

/// A member.
#[derive(Clone, Debug, Object)]
pub struct ChatUserIn {
    #[oai(validator(minimum(value = "1")))]
    pub user_id: i64,
}

/// What the caller wants to hear of a room.
#[derive(Clone, Debug, Object)]
pub struct ChatOwnMemberIn {
    pub notify: Notify,
}

/// A new message, over HTTP and as a frame.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct ChatMessageIn {
    /// 1 to 10000 characters without the blanks at its ends; may be empty for a file or an image.
    pub content: Option<ChatText>,
    /// `text` when absent.
    pub message_type: Option<MessageType>,
    /// An http(s) address; needed for files and images.
    #[oai(validator(max_length = 2048))]
    pub file_url: MaybeUndefined<String>,
    #[oai(validator(max_length = 255))]
    pub file_name: MaybeUndefined<String>,
    /// Bytes.
    #[oai(validator(minimum(value = "0")))]
    pub file_size: MaybeUndefined<i64>,
    /// Id of a message of the same room.
    pub reply_to: MaybeUndefined<i64>,
    /// What the sender calls it: 1 to 64 of `[A-Za-z0-9_-]`. The same one again names the first message.
    pub client_id: MaybeUndefined<ClientId>,
}

impl Example for ChatMessageIn {
    fn example() -> Self {
        ChatMessageIn {
            content: Some(ChatText("大家好".to_owned())),
            message_type: Some(MessageType::Text),
            file_url: MaybeUndefined::Undefined,
            file_name: MaybeUndefined::Undefined,
            file_size: MaybeUndefined::Undefined,
            reply_to: MaybeUndefined::Undefined,
            client_id: MaybeUndefined::Undefined,
        }
    }
}

/// The new text of a message.
#[derive(Clone, Debug, Object)]
pub struct ChatMessageEditIn {
    /// 1 to 10000 characters.
    pub content: Option<ChatText>,
}

/// Up to where a room was read.
#[derive(Clone, Debug, Object)]
pub struct ChatReadIn {
    /// Id of the last message that was read; everything when absent.
    #[oai(validator(minimum(value = "1")))]
    pub up_to: Option<i64>,
}

/// Which notifications.
#[derive(Clone, Debug, Object)]
pub struct ChatReadAllIn {
    /// Only those of one room.
    #[oai(validator(minimum(value = "1")))]
    pub room_id: Option<i64>,
}

/// A file that is to be sent.
#[derive(Debug, Object)]
pub struct ChatUploadIn {
    /// The bytes, at most 20 MiB. Its file name is the file's name.
    pub file: yunque_kernel::http::body::FilePart,
}
