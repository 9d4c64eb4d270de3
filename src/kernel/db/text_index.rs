//! Indexes of texts, which each database has in its own way: FTS5 on SQLite, a `tsvector` with GIN on
//! PostgreSQL, and on MySQL/MariaDB a table with a row for each gram.
//!
//! They hold the grams of [`crate::search`] and nothing else: no text, no places, no ranks. Each row
//! belongs to a scope (a room), to which a search can be narrowed. Whoever searches joins the ids with
//! his own table and compares the texts.
//!
//! What surprises: InnoDB has FULLTEXT keys, and they are not used. A search that meets the server
//! while it writes long lists of rows to disk ends the whole server (MariaDB 10.11.19: `row0sel.cc`,
//! `Failing assertion: data`; the lists are read while they are half written). A table with an ordinary
//! key finds the same.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, LikeExpr, Query, SelectStatement, SimpleExpr};
use sea_orm::{ConnectionTrait, DbBackend, JoinType, Value};

use super::{DbError, dialect};
use crate::search::{Needle, fold, forms, grams, lower};

/// Scopes that a full-text index is asked for; beyond, it is asked for all.
const NAMED_SCOPES: usize = 50;
/// Grams that a table of grams is asked for: each is a join.
const MOST_JOINS: usize = 4;
/// Rows of one statement; MySQL takes 65,535 values.
const MOST_ROWS: usize = 4000;

/// The table of one index.
#[derive(Clone, Copy, Debug)]
pub struct TextIndex(pub &'static str);

/// A text and what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed<'a> {
    pub id: i64,
    pub scope: i64,
    pub text: &'a str,
}

impl TextIndex {
    /// What makes it, each statement a no-op when that is done already.
    pub fn created(self, backend: DbBackend) -> Vec<String> {
        let table = self.0;
        match backend {
            DbBackend::MySql => vec![format!(
                "CREATE TABLE IF NOT EXISTS {table} (scope BIGINT NOT NULL, \
                 gram VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
                 id BIGINT NOT NULL, PRIMARY KEY (scope, gram, id)) ENGINE=InnoDB"
            )],
            DbBackend::Postgres => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {table} (id bigint PRIMARY KEY, grams tsvector NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {table}_grams_idx ON {table} USING gin (grams)"),
            ],
            _ => vec![format!(
                "CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5(grams, content='', \
                 contentless_delete=1, detail=none, tokenize='ascii')"
            )],
        }
    }

    /// Writes texts, new ones and those that are there as they are.
    ///
    /// # Errors
    /// As the database says.
    pub async fn put(self, conn: &impl ConnectionTrait, texts: &[Indexed<'_>]) -> Result<(), DbError> {
        let table = self.0;
        let backend = conn.get_database_backend();
        if backend == DbBackend::MySql {
            let rows: Vec<(i64, String, i64)> = texts.iter().flat_map(rows_of).collect();
            for rows in rows.chunks(MOST_ROWS) {
                let marks = vec!["(?,?,?)"; rows.len()].join(",");
                let sql = format!(
                    "INSERT INTO {table} (scope, gram, id) VALUES {marks} ON DUPLICATE KEY UPDATE id = VALUES(id)"
                );
                dialect::execute(conn, &sql, values_of(rows)).await?;
            }
            return Ok(());
        }
        if texts.is_empty() {
            return Ok(());
        }
        let (head, row, tail) = match backend {
            DbBackend::Postgres => (
                format!("INSERT INTO {table} (id, grams) VALUES "),
                "(?,CAST(? AS tsvector))",
                " ON CONFLICT (id) DO UPDATE SET grams = excluded.grams",
            ),
            _ => (
                format!("INSERT OR REPLACE INTO {table} (rowid, grams) VALUES "),
                "(?,?)",
                "",
            ),
        };
        let sql = head + &vec![row; texts.len()].join(",") + tail;
        let values = texts.iter().flat_map(|text| {
            let grams = format!("{} {}", scope_gram(text.scope), grams(text.text));
            [Value::from(text.id), Value::from(grams)]
        });
        dialect::execute(conn, &sql, values).await.map(drop)
    }

    /// Takes a text out, which must be the one that is there.
    ///
    /// # Errors
    /// As the database says.
    pub async fn remove(self, conn: &impl ConnectionTrait, text: Indexed<'_>) -> Result<(), DbError> {
        let table = self.0;
        match conn.get_database_backend() {
            // By key; a key for ids alone would double the table.
            DbBackend::MySql => {
                let rows: Vec<(i64, String, i64)> = rows_of(&text).collect();
                for rows in rows.chunks(MOST_ROWS) {
                    let marks = vec!["(?,?,?)"; rows.len()].join(",");
                    let sql = format!("DELETE FROM {table} WHERE (scope, gram, id) IN ({marks})");
                    dialect::execute(conn, &sql, values_of(rows)).await?;
                }
                Ok(())
            }
            backend => {
                let sql = format!("DELETE FROM {table} WHERE {} = ?", key(backend));
                dialect::execute(conn, &sql, [Value::from(text.id)])
                    .await
                    .map(drop)
            }
        }
    }

    /// Selects the `id` of texts in these scopes that have what a text needs. The same may come twice,
    /// and those of other scopes as well.
    pub fn matching(self, backend: DbBackend, needle: &Needle, scopes: &[i64]) -> SelectStatement {
        if backend == DbBackend::MySql {
            return self.joined(needle, scopes);
        }
        let asked = expression(backend, needle, scopes);
        let matches = match backend {
            DbBackend::Postgres => "grams @@ CAST($1 AS tsquery)".to_owned(),
            _ => format!("{} MATCH ?", self.0),
        };
        Query::select()
            .expr_as(Expr::cust(key(backend)), Alias::new("id"))
            .from(Alias::new(self.0))
            .and_where(Expr::cust_with_values(matches, [asked]))
            .take()
    }

    /// A table of grams, joined with itself for each gram.
    fn joined(self, needle: &Needle, scopes: &[i64]) -> SelectStatement {
        let mut select = Query::select();
        let of =
            |n: usize, column: &'static str| Expr::col((Alias::new(format!("g{n}")), Alias::new(column)));
        for (n, (gram, is_prefix)) in needle.terms.iter().take(MOST_JOINS).enumerate() {
            let (table, name) = (Alias::new(self.0), Alias::new(format!("g{n}")));
            if n == 0 {
                select
                    .expr_as(of(0, "id"), Alias::new("id"))
                    .from_as(table, name)
                    .and_where(of(0, "scope").is_in(scopes.iter().copied()));
            } else {
                let same = of(n, "scope").eq(of(0, "scope")).and(of(n, "id").eq(of(0, "id")));
                select.join_as(JoinType::InnerJoin, table, name, same);
            }
            select.and_where(match is_prefix {
                true => of(n, "gram").like(format!("{gram}%")),
                false => of(n, "gram").eq(gram.as_str()),
            });
        }
        select
    }
}

fn rows_of(text: &Indexed<'_>) -> impl Iterator<Item = (i64, String, i64)> + use<> {
    let (scope, id) = (text.scope, text.id);
    let grams: Vec<String> = grams(text.text).split_whitespace().map(str::to_owned).collect();
    grams.into_iter().map(move |gram| (scope, gram, id))
}

fn values_of(rows: &[(i64, String, i64)]) -> impl Iterator<Item = Value> {
    rows.iter()
        .flat_map(|(scope, gram, id)| [Value::from(*scope), Value::from(gram.clone()), Value::from(*id)])
}

/// A scope as a gram, which is never equal to one of a text.
fn scope_gram(scope: i64) -> String {
    format!("r{scope:02}")
}

fn key(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "rowid",
        _ => "id",
    }
}

/// A question in the language of a full-text index. Grams hold none of its operators.
fn expression(backend: DbBackend, needle: &Needle, scopes: &[i64]) -> String {
    let (and, or, star) = match backend {
        DbBackend::Postgres => (" & ", " | ", ":*"),
        _ => (" AND ", " OR ", "*"),
    };
    let terms = needle.terms.iter().map(|(gram, is_prefix)| match is_prefix {
        true => format!("{gram}{star}"),
        false => gram.clone(),
    });
    let mut all: Vec<String> = terms.collect();
    if (1..=NAMED_SCOPES).contains(&scopes.len()) {
        let scopes: Vec<String> = scopes.iter().map(|scope| scope_gram(*scope)).collect();
        all.push(format!("({})", scopes.join(or)));
    }
    all.join(and)
}

/// Whether a column contains a text, whatever its case.
///
/// SQLite knows the case of ASCII only; for other letters it is given all forms of each. The others
/// know as much as their locale does.
pub fn contains(backend: DbBackend, column: SimpleExpr, text: &str) -> SimpleExpr {
    let pattern = |text: &str| LikeExpr::new(format!("%{}%", dialect::like_escape(text))).escape('!');
    if backend != DbBackend::Sqlite {
        let lowered: String = text.chars().map(lower).collect();
        let folded = SimpleExpr::FunctionCall(sea_orm::sea_query::Func::lower(column.clone()));
        return folded.like(pattern(&lowered)).or(column.like(pattern(text)));
    }
    let is_plain = |c: char| c.is_ascii() || forms(c).len() == 1;
    if text.chars().all(is_plain) {
        return column.like(pattern(text));
    }
    Expr::cust_with_exprs("? GLOB ?", [column, Expr::val(glob(text))])
}

/// A pattern of SQLite's `GLOB` for a text in any case.
fn glob(text: &str) -> String {
    let mut out = String::from("*");
    for c in text.chars() {
        let forms = forms(c);
        if forms.len() > 1 || matches!(c, '*' | '?' | '[') {
            out.push('[');
            out.extend(forms);
            out.push(']');
        } else {
            out.push(fold(c));
        }
    }
    out.push('*');
    out
}

#[cfg(test)]
mod tests;
