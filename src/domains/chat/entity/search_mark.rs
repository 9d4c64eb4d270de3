//! `chat_search_marks`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "chat_search_marks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub room_id: i64,
    /// Messages up to this `seq` are in the index, unless they are deleted.
    pub indexed_seq: i64,
}

impl ActiveModelBehavior for ActiveModel {}
