//! What the database says about itself. `doctor` judges it.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TryGetable};

use super::{Db, DbError, DbKind};
use crate::clock::Clock;

/// The programs behind [`DbKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    Sqlite,
    MySql,
    MariaDb,
    Postgres,
}

impl Product {
    pub fn as_str(self) -> &'static str {
        match self {
            Product::Sqlite => "SQLite",
            Product::MySql => "MySQL",
            Product::MariaDb => "MariaDB",
            Product::Postgres => "PostgreSQL",
        }
    }

    /// The oldest version that is supported.
    pub fn oldest(self) -> Version {
        match self {
            Product::Sqlite => Version(3, 35, 0),
            Product::MySql => Version(8, 0, 16),
            Product::MariaDb => Version(10, 6, 0),
            Product::Postgres => Version(13, 0, 0),
        }
    }
}

/// Major, minor, patch; what is not told is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first numbers of `10.6.16-MariaDB-1:10.6…`, `8.0.36`, `15.4 (Debian 15.4-1)`.
    pub fn parse(text: &str) -> Self {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut parts = text[..end].split('.').map(|p| p.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        Version(next(), next(), next())
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Facts of one database, as a connection of the pool sees them.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub product: Product,
    /// As the server says it.
    pub version: String,
    /// Of new tables.
    pub charset: String,
    /// Tables of ours with another character set than utf8mb4; MySQL only.
    pub tables_in_other_charsets: u64,
    /// Of our transactions, in lower case and with blanks.
    pub isolation: String,
    /// A commit survives a crash of the server.
    pub is_durable: bool,
    /// Connections that the server takes in all; `None` without a limit.
    pub max_connections: Option<u64>,
    /// Distance of generated ids; our multi-row inserts need 1. MySQL only.
    pub id_step: u64,
    /// Its clock minus ours.
    pub clock_ahead: TimeDelta,
    /// Of one statement.
    pub round_trip: Duration,
}

impl Db {
    /// Asks the database about itself.
    ///
    /// # Errors
    /// It does not answer, or refuses a question.
    pub async fn inspect(&self, clock: &Clock) -> Result<Inspection, DbError> {
        self.ping().await?;
        let asked = Instant::now();
        self.ping().await?;
        let round_trip = asked.elapsed();
        // The writer: its pragmas and session settings are those of transactions.
        let conn = self.writer();
        let facts = match self.kind() {
            DbKind::Sqlite => sqlite(conn).await?,
            DbKind::MySql => mysql(conn).await?,
            DbKind::Postgres => postgres(conn).await?,
        };
        Ok(Inspection {
            round_trip,
            clock_ahead: clock_ahead(conn, self.kind(), clock).await?,
            ..facts
        })
    }
}

async fn sqlite(conn: &DatabaseConnection) -> Result<Inspection, DbError> {
    let synchronous: i64 = one(conn, "PRAGMA synchronous").await?;
    Ok(Inspection {
        product: Product::Sqlite,
        version: one(conn, "SELECT sqlite_version()").await?,
        charset: one(conn, "PRAGMA encoding").await?,
        isolation: "serializable".to_owned(),
        is_durable: synchronous >= 2,
        ..Inspection::nothing()
    })
}

async fn mysql(conn: &DatabaseConnection) -> Result<Inspection, DbError> {
    let version: String = one(conn, "SELECT CAST(VERSION() AS CHAR)").await?;
    let product = if version.to_ascii_lowercase().contains("mariadb") {
        Product::MariaDb
    } else {
        Product::MySql
    };
    // Each of the two knows only one of the names, in the oldest versions supported.
    let isolation: String = match product {
        Product::MariaDb => one(conn, "SELECT CAST(@@SESSION.tx_isolation AS CHAR)").await?,
        _ => one(conn, "SELECT CAST(@@SESSION.transaction_isolation AS CHAR)").await?,
    };
    let flush: i64 = one(
        conn,
        "SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED)",
    )
    .await?;
    let step: i64 = one(conn, "SELECT CAST(@@SESSION.auto_increment_increment AS SIGNED)").await?;
    let connections: i64 = one(conn, "SELECT CAST(@@GLOBAL.max_connections AS SIGNED)").await?;
    let others: i64 = one(
        conn,
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() \
         AND table_type = 'BASE TABLE' AND table_collation NOT LIKE 'utf8mb4%'",
    )
    .await?;
    Ok(Inspection {
        product,
        version,
        charset: one(conn, "SELECT CAST(@@character_set_database AS CHAR)").await?,
        tables_in_other_charsets: u64::try_from(others).unwrap_or(0),
        isolation: isolation.to_lowercase().replace('-', " "),
        is_durable: flush == 1,
        max_connections: u64::try_from(connections).ok(),
        id_step: u64::try_from(step).unwrap_or(1),
        ..Inspection::nothing()
    })
}

async fn postgres(conn: &DatabaseConnection) -> Result<Inspection, DbError> {
    let fsync: String = one(conn, "SELECT current_setting('fsync')").await?;
    let commit: String = one(conn, "SELECT current_setting('synchronous_commit')").await?;
    let connections: String = one(conn, "SELECT current_setting('max_connections')").await?;
    Ok(Inspection {
        product: Product::Postgres,
        version: one(conn, "SELECT current_setting('server_version')").await?,
        charset: one(conn, "SELECT current_setting('server_encoding')").await?,
        isolation: one(conn, "SELECT current_setting('transaction_isolation')").await?,
        is_durable: fsync == "on" && commit != "off",
        max_connections: connections.parse().ok(),
        ..Inspection::nothing()
    })
}

impl Inspection {
    /// The least that can be said; each database fills in what it has.
    fn nothing() -> Self {
        Inspection {
            product: Product::Sqlite,
            version: String::new(),
            charset: String::new(),
            tables_in_other_charsets: 0,
            isolation: String::new(),
            is_durable: true,
            max_connections: None,
            id_step: 1,
            clock_ahead: TimeDelta::zero(),
            round_trip: Duration::ZERO,
        }
    }
}

async fn clock_ahead(conn: &DatabaseConnection, kind: DbKind, clock: &Clock) -> Result<TimeDelta, DbError> {
    let sql = match kind {
        DbKind::Sqlite => return Ok(TimeDelta::zero()),
        DbKind::MySql => "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
        DbKind::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    };
    let before = clock.now();
    let theirs: i64 = one(conn, sql).await?;
    let after = clock.now();
    let theirs = DateTime::<Utc>::from_timestamp_micros(theirs).unwrap_or(before);
    Ok(theirs - (before + (after - before) / 2))
}

async fn one<T: TryGetable + Default>(conn: &DatabaseConnection, sql: &str) -> Result<T, DbError> {
    let row = conn
        .query_one_raw(Statement::from_string(conn.get_database_backend(), sql))
        .await?;
    Ok(row
        .map(|r| r.try_get_by_index(0))
        .transpose()?
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_servers_say() {
        assert_eq!(Version::parse("10.11.6-MariaDB-0+deb12u1"), Version(10, 11, 6));
        assert_eq!(Version::parse("8.0.36"), Version(8, 0, 36));
        assert_eq!(
            Version::parse("15.4 (Debian 15.4-1.pgdg120+1)"),
            Version(15, 4, 0)
        );
        assert_eq!(Version::parse("18beta2"), Version(18, 0, 0));
        assert!(Version::parse("8.0.15") < Product::MySql.oldest());
        assert!(Version::parse("10.11.6") > Product::MariaDb.oldest());
    }
}
