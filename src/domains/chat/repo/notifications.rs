//! `chat_notifications`, and up to where rooms were notified of.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use yunque_kernel::db::dialect;
use yunque_kernel::http::Page;
use yunque_kernel::{ChatNotificationId, DbError, Tx, UserId};

use crate::entity::{message, notification, room};
use crate::kinds::{MessageType, NoticeType};

/// Rows of one INSERT; SQLite takes 32,766 values.
const CHUNK: usize = 1000;

/// The one unread row of a user for a large room.
pub fn coalesce_key(user: i64, room: i64) -> String {
    format!("{user}:{room}")
}

/// Inserts rows, whose ids are not known yet, and fills those in.
pub async fn insert_notifications(tx: &Tx, rows: &mut [notification::Model]) -> Result<(), DbError> {
    for rows in rows.chunks_mut(CHUNK) {
        let mut insert = Query::insert()
            .into_table(Alias::new("chat_notifications"))
            .columns(
                [
                    "user_id",
                    "notification_type",
                    "title",
                    "content",
                    "room_id",
                    "message_id",
                    "is_read",
                    "count",
                    "coalesce_key",
                    "created_at",
                    "updated_at",
                ]
                .map(Alias::new),
            )
            .take();
        for row in rows.iter() {
            insert.values_panic([
                row.user_id.into(),
                row.notification_type.clone().into(),
                row.title.clone().into(),
                row.content.clone().into(),
                row.room_id.into(),
                row.message_id.into(),
                row.is_read.into(),
                row.count.into(),
                row.coalesce_key.clone().into(),
                row.created_at.into(),
                row.updated_at.into(),
            ]);
        }
        let ids = dialect::insert_returning_ids(tx, insert, rows.len()).await?;
        for (row, id) in rows.iter_mut().zip(ids) {
            row.id = id;
        }
    }
    Ok(())
}

/// Everybody in these locked rooms was told of everything.
pub async fn update_notified(tx: &Tx, rooms: &[i64]) -> Result<(), DbError> {
    let update = room::Entity::update_many()
        .col_expr(room::Column::NotifiedSeq, Expr::col(room::Column::LastSeq))
        .filter(room::Column::Id.is_in(rooms.iter().copied()));
    update.exec(tx).await?;
    Ok(())
}

/// Everybody in this locked room was told of what was said up to here.
pub async fn update_notified_seq(tx: &Tx, room: i64, seq: i64) -> Result<(), DbError> {
    let update = room::Entity::update_many()
        .col_expr(room::Column::NotifiedSeq, Expr::value(seq))
        .filter(room::Column::Id.eq(room));
    update.exec(tx).await?;
    Ok(())
}

/// Messages of a room with `seq` in `from..=to` that somebody has to read, in order: id and sender.
pub async fn list_said(
    conn: &impl ConnectionTrait,
    room: i64,
    from: i64,
    to: i64,
) -> Result<Vec<(i64, Option<i64>)>, DbError> {
    let select = message::Entity::find()
        .select_only()
        .columns([message::Column::Id, message::Column::SenderId])
        .filter(message::Column::RoomId.eq(room))
        .filter(message::Column::Seq.between(from, to))
        .filter(message::Column::IsDeleted.eq(false))
        .filter(message::Column::MessageType.ne(MessageType::System.as_str()))
        .order_by_asc(message::Column::Seq);
    Ok(select.into_tuple().all(conn).await?)
}

/// Rooms with messages that nobody was told of, by id.
pub async fn list_behind(conn: &impl ConnectionTrait, after: i64, limit: u64) -> Result<Vec<i64>, DbError> {
    let select = room::Entity::find()
        .select_only()
        .column(room::Column::Id)
        .filter(Expr::col(room::Column::NotifiedSeq).lt(Expr::col(room::Column::LastSeq)))
        .filter(room::Column::Id.gt(after))
        .order_by_asc(room::Column::Id)
        .limit(limit);
    Ok(select.into_tuple().all(conn).await?)
}

/// The copies of a message's content.
pub async fn rewrite_notifications(tx: &Tx, message: i64, text: &str) -> Result<(), DbError> {
    notification::Entity::update_many()
        .col_expr(notification::Column::Content, Expr::value(text))
        .filter(notification::Column::MessageId.eq(message))
        .exec(tx)
        .await?;
    Ok(())
}

/// (message, user) pairs that have a notification already.
pub async fn list_notified(
    conn: &impl ConnectionTrait,
    messages: &[i64],
) -> Result<HashSet<(i64, i64)>, DbError> {
    let select = notification::Entity::find()
        .select_only()
        .columns([notification::Column::MessageId, notification::Column::UserId])
        .filter(notification::Column::MessageId.is_in(messages.iter().copied()));
    let pairs: Vec<(i64, i64)> = select.into_tuple().all(conn).await?;
    Ok(pairs.into_iter().collect())
}

/// Mentions of the messages of a room from an id on: (message, user) pairs.
pub async fn list_mentioned(
    conn: &impl ConnectionTrait,
    room: i64,
    from: i64,
    to: i64,
) -> Result<Vec<(i64, i64)>, DbError> {
    let select = notification::Entity::find()
        .select_only()
        .columns([notification::Column::MessageId, notification::Column::UserId])
        .filter(notification::Column::MessageId.between(from, to))
        .filter(notification::Column::RoomId.eq(room))
        .filter(notification::Column::NotificationType.eq(NoticeType::Mention.as_str()));
    Ok(select.into_tuple().all(conn).await?)
}

/// The notifications of a message for some users, locked.
pub async fn lock_of_message(
    tx: &Tx,
    message: i64,
    users: &[i64],
) -> Result<Vec<notification::Model>, DbError> {
    let select = notification::Entity::find()
        .filter(notification::Column::MessageId.eq(message))
        .filter(notification::Column::UserId.is_in(users.iter().copied()))
        .order_by_asc(notification::Column::Id);
    Ok(dialect::locked(tx, select).all(tx).await?)
}

/// Makes mentions of notifications that are locked.
pub async fn update_to_mention(
    tx: &Tx,
    ids: &[i64],
    title: &str,
    content: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    use notification::Column;
    notification::Entity::update_many()
        .col_expr(
            Column::NotificationType,
            Expr::value(NoticeType::Mention.as_str()),
        )
        .col_expr(Column::Title, Expr::value(title))
        .col_expr(Column::Content, Expr::value(content))
        .col_expr(Column::IsRead, Expr::value(false))
        .col_expr(Column::CoalesceKey, Expr::value(Option::<String>::None))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// The unread rows of users for large rooms, locked.
pub async fn lock_coalesced(tx: &Tx, keys: &[String]) -> Result<Vec<notification::Model>, DbError> {
    let select = notification::Entity::find()
        .filter(notification::Column::CoalesceKey.is_in(keys.iter().map(String::as_str)))
        .order_by_asc(notification::Column::Id);
    Ok(dialect::locked(tx, select).all(tx).await?)
}

/// Writes what moved in rows that are locked, by one statement: `count`, `message_id`, `title`,
/// `content` and `updated_at`, which is the same in all. The rows fall into few groups, so the
/// statement stays short.
pub async fn update_coalesced(tx: &Tx, rows: &[notification::Model]) -> Result<(), DbError> {
    use notification::Column;
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let mut by_count: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    let mut by_message: BTreeMap<Option<i64>, Vec<&notification::Model>> = BTreeMap::new();
    for row in rows {
        by_count.entry(row.count).or_default().push(row.id);
        by_message.entry(row.message_id).or_default().push(row);
    }
    let counts = by_count
        .into_iter()
        .map(|(count, ids)| (ids, Expr::value(count)))
        .collect();
    let of_message = |value: fn(&notification::Model) -> SimpleExpr| {
        let groups = by_message.values().filter_map(|group| {
            let ids = group.iter().map(|row| row.id).collect();
            Some((ids, value(group.first()?)))
        });
        cases(groups.collect())
    };
    notification::Entity::update_many()
        .col_expr(Column::Count, cases(counts))
        .col_expr(Column::MessageId, of_message(|row| Expr::value(row.message_id)))
        .col_expr(Column::Title, of_message(|row| Expr::value(row.title.as_str())))
        .col_expr(
            Column::Content,
            of_message(|row| Expr::value(row.content.as_str())),
        )
        .col_expr(Column::UpdatedAt, Expr::value(first.updated_at))
        .filter(Column::Id.is_in(rows.iter().map(|row| row.id)))
        .exec(tx)
        .await?;
    Ok(())
}

/// A value for each group of ids; the largest group is what is left.
fn cases(mut groups: Vec<(Vec<i64>, SimpleExpr)>) -> SimpleExpr {
    groups.sort_by_key(|(ids, _)| ids.len());
    let Some((_, rest)) = groups.pop() else {
        return Expr::value(Option::<i64>::None);
    };
    if groups.is_empty() {
        return rest;
    }
    let cases = groups
        .into_iter()
        .fold(CaseStatement::new(), |cases, (ids, value)| {
            cases.case(Expr::col(notification::Column::Id).is_in(ids), value)
        });
    cases.finally(rest).into()
}

/// Which notifications to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeFilter {
    pub is_read: Option<bool>,
    pub kind: Option<NoticeType>,
}

/// A page of a user's notifications, most recently moved first.
pub async fn list_notifications(
    conn: &impl ConnectionTrait,
    user: UserId,
    filter: NoticeFilter,
    page: Page,
) -> Result<(Vec<notification::Model>, u64), DbError> {
    use notification::Column;
    let mut select = notification::Entity::find().filter(Column::UserId.eq(user.0));
    if let Some(is_read) = filter.is_read {
        select = select.filter(Column::IsRead.eq(is_read));
    }
    if let Some(kind) = filter.kind {
        select = select.filter(Column::NotificationType.eq(kind.as_str()));
    }
    let total = select.clone().count(conn).await?;
    let page = select
        .order_by_desc(Column::UpdatedAt)
        .order_by_desc(Column::Id)
        .offset(page.offset())
        .limit(page.limit());
    Ok((page.all(conn).await?, total))
}

pub async fn count_unread_notifications(conn: &impl ConnectionTrait, user: UserId) -> Result<u64, DbError> {
    let select = notification::Entity::find().filter(unread_of(user));
    Ok(select.count(conn).await?)
}

fn unread_of(user: UserId) -> Condition {
    Condition::all()
        .add(notification::Column::UserId.eq(user.0))
        .add(notification::Column::IsRead.eq(false))
}

/// Marks those that a condition leaves as read and tells how many were not. `updated_at` stays: it
/// says when the last message came, and lists go by it.
async fn mark(tx: &Tx, which: Condition) -> Result<u64, DbError> {
    use notification::Column;
    let done = notification::Entity::update_many()
        .col_expr(Column::IsRead, Expr::value(true))
        .col_expr(Column::CoalesceKey, Expr::value(Option::<String>::None))
        .filter(which)
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// One of a user's, read or not; false when there is none.
pub async fn update_notification_read(
    tx: &Tx,
    user: UserId,
    id: ChatNotificationId,
) -> Result<bool, DbError> {
    let which = Condition::all()
        .add(notification::Column::Id.eq(id.0))
        .add(notification::Column::UserId.eq(user.0));
    Ok(mark(tx, which).await? > 0)
}

/// All of a user's, or those of one room.
pub async fn update_all_read(tx: &Tx, user: UserId, room: Option<i64>) -> Result<u64, DbError> {
    let mut which = unread_of(user);
    if let Some(room) = room {
        which = which.add(notification::Column::RoomId.eq(room));
    }
    mark(tx, which).await
}

/// Those of one message, and the one that stands for many of its room up to it.
pub async fn update_message_read(tx: &Tx, user: UserId, room: i64, message: i64) -> Result<u64, DbError> {
    use notification::Column;
    let up_to = Condition::all()
        .add(Column::CoalesceKey.eq(coalesce_key(user.0, room)))
        .add(Column::MessageId.lte(message));
    let either = Condition::any().add(Column::MessageId.eq(message)).add(up_to);
    mark(tx, unread_of(user).add(either)).await
}

/// Those of a room's messages up to one.
pub async fn update_read_up_to(tx: &Tx, user: UserId, room: i64, message: i64) -> Result<u64, DbError> {
    let which = unread_of(user)
        .add(notification::Column::RoomId.eq(room))
        .add(notification::Column::MessageId.lte(message));
    mark(tx, which).await
}

pub async fn delete_notification(tx: &Tx, user: UserId, id: ChatNotificationId) -> Result<bool, DbError> {
    let done = notification::Entity::delete_many()
        .filter(notification::Column::Id.eq(id.0))
        .filter(notification::Column::UserId.eq(user.0))
        .exec(tx)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Read ones that did not move since `before`, at most `limit`.
pub async fn list_old_notifications(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<i64>, DbError> {
    let select = notification::Entity::find()
        .select_only()
        .column(notification::Column::Id)
        .filter(notification::Column::IsRead.eq(true))
        .filter(notification::Column::UpdatedAt.lt(before))
        .order_by_asc(notification::Column::UpdatedAt)
        .limit(limit);
    Ok(select.into_tuple().all(conn).await?)
}

/// Removes those that are still read.
pub async fn delete_notifications(tx: &Tx, ids: &[i64]) -> Result<u64, DbError> {
    let done = notification::Entity::delete_many()
        .filter(notification::Column::Id.is_in(ids.iter().copied()))
        .filter(notification::Column::IsRead.eq(true))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// All of a user's.
pub async fn delete_notifications_of(tx: &Tx, user: UserId) -> Result<(), DbError> {
    notification::Entity::delete_many()
        .filter(notification::Column::UserId.eq(user.0))
        .exec(tx)
        .await?;
    Ok(())
}
