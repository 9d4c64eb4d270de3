//! Every query of this domain. Rows are reached through their owner; a bare look-up by id is only
//! for jobs, which carry the id that the service gave them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, Func, LikeExpr, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, Order, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select,
};
use yunque_accounts::values::name_key;
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::http::Page;
use yunque_kernel::{DbError, FileId, Tx, UserId};

use crate::entity::file::{Column, Entity, Model};
use crate::names::FolderPath;
use crate::status::{Source, UploadStatus};

/// A row about to be inserted.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub user: UserId,
    pub name: String,
    pub content_type: String,
    pub size: i64,
    pub path: String,
    pub object_key: Option<String>,
    pub status: UploadStatus,
    pub staged_ref: Option<String>,
    pub source: Source,
    pub folder_key: Option<String>,
}

/// Which files to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<UploadStatus>,
    pub path: Option<String>,
    pub search: Option<String>,
    pub content_type: Option<String>,
    pub order: Option<(Column, bool)>,
}

fn visible(user: UserId) -> Select<Entity> {
    Entity::find()
        .filter(Column::UserId.eq(user.0))
        .filter(Column::DeletedAt.is_null())
}

pub async fn find_visible(
    conn: &impl ConnectionTrait,
    user: UserId,
    id: FileId,
) -> Result<Option<Model>, DbError> {
    Ok(visible(user).filter(Column::Id.eq(id.0)).unique(conn).await?)
}

/// For jobs and signed links only.
pub async fn find_for_job(conn: &impl ConnectionTrait, id: FileId) -> Result<Option<Model>, DbError> {
    Ok(Entity::find_by_id(id.0).unique(conn).await?)
}

pub async fn list_by_ids(
    conn: &impl ConnectionTrait,
    user: UserId,
    ids: &[i64],
) -> Result<Vec<Model>, DbError> {
    let select = visible(user)
        .filter(Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(Column::Id);
    Ok(select.all(conn).await?)
}

pub async fn list(
    conn: &impl ConnectionTrait,
    user: UserId,
    filter: &Filter,
    page: Page,
) -> Result<(Vec<Model>, u64), DbError> {
    let mut condition = Condition::all();
    if let Some(status) = filter.status {
        condition = condition.add(Column::UploadStatus.eq(status.as_str()));
    }
    if let Some(path) = &filter.path {
        condition = condition.add(Column::Path.eq(path.as_str()));
    }
    if let Some(content_type) = &filter.content_type {
        condition = condition.add(Column::ContentType.eq(content_type.as_str()));
    }
    if let Some(search) = &filter.search {
        let pattern = format!("%{}%", dialect::like_escape(&name_key(search)));
        condition =
            condition.add(Expr::col((Entity, Column::NameKey)).like(LikeExpr::new(pattern).escape('!')));
    }
    let select = visible(user).filter(condition);
    let total = select.clone().count(conn).await?;
    let (column, descending) = filter.order.unwrap_or((Column::Id, true));
    let order = if descending { Order::Desc } else { Order::Asc };
    let mut select = select.order_by(column, order.clone());
    if !matches!(column, Column::Id) {
        select = select.order_by(Column::Id, order);
    }
    Ok((
        select.offset(page.offset()).limit(page.limit()).all(conn).await?,
        total,
    ))
}

/// The folded name, cut to its column: folding makes a few letters longer.
fn search_key(name: &str) -> String {
    name_key(name).chars().take(1024).collect()
}

/// Inserts rows with one statement and returns them as they are stored.
pub async fn insert_all(tx: &Tx, files: &[NewFile], now: DateTime<Utc>) -> Result<Vec<Model>, DbError> {
    let columns = [
        "user_id",
        "name",
        "name_key",
        "content_type",
        "size",
        "path",
        "object_key",
        "upload_status",
        "attempts",
        "generation",
        "staged_ref",
        "source",
        "folder_key",
        "created_at",
        "updated_at",
    ];
    let mut insert = Query::insert()
        .into_table(Alias::new("files"))
        .columns(columns.map(Alias::new))
        .take();
    for f in files {
        insert.values_panic([
            f.user.0.into(),
            f.name.clone().into(),
            search_key(&f.name).into(),
            f.content_type.clone().into(),
            f.size.into(),
            f.path.clone().into(),
            f.object_key.clone().into(),
            f.status.as_str().into(),
            0.into(),
            1.into(),
            f.staged_ref.clone().into(),
            f.source.as_str().into(),
            f.folder_key.clone().into(),
            now.into(),
            now.into(),
        ]);
    }
    let ids = dialect::insert_returning_ids(tx, insert, files.len()).await?;
    Ok(ids
        .into_iter()
        .zip(files)
        .map(|(id, f)| f.stored(id, now))
        .collect())
}

impl NewFile {
    fn stored(&self, id: i64, now: DateTime<Utc>) -> Model {
        Model {
            id,
            user_id: self.user.0,
            name: self.name.clone(),
            name_key: search_key(&self.name),
            content_type: self.content_type.clone(),
            size: self.size,
            path: self.path.clone(),
            object_key: self.object_key.clone(),
            upload_status: self.status.as_str().to_owned(),
            upload_error: None,
            attempts: 0,
            generation: 1,
            staged_ref: self.staged_ref.clone(),
            sha256: None,
            source: self.source.as_str().to_owned(),
            folder_key: self.folder_key.clone(),
            deleted_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}

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
fn later(now: DateTime<Utc>) -> sea_orm::sea_query::SimpleExpr {
    Expr::case(Expr::col(Column::UpdatedAt).gt(now), Expr::col(Column::UpdatedAt))
        .finally(Expr::val(now))
        .into()
}

/// Gives the file another name or place. The folder's unique key is the constraint's business.
pub async fn update_place(
    tx: &Tx,
    id: i64,
    name: &str,
    path: &str,
    folder_key: Option<String>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = Entity::update_many()
        .col_expr(Column::Name, Expr::value(name))
        .col_expr(Column::NameKey, Expr::value(search_key(name)))
        .col_expr(Column::Path, Expr::value(path))
        .col_expr(Column::FolderKey, Expr::value(folder_key))
        .col_expr(Column::UpdatedAt, later(now))
        .filter(Column::Id.eq(id))
        .filter(Column::DeletedAt.is_null())
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Everything inside a folder, folders included. Compared character by character: `LIKE` of SQLite
/// takes `/Docs/` for `/docs/`.
fn inside(user: UserId, folder: &FolderPath) -> Select<Entity> {
    let below = format!("{}/", folder.as_str().trim_end_matches('/'));
    let length = i32::try_from(below.chars().count()).unwrap_or(i32::MAX);
    let start = Func::cust("SUBSTR")
        .arg(Expr::col(Column::Path))
        .arg(1)
        .arg(length);
    let condition = Condition::any()
        .add(Column::Path.eq(folder.as_str()))
        .add(Expr::expr(start).eq(below));
    visible(user).filter(condition)
}

pub async fn has_inside(
    conn: &impl ConnectionTrait,
    user: UserId,
    folder: &FolderPath,
) -> Result<bool, DbError> {
    Ok(inside(user, folder).limit(1).one(conn).await?.is_some())
}

pub async fn list_inside(
    conn: &impl ConnectionTrait,
    user: UserId,
    folder: &FolderPath,
    limit: u64,
) -> Result<Vec<Model>, DbError> {
    Ok(inside(user, folder)
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?)
}

/// Moves all plain files of one folder to another path.
pub async fn move_files(
    tx: &Tx,
    user: UserId,
    from: &str,
    to: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    Entity::update_many()
        .col_expr(Column::Path, Expr::value(to))
        .col_expr(Column::UpdatedAt, later(now))
        .filter(Column::UserId.eq(user.0))
        .filter(Column::Path.eq(from))
        .filter(Column::DeletedAt.is_null())
        .filter(Column::Source.ne(Source::Folder.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

/// A live file, locked until the transaction ends.
pub async fn lock_live(tx: &Tx, id: FileId) -> Result<Option<Model>, DbError> {
    let select = Entity::find_by_id(id.0).filter(Column::DeletedAt.is_null());
    Ok(dialect::locked(tx, select).unique(tx).await?)
}

/// Marks a locked file deleted.
pub async fn mark_deleted(tx: &Tx, id: FileId, now: DateTime<Utc>) -> Result<(), DbError> {
    Entity::update_many()
        .col_expr(Column::DeletedAt, Expr::value(now))
        .col_expr(Column::FolderKey, Expr::value(None::<String>))
        .col_expr(Column::StagedRef, Expr::value(None::<String>))
        .col_expr(Column::UpdatedAt, later(now))
        .filter(Column::Id.eq(id.0))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes the tombstone of a purged file.
pub async fn delete_row(conn: &impl ConnectionTrait, id: FileId) -> Result<(), DbError> {
    Entity::delete_many()
        .filter(Column::Id.eq(id.0))
        .filter(Column::DeletedAt.is_not_null())
        .exec(conn)
        .await?;
    Ok(())
}

/// The object of an upload that was given up is gone for good.
pub async fn clear_object_key(conn: &impl ConnectionTrait, id: FileId) -> Result<(), DbError> {
    Entity::update_many()
        .col_expr(Column::ObjectKey, Expr::value(None::<String>))
        .filter(Column::Id.eq(id.0))
        .exec(conn)
        .await?;
    Ok(())
}

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

pub async fn clear_staged(tx: &Tx, id: i64, reference: &str) -> Result<bool, DbError> {
    let done = Entity::update_many()
        .col_expr(Column::StagedRef, Expr::value(None::<String>))
        .filter(Column::Id.eq(id))
        .filter(Column::StagedRef.eq(reference))
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
