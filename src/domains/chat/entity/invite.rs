//! `chat_invites`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_invites")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub room_id: i64,
    pub inviter_id: i64,
    pub invitee_id: i64,
    pub status: String,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    /// `{room}:{invitee}` while nobody answered, so that there is one at a time.
    pub pending_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
