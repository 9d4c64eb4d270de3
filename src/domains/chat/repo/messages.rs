//! `chat_messages` and `chat_deleted_messages`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::{ChatMessageId, DbError, Tx, UserId};

use crate::entity::{deleted, message};
use crate::kinds::MessageType;

/// Fewer than a socket may be behind.
const MOST_CHANGED: u64 = 200;

pub async fn find_message(
    conn: &impl ConnectionTrait,
    id: ChatMessageId,
) -> Result<Option<message::Model>, DbError> {
    Ok(message::Entity::find_by_id(id.0).unique(conn).await?)
}

pub async fn list_messages_by_ids(
    conn: &impl ConnectionTrait,
    ids: &[i64],
) -> Result<Vec<message::Model>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = message::Entity::find().filter(message::Column::Id.is_in(ids.iter().copied()));
    Ok(select.all(conn).await?)
}

/// What of a room's messages to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    pub message_type: Option<MessageType>,
    pub sender: Option<UserId>,
    pub updated_since: Option<DateTime<Utc>>,
    pub hide_deleted: bool,
}

impl MessageFilter {
    /// Nothing is left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(&self, mut select: Select<message::Entity>) -> Select<message::Entity> {
        if let Some(kind) = self.message_type {
            select = select.filter(message::Column::MessageType.eq(kind.as_str()));
        }
        if let Some(sender) = self.sender {
            select = select.filter(message::Column::SenderId.eq(sender.0));
        }
        if let Some(since) = self.updated_since {
            select = select.filter(message::Column::UpdatedAt.gte(since));
        }
        if self.hide_deleted {
            select = select.filter(message::Column::IsDeleted.eq(false));
        }
        select
    }
}

fn of_room(room: i64) -> Select<message::Entity> {
    message::Entity::find().filter(message::Column::RoomId.eq(room))
}

/// Messages with `seq` in `from..=to`, newest first.
pub async fn list_range(
    conn: &impl ConnectionTrait,
    room: i64,
    from: i64,
    to: i64,
) -> Result<Vec<message::Model>, DbError> {
    let select = of_room(room)
        .filter(message::Column::Seq.between(from, to))
        .order_by_desc(message::Column::Seq);
    Ok(select.all(conn).await?)
}

pub async fn count_messages(
    conn: &impl ConnectionTrait,
    room: i64,
    filter: &MessageFilter,
) -> Result<u64, DbError> {
    Ok(filter.apply(of_room(room)).count(conn).await?)
}

/// Where in a room's messages to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Newest first, after so many.
    Newest { skip: u64 },
    /// Newest first, only smaller ids.
    Before(i64),
    /// Oldest first, only larger ids.
    After(i64),
}

pub async fn list_window(
    conn: &impl ConnectionTrait,
    room: i64,
    filter: &MessageFilter,
    window: Window,
    limit: u64,
) -> Result<Vec<message::Model>, DbError> {
    Ok(windowed(room, filter, window, limit).all(conn).await?)
}

pub(super) fn windowed(
    room: i64,
    filter: &MessageFilter,
    window: Window,
    limit: u64,
) -> Select<message::Entity> {
    let select = filter.apply(of_room(room)).limit(limit);
    let id = message::Column::Id;
    match window {
        Window::Newest { skip } => select.order_by_desc(id).offset(skip),
        Window::Before(before) => select.filter(id.lt(before)).order_by_desc(id),
        Window::After(after) => select.filter(id.gt(after)).order_by_asc(id),
    }
}

/// The id right before the newest `most` messages in (`after`, `upto`]; `None` when there are no more
/// than that.
pub async fn find_before_newest(
    conn: &impl ConnectionTrait,
    room: i64,
    after: i64,
    upto: i64,
    most: u64,
) -> Result<Option<i64>, DbError> {
    let select = of_room(room)
        .select_only()
        .column(message::Column::Id)
        .filter(message::Column::Id.gt(after))
        .filter(message::Column::Id.lte(upto))
        .order_by_desc(message::Column::Id)
        .offset(most)
        .limit(1);
    Ok(select.into_tuple().one(conn).await?)
}

/// Messages edited or deleted since, by the time of that; not more than the last of them.
pub async fn list_changed(
    conn: &impl ConnectionTrait,
    room: i64,
    since: DateTime<Utc>,
) -> Result<Vec<message::Model>, DbError> {
    let is_changed = Condition::any()
        .add(message::Column::IsEdited.eq(true))
        .add(message::Column::IsDeleted.eq(true));
    let select = of_room(room)
        .filter(message::Column::UpdatedAt.gte(since))
        .filter(is_changed)
        .order_by_desc(message::Column::UpdatedAt)
        .order_by_desc(message::Column::Id)
        .limit(MOST_CHANGED);
    let mut rows = select.all(conn).await?;
    rows.reverse();
    Ok(rows)
}

/// The newest message of a room that is not deleted.
pub async fn find_last_shown(conn: &impl ConnectionTrait, room: i64) -> Result<Option<i64>, DbError> {
    let select = of_room(room)
        .select_only()
        .column(message::Column::Id)
        .filter(message::Column::IsDeleted.eq(false))
        .order_by_desc(message::Column::Id)
        .limit(1);
    Ok(select.into_tuple().one(conn).await?)
}

/// Messages of rooms that their senders gave these ids.
pub async fn list_by_client_ids(
    conn: &impl ConnectionTrait,
    names: &[(i64, Vec<&str>)],
) -> Result<Vec<message::Model>, DbError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut any = Condition::any();
    for (room, names) in names {
        any = any.add(
            Condition::all()
                .add(message::Column::RoomId.eq(*room))
                .add(message::Column::ClientId.is_in(names.iter().copied())),
        );
    }
    Ok(message::Entity::find().filter(any).all(conn).await?)
}

/// Inserts rows, whose ids are not known yet, and fills those in.
pub async fn insert_messages(tx: &Tx, rows: &mut [message::Model]) -> Result<(), DbError> {
    let mut insert = Query::insert()
        .into_table(Alias::new("chat_messages"))
        .columns(
            [
                "room_id",
                "seq",
                "ordinal",
                "sender_id",
                "message_type",
                "content",
                "file_url",
                "file_name",
                "file_size",
                "upload_id",
                "reply_to_id",
                "client_id",
                "created_at",
                "updated_at",
            ]
            .map(Alias::new),
        )
        .take();
    for row in rows.iter() {
        insert.values_panic([
            row.room_id.into(),
            row.seq.into(),
            row.ordinal.into(),
            row.sender_id.into(),
            row.message_type.clone().into(),
            row.content.clone().into(),
            row.file_url.clone().into(),
            row.file_name.clone().into(),
            row.file_size.into(),
            row.upload_id.into(),
            row.reply_to_id.into(),
            row.client_id.clone().into(),
            row.created_at.into(),
            row.updated_at.into(),
        ]);
    }
    let ids = dialect::insert_returning_ids(tx, insert, rows.len()).await?;
    for (row, id) in rows.iter_mut().zip(ids) {
        row.id = id;
    }
    Ok(())
}

/// Writes columns of a message of a locked room.
pub async fn update_message(
    tx: &Tx,
    id: i64,
    set: impl IntoIterator<Item = (message::Column, SimpleExpr)>,
) -> Result<(), DbError> {
    let mut update = message::Entity::update_many();
    for (column, value) in set {
        update = update.col_expr(column, value);
    }
    update.filter(message::Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// Notes a deleted message that somebody had to read.
pub async fn insert_deleted(tx: &Tx, row: deleted::Model) -> Result<(), DbError> {
    let deleted::Model {
        room_id,
        message_id,
        content,
        deleted_by,
        deleted_at,
    } = row;
    let insert = Query::insert()
        .into_table(Alias::new("chat_deleted_messages"))
        .columns(["room_id", "message_id", "content", "deleted_by", "deleted_at"].map(Alias::new))
        .values_panic([
            room_id.into(),
            message_id.into(),
            content.into(),
            deleted_by.into(),
            deleted_at.into(),
        ])
        .take();
    tx.execute(&insert).await?;
    Ok(())
}
