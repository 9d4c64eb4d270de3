//! Every query of this domain.
//!
//! Whoever changes a session or its messages locks the session's row first. Ids of messages are
//! therefore given out in the order of their commits inside a session, and the counters in the row
//! are exact.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select,
};
use yunque_kernel::db::dialect;
use yunque_kernel::http::Page;
use yunque_kernel::{DbError, SupportMessageId, SupportSessionId, Tx, UserId};

use crate::entity::{message, session};
use crate::kinds::{ContentType, MessageType};

/// Whose sessions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Everybody,
    /// Those of one customer, and those that any of these agents has.
    Of {
        client: UserId,
        agents: Vec<UserId>,
    },
    /// Those that one agent has.
    OfAgent(UserId),
}

impl Scope {
    fn condition(&self) -> Condition {
        match self {
            Scope::Everybody => Condition::all(),
            Scope::OfAgent(agent) => Condition::all().add(session::Column::AgentId.eq(agent.0)),
            Scope::Of { client, agents } => {
                let mut any = Condition::any().add(session::Column::ClientId.eq(client.0));
                if !agents.is_empty() {
                    any = any.add(session::Column::AgentId.is_in(agents.iter().map(|a| a.0)));
                }
                any
            }
        }
    }
}

pub async fn find_session(
    conn: &impl ConnectionTrait,
    id: SupportSessionId,
) -> Result<Option<session::Model>, DbError> {
    Ok(session::Entity::find_by_id(id.0).one(conn).await?)
}

pub async fn find_by_client(
    conn: &impl ConnectionTrait,
    client: UserId,
) -> Result<Option<session::Model>, DbError> {
    let select = session::Entity::find().filter(session::Column::ClientId.eq(client.0));
    Ok(select.one(conn).await?)
}

/// A session, locked until the transaction ends.
pub async fn lock_session(tx: &Tx, id: SupportSessionId) -> Result<Option<session::Model>, DbError> {
    locked(tx, session::Entity::find_by_id(id.0)).await
}

/// The same by its customer, whose own row the caller has locked.
pub async fn lock_by_client(tx: &Tx, client: UserId) -> Result<Option<session::Model>, DbError> {
    locked(
        tx,
        session::Entity::find().filter(session::Column::ClientId.eq(client.0)),
    )
    .await
}

async fn locked(tx: &Tx, mut select: Select<session::Entity>) -> Result<Option<session::Model>, DbError> {
    if tx.get_database_backend() != DbBackend::Sqlite {
        select = select.lock_exclusive();
    }
    Ok(select.one(tx).await?)
}

/// A page, newest activity first.
pub async fn list_sessions(
    conn: &impl ConnectionTrait,
    scope: &Scope,
    page: Page,
) -> Result<(Vec<session::Model>, u64), DbError> {
    let select = session::Entity::find().filter(scope.condition());
    let total = select.clone().count(conn).await?;
    let page = newest_first(select).offset(page.offset()).limit(page.limit());
    Ok((page.all(conn).await?, total))
}

/// All sessions that an agent has, newest activity first.
pub async fn list_of_agent(
    conn: &impl ConnectionTrait,
    agent: UserId,
    page: Option<Page>,
) -> Result<Vec<session::Model>, DbError> {
    let mut select = newest_first(session::Entity::find().filter(session::Column::AgentId.eq(agent.0)));
    if let Some(page) = page {
        select = select.offset(page.offset()).limit(page.limit());
    }
    Ok(select.all(conn).await?)
}

pub async fn count_of_agent(conn: &impl ConnectionTrait, agent: UserId) -> Result<u64, DbError> {
    let select = session::Entity::find().filter(session::Column::AgentId.eq(agent.0));
    Ok(select.count(conn).await?)
}

fn newest_first(select: Select<session::Entity>) -> Select<session::Entity> {
    select
        .order_by_desc(session::Column::UpdatedAt)
        .order_by_desc(session::Column::Id)
}

/// Unread messages over all sessions of a scope, for one side of them.
pub async fn sum_unread(
    conn: &impl ConnectionTrait,
    column: session::Column,
    scope: &Scope,
) -> Result<i64, DbError> {
    // Cast, because sums are decimals on MySQL and PostgreSQL.
    let integer = match conn.get_database_backend() {
        DbBackend::MySql => "SIGNED",
        _ => "BIGINT",
    };
    let sum = Expr::col(column).sum().cast_as(Alias::new(integer));
    let select = session::Entity::find()
        .select_only()
        .expr(sum)
        .filter(scope.condition());
    let sum: Option<Option<i64>> = select.into_tuple().one(conn).await?;
    Ok(sum.flatten().unwrap_or(0))
}

pub async fn insert_session(
    tx: &Tx,
    client: UserId,
    agent: Option<UserId>,
    now: DateTime<Utc>,
) -> Result<session::Model, DbError> {
    let insert = Query::insert()
        .into_table(Alias::new("support_sessions"))
        .columns(
            [
                "client_id",
                "agent_id",
                "is_active",
                "unread_client",
                "unread_agent",
                "created_at",
                "updated_at",
            ]
            .map(Alias::new),
        )
        .values_panic([
            client.0.into(),
            agent.map(|a| a.0).into(),
            true.into(),
            0.into(),
            0.into(),
            now.into(),
            now.into(),
        ])
        .take();
    let id = inserted(dialect::insert_returning_ids(tx, insert, 1).await?)?;
    Ok(session::Model {
        id,
        client_id: client.0,
        agent_id: agent.map(|a| a.0),
        is_active: true,
        last_message_id: None,
        unread_client: 0,
        unread_agent: 0,
        created_at: now,
        updated_at: now,
    })
}

fn inserted(ids: Vec<i64>) -> Result<i64, DbError> {
    ids.first()
        .copied()
        .ok_or_else(|| DbError::Other("an insert gave no id".to_owned()))
}

/// Writes columns of a locked session.
pub async fn update_session(
    tx: &Tx,
    id: i64,
    set: impl IntoIterator<Item = (session::Column, SimpleExpr)>,
) -> Result<(), DbError> {
    let mut update = session::Entity::update_many();
    for (column, value) in set {
        update = update.col_expr(column, value);
    }
    update.filter(session::Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// `max(updated_at, now)`: times never go back, even when the clock does.
pub fn later(session: &session::Model, now: DateTime<Utc>) -> DateTime<Utc> {
    std::cmp::max(session.updated_at, now)
}

/// Removes a session; its messages go with it.
pub async fn delete_session(tx: &Tx, id: i64) -> Result<(), DbError> {
    session::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

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
    let id = inserted(dialect::insert_returning_ids(tx, insert, 1).await?)?;
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
    Ok(select.one(conn).await?)
}

/// The newest message of a session.
pub async fn find_last_id(conn: &impl ConnectionTrait, session: i64) -> Result<Option<i64>, DbError> {
    let select = message::Entity::find()
        .select_only()
        .column(message::Column::Id)
        .filter(message::Column::SessionId.eq(session))
        .order_by_desc(message::Column::Id)
        .limit(1);
    Ok(select.into_tuple().one(conn).await?)
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

/// Sessions and the ids of their last messages.
pub async fn list_last_messages(
    conn: &impl ConnectionTrait,
    sessions: &[i64],
) -> Result<Vec<(i64, i64)>, DbError> {
    let select = session::Entity::find()
        .select_only()
        .columns([session::Column::Id, session::Column::LastMessageId])
        .filter(session::Column::Id.is_in(sessions.iter().copied()))
        .filter(session::Column::LastMessageId.is_not_null());
    Ok(select.into_tuple().all(conn).await?)
}
