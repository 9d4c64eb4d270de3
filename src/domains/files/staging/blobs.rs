//! Staged bodies as rows.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use sea_orm::sea_query::{Alias, InsertStatement, Query};
use sea_orm::{ConnectionTrait, Value};
use yunque_kernel::db::dialect;
use yunque_kernel::{Db, DbError, Tx};

use super::StagedStream;

/// Bytes in one statement; the servers' packet limit is 16 MiB.
const MOST: usize = 4 << 20;

/// Writes bodies, each a reference with its chunks.
pub(super) async fn insert(tx: &Tx, bodies: &[(&str, &[Bytes])], now: DateTime<Utc>) -> Result<(), DbError> {
    let (mut rows, mut waiting, mut size) = (rows(), 0, 0);
    for (reference, chunks) in bodies {
        for (bytes, number) in chunks.iter().zip(0_i32..) {
            if waiting > 0 && size + bytes.len() > MOST {
                tx.execute(&std::mem::replace(&mut rows, self::rows())).await?;
                (waiting, size) = (0, 0);
            }
            waiting += 1;
            size += bytes.len();
            rows.values_panic([
                (*reference).into(),
                number.into(),
                bytes.to_vec().into(),
                now.into(),
            ]);
        }
    }
    if waiting > 0 {
        tx.execute(&rows).await?;
    }
    Ok(())
}

fn rows() -> InsertStatement {
    Query::insert()
        .into_table(Alias::new("staged_blobs"))
        .columns(["staged_ref", "chunk", "bytes", "created_at"].map(Alias::new))
        .take()
}

/// Reads a body row by row, so that a large one is never in memory at once.
pub(super) async fn open(db: &Db, reference: &str) -> Result<Option<(u64, StagedStream)>, DbError> {
    let conn = db.reader();
    let backend = conn.get_database_backend();
    let Some(first) = chunk(db, reference, 0).await? else {
        return Ok(None);
    };
    let mut total = first.len() as u64;
    let mut rows = 1;
    if first.len() == super::CHUNK {
        let lengths = "SELECT LENGTH(bytes) FROM staged_blobs WHERE staged_ref = ? AND chunk > 0";
        for row in conn
            .query_all_raw(dialect::statement(backend, lengths, [reference.into()]))
            .await?
        {
            total += u64::try_from(length(&row)?).unwrap_or(0);
            rows += 1;
        }
    }
    let (db, reference) = (db.clone(), reference.to_owned());
    let rest = stream::iter(1..rows).then(move |i| {
        let (db, reference) = (db.clone(), reference.clone());
        async move {
            let found = chunk(&db, &reference, i).await.map_err(io::Error::other)?;
            found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        }
    });
    Ok(Some((total, stream::iter([Ok(first)]).chain(rest).boxed())))
}

/// Bodies of one row each, by their reference.
pub(super) async fn read_all(db: &Db, references: Vec<&str>) -> Result<HashMap<String, Bytes>, DbError> {
    if references.is_empty() {
        return Ok(HashMap::new());
    }
    let conn = db.reader();
    let sql = format!(
        "SELECT staged_ref, bytes FROM staged_blobs WHERE chunk = 0 AND staged_ref IN {}",
        dialect::marks(references.len())
    );
    let values = references.into_iter().map(Value::from);
    let rows = conn
        .query_all_raw(dialect::statement(conn.get_database_backend(), &sql, values))
        .await?;
    let mut bodies = HashMap::with_capacity(rows.len());
    for row in rows {
        let bytes: Vec<u8> = row.try_get_by_index(1)?;
        bodies.insert(row.try_get_by_index(0)?, Bytes::from(bytes));
    }
    Ok(bodies)
}

/// `LENGTH` is 32 bits wide on PostgreSQL and 64 elsewhere.
fn length(row: &sea_orm::QueryResult) -> Result<i64, DbError> {
    match row.try_get_by_index::<i64>(0) {
        Ok(n) => Ok(n),
        Err(_) => Ok(i64::from(row.try_get_by_index::<i32>(0)?)),
    }
}

async fn chunk(db: &Db, reference: &str, index: i64) -> Result<Option<Bytes>, DbError> {
    let conn = db.reader();
    let sql = "SELECT bytes FROM staged_blobs WHERE staged_ref = ? AND chunk = ?";
    let values: [Value; 2] = [reference.into(), i32::try_from(index).unwrap_or(i32::MAX).into()];
    let row = conn
        .query_one_raw(dialect::statement(conn.get_database_backend(), sql, values))
        .await?;
    let bytes: Option<Vec<u8>> = row.map(|r| r.try_get_by_index(0)).transpose()?;
    Ok(bytes.map(Bytes::from))
}

pub(super) async fn exists(conn: &impl ConnectionTrait, reference: &str) -> Result<bool, DbError> {
    let sql = "SELECT chunk FROM staged_blobs WHERE staged_ref = ? AND chunk = 0";
    let stmt = dialect::statement(conn.get_database_backend(), sql, [reference.into()]);
    Ok(conn.query_one_raw(stmt).await?.is_some())
}

pub(super) async fn delete(tx: &Tx, references: Vec<&str>) -> Result<(), DbError> {
    if references.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "DELETE FROM staged_blobs WHERE staged_ref IN {}",
        dialect::marks(references.len())
    );
    dialect::execute(tx, &sql, references.into_iter().map(Value::from))
        .await
        .map(drop)
}
