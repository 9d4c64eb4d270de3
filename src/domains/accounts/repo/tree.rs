//! `users.parent_id`: who hangs below whom.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect,
};
use yunque_kernel::DbError;
use yunque_kernel::auth::UserType;
use yunque_kernel::db::dialect;
use yunque_kernel::ids::UserId;

use crate::entity::user;
use crate::scope::Place;

#[derive(FromQueryResult)]
struct PlaceRow {
    id: i64,
    user_type: String,
    is_active: bool,
    deactivated_at: Option<DateTime<Utc>>,
    parent_id: Option<i64>,
    grandparent_id: Option<i64>,
}

impl From<PlaceRow> for Place {
    fn from(row: PlaceRow) -> Self {
        let PlaceRow {
            id,
            user_type,
            is_active,
            deactivated_at,
            parent_id,
            grandparent_id,
        } = row;
        Place {
            id: UserId(id),
            user_type: UserType::from_stored(&user_type),
            parent: parent_id.map(UserId),
            grandparent: grandparent_id.map(UserId),
            is_active,
            is_deleted: deactivated_at.is_some(),
        }
    }
}

pub async fn find_place(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<Place>, DbError> {
    let sql = "SELECT u.id, u.user_type, u.is_active, u.deactivated_at, u.parent_id, \
               p.parent_id AS grandparent_id FROM users u LEFT JOIN users p ON p.id = u.parent_id WHERE u.id = ?";
    let statement = dialect::statement(conn.get_database_backend(), sql, [id.into()]);
    let row = conn.query_one_raw(statement).await?;
    Ok(row
        .map(|row| PlaceRow::from_query_result(&row, ""))
        .transpose()?
        .map(Place::from))
}

/// The second-level agents of a first-level agent, by id. Deleted ones are left out.
pub async fn list_sub_agents(conn: &impl ConnectionTrait, parent: UserId) -> Result<Vec<UserId>, DbError> {
    let ids: Vec<i64> = user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .filter(user::Column::ParentId.eq(parent.0))
        .filter(user::Column::UserType.eq(UserType::AgentL2.as_str()))
        .filter(user::Column::DeactivatedAt.is_null())
        .order_by_asc(user::Column::Id)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(UserId).collect())
}

/// Somebody right below an account.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    pub id: UserId,
    pub user_type: UserType,
    pub is_deleted: bool,
}

/// Everybody right below an account, locked in the order of their ids. With the account's own row
/// locked nobody can join them, because every write of `parent_id` locks the parent.
pub async fn lock_children(conn: &impl ConnectionTrait, parent: UserId) -> Result<Vec<Child>, DbError> {
    let mut query = user::Entity::find()
        .filter(user::Column::ParentId.eq(parent.0))
        .order_by_asc(user::Column::Id);
    if conn.get_database_backend() != DbBackend::Sqlite {
        query = query.lock(LockType::Update);
    }
    let rows: Vec<(i64, String, Option<DateTime<Utc>>)> = query
        .select_only()
        .columns([
            user::Column::Id,
            user::Column::UserType,
            user::Column::DeactivatedAt,
        ])
        .into_tuple()
        .all(conn)
        .await?;
    let child = |(id, user_type, deactivated_at): (i64, String, Option<DateTime<Utc>>)| Child {
        id: UserId(id),
        user_type: UserType::from_stored(&user_type),
        is_deleted: deactivated_at.is_some(),
    };
    Ok(rows.into_iter().map(child).collect())
}

/// Hangs everybody of one kind who is right below `from` below `to`.
pub async fn update_parent(
    conn: &impl ConnectionTrait,
    from: UserId,
    kind: UserType,
    to: Option<UserId>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    user::Entity::update_many()
        .filter(user::Column::ParentId.eq(from.0))
        .filter(user::Column::UserType.eq(kind.as_str()))
        .col_expr(user::Column::ParentId, Expr::value(to.map(|id| id.0)))
        .col_expr(user::Column::UpdatedAt, Expr::value(now))
        .exec(conn)
        .await?;
    Ok(())
}
