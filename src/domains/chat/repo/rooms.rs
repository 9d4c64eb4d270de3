//! `chat_rooms`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoCondition, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QuerySelect, RelationDef, Select,
};
use yunque_kernel::db::{Unique as _, dialect, text_index};
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::index::insert_search_marks;
use crate::entity::{member, room};
use crate::kinds::{RoomScope, RoomType};

/// The row of one user in each room that is read.
fn row_of(user: UserId) -> RelationDef {
    let rows: RelationDef = member::Entity::belongs_to(room::Entity)
        .from(member::Column::RoomId)
        .to(room::Column::Id)
        .into();
    rows.rev().on_condition(move |_, member| {
        Expr::col((member, member::Column::UserId))
            .eq(user.0)
            .into_condition()
    })
}

/// A room and the caller's row in it, by one statement.
pub async fn find_room(
    conn: &impl ConnectionTrait,
    id: ChatRoomId,
    user: UserId,
) -> Result<Option<(room::Model, Option<member::Model>)>, DbError> {
    let select = room::Entity::find_by_id(id.0)
        .select_also(member::Entity)
        .join(JoinType::LeftJoin, row_of(user));
    Ok(select.all(conn).await?.pop())
}

/// A room, locked until the transaction ends.
pub async fn lock_room(tx: &Tx, id: ChatRoomId) -> Result<Option<room::Model>, DbError> {
    Ok(dialect::locked(tx, room::Entity::find_by_id(id.0))
        .unique(tx)
        .await?)
}

/// Rooms, locked in the order of their ids.
pub async fn lock_rooms(tx: &Tx, ids: &[i64]) -> Result<Vec<room::Model>, DbError> {
    let select = room::Entity::find()
        .filter(room::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(room::Column::Id);
    Ok(dialect::locked(tx, select).all(tx).await?)
}

pub async fn list_rooms_by_ids(
    conn: &impl ConnectionTrait,
    ids: &[i64],
) -> Result<Vec<room::Model>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = room::Entity::find().filter(room::Column::Id.is_in(ids.iter().copied()));
    Ok(select.all(conn).await?)
}

/// Of rooms: id, id of the newest message, and how many changes there were.
pub async fn list_tips(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<(i64, i64, i64)>, DbError> {
    let select = room::Entity::find()
        .select_only()
        .columns([room::Column::Id, room::Column::HeadId, room::Column::Changes])
        .filter(room::Column::Id.is_in(ids.iter().copied()));
    Ok(select.into_tuple().all(conn).await?)
}

/// Which rooms to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFilter {
    pub scope: RoomScope,
    pub room_type: Option<RoomType>,
    /// A part of the name.
    pub search: Option<String>,
}

impl RoomFilter {
    /// Nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.scope == RoomScope::All && self.room_type.is_none() && self.search.is_none()
    }
}

/// The active rooms that a user may see, each with the user's row: it is banned in none of them.
pub(super) fn visible(backend: DbBackend, user: UserId, filter: &RoomFilter) -> Select<room::Entity> {
    let mine = Condition::all()
        .add(member::Column::Id.is_not_null())
        .add(member::Column::IsBanned.eq(false));
    // Who was banned from a public room does not find it either.
    let public = Condition::all()
        .add(room::Column::RoomType.eq(RoomType::Public.as_str()))
        .add(
            Condition::any()
                .add(member::Column::Id.is_null())
                .add(member::Column::IsBanned.eq(false)),
        );
    let scope = match filter.scope {
        RoomScope::Mine => mine,
        RoomScope::Public => public,
        RoomScope::All => Condition::any().add(mine).add(public),
    };
    let mut select = room::Entity::find()
        .join(JoinType::LeftJoin, row_of(user))
        .filter(room::Column::IsActive.eq(true))
        .filter(scope);
    if let Some(kind) = filter.room_type {
        select = select.filter(room::Column::RoomType.eq(kind.as_str()));
    }
    if let Some(text) = &filter.search {
        let name = Expr::col((room::Entity, room::Column::Name));
        select = select.filter(text_index::contains(backend, name, text));
    }
    select
}

/// A room about to be inserted.
#[derive(Clone, Debug)]
pub struct NewRoom {
    pub name: String,
    pub description: Option<String>,
    pub room_type: RoomType,
    pub max_members: i32,
    pub created_by: UserId,
    pub direct_key: Option<String>,
}

/// Inserts an empty room; whoever does lets the first members in.
pub async fn insert_room(tx: &Tx, new: NewRoom, now: DateTime<Utc>) -> Result<room::Model, DbError> {
    let NewRoom {
        name,
        description,
        room_type,
        max_members,
        created_by,
        direct_key,
    } = new;
    let insert = Query::insert()
        .into_table(Alias::new("chat_rooms"))
        .columns(
            [
                "name",
                "description",
                "room_type",
                "max_members",
                "created_by",
                "direct_key",
                "created_at",
                "updated_at",
            ]
            .map(Alias::new),
        )
        .values_panic([
            name.clone().into(),
            description.clone().into(),
            room_type.as_str().into(),
            max_members.into(),
            created_by.0.into(),
            direct_key.clone().into(),
            now.into(),
            now.into(),
        ])
        .take();
    let id = dialect::insert_returning_id(tx, insert).await?;
    insert_search_marks(tx, &[id]).await?;
    Ok(room::Model {
        id,
        name,
        description,
        room_type: room_type.as_str().to_owned(),
        created_by: Some(created_by.0),
        is_active: true,
        max_members,
        member_count: 0,
        last_seq: 0,
        notified_seq: 0,
        last_ordinal: 0,
        head_id: 0,
        changes: 0,
        last_message_id: None,
        direct_key,
        created_at: now,
        updated_at: now,
    })
}

/// Writes columns of a locked room.
pub async fn update_room(
    tx: &Tx,
    id: i64,
    set: impl IntoIterator<Item = (room::Column, SimpleExpr)>,
) -> Result<(), DbError> {
    let mut update = room::Entity::update_many();
    for (column, value) in set {
        update = update.col_expr(column, value);
    }
    update.filter(room::Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// `max(updated_at, now)`: times never go back, even when the clock does.
pub fn later(room: &room::Model, now: DateTime<Utc>) -> DateTime<Utc> {
    std::cmp::max(room.updated_at, now)
}

/// The room of two by its key.
pub async fn find_direct(conn: &impl ConnectionTrait, key: &str) -> Result<Option<room::Model>, DbError> {
    let select = room::Entity::find().filter(room::Column::DirectKey.eq(key));
    Ok(select.unique(conn).await?)
}
