//! What clients see. Inputs are in `dto/inputs.rs`.

mod frames;
mod inputs;
mod message;
mod notification;
mod room;

use std::collections::HashMap;
use std::sync::Arc;

use poem_openapi::Object;
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
#[derive(Clone, Debug, PartialEq, Eq, Object)]
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
    content.chars().take(PREVIEW).collect()
}
