//! The transaction that stores one message of support chat, statement by statement, with nothing in front of it.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use yunque_kernel::Clock;

use super::{begin, insert};
use crate::Fault;
use crate::server::sql;

const SESSION: &str = "SELECT id, client_id, agent_id, is_active, last_message_id, unread_client, unread_agent, \
     created_at, updated_at FROM support_sessions WHERE id = ?";
const MESSAGE: &str = "INSERT INTO support_messages (session_id, sender_id, message_type, content_type, content, \
     image, is_read, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const TOUCH: &str = "UPDATE support_sessions SET last_message_id = ?, updated_at = ?, is_active = ?, \
     unread_agent = unread_agent + 1 WHERE id = ?";

/// Transactions per second.
///
/// # Errors
/// The database refuses one.
pub async fn per_second(
    database: &str,
    tasks: usize,
    sessions: Vec<i64>,
    text: String,
    time: Duration,
) -> Result<f64, Fault> {
    super::per_second(database, tasks, time, move |database, task, _| {
        let (session, text) = (sessions[task % sessions.len()], text.clone());
        async move { one(&database, session, text).await }
    })
    .await
}

async fn one(database: &DatabaseConnection, session: i64, text: String) -> Result<(), Fault> {
    let backend = database.get_database_backend();
    let now = Clock::default().now();
    let tx = begin(database).await?;
    let lock = match backend {
        DbBackend::Sqlite => SESSION.to_owned(),
        _ => format!("{SESSION} FOR UPDATE"),
    };
    let row = tx.query_one_raw(sql(backend, &lock, [session.into()])).await?;
    let client: i64 = row.ok_or("no such session")?.try_get("", "client_id")?;
    let values = [
        session.into(),
        client.into(),
        "client".into(),
        "text".into(),
        text.into(),
        None::<String>.into(),
        false.into(),
        now.into(),
    ];
    let message = insert(&tx, MESSAGE, values).await?;
    tx.execute_raw(sql(
        backend,
        TOUCH,
        [message.into(), now.into(), true.into(), session.into()],
    ))
    .await?;
    Ok(tx.commit().await?)
}
