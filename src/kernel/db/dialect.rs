//! SQL that differs between the databases.
//!
//! The common subset is used everywhere else: no `INSERT … RETURNING` (MySQL), no partial indexes
//! in logic, no `ADD COLUMN IF NOT EXISTS`.

use sea_orm::sea_query::{
    Alias, Asterisk, Expr, InsertStatement, IntoIden, LockType, OnConflict, SelectStatement,
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExprTrait, QuerySelect, Statement, Value};

use super::DbError;

/// Builds a statement with `?` placeholders for the database in use. PostgreSQL numbers them.
pub fn statement(backend: DbBackend, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    if backend == DbBackend::Postgres {
        Statement::from_sql_and_values(backend, numbered(sql), values)
    } else {
        Statement::from_sql_and_values(backend, sql, values)
    }
}

/// `?` → `$1`, `$2` …; our own SQL has no question marks in literals.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut n = 0;
    for c in sql.chars() {
        if c == '?' {
            n += 1;
            out.push('$');
            out.push_str(&n.to_string());
        } else {
            out.push(c);
        }
    }
    out
}

/// `(?, ?, …)` for an `IN` list of `n` values.
pub fn marks(n: usize) -> String {
    let mut out = String::with_capacity(n * 2 + 2);
    out.push('(');
    for i in 0..n {
        out.push_str(if i == 0 { "?" } else { ",?" });
    }
    out.push(')');
    out
}

/// Builds a select that ends with `LIMIT` and `OFFSET`, so that its plan is kept.
///
/// SQLite plans a statement anew whenever a value is bound to its limit, but not when the limit is
/// an expression. The others take no expressions there, and need none.
pub fn limited(backend: DbBackend, select: &SelectStatement) -> Statement {
    let mut statement = backend.build(select);
    if backend == DbBackend::Sqlite
        && let Some(before) = statement.sql.strip_suffix("LIMIT ? OFFSET ?")
    {
        statement.sql = format!("{before}LIMIT +? OFFSET +?");
    }
    statement
}

/// Runs a raw statement and tells how many rows it changed.
///
/// # Errors
/// As the database says.
pub async fn execute(
    conn: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, DbError> {
    let stmt = statement(conn.get_database_backend(), sql, values);
    Ok(conn.execute_raw(stmt).await?.rows_affected())
}

/// Locks the selected rows until the transaction ends. SQLite has one writer, so it needs none.
pub fn for_update(conn: &impl ConnectionTrait, select: &mut SelectStatement) {
    if conn.get_database_backend() != DbBackend::Sqlite {
        select.lock(LockType::Update);
    }
}

/// The same for a select of entities.
pub fn locked<S: QuerySelect>(conn: &impl ConnectionTrait, select: S) -> S {
    match conn.get_database_backend() {
        DbBackend::Sqlite => select,
        _ => select.lock_exclusive(),
    }
}

/// Inserts unless a row with this unique key is there. Tells whether a row was written.
///
/// MySQL has no `DO NOTHING`, its row count cannot tell the cases apart (the driver asks for found
/// rows), and `INSERT IGNORE` would swallow other errors; there the violation is caught, which
/// leaves the transaction usable. On PostgreSQL it would not.
///
/// # Errors
/// As the database says.
pub async fn insert_ignore<C: IntoIden + Copy>(
    conn: &impl ConnectionTrait,
    mut insert: InsertStatement,
    key: &[C],
) -> Result<bool, DbError> {
    if conn.get_database_backend() == DbBackend::MySql {
        return match conn.execute(&insert).await.map_err(DbError::from) {
            Ok(_) => Ok(true),
            Err(DbError::Unique { .. }) => Ok(false),
            Err(e) => Err(e),
        };
    }
    insert.on_conflict(
        OnConflict::columns(key.iter().map(|c| c.into_iden()))
            .do_nothing()
            .to_owned(),
    );
    match conn.execute(&insert).await {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(DbErr::RecordNotInserted) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Turns an insert into an upsert that overwrites `columns` when the key is already there.
pub fn upsert<C: IntoIden + Copy>(insert: &mut InsertStatement, key: &[C], columns: &[C]) {
    let conflict = OnConflict::columns(key.iter().map(|c| c.into_iden()))
        .update_columns(columns.iter().map(|c| c.into_iden()))
        .to_owned();
    insert.on_conflict(conflict);
}

/// Inserts rows and returns their generated ids, in order.
///
/// PostgreSQL and SQLite answer `RETURNING id`. MySQL gives the first id of the statement; a
/// multi-row `INSERT … VALUES` takes consecutive ids in every `innodb_autoinc_lock_mode`, stepped
/// by `auto_increment_increment`, which we require to be 1.
///
/// # Errors
/// As the database says.
pub async fn insert_returning_ids(
    conn: &impl ConnectionTrait,
    mut insert: InsertStatement,
    rows: usize,
) -> Result<Vec<i64>, DbError> {
    if conn.get_database_backend() == DbBackend::MySql {
        let done = conn.execute(&insert).await?;
        let first = i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX);
        return Ok((0..rows as i64).map(|i| first + i).collect());
    }
    insert.returning_col(Alias::new("id"));
    let mut ids = Vec::with_capacity(rows);
    for row in conn.query_all(&insert).await? {
        ids.push(row.try_get_by_index(0)?);
    }
    if ids.len() != rows {
        return Err(DbError::Other("an insert gave too few ids".to_owned()));
    }
    // RETURNING promises no order; generated ids ascend with the VALUES list.
    ids.sort_unstable();
    Ok(ids)
}

/// Inserts one row and returns its generated id.
///
/// # Errors
/// As the database says.
pub async fn insert_returning_id(
    conn: &impl ConnectionTrait,
    insert: InsertStatement,
) -> Result<i64, DbError> {
    let ids = insert_returning_ids(conn, insert, 1).await?;
    ids.first()
        .copied()
        .ok_or_else(|| DbError::Other("an insert gave no id".to_owned()))
}

/// Counts the rows of a select without its order and limits.
///
/// # Errors
/// As the database says.
pub async fn count(conn: &impl ConnectionTrait, mut select: SelectStatement) -> Result<u64, DbError> {
    select
        .clear_order_by()
        .clear_selects()
        .expr(Expr::col(Asterisk).count());
    let row = conn.query_one(&select).await?;
    let n: i64 = row.map_or(Ok(0), |r| r.try_get_by_index(0))?;
    Ok(u64::try_from(n).unwrap_or(0))
}

/// Escapes `%`, `_` and the escape character itself for a `LIKE … ESCAPE '!'` pattern. `!` rather
/// than `\`, because MySQL and PostgreSQL disagree about backslashes in literals.
pub fn like_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_for_postgres_only() {
        assert_eq!(numbered("a = ? AND b IN (?,?)"), "a = $1 AND b IN ($2,$3)");
        assert_eq!(marks(3), "(?,?,?)");
    }

    #[test]
    fn like_wildcards_are_literal() {
        assert_eq!(like_escape("50%_!x"), "50!%!_!!x");
    }
}
