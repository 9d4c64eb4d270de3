//! `chat_notifications`.

use sea_orm::entity::prelude::*;
use yunque_kernel::UserId;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_notifications")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub user_id: i64,
    pub notification_type: String,
    pub title: String,
    pub content: String,
    pub room_id: Option<i64>,
    pub message_id: Option<i64>,
    pub is_read: bool,
    /// Messages that this row stands for.
    pub count: i32,
    /// `{user}:{room}` of the one unread row of a large room.
    pub coalesce_key: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn user(&self) -> UserId {
        UserId(self.user_id)
    }
}
