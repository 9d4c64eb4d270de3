//! The edges of an upload's life: conditional updates that tell whether they were taken.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{CaseStatement, Expr};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QuerySelect};
use yunque_kernel::{DbError, Tx};

use crate::entity::file::{Column, Entity, Model};
use crate::status::UploadStatus;

/// One edge of the upload's life: where it may start, and what it writes.
#[derive(Clone, Copy)]
pub struct Edge<'a> {
    pub id: i64,
    pub generation: i32,
    pub from: &'a [UploadStatus],
    pub to: UploadStatus,
    pub now: DateTime<Utc>,
}

impl Edge<'_> {
    /// Takes the edge with further column values. False: somebody else was faster, or the file is
    /// deleted. Times never go back, even when the clock does.
    pub async fn take(
        &self,
        conn: &impl ConnectionTrait,
        set: impl IntoIterator<Item = (Column, sea_orm::sea_query::SimpleExpr)>,
    ) -> Result<bool, DbError> {
        let mut update = Entity::update_many()
            .col_expr(Column::UploadStatus, Expr::value(self.to.as_str()))
            .col_expr(Column::UpdatedAt, later(self.now));
        for (column, value) in set {
            update = update.col_expr(column, value);
        }
        let done = update
            .filter(Column::Id.eq(self.id))
            .filter(Column::Generation.eq(self.generation))
            .filter(Column::UploadStatus.is_in(self.from.iter().map(|s| s.as_str())))
            .filter(Column::DeletedAt.is_null())
            .exec(conn)
            .await?;
        Ok(done.rows_affected == 1)
    }
}

/// The edge to `uploading`.
#[derive(Clone, Debug)]
pub struct Begin {
    pub id: i64,
    pub generation: i32,
    /// From 1.
    pub attempt: i32,
}

/// The edge to `completed`.
#[derive(Clone, Debug)]
pub struct Complete {
    pub id: i64,
    pub generation: i32,
    /// Hexadecimal.
    pub sha256: String,
    pub staged_ref: Option<String>,
}

/// Several files to `uploading`; returns those that are.
pub async fn begin_uploads(tx: &Tx, begins: &[Begin], now: DateTime<Utc>) -> Result<Vec<Model>, DbError> {
    use UploadStatus::{Pending, Uploading};
    // Nearly always one group: the first attempt of the first content.
    let mut groups: BTreeMap<(i32, i32), Vec<i64>> = BTreeMap::new();
    for b in begins {
        groups.entry((b.generation, b.attempt)).or_default().push(b.id);
    }
    for ((generation, attempt), ids) in groups {
        Entity::update_many()
            .col_expr(Column::UploadStatus, Expr::value(Uploading.as_str()))
            .col_expr(Column::Attempts, Expr::value(attempt))
            .col_expr(Column::UpdatedAt, later(now))
            .filter(Column::Id.is_in(ids))
            .filter(Column::Generation.eq(generation))
            .filter(Column::UploadStatus.is_in([Pending, Uploading].map(UploadStatus::as_str)))
            .filter(Column::DeletedAt.is_null())
            .exec(tx)
            .await?;
    }
    Ok(Entity::find()
        .filter(Column::Id.is_in(begins.iter().map(|b| b.id)))
        .filter(Column::UploadStatus.eq(Uploading.as_str()))
        .filter(Column::DeletedAt.is_null())
        .all(tx)
        .await?)
}

/// Several files to `completed`; returns (id, generation) of those that are.
pub async fn complete_uploads(
    tx: &Tx,
    completes: &[Complete],
    now: DateTime<Utc>,
) -> Result<Vec<(i64, i32)>, DbError> {
    use UploadStatus::{Completed, Uploading};
    let mut groups: BTreeMap<i32, Vec<&Complete>> = BTreeMap::new();
    for c in completes {
        groups.entry(c.generation).or_default().push(c);
    }
    for (generation, group) in groups {
        let mut sha256 = CaseStatement::new();
        for c in &group {
            sha256 = sha256.case(Column::Id.eq(c.id), Expr::val(c.sha256.as_str()));
        }
        Entity::update_many()
            .col_expr(Column::UploadStatus, Expr::value(Completed.as_str()))
            .col_expr(Column::UploadError, Expr::value(None::<String>))
            .col_expr(Column::StagedRef, Expr::value(None::<String>))
            .col_expr(Column::Sha256, sha256.into())
            .col_expr(Column::UpdatedAt, later(now))
            .filter(Column::Id.is_in(group.iter().map(|c| c.id)))
            .filter(Column::Generation.eq(generation))
            .filter(Column::UploadStatus.eq(Uploading.as_str()))
            .filter(Column::DeletedAt.is_null())
            .exec(tx)
            .await?;
    }
    Ok(Entity::find()
        .select_only()
        .columns([Column::Id, Column::Generation])
        .filter(Column::Id.is_in(completes.iter().map(|c| c.id)))
        .filter(Column::UploadStatus.eq(Completed.as_str()))
        .filter(Column::DeletedAt.is_null())
        .into_tuple()
        .all(tx)
        .await?)
}

/// `max(updated_at, now)`, spelled so that all three databases take it.
pub(super) fn later(now: DateTime<Utc>) -> sea_orm::sea_query::SimpleExpr {
    Expr::case(Expr::col(Column::UpdatedAt).gt(now), Expr::col(Column::UpdatedAt))
        .finally(Expr::val(now))
        .into()
}
