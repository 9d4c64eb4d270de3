//! `chat_rooms`.

use sea_orm::entity::prelude::*;
use yunque_kernel::ChatRoomId;

use crate::kinds::RoomType;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_rooms")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub name: String,
    pub description: Option<String>,
    pub room_type: String,
    pub created_by: Option<i64>,
    pub is_active: bool,
    pub max_members: i32,
    /// Members who are not banned; moved in the transaction that lets one in or out.
    pub member_count: i32,
    /// `seq` of the newest message.
    pub last_seq: i64,
    /// Up to which `seq` members were notified.
    pub notified_seq: i64,
    /// Messages that somebody has to read.
    pub last_ordinal: i64,
    /// Id of the newest message, 0 for none.
    pub head_id: i64,
    /// How often something changed of which its sockets have to hear and no new message tells.
    pub changes: i64,
    /// Id of the newest message that is not deleted.
    pub last_message_id: Option<i64>,
    /// Set for rooms of two.
    pub direct_key: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn key(&self) -> ChatRoomId {
        ChatRoomId(self.id)
    }

    pub fn kind(&self) -> RoomType {
        RoomType::from_stored(&self.room_type)
    }

    pub fn is_full(&self) -> bool {
        self.member_count >= self.max_members
    }
}
