//! Every query of this domain. Rows are reached through their owner; a bare look-up by id is only
//! for jobs, which carry the id that the service gave them.

mod edges;
mod rounds;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, Func, LikeExpr, Query};
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

use edges::later;

pub use edges::{Begin, Complete, Edge, begin_uploads, complete_uploads};
pub use rounds::{
    clear_staged, list_expired_presigned, list_owners, list_referenced, list_stale_staged, list_unfinished,
    list_unpurged, sum_space,
};

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
