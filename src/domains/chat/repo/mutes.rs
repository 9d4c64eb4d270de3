//! `chat_mutes`.

use sea_orm::sea_query::{Alias, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter};
use yunque_kernel::db::Unique as _;
use yunque_kernel::{DbError, Tx, UserId};

use crate::entity::{member, mute};

/// Remembers the mute of a member who leaves.
pub async fn insert_mute(tx: &Tx, member: &member::Model) -> Result<(), DbError> {
    let insert = Query::insert()
        .into_table(Alias::new("chat_mutes"))
        .columns(["room_id", "user_id", "mute_until"].map(Alias::new))
        .values_panic([
            member.room_id.into(),
            member.user_id.into(),
            member.mute_until.into(),
        ])
        .take();
    tx.execute(&insert).await?;
    Ok(())
}

/// The mute of one who left, which is forgotten by that.
pub async fn take_mute(tx: &Tx, room: i64, user: UserId) -> Result<Option<mute::Model>, DbError> {
    let of_both = mute::Column::RoomId.eq(room).and(mute::Column::UserId.eq(user.0));
    let found = mute::Entity::find().filter(of_both.clone()).unique(tx).await?;
    if found.is_some() {
        mute::Entity::delete_many().filter(of_both).exec(tx).await?;
    }
    Ok(found)
}
