//! Looks into the database behind a server, for what no endpoint shows.

use sea_orm::{ConnectionTrait, QueryResult, Statement};

use super::TestServer;

async fn row(srv: &TestServer, sql: &str) -> Option<QueryResult> {
    let conn = srv.app.ctx.db.reader();
    let statement = Statement::from_string(conn.get_database_backend(), sql.to_owned());
    conn.query_one_raw(statement)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The only column of the only row, a `COUNT(*)` or a bigint.
pub async fn number(srv: &TestServer, sql: &str) -> i64 {
    let row = row(srv, sql).await.unwrap_or_else(|| panic!("no row: {sql}"));
    row.try_get_by_index(0).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The only column of the only row, a text.
pub async fn text(srv: &TestServer, sql: &str) -> String {
    let row = row(srv, sql).await.unwrap_or_else(|| panic!("no row: {sql}"));
    row.try_get_by_index(0).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// A write behind the server's back.
pub async fn execute(srv: &TestServer, sql: &str) {
    srv.app
        .ctx
        .db
        .writer()
        .execute_unprepared(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
}
