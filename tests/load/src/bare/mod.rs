//! What the machine can do with nothing around it: the same work by hand, to be compared with.

pub mod accept;
pub mod chat;
pub mod hashes;
pub mod message;
pub mod profile;
mod token;

use std::future::Future;
use std::time::{Duration, Instant};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::task::JoinSet;

pub use token::token;

use crate::Fault;
use crate::server::sql;

/// Turns per second of `tasks` tasks that each do `one` again and again: it is told the number of its task and of the
/// turn.
///
/// # Errors
/// The database refuses one.
async fn per_second<F, Fut>(url: &str, tasks: usize, time: Duration, one: F) -> Result<f64, Fault>
where
    F: Fn(DatabaseConnection, usize, u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), Fault>> + Send,
{
    // One connection is what SQLite writes with; 16 is the product's default for servers.
    let pool = if url.starts_with("sqlite") { 1 } else { 16 };
    let database = crate::server::connect(url, pool).await?;
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (database, one) = (database.clone(), one.clone());
        running.spawn(async move {
            let mut done = 0_u64;
            while begun.elapsed() < time {
                // As in the product: a deadlock is worth another run.
                let mut runs = 1;
                while let Err(e) = one(database.clone(), task, done).await {
                    if runs == 3 {
                        return Err(e);
                    }
                    runs += 1;
                }
                done += 1;
            }
            Ok::<_, Fault>(done)
        });
    }
    let mut done = 0;
    while let Some(task) = running.join_next().await {
        done += task??;
    }
    let took = begun.elapsed();
    database.close().await?;
    Ok(done as f64 / took.as_secs_f64())
}

/// A transaction that writes.
async fn begin(database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let sqlite = database.get_database_backend() == DbBackend::Sqlite;
    let options = TransactionOptions {
        sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    database.begin_with_options(options).await
}

/// Inserts one row and returns its id.
async fn insert(
    tx: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = sea_orm::Value>,
) -> Result<i64, DbErr> {
    let backend = tx.get_database_backend();
    if backend == DbBackend::MySql {
        let done = tx.execute_raw(sql(backend, text, values)).await?;
        return Ok(i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX));
    }
    let row = tx
        .query_one_raw(sql(backend, &format!("{text} RETURNING id"), values))
        .await?;
    row.ok_or(DbErr::RecordNotInserted)?.try_get_by_index(0)
}
