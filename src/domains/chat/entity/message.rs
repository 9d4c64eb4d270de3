//! `chat_messages`.

use sea_orm::entity::prelude::*;
use yunque_kernel::UserId;

use crate::kinds::MessageType;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_messages")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub room_id: i64,
    /// 1, 2, 3 … inside a room, without a gap, in the order of commits.
    pub seq: i64,
    /// How many messages of the room up to this one somebody has to read.
    pub ordinal: i64,
    pub sender_id: Option<i64>,
    pub message_type: String,
    pub content: String,
    pub file_url: Option<String>,
    pub file_name: Option<String>,
    pub file_size: Option<i64>,
    /// The upload that `file_url` leads to, if it is one of ours.
    pub upload_id: Option<i64>,
    pub is_edited: bool,
    pub edited_at: Option<DateTimeUtc>,
    pub is_deleted: bool,
    pub deleted_at: Option<DateTimeUtc>,
    pub deleted_by: Option<i64>,
    pub reply_to_id: Option<i64>,
    pub client_id: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// 0 for a sender whose row is gone.
    pub fn sender(&self) -> UserId {
        UserId(self.sender_id.unwrap_or(0))
    }

    pub fn kind(&self) -> MessageType {
        MessageType::from_stored(&self.message_type)
    }
}

/// What of a message is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub id: i64,
    pub seq: i64,
    pub sender_id: Option<i64>,
    pub message_type: String,
    pub content: String,
    pub file_url: Option<String>,
    pub file_name: Option<String>,
    pub file_size: Option<i64>,
    pub is_edited: bool,
    pub is_deleted: bool,
    pub reply_to_id: Option<i64>,
    pub client_id: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl Shown {
    /// 0 for a sender whose row is gone.
    pub fn sender(&self) -> UserId {
        UserId(self.sender_id.unwrap_or(0))
    }
}

impl From<&Model> for Shown {
    fn from(row: &Model) -> Self {
        Shown {
            id: row.id,
            seq: row.seq,
            sender_id: row.sender_id,
            message_type: row.message_type.clone(),
            content: row.content.clone(),
            file_url: row.file_url.clone(),
            file_name: row.file_name.clone(),
            file_size: row.file_size,
            is_edited: row.is_edited,
            is_deleted: row.is_deleted,
            reply_to_id: row.reply_to_id,
            client_id: row.client_id.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// What of a message is shown beside something else: below an answer, in a list of rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub id: i64,
    pub sender_id: Option<i64>,
    pub content: String,
    pub created_at: DateTimeUtc,
}

impl Preview {
    /// 0 for a sender whose row is gone.
    pub fn sender(&self) -> UserId {
        UserId(self.sender_id.unwrap_or(0))
    }
}

impl From<&Model> for Preview {
    fn from(row: &Model) -> Self {
        Preview {
            id: row.id,
            sender_id: row.sender_id,
            content: row.content.clone(),
            created_at: row.created_at,
        }
    }
}
