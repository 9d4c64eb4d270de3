//! `support_messages`: what was said, and by which side.

use sea_orm::entity::prelude::*;
use yunque_kernel::UserId;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "support_messages")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub session_id: i64,
    pub sender_id: i64,
    pub message_type: String,
    pub content_type: String,
    /// `None` for images.
    pub content: Option<String>,
    /// Storage key without the leading `media/`; images only.
    pub image: Option<String>,
    pub is_read: bool,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn sender(&self) -> UserId {
        UserId(self.sender_id)
    }
}
