//! What clients see. Inputs are in `dto/inputs.rs`.

mod frames;
mod inputs;
mod message;
mod notification;
mod room;

use std::collections::HashMap;
use std::sync::Arc;

use poem_openapi::Object;
use serde::Serialize;
use yunque_accounts::Brief;
use yunque_kernel::UserId;

pub use frames::*;
pub use inputs::*;
pub use message::*;
pub use notification::*;
pub use room::*;

/// Characters of a content that previews show.
const PREVIEW: usize = 100;

/// Users by id, as accounts shows them.
pub type People = HashMap<UserId, Arc<Brief>>;

/// A user in a chat room. Addresses are never shown.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub struct ChatUserOut {
    pub id: i64,
    /// `deleted_{id}` of an account that is gone.
    pub username: String,
    pub first_name: String,
    pub last_name: String,
}

/// Everybody in a row exists: accounts are anonymised, never removed. Should one be missing
/// nevertheless, it is shown like one of those.
pub fn user(people: &People, id: UserId) -> ChatUserOut {
    match people.get(&id) {
        Some(brief) => ChatUserOut {
            id: id.0,
            username: brief.username.clone(),
            first_name: brief.first_name.clone(),
            last_name: brief.last_name.clone(),
        },
        None => ChatUserOut {
            id: id.0,
            username: format!("deleted_{id}"),
            first_name: String::new(),
            last_name: String::new(),
        },
    }
}

/// A user by name.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatNameOut {
    pub id: i64,
    pub username: String,
}

pub fn name(people: &People, id: UserId) -> ChatNameOut {
    let ChatUserOut { id, username, .. } = user(people, id);
    ChatNameOut { id, username }
}

/// A sentence for people.
#[derive(Clone, Debug, Object)]
pub struct ChatDoneOut {
    pub message: String,
}

/// A sentence for people, and how much was changed.
#[derive(Clone, Debug, Object)]
pub struct ChatUpdatedOut {
    pub message: String,
    pub updated: u64,
}

/// The beginning of a content.
pub fn preview(content: &str) -> String {
    let end = content.char_indices().nth(PREVIEW);
    content[..end.map_or(content.len(), |(at, _)| at)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use poem_openapi::types::ToJSON;

    use super::*;
    use crate::kinds::{MessageType, RoomType};

    fn written_the_same<T: ToJSON + Serialize + Debug>(value: &T) {
        let direct = serde_json::to_string(value).expect("plain data");
        assert_eq!(direct, value.to_json_string(), "{value:?}");
    }

    #[test]
    fn what_is_serialized_is_what_is_published() {
        let sender = ChatUserOut {
            id: 7,
            username: "bob \"b\" 鲍勃\n\u{7f}".into(),
            first_name: String::new(),
            last_name: "B/\\".into(),
        };
        let preview = ChatPreviewOut {
            id: 1,
            content: "a\tb".into(),
            sender: "bob".into(),
            created_at: "2023-11-14T22:13:20Z".into(),
        };
        let full = ChatMessageOut {
            id: i64::MAX,
            room: ChatRoomNameOut {
                id: 1,
                name: "room".into(),
            },
            sender: sender.clone(),
            message_type: MessageType::Image,
            content: "你好 \u{1f600} </script>".into(),
            file_url: Some("https://example.org/a".into()),
            file_name: Some("a".into()),
            file_size: Some(3),
            is_edited: true,
            is_deleted: false,
            reply_to: Some(1),
            created_at: "2023-11-14T22:13:20Z".into(),
            updated_at: "2023-11-14T22:13:20.12Z".into(),
            seq: 2,
            client_id: Some("c".into()),
            reply_preview: Some(preview.clone()),
        };
        let bare = ChatMessageOut {
            file_url: None,
            file_name: None,
            file_size: None,
            reply_to: None,
            client_id: None,
            reply_preview: None,
            ..full.clone()
        };
        written_the_same(&ChatMessagePageOut {
            messages: vec![full, bare],
            page: 1,
            page_size: 20,
            total: u64::MAX,
        });
        let full = ChatRoomListOut {
            id: 1,
            name: "room".into(),
            description: Some("what it is for".into()),
            room_type: RoomType::Group,
            created_by: Some(sender),
            member_count: 2,
            last_message: Some(preview),
            created_at: "2023-11-14T22:13:20Z".into(),
            is_member: true,
            unread_count: 5,
            is_active: true,
            max_members: 50,
        };
        written_the_same(&full);
        written_the_same(&ChatRoomListOut {
            description: None,
            created_by: None,
            last_message: None,
            ..full
        });
    }
}
