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
