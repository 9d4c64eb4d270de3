//! `support_messages`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::{DbError, SupportMessageId, Tx, UserId};

use crate::entity::message;
use crate::kinds::{ContentType, MessageType};

/// A message about to be inserted.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub session: i64,
    pub sender: UserId,
    pub message_type: MessageType,
    pub content_type: ContentType,
    pub content: Option<String>,
    pub image: Option<String>,
}

pub async fn insert_message(tx: &Tx, new: NewMessage, now: DateTime<Utc>) -> Result<message::Model, DbError> {
    let NewMessage {
        session,
        sender,
        message_type,
        content_type,
        content,
        image,
    } = new;
    // Nobody has to read what the server says.
    let is_read = message_type == MessageType::System;
    let insert = Query::insert()
        .into_table(Alias::new("support_messages"))
        .columns(
            [
                "session_id",
                "sender_id",
                "message_type",
                "content_type",
                "content",
                "image",
                "is_read",
                "created_at",
            ]
            .map(Alias::new),
        )
        .values_panic([
            session.into(),
            sender.0.into(),
            message_type.as_str().into(),
            content_type.as_str().into(),
            content.clone().into(),
            image.clone().into(),
            is_read.into(),
            now.into(),
        ])
        .take();
    let id = dialect::insert_returning_id(tx, insert).await?;
    Ok(message::Model {
        id,
        session_id: session,
        sender_id: sender.0,
        message_type: message_type.as_str().to_owned(),
        content_type: content_type.as_str().to_owned(),
        content,
        image,
        is_read,
        created_at: now,
    })
}

/// Which messages of a session to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Only larger ids, from the smallest on.
    pub after: Option<i64>,
    /// Only smaller ids; without `after` the newest of them.
    pub before: Option<i64>,
    pub limit: u64,
}

/// Messages in ascending order, and whether there are more in the direction of reading.
pub async fn list_messages(
    conn: &impl ConnectionTrait,
    session: i64,
    cursor: Cursor,
) -> Result<(Vec<message::Model>, bool), DbError> {
    let mut select = message::Entity::find()
        .filter(message::Column::SessionId.eq(session))
        .limit(cursor.limit + 1);
    if let Some(before) = cursor.before {
        select = select.filter(message::Column::Id.lt(before));
    }
    let select = match cursor.after {
        Some(after) => select
            .filter(message::Column::Id.gt(after))
            .order_by_asc(message::Column::Id),
        None => select.order_by_desc(message::Column::Id),
    };
    let mut messages = select.all(conn).await?;
    let limit = usize::try_from(cursor.limit).unwrap_or(usize::MAX);
    let has_more = messages.len() > limit;
    messages.truncate(limit);
    if cursor.after.is_none() {
        messages.reverse();
    }
    Ok((messages, has_more))
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

pub async fn find_message(
    conn: &impl ConnectionTrait,
    session: i64,
    id: SupportMessageId,
) -> Result<Option<message::Model>, DbError> {
    let select = message::Entity::find_by_id(id.0).filter(message::Column::SessionId.eq(session));
    Ok(select.unique(conn).await?)
}

/// The newest message of a session.
pub async fn find_last_id(conn: &impl ConnectionTrait, session: i64) -> Result<Option<i64>, DbError> {
    let select = message::Entity::find()
        .select_only()
        .expr(message::Column::Id.max())
        .filter(message::Column::SessionId.eq(session));
    let last: Option<Option<i64>> = select.into_tuple().unique(conn).await?;
    Ok(last.flatten())
}

/// Marks what one side wrote as read, up to an id; tells how many messages were not before.
pub async fn update_read(tx: &Tx, session: i64, written_by: MessageType, up_to: i64) -> Result<u64, DbError> {
    let done = message::Entity::update_many()
        .col_expr(message::Column::IsRead, Expr::value(true))
        .filter(message::Column::SessionId.eq(session))
        .filter(message::Column::MessageType.eq(written_by.as_str()))
        .filter(message::Column::IsRead.eq(false))
        .filter(message::Column::Id.lte(up_to))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

pub async fn delete_message(tx: &Tx, id: i64) -> Result<(), DbError> {
    message::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Keys of all images of a session.
pub async fn list_images(conn: &impl ConnectionTrait, session: i64) -> Result<Vec<String>, DbError> {
    let select = message::Entity::find()
        .select_only()
        .column(message::Column::Image)
        .filter(message::Column::SessionId.eq(session))
        .filter(message::Column::Image.is_not_null());
    Ok(select.into_tuple().all(conn).await?)
}

/// Is there a message with this image?
pub async fn has_image(conn: &impl ConnectionTrait, image: &str) -> Result<bool, DbError> {
    let select = message::Entity::find().filter(message::Column::Image.eq(image));
    Ok(select.count(conn).await? > 0)
}

/// The id right before the newest `most` messages in (`after`, `upto`]; `None` when there are no more
/// than that.
pub async fn find_before_newest(
    conn: &impl ConnectionTrait,
    session: i64,
    after: i64,
    upto: i64,
    most: u64,
) -> Result<Option<i64>, DbError> {
    let select = message::Entity::find()
        .select_only()
        .column(message::Column::Id)
        .filter(message::Column::SessionId.eq(session))
        .filter(message::Column::Id.gt(after))
        .filter(message::Column::Id.lte(upto))
        .order_by_desc(message::Column::Id)
        .offset(most)
        .limit(1);
    Ok(select.into_tuple().one(conn).await?)
}
