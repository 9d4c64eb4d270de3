//! `chat_room_members`: who is in a room, was thrown out of it, and how far everybody has read.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use yunque_kernel::UserId;

use crate::kinds::{Notify, Role};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_room_members")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub room_id: i64,
    pub user_id: i64,
    pub role: String,
    pub joined_at: DateTimeUtc,
    pub last_read_at: Option<DateTimeUtc>,
    pub last_read_message_id: Option<i64>,
    /// Up to this message nothing is unread.
    pub mark_id: i64,
    /// `ordinal` of that message.
    pub mark_ordinal: i64,
    pub is_muted: bool,
    pub mute_until: Option<DateTimeUtc>,
    /// The row stays and counts as nothing.
    pub is_banned: bool,
    pub notify: String,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn user(&self) -> UserId {
        UserId(self.user_id)
    }

    pub fn role(&self) -> Role {
        Role::from_stored(&self.role)
    }

    pub fn notify(&self) -> Notify {
        Notify::from_stored(&self.notify)
    }

    pub fn is_muted_at(&self, now: DateTime<Utc>) -> bool {
        self.is_muted && self.mute_until.is_none_or(|until| until > now)
    }
}
