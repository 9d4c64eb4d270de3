//! What the sweeps and audits look for, a page at a time, and the sums of the recount.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use yunque_kernel::db::dialect;
use yunque_kernel::{DbError, Tx, UserId};

use crate::entity::file::{Column, Entity, Model};
use crate::status::{Source, UploadStatus};

/// Uploads that a job should be working on: `(id, generation)`.
pub async fn list_unfinished(
    conn: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<Model>, DbError> {
    let states = [UploadStatus::Pending, UploadStatus::Uploading].map(UploadStatus::as_str);
    let select = Entity::find()
        .filter(Column::UploadStatus.is_in(states))
        .filter(Column::Source.ne(Source::Presigned.as_str()))
        .filter(Column::DeletedAt.is_null())
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(select.all(conn).await?)
}

/// Files that nobody wants any more and whose object may still exist: deleted ones, and presigned
/// uploads that were given up.
pub async fn list_unpurged(
    conn: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<Model>, DbError> {
    let given_up = Condition::all()
        .add(Column::Source.eq(Source::Presigned.as_str()))
        .add(Column::UploadStatus.eq(UploadStatus::Failed.as_str()))
        .add(Column::ObjectKey.is_not_null());
    let unwanted = Condition::any()
        .add(Column::DeletedAt.is_not_null())
        .add(given_up);
    let select = Entity::find()
        .filter(unwanted)
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(select.all(conn).await?)
}

/// Presigned uploads that were never completed.
pub async fn list_expired_presigned(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Model>, DbError> {
    let select = Entity::find()
        .filter(Column::Source.eq(Source::Presigned.as_str()))
        .filter(Column::UploadStatus.eq(UploadStatus::Pending.as_str()))
        .filter(Column::DeletedAt.is_null())
        .filter(Column::CreatedAt.lt(before))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(select.all(conn).await?)
}

/// Failed uploads whose staged bytes have been kept long enough.
pub async fn list_stale_staged(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Model>, DbError> {
    let select = Entity::find()
        .filter(Column::UploadStatus.eq(UploadStatus::Failed.as_str()))
        .filter(Column::StagedRef.is_not_null())
        .filter(Column::UpdatedAt.lt(before))
        .order_by_asc(Column::Id)
        .limit(limit);
    Ok(select.all(conn).await?)
}

/// Not of a file that was started again meanwhile.
pub async fn clear_staged(tx: &Tx, id: i64, reference: &str) -> Result<bool, DbError> {
    let done = Entity::update_many()
        .col_expr(Column::StagedRef, Expr::value(None::<String>))
        .filter(Column::Id.eq(id))
        .filter(Column::StagedRef.eq(reference))
        .filter(Column::UploadStatus.eq(UploadStatus::Failed.as_str()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Those of the references that some file still has.
pub async fn list_referenced(
    conn: &impl ConnectionTrait,
    references: &[String],
) -> Result<Vec<String>, DbError> {
    let select = Entity::find()
        .select_only()
        .column(Column::StagedRef)
        .filter(Column::StagedRef.is_in(references.iter().map(String::as_str)));
    Ok(select.into_tuple().all(conn).await?)
}

/// Bytes that count against a user's quota.
pub async fn sum_space(conn: &impl ConnectionTrait, user: UserId) -> Result<i64, DbError> {
    // Cast, because sums of big integers are decimals on MySQL and PostgreSQL.
    let sql = match conn.get_database_backend() {
        sea_orm::DbBackend::MySql => {
            "SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM files WHERE user_id = ? \
             AND deleted_at IS NULL AND upload_status IN ('pending', 'uploading', 'completed')"
        }
        _ => {
            "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM files WHERE user_id = ? \
             AND deleted_at IS NULL AND upload_status IN ('pending', 'uploading', 'completed')"
        }
    };
    let row = conn
        .query_one_raw(dialect::statement(
            conn.get_database_backend(),
            sql,
            [user.0.into()],
        ))
        .await?;
    Ok(row.map_or(Ok(0), |r| r.try_get_by_index(0))?)
}

/// Users that have files, a page at a time.
pub async fn list_owners(conn: &impl ConnectionTrait, after: i64, limit: u64) -> Result<Vec<i64>, DbError> {
    let select = Entity::find()
        .select_only()
        .column(Column::UserId)
        .distinct()
        .filter(Column::UserId.gt(after))
        .order_by_asc(Column::UserId)
        .limit(limit);
    Ok(select.into_tuple().all(conn).await?)
}
