//! Deletes of rows that have served their time, a bounded number at once.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use yunque_kernel::DbError;
use yunque_kernel::db::dialect;

/// Rows of one statement; keeps transactions short.
pub const BATCH: u64 = 1000;

/// A table, its key and the column that says how old a row is.
#[derive(Clone, Copy, Debug)]
pub struct Aged {
    pub table: &'static str,
    pub key: &'static str,
    pub column: &'static str,
}

/// Deletes up to [`BATCH`] rows older than `before` and returns how many.
pub async fn delete_aged(
    conn: &impl ConnectionTrait,
    aged: Aged,
    before: DateTime<Utc>,
) -> Result<u64, DbError> {
    let Aged { table, key, column } = aged;
    // The inner select is wrapped once more, because MySQL refuses a limit directly inside IN.
    let sql = format!(
        "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM \
         (SELECT {key} FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT {BATCH}) aged)"
    );
    dialect::execute(conn, &sql, [before.into()]).await
}
