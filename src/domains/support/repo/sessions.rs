//! `support_sessions`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select,
};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::http::Page;
use yunque_kernel::{DbError, SupportSessionId, Tx, UserId};

use crate::entity::session;

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
    Ok(session::Entity::find_by_id(id.0).unique(conn).await?)
}

pub async fn find_by_client(
    conn: &impl ConnectionTrait,
    client: UserId,
) -> Result<Option<session::Model>, DbError> {
    let select = session::Entity::find().filter(session::Column::ClientId.eq(client.0));
    Ok(select.unique(conn).await?)
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

/// The sessions of those customers who have one, locked in the order of the customers.
pub async fn lock_by_clients(tx: &Tx, clients: &[UserId]) -> Result<Vec<session::Model>, DbError> {
    let select = session::Entity::find()
        .filter(session::Column::ClientId.is_in(clients.iter().map(|client| client.0)))
        .order_by_asc(session::Column::ClientId);
    Ok(dialect::locked(tx, select).all(tx).await?)
}

async fn locked(tx: &Tx, select: Select<session::Entity>) -> Result<Option<session::Model>, DbError> {
    Ok(dialect::locked(tx, select).unique(tx).await?)
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
    let sum: Option<Option<i64>> = select.into_tuple().unique(conn).await?;
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
    let id = dialect::insert_returning_id(tx, insert).await?;
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
