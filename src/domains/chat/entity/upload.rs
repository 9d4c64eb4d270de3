//! `chat_uploads`: files that were uploaded to be sent.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_uploads")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub user_id: i64,
    /// Storage key without the leading `media/`.
    pub file: String,
    pub file_name: String,
    pub content_type: String,
    pub size_bytes: i64,
    /// Messages that show it.
    pub uses: i32,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
