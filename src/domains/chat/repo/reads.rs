//! `chat_message_reads`, and how far members have read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, CaseStatement, Condition, Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationDef,
};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::{DbError, Tx, UserId};

use crate::entity::{deleted, member, message, read};
use crate::kinds::MessageType;

/// A user's row in a room, locked: what one user reads there goes one after the other.
pub async fn lock_member(tx: &Tx, room: i64, user: UserId) -> Result<Option<member::Model>, DbError> {
    let select = member::Entity::find()
        .filter(member::Column::RoomId.eq(room))
        .filter(member::Column::UserId.eq(user.0));
    Ok(dialect::locked(tx, select).unique(tx).await?)
}

/// Up to where somebody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub message: i64,
    pub ordinal: i64,
}

/// Moves what a member has read forward; never back. Locked or not: a sender's own message moves it
/// as well, and is always newer.
pub async fn update_mark(tx: &Tx, member: i64, mark: Mark, now: DateTime<Utc>) -> Result<(), DbError> {
    use member::Column;
    let ahead = |column: Column, value: i64| -> SimpleExpr {
        CaseStatement::new()
            .case(Expr::col(column).lt(value), Expr::value(value))
            .finally(Expr::col(column))
            .into()
    };
    let is_behind = Condition::any()
        .add(Column::LastReadMessageId.is_null())
        .add(Column::LastReadMessageId.lt(mark.message));
    member::Entity::update_many()
        .col_expr(Column::LastReadAt, Expr::value(now))
        .col_expr(Column::LastReadMessageId, Expr::value(mark.message))
        .col_expr(Column::MarkId, ahead(Column::MarkId, mark.message))
        .col_expr(Column::MarkOrdinal, ahead(Column::MarkOrdinal, mark.ordinal))
        .filter(Column::Id.eq(member))
        .filter(is_behind)
        .exec(tx)
        .await?;
    Ok(())
}

/// Notes that somebody has read a message; false when that was known.
pub async fn insert_read(tx: &Tx, message: i64, user: UserId, now: DateTime<Utc>) -> Result<bool, DbError> {
    let insert = Query::insert()
        .into_table(Alias::new("chat_message_reads"))
        .columns(["message_id", "user_id", "read_at"].map(Alias::new))
        .values_panic([message.into(), user.0.into(), now.into()])
        .take();
    dialect::insert_ignore(tx, insert, &["message_id", "user_id"]).await
}

/// Notes that somebody has read what others said in `seq` `from..=to` of a room, by one statement, and
/// tells how many messages that are. Their member's row is locked.
pub async fn insert_reads(
    tx: &Tx,
    room: i64,
    user: UserId,
    from: i64,
    to: i64,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let sql = "INSERT INTO chat_message_reads (message_id, user_id, read_at) \
               SELECT m.id, ?, ? FROM chat_messages m \
               WHERE m.room_id = ? AND m.seq BETWEEN ? AND ? AND m.is_deleted = ? AND m.message_type <> ? \
               AND (m.sender_id IS NULL OR m.sender_id <> ?) AND NOT EXISTS \
               (SELECT 1 FROM chat_message_reads r WHERE r.message_id = m.id AND r.user_id = ?)";
    let values: [sea_orm::Value; 9] = [
        user.0.into(),
        now.into(),
        room.into(),
        from.into(),
        to.into(),
        false.into(),
        MessageType::System.as_str().into(),
        user.0.into(),
        user.0.into(),
    ];
    dialect::execute(tx, sql, values).await
}

/// Who has read a message, in the order of reading.
pub async fn list_reads(conn: &impl ConnectionTrait, message: i64) -> Result<Vec<read::Model>, DbError> {
    let select = read::Entity::find()
        .filter(read::Column::MessageId.eq(message))
        .order_by_asc(read::Column::ReadAt)
        .order_by_asc(read::Column::UserId);
    Ok(select.all(conn).await?)
}

/// Which of these messages were read by whom: (message, user) pairs.
pub async fn list_read_pairs(
    conn: &impl ConnectionTrait,
    messages: &[i64],
) -> Result<Vec<(i64, i64)>, DbError> {
    let select = read::Entity::find()
        .select_only()
        .columns([read::Column::MessageId, read::Column::UserId])
        .filter(read::Column::MessageId.is_in(messages.iter().copied()));
    Ok(select.into_tuple().all(conn).await?)
}

/// Deleted messages behind a user's marks, by room, whatever the number of rooms.
pub async fn count_deleted_unread(
    conn: &impl ConnectionTrait,
    user: UserId,
) -> Result<HashMap<i64, i64>, DbError> {
    let behind_mark: RelationDef = member::Entity::belongs_to(deleted::Entity)
        .from(member::Column::RoomId)
        .to(deleted::Column::RoomId)
        .on_condition(|member, deleted| {
            let id = Expr::col((deleted, deleted::Column::MessageId));
            Condition::all().add(id.gt(Expr::col((member, member::Column::MarkId))))
        })
        .into();
    let select = member::Entity::find()
        .select_only()
        .column(member::Column::RoomId)
        .expr(Expr::col((deleted::Entity, deleted::Column::MessageId)).count())
        .join(JoinType::InnerJoin, behind_mark)
        .filter(member::Column::UserId.eq(user.0))
        .filter(member::Column::IsBanned.eq(false))
        .group_by(member::Column::RoomId);
    let counts: Vec<(i64, i64)> = select.into_tuple().all(conn).await?;
    Ok(counts.into_iter().collect())
}

/// A message of a room.
pub async fn find_message_of(
    conn: &impl ConnectionTrait,
    room: i64,
    id: i64,
) -> Result<Option<message::Model>, DbError> {
    let select = message::Entity::find_by_id(id).filter(message::Column::RoomId.eq(room));
    Ok(select.unique(conn).await?)
}
