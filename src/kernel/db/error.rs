//! Database errors, sorted by what a caller can do about them.

use sea_orm::{DbErr, RuntimeErr};

use crate::error::{Code, Coded, common};

/// What went wrong in the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// A unique constraint refused the row. The name follows `<table>_<columns>_key`.
    #[error("unique constraint {constraint} violated")]
    Unique { constraint: String },
    #[error("foreign key violated: {0}")]
    ForeignKey(String),
    #[error("check constraint violated: {0}")]
    Check(String),
    /// A deadlock or serialization failure that survived its re-runs.
    #[error("write conflict: {0}")]
    Conflict(String),
    /// The database cannot be reached or is going down; worth a retry later.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// Writers waited longer than the acquire timeout.
    #[error("too many writers are waiting")]
    Overloaded,
    #[error("the write was cancelled by the shutdown")]
    Cancelled,
    /// A bug: a clone of the transaction outlived its closure.
    #[error("a transaction handle outlived its closure")]
    TxEscaped,
    #[error("database error: {0}")]
    Other(String),
}

impl DbError {
    /// Did this unique constraint refuse the row?
    pub fn is_unique(&self, name: &str) -> bool {
        matches!(self, DbError::Unique { constraint } if constraint == name)
    }

    /// Would another statement have failed as well, for now?
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            DbError::Unavailable(_) | DbError::Overloaded | DbError::Cancelled | DbError::Conflict(_)
        )
    }

    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, DbError::Conflict(_))
    }
}

impl Coded for DbError {
    fn code(&self) -> Code {
        if self.is_transient() {
            common::SERVICE_UNAVAILABLE
        } else {
            common::INTERNAL_ERROR
        }
    }
}

/// The driver's own error behind a SeaORM error.
fn driver(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e))
        | DbErr::Conn(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}

pub(super) fn is_conflict(error: &DbErr) -> bool {
    let Some(sqlx::Error::Database(e)) = driver(error) else {
        return false;
    };
    if let Some(mysql) = e.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // 1213 deadlock, 1205 lock wait timeout, 1020 record changed since last read (snapshot).
        return matches!(mysql.number(), 1213 | 1205 | 1020);
    }
    // 40001 serialization failure, 40P01 deadlock, 55P03 lock timeout (PostgreSQL); 5, 261, 517 busy (SQLite).
    matches!(
        e.code().as_deref(),
        Some("40001" | "40P01" | "55P03" | "5" | "261" | "517")
    )
}

impl From<DbErr> for DbError {
    fn from(error: DbErr) -> Self {
        if let DbErr::ConnectionAcquire(e) = &error {
            return DbError::Unavailable(e.to_string());
        }
        match driver(&error) {
            Some(sqlx::Error::Database(e)) => classify(e.as_ref(), &error),
            Some(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            ) => DbError::Unavailable(error.to_string()),
            _ => DbError::Other(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(std::sync::Arc::new(error))).into()
    }
}

fn classify(e: &dyn sqlx::error::DatabaseError, whole: &DbErr) -> DbError {
    use sqlx::error::ErrorKind;
    if is_conflict(whole) {
        return DbError::Conflict(e.message().to_owned());
    }
    match e.kind() {
        ErrorKind::UniqueViolation => DbError::Unique {
            constraint: unique_name(e),
        },
        ErrorKind::ForeignKeyViolation => DbError::ForeignKey(e.message().to_owned()),
        ErrorKind::CheckViolation => DbError::Check(e.message().to_owned()),
        _ if is_outage(e) => DbError::Unavailable(e.message().to_owned()),
        _ => DbError::Other(e.message().to_owned()),
    }
}

/// The server is starting, stopping, full or out of connections.
fn is_outage(e: &dyn sqlx::error::DatabaseError) -> bool {
    if let Some(mysql) = e.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // 1021/1041 disk/memory, 1040 connections, 1053 shutdown, 1152/1927 killed, 1290 read-only.
        return matches!(
            mysql.number(),
            1021 | 1040 | 1041 | 1053 | 1114 | 1152 | 1290 | 1927
        );
    }
    let code = e.code();
    let code = code.as_deref().unwrap_or("");
    if e.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // 8 read-only, 10 I/O, 13 full, 14 cannot open. The lowest byte is the kind, what is above says what of it:
        // 778 is a write, 1034 a sync, 4874 no room for the index of the log.
        let kind = code.parse::<u32>().map_or(0, |c| c & 0xff);
        return matches!(kind, 8 | 10 | 13 | 14);
    }
    // PostgreSQL classes 08 (connection), 53 (resources), 57P (shutdown).
    code.starts_with("08") || code.starts_with("53") || code.starts_with("57P")
}

/// The constraint's name. SQLite tells the columns (`UNIQUE constraint failed: users.email_key`),
/// from which the name follows by our naming rule; MySQL tells it in the message's last quotes.
fn unique_name(e: &dyn sqlx::error::DatabaseError) -> String {
    if let Some(name) = e.constraint() {
        return name.to_owned();
    }
    let message = e.message();
    if let Some(columns) = message.strip_prefix("UNIQUE constraint failed: ") {
        let mut table = "";
        let mut names = Vec::new();
        for column in columns.split(", ") {
            if let Some((t, c)) = column.split_once('.') {
                table = t;
                names.push(c);
            }
        }
        return format!("{table}_{}_key", names.join("_"));
    }
    let quoted = message.rsplit('\'').nth(1).unwrap_or(message);
    quoted.rsplit('.').next().unwrap_or(quoted).to_owned()
}
