//! What clients send and see.

mod frames;

use std::collections::HashMap;
use std::sync::Arc;

use poem_openapi::Object;
use yunque_accounts::Brief;
use yunque_kernel::UserId;
use yunque_kernel::clock::rfc3339;
use yunque_kernel::http::body::FilePart;

use crate::entity::{message, session};
use crate::kinds::{ContentType, MessageType};
use crate::message_text::MessageText;
use crate::policy::Side;

pub use frames::*;

/// Stands for an image in previews. Stored text keeps to Chinese in every language.
const IMAGE_PREVIEW: &str = "[图片]";

/// Users by id, as accounts shows them.
pub type People = HashMap<UserId, Arc<Brief>>;

/// A user in support chat.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct SupportUserOut {
    pub id: i64,
    /// `deleted_{id}` of an account that is gone.
    pub username: String,
    /// The username unless the user has a name.
    pub name: String,
    /// Absolute address; null without one.
    pub avatar: Option<String>,
}

/// Everybody in a row exists: accounts are anonymised, never removed. Should one be missing
/// nevertheless, it is shown like one of those.
pub fn user(people: &People, id: UserId) -> SupportUserOut {
    match people.get(&id) {
        Some(brief) => SupportUserOut {
            id: id.0,
            username: brief.username.clone(),
            name: brief.name.clone(),
            avatar: brief.avatar.clone(),
        },
        None => SupportUserOut {
            id: id.0,
            username: format!("deleted_{id}"),
            name: yunque_accounts::NO_LONGER_A_USER.to_owned(),
            avatar: None,
        },
    }
}

/// A message of a support session.
#[derive(Clone, Debug, Object)]
pub struct SupportMessageOut {
    pub id: i64,
    /// Id of the session.
    pub session: i64,
    /// Id of the sender.
    pub sender: i64,
    pub sender_info: SupportUserOut,
    /// Set by the server.
    pub message_type: MessageType,
    pub content_type: ContentType,
    /// Null for images.
    pub content: Option<String>,
    /// Storage key of an image, without the leading `media/`; null for text.
    pub image: Option<String>,
    /// Absolute address of the image; null for text.
    pub image_url: Option<String>,
    pub is_read: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
}

pub fn message(row: &message::Model, people: &People, public_base_url: &str) -> SupportMessageOut {
    SupportMessageOut {
        id: row.id,
        session: row.session_id,
        sender: row.sender_id,
        sender_info: user(people, row.sender()),
        message_type: MessageType::from_stored(&row.message_type),
        content_type: content_type(row),
        content: row.content.clone(),
        image: row.image.clone(),
        image_url: image_url(row, public_base_url),
        is_read: row.is_read,
        created_at: rfc3339(row.created_at),
    }
}

fn content_type(row: &message::Model) -> ContentType {
    ContentType::parse(&row.content_type).unwrap_or(ContentType::Text)
}

fn image_url(row: &message::Model, public_base_url: &str) -> Option<String> {
    let image = row.image.as_deref()?;
    Some(format!("{public_base_url}/media/{image}"))
}

/// The newest message of a session, in short.
#[derive(Clone, Debug, Object)]
pub struct SupportLastMessageOut {
    pub id: i64,
    /// `[图片]` for images.
    pub content: String,
    pub content_type: ContentType,
    pub message_type: MessageType,
    /// RFC 3339, UTC.
    pub created_at: String,
}

pub fn last_message(row: &message::Model) -> SupportLastMessageOut {
    let content = match content_type(row) {
        ContentType::Image => IMAGE_PREVIEW.to_owned(),
        ContentType::Text => row.content.clone().unwrap_or_default(),
    };
    SupportLastMessageOut {
        id: row.id,
        content,
        content_type: content_type(row),
        message_type: MessageType::from_stored(&row.message_type),
        created_at: rfc3339(row.created_at),
    }
}

/// The conversation of a customer with those who answer.
#[derive(Clone, Debug, Object)]
pub struct SupportSessionOut {
    pub id: i64,
    /// Id of the customer.
    pub client: i64,
    pub client_info: SupportUserOut,
    /// Id of who answers; null until somebody is assigned.
    pub agent: Option<i64>,
    pub agent_info: Option<SupportUserOut>,
    pub is_active: bool,
    pub last_message: Option<SupportLastMessageOut>,
    /// Messages of the other side that the caller's side has not read.
    pub unread_count: i32,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC. Moves with every message.
    pub updated_at: String,
}

/// A session as `viewer` sees it.
pub fn session(
    row: &session::Model,
    last: Option<&message::Model>,
    people: &People,
    viewer: UserId,
) -> SupportSessionOut {
    SupportSessionOut {
        id: row.id,
        client: row.client_id,
        client_info: user(people, row.client()),
        agent: row.agent_id,
        agent_info: row.agent().map(|agent| user(people, agent)),
        is_active: row.is_active,
        last_message: last.map(last_message),
        unread_count: match Side::of_viewer(viewer, row) {
            Side::Client => row.unread_client,
            Side::Agent => row.unread_agent,
        },
        created_at: rfc3339(row.created_at),
        updated_at: rfc3339(row.updated_at),
    }
}

/// A text message.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct SupportMessageIn {
    /// `text` when absent. Images are sent as `multipart/form-data`.
    pub content_type: Option<ContentType>,
    /// 1 to 5000 characters, not only blanks.
    pub content: Option<MessageText>,
}

impl poem_openapi::types::Example for SupportMessageIn {
    fn example() -> Self {
        SupportMessageIn {
            content_type: Some(ContentType::Text),
            content: Some(MessageText("这是一条文本消息".to_owned())),
        }
    }
}

/// An image message. Only its schema is used.
#[derive(Debug, Object)]
pub struct SupportImageIn {
    pub content_type: ContentType,
    /// JPEG, PNG, GIF or WebP by content, at most 10 MiB, 40 megapixels, 16384 pixels a side and 500
    /// frames.
    pub image: FilePart,
}

/// Up to where something was read.
#[derive(Clone, Debug, Object)]
pub struct SupportMarkReadIn {
    /// Id of the last message that was read; everything when absent.
    #[oai(validator(minimum(value = "1")))]
    pub up_to: Option<i64>,
}

/// What was marked.
#[derive(Clone, Debug, Object)]
pub struct SupportMarkReadOut {
    pub status: String,
    /// Messages that were not read before.
    pub updated: u64,
}

/// From which side somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, poem_openapi::Enum)]
#[oai(rename_all = "lowercase")]
pub enum SupportViewer {
    Agent,
    Client,
}

/// What waits for the caller.
#[derive(Clone, Debug, Object)]
pub struct SupportUnreadOut {
    pub total_unread_count: i64,
    pub user_type: SupportViewer,
}

/// A customer who has a session with the calling agent.
#[derive(Clone, Debug, Object)]
pub struct SupportChatUserOut {
    pub id: i64,
    pub username: String,
    pub name: String,
    pub avatar: Option<String>,
    pub session_id: i64,
    pub last_message: Option<SupportLastMessageOut>,
    pub unread_count: i32,
    pub updated_at: String,
}

pub fn chat_user(row: &session::Model, last: Option<&message::Model>, people: &People) -> SupportChatUserOut {
    let SupportUserOut {
        id,
        username,
        name,
        avatar,
    } = user(people, row.client());
    SupportChatUserOut {
        id,
        username,
        name,
        avatar,
        session_id: row.id,
        last_message: last.map(last_message),
        unread_count: row.unread_agent,
        updated_at: rfc3339(row.updated_at),
    }
}

/// A session as a history names it.
#[derive(Clone, Debug, Object)]
pub struct SupportHistorySessionOut {
    pub id: i64,
    pub created_at: String,
    pub is_active: bool,
    pub client: SupportUserOut,
}

/// A message in a history.
#[derive(Clone, Debug, Object)]
pub struct SupportHistoryMessageOut {
    pub id: i64,
    pub content: Option<String>,
    pub content_type: ContentType,
    pub message_type: MessageType,
    pub is_read: bool,
    pub created_at: String,
    pub sender: SupportUserOut,
    pub image_url: Option<String>,
}

/// What was said with one customer.
#[derive(Clone, Debug, Object)]
pub struct SupportHistoryOut {
    pub session_info: SupportHistorySessionOut,
    /// In ascending order.
    pub messages: Vec<SupportHistoryMessageOut>,
}

pub fn history(
    row: &session::Model,
    messages: &[message::Model],
    people: &People,
    public_base_url: &str,
) -> SupportHistoryOut {
    let one = |m: &message::Model| SupportHistoryMessageOut {
        id: m.id,
        content: m.content.clone(),
        content_type: content_type(m),
        message_type: MessageType::from_stored(&m.message_type),
        is_read: m.is_read,
        created_at: rfc3339(m.created_at),
        sender: user(people, m.sender()),
        image_url: image_url(m, public_base_url),
    };
    SupportHistoryOut {
        session_info: SupportHistorySessionOut {
            id: row.id,
            created_at: rfc3339(row.created_at),
            is_active: row.is_active,
            client: user(people, row.client()),
        },
        messages: messages.iter().map(one).collect(),
    }
}

/// A session that was removed with everything in it.
#[derive(Clone, Debug, Object)]
pub struct SupportClearedOut {
    pub status: String,
    pub message: String,
    pub deleted_session_id: i64,
    pub client_name: String,
}

/// Who is to answer from now on.
#[derive(Clone, Debug, Object)]
pub struct SupportAssignIn {
    /// An active agent: the caller or one of the caller's sub-agents; for admins any.
    #[oai(validator(minimum(value = "1")))]
    pub agent_id: i64,
}
