//! `chat_uploads`. `uses` is -1 once the file is to go; nobody uses it any more then.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::{DbError, Tx, UserId};

use crate::entity::upload;

/// What `uses` of a file is that is to go.
const GOING: i32 = -1;

/// A file about to be stored.
#[derive(Clone, Debug)]
pub struct NewUpload {
    pub user: UserId,
    pub file: String,
    pub file_name: String,
    pub content_type: String,
    pub size_bytes: i64,
}

pub async fn insert_upload(tx: &Tx, new: NewUpload, now: DateTime<Utc>) -> Result<i64, DbError> {
    let NewUpload {
        user,
        file,
        file_name,
        content_type,
        size_bytes,
    } = new;
    let insert = Query::insert()
        .into_table(Alias::new("chat_uploads"))
        .columns(
            [
                "user_id",
                "file",
                "file_name",
                "content_type",
                "size_bytes",
                "created_at",
            ]
            .map(Alias::new),
        )
        .values_panic([
            user.0.into(),
            file.into(),
            file_name.into(),
            content_type.into(),
            size_bytes.into(),
            now.into(),
        ])
        .take();
    dialect::insert_returning_id(tx, insert).await
}

/// The upload with this key, unless it is to go.
pub async fn find_upload(conn: &impl ConnectionTrait, file: &str) -> Result<Option<upload::Model>, DbError> {
    let select = upload::Entity::find()
        .filter(upload::Column::File.eq(file))
        .filter(upload::Column::Uses.gt(GOING));
    Ok(select.unique(conn).await?)
}

/// Those of some uploads that are not to go, which they cannot before the transaction ends.
pub async fn lock_staying(tx: &Tx, ids: &[i64]) -> Result<Vec<i64>, DbError> {
    let select = upload::Entity::find()
        .select_only()
        .column(upload::Column::Id)
        .filter(upload::Column::Id.is_in(ids.iter().copied()))
        .filter(upload::Column::Uses.gt(GOING))
        .order_by_asc(upload::Column::Id);
    Ok(dialect::locked(tx, select).into_tuple().all(tx).await?)
}

/// Counts messages that show uploads.
pub async fn update_uses(tx: &Tx, uses: &BTreeMap<i64, i32>) -> Result<(), DbError> {
    let id = || Expr::col(upload::Column::Id);
    let more = uses.iter().fold(CaseStatement::new(), |cases, (upload, more)| {
        cases.case(id().eq(*upload), Expr::value(*more))
    });
    let more = more.finally(0);
    upload::Entity::update_many()
        .col_expr(upload::Column::Uses, Expr::col(upload::Column::Uses).add(more))
        .filter(upload::Column::Id.is_in(uses.keys().copied()))
        .filter(upload::Column::Uses.gt(GOING))
        .exec(tx)
        .await?;
    Ok(())
}

/// One message less; with the last one the file is to go, and `true` is returned.
pub async fn claim_unused(tx: &Tx, id: i64) -> Result<bool, DbError> {
    let uses = || Expr::col(upload::Column::Uses);
    let of = || Condition::all().add(upload::Column::Id.eq(id));
    let gone = upload::Entity::update_many()
        .col_expr(upload::Column::Uses, Expr::value(GOING))
        .filter(of().add(uses().between(0, 1)))
        .exec(tx)
        .await?;
    if gone.rows_affected > 0 {
        return Ok(true);
    }
    upload::Entity::update_many()
        .col_expr(upload::Column::Uses, uses().sub(1))
        .filter(of().add(uses().gt(1)))
        .exec(tx)
        .await?;
    Ok(false)
}

/// Files that no message has shown since `before` are to go from now on; tells which.
pub async fn claim_stale(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<Vec<i64>, DbError> {
    let select = upload::Entity::find()
        .select_only()
        .column(upload::Column::Id)
        .filter(upload::Column::Uses.eq(0))
        .filter(upload::Column::CreatedAt.lt(before))
        .order_by_asc(upload::Column::Id)
        .limit(limit);
    let ids: Vec<i64> = dialect::locked(tx, select).into_tuple().all(tx).await?;
    if !ids.is_empty() {
        upload::Entity::update_many()
            .col_expr(upload::Column::Uses, Expr::value(GOING))
            .filter(upload::Column::Id.is_in(ids.iter().copied()))
            .exec(tx)
            .await?;
    }
    Ok(ids)
}

/// A file that is to go.
pub async fn find_going(conn: &impl ConnectionTrait, id: i64) -> Result<Option<upload::Model>, DbError> {
    let select = upload::Entity::find_by_id(id).filter(upload::Column::Uses.eq(GOING));
    Ok(select.unique(conn).await?)
}

/// Files that are to go, by id.
pub async fn list_going(conn: &impl ConnectionTrait, after: i64, limit: u64) -> Result<Vec<i64>, DbError> {
    let select = upload::Entity::find()
        .select_only()
        .column(upload::Column::Id)
        .filter(upload::Column::Uses.eq(GOING))
        .filter(upload::Column::Id.gt(after))
        .order_by_asc(upload::Column::Id)
        .limit(limit);
    Ok(select.into_tuple().all(conn).await?)
}

/// Whoever removes the row gives its space back.
pub async fn delete_going(tx: &Tx, id: i64) -> Result<bool, DbError> {
    let done = upload::Entity::delete_many()
        .filter(upload::Column::Id.eq(id))
        .filter(upload::Column::Uses.eq(GOING))
        .exec(tx)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Bytes that a user's files take.
pub async fn sum_uploads(conn: &impl ConnectionTrait, user: UserId) -> Result<i64, DbError> {
    let sizes: Vec<i64> = upload::Entity::find()
        .select_only()
        .column(upload::Column::SizeBytes)
        .filter(upload::Column::UserId.eq(user.0))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(sizes.into_iter().sum())
}
