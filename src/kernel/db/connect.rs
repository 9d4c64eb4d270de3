//! Opens the pools. Everything a connection must be told is told here, for each new connection.

use std::str::FromStr;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};

use super::settings::SqliteSync;
use super::{DbError, DbKind, DbSettings};

/// A connection that was idle this long is asked whether it still lives before it is used.
const PING_AFTER_IDLE: Duration = Duration::from_secs(2);
const STATEMENT_CACHE: usize = 512;
/// How long SQLite waits for somebody else's lock.
const BUSY: Duration = Duration::from_secs(5);

pub(super) struct Pools {
    pub kind: DbKind,
    pub reader: DatabaseConnection,
    pub writer: DatabaseConnection,
}

pub(super) async fn open(settings: &DbSettings) -> Result<Pools, DbError> {
    match settings.kind {
        DbKind::Sqlite => sqlite_in_turn(settings).await,
        DbKind::MySql => mysql(settings).await,
        DbKind::Postgres => postgres(settings).await,
    }
}

/// Whoever switches a new file to WAL keeps all others out, and SQLite itself does not wait for that.
async fn sqlite_in_turn(settings: &DbSettings) -> Result<Pools, DbError> {
    let deadline = Instant::now() + BUSY;
    loop {
        match sqlite(settings).await {
            Err(e) if e.is_conflict() && Instant::now() < deadline => tokio::time::sleep(BUSY / 100).await,
            opened => return opened,
        }
    }
}

async fn sqlite(settings: &DbSettings) -> Result<Pools, DbError> {
    let options = SqliteConnectOptions::from_str(settings.url.expose_secret())?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match settings.sqlite_sync {
            SqliteSync::Full => SqliteSynchronous::Full,
            SqliteSync::Normal => SqliteSynchronous::Normal,
            SqliteSync::Off => SqliteSynchronous::Off,
        })
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(STATEMENT_CACHE)
        // Bounds the file that a long reader leaves behind.
        .pragma("journal_size_limit", "67108864")
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    let pool = |size: u32| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .min_connections(1)
            .acquire_timeout(settings.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    // The writer first: it creates the file and switches it to WAL.
    let writer = pool(1)
        .after_release(|conn, _| Box::pin(is_at_rest(conn)))
        .connect_with(options.clone())
        .await?;
    // Each connection is a thread, and more of them than this only take each other's turns.
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let readers = settings.max_connections.min(cores.saturating_mul(2).max(8));
    let reader = pool(readers)
        .connect_with(options.pragma("query_only", "1"))
        .await?;
    Ok(Pools {
        kind: DbKind::Sqlite,
        reader: reader.into(),
        writer: writer.into(),
    })
}

/// May this connection be used again?
///
/// When the disk is full SQLite ends the whole transaction by itself. The rollback that follows fails, and the library
/// goes on counting a transaction that is no more. The next ones would begin as savepoints of it, and after another
/// such error they would be answered and never committed. So a connection that still counts one is closed.
async fn is_at_rest(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if conn.is_in_transaction() {
        // That of a dropped transaction is rolled back by now, if it can be.
        conn.ping().await?;
    }
    Ok(!conn.is_in_transaction())
}

/// For learning why a server cannot be reached.
const ONE_TRY: Duration = Duration::from_secs(2);

async fn mysql(settings: &DbSettings) -> Result<Pools, DbError> {
    let url = settings.url.expose_secret().replacen("mariadb:", "mysql:", 1);
    let options = MySqlConnectOptions::from_str(&url)?
        .charset("utf8mb4")
        .statement_cache_capacity(STATEMENT_CACHE)
        .disable_statement_logging();
    let pool = MySqlPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move { if meta.idle_for > PING_AFTER_IDLE { conn.ping().await.map(|()| true) } else { Ok(true) } })
        })
        .after_connect(|conn, _| {
            Box::pin(async move {
                conn.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                // Without strict mode the server cuts long texts silently.
                conn.execute("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'")
                    .await?;
                conn.execute("SET SESSION innodb_lock_wait_timeout = 10").await?;
                Ok(())
            })
        })
        .connect_with(options.clone())
        .await;
    let pool = match pool {
        Err(sqlx::Error::PoolTimedOut) => return Err(cause(options.connect()).await),
        pool => pool?,
    };
    let connection = DatabaseConnection::from(pool);
    Ok(Pools {
        kind: DbKind::MySql,
        reader: connection.clone(),
        writer: connection,
    })
}

async fn postgres(settings: &DbSettings) -> Result<Pools, DbError> {
    let options = PgConnectOptions::from_str(settings.url.expose_secret())?
        .statement_cache_capacity(STATEMENT_CACHE)
        .options([
            ("timezone", "UTC"),
            ("lock_timeout", "10s"),
            ("default_transaction_isolation", "read committed"),
        ])
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_AFTER_IDLE {
                    conn.ping().await.map(|()| true)
                } else {
                    Ok(true)
                }
            })
        })
        .connect_with(options.clone())
        .await;
    let pool = match pool {
        Err(sqlx::Error::PoolTimedOut) => return Err(cause(options.connect()).await),
        pool => pool?,
    };
    let connection = DatabaseConnection::from(pool);
    Ok(Pools {
        kind: DbKind::Postgres,
        reader: connection.clone(),
        writer: connection,
    })
}

/// A pool tries again until its time is up and then tells only that. One try of its own tells why.
async fn cause<C>(connect: impl Future<Output = Result<C, sqlx::Error>>) -> DbError {
    match tokio::time::timeout(ONE_TRY, connect).await {
        Ok(Err(error)) => error.into(),
        _ => sqlx::Error::PoolTimedOut.into(),
    }
}
