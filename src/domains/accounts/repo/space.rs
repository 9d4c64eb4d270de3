//! `users.quota` and `users.used_space`. `updated_at` stays: files come and go, the account does not
//! change.

use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QuerySelect};
use yunque_kernel::DbError;
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::ids::UserId;

use crate::entity::user;

/// Bytes that a user may and does store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct StorageInfo {
    pub quota: i64,
    pub used_space: i64,
}

pub async fn find_space(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<StorageInfo>, DbError> {
    let query = user::Entity::find_by_id(id.0)
        .select_only()
        .columns([user::Column::Quota, user::Column::UsedSpace]);
    Ok(query.into_model::<StorageInfo>().unique(conn).await?)
}

/// Takes `bytes` of the quota; `false` when they do not fit.
pub async fn claim_space(conn: &impl ConnectionTrait, id: UserId, bytes: i64) -> Result<bool, DbError> {
    let sql = "UPDATE users SET used_space = used_space + ? WHERE id = ? AND used_space + ? <= quota";
    Ok(dialect::execute(conn, sql, [bytes.into(), id.into(), bytes.into()]).await? == 1)
}

/// Gives `bytes` back; never below zero. `false` when more was given back than was taken.
pub async fn update_space_released(
    conn: &impl ConnectionTrait,
    id: UserId,
    bytes: i64,
) -> Result<bool, DbError> {
    let sql = "UPDATE users SET used_space = used_space - ? WHERE id = ? AND used_space >= ?";
    if dialect::execute(conn, sql, [bytes.into(), id.into(), bytes.into()]).await? == 1 {
        return Ok(true);
    }
    dialect::execute(conn, "UPDATE users SET used_space = 0 WHERE id = ?", [id.into()]).await?;
    Ok(false)
}

pub async fn update_space(conn: &impl ConnectionTrait, id: UserId, used: i64) -> Result<(), DbError> {
    dialect::execute(
        conn,
        "UPDATE users SET used_space = ? WHERE id = ?",
        [used.into(), id.into()],
    )
    .await?;
    Ok(())
}
