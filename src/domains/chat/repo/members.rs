//! `chat_room_members`.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use yunque_kernel::db::Unique as _;
use yunque_kernel::http::Page;
use yunque_kernel::{DbError, Tx, UserId};

use crate::entity::{member, room};
use crate::kinds::Role;

/// A user's row in a room, banned or not.
pub async fn find_member(
    conn: &impl ConnectionTrait,
    room: i64,
    user: UserId,
) -> Result<Option<member::Model>, DbError> {
    let select = member::Entity::find()
        .filter(member::Column::RoomId.eq(room))
        .filter(member::Column::UserId.eq(user.0));
    Ok(select.unique(conn).await?)
}

/// Those rows of (room, user) pairs that exist.
pub async fn list_members_of(
    conn: &impl ConnectionTrait,
    pairs: &[(i64, Vec<i64>)],
) -> Result<Vec<member::Model>, DbError> {
    let mut any = Condition::any();
    for (room, users) in pairs {
        any = any.add(
            Condition::all()
                .add(member::Column::RoomId.eq(*room))
                .add(member::Column::UserId.is_in(users.iter().copied())),
        );
    }
    Ok(member::Entity::find().filter(any).all(conn).await?)
}

/// All members of rooms who are not banned, by time of joining.
pub async fn list_active(conn: &impl ConnectionTrait, rooms: &[i64]) -> Result<Vec<member::Model>, DbError> {
    let select = active().filter(member::Column::RoomId.is_in(rooms.iter().copied()));
    Ok(by_joining(select).all(conn).await?)
}

fn active() -> Select<member::Entity> {
    member::Entity::find().filter(member::Column::IsBanned.eq(false))
}

/// 0 for admins, 1 for moderators, 2 for the others. The words have another order.
fn rank() -> SimpleExpr {
    let is = |role: Role| member::Column::Role.eq(role.as_str());
    CaseStatement::new()
        .case(is(Role::Admin), 0)
        .case(is(Role::Moderator), 1)
        .finally(2)
        .into()
}

fn by_joining(select: Select<member::Entity>) -> Select<member::Entity> {
    select
        .order_by_asc(member::Column::JoinedAt)
        .order_by_asc(member::Column::Id)
}

/// Which members of a room to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFilter {
    pub role: Option<Role>,
    /// Only these, or only others than these.
    pub users: Option<(Vec<UserId>, bool)>,
    pub include_banned: bool,
}

fn filtered(room: i64, filter: &MemberFilter) -> Select<member::Entity> {
    let mut select = match filter.include_banned {
        true => member::Entity::find(),
        false => active(),
    };
    select = select.filter(member::Column::RoomId.eq(room));
    if let Some(role) = filter.role {
        select = select.filter(member::Column::Role.eq(role.as_str()));
    }
    if let Some((users, is_in)) = &filter.users {
        let ids = users.iter().map(|user| user.0);
        select = select.filter(match is_in {
            true => member::Column::UserId.is_in(ids),
            false => member::Column::UserId.is_not_in(ids),
        });
    }
    select
}

/// A page of the members of a room, by time of joining.
pub async fn list_members(
    conn: &impl ConnectionTrait,
    room: i64,
    filter: &MemberFilter,
    page: Page,
) -> Result<(Vec<member::Model>, u64), DbError> {
    let select = filtered(room, filter);
    let total = select.clone().count(conn).await?;
    let page = by_joining(select).offset(page.offset()).limit(page.limit());
    Ok((page.all(conn).await?, total))
}

/// All of them.
pub async fn list_all_members(
    conn: &impl ConnectionTrait,
    room: i64,
    filter: &MemberFilter,
) -> Result<Vec<member::Model>, DbError> {
    Ok(by_joining(filtered(room, filter)).all(conn).await?)
}

/// The first members of a room as its detail shows them: admins, moderators, the others, each by time
/// of joining.
pub async fn list_first(
    conn: &impl ConnectionTrait,
    room: i64,
    most: u64,
) -> Result<Vec<member::Model>, DbError> {
    let select = active()
        .filter(member::Column::RoomId.eq(room))
        .order_by_asc(rank());
    let select = by_joining(select).limit(most);
    Ok(select.all(conn).await?)
}

/// Rooms in which a user is a member, each with the user's row.
pub async fn list_rooms_of(
    conn: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<(member::Model, Option<room::Model>)>, DbError> {
    let relation = member::Entity::belongs_to(room::Entity)
        .from(member::Column::RoomId)
        .to(room::Column::Id)
        .into();
    let select = active()
        .filter(member::Column::UserId.eq(user.0))
        .select_also(room::Entity)
        .join(sea_orm::JoinType::InnerJoin, relation);
    Ok(select.all(conn).await?)
}

/// Lets users into a room whose newest message is `head` with `ordinal`: nothing before is unread.
pub async fn insert_members(
    tx: &Tx,
    room: &room::Model,
    users: &[(UserId, Role)],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let mut insert = Query::insert()
        .into_table(Alias::new("chat_room_members"))
        .columns(
            [
                "room_id",
                "user_id",
                "role",
                "joined_at",
                "mark_id",
                "mark_ordinal",
            ]
            .map(Alias::new),
        )
        .take();
    for (user, role) in users {
        insert.values_panic([
            room.id.into(),
            user.0.into(),
            role.as_str().into(),
            now.into(),
            room.head_id.into(),
            room.last_ordinal.into(),
        ]);
    }
    tx.execute(&insert).await?;
    Ok(())
}

/// Writes columns of a member of a locked room.
pub async fn update_member(
    tx: &Tx,
    id: i64,
    set: impl IntoIterator<Item = (member::Column, SimpleExpr)>,
) -> Result<(), DbError> {
    let mut update = member::Entity::update_many();
    for (column, value) in set {
        update = update.col_expr(column, value);
    }
    update.filter(member::Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// Members by id have read up to a message and its ordinal; one statement for all of them.
pub async fn update_marks(
    tx: &Tx,
    marks: &BTreeMap<i64, (i64, i64)>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if marks.is_empty() {
        return Ok(());
    }
    let id = || Expr::col(member::Column::Id);
    let by_member = |value: fn(&(i64, i64)) -> i64| -> SimpleExpr {
        if marks.len() == 1 {
            return marks
                .values()
                .map(value)
                .map(Expr::value)
                .next()
                .unwrap_or_else(|| Expr::value(0));
        }
        let cases = marks.iter().fold(CaseStatement::new(), |cases, (member, mark)| {
            cases.case(id().eq(*member), Expr::value(value(mark)))
        });
        cases.into()
    };
    let update = Query::update()
        .table(member::Entity)
        .value(member::Column::LastReadAt, now)
        .value(
            member::Column::LastReadMessageId,
            by_member(|(message, _)| *message),
        )
        .value(member::Column::MarkId, by_member(|(message, _)| *message))
        .value(member::Column::MarkOrdinal, by_member(|(_, ordinal)| *ordinal))
        .and_where(id().is_in(marks.keys().copied()))
        .take();
    tx.execute(&update).await?;
    Ok(())
}

pub async fn delete_member(tx: &Tx, id: i64) -> Result<(), DbError> {
    member::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Admins of a room besides one of its members.
pub async fn count_other_admins(conn: &impl ConnectionTrait, room: i64, id: i64) -> Result<u64, DbError> {
    let select = active()
        .filter(member::Column::RoomId.eq(room))
        .filter(member::Column::Role.eq(Role::Admin.as_str()))
        .filter(member::Column::Id.ne(id));
    Ok(select.count(conn).await?)
}

/// A page of those who may take over from a member: moderators before the others, who serves longest
/// first.
pub async fn list_heirs(
    conn: &impl ConnectionTrait,
    room: i64,
    id: i64,
    skip: u64,
    most: u64,
) -> Result<Vec<member::Model>, DbError> {
    let select = active()
        .filter(member::Column::RoomId.eq(room))
        .filter(member::Column::Id.ne(id))
        .order_by_asc(rank());
    let select = by_joining(select).offset(skip).limit(most);
    Ok(select.all(conn).await?)
}
