//! `users.quota` and `users.used_space`. `updated_at` stays: files come and go, the account does not
//! change.

use sea_orm::sea_query::{Expr, ExprTrait, Order, Query};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QuerySelect, Value};
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

/// The same for many users, in the order of their ids; `false` when the bytes of one do not fit, or he is gone.
pub async fn claim_spaces(conn: &impl ConnectionTrait, sizes: &[(UserId, i64)]) -> Result<bool, DbError> {
    let ids = || sizes.iter().map(|(id, _)| id.0);
    if conn.get_database_backend() != DbBackend::Sqlite {
        // An UPDATE locks its rows in any order, and two of them might lock each other out.
        let mut lock = Query::select()
            .column("id")
            .from("users")
            .and_where(Expr::col("id").is_in(ids()))
            .order_by("id", Order::Asc)
            .take();
        dialect::for_update(conn, &mut lock);
        conn.query_all(&lock).await?;
    }
    let more = format!("CASE id {} ELSE 0 END", "WHEN ? THEN ? ".repeat(sizes.len()));
    let list = vec!["?"; sizes.len()].join(", ");
    let sql = format!(
        "UPDATE users SET used_space = used_space + {more} WHERE id IN ({list}) AND used_space + {more} <= quota"
    );
    let pairs = || {
        sizes
            .iter()
            .flat_map(|(id, bytes)| [id.0.into(), (*bytes).into()])
    };
    let values = pairs().chain(ids().map(Into::into)).chain(pairs());
    let claimed = dialect::execute(conn, &sql, values.collect::<Vec<Value>>()).await?;
    Ok(usize::try_from(claimed) == Ok(sizes.len()))
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
