//! `auth_login_attempts` and `auth_login_gates`: who failed to log in, from where, and when.
//!
//! A row is written *before* a password is verified, as `pending`, and settled afterwards. Pending
//! rows count like failures when the next attempt asks for its turn; that is what keeps twenty
//! parallel guesses from being verified twenty times.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, FromQueryResult};
use yunque_kernel::DbError;
use yunque_kernel::auth::api_key::sha256_hex;
use yunque_kernel::db::dialect;

pub const PENDING: &str = "pending";
/// A pending row whose process died counts as a failure after this.
const LONGEST_PENDING: TimeDelta = TimeDelta::seconds(60);

/// Who tries to log in.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The folded login name, at most 254 characters.
    pub name: String,
    /// The address; an IPv6 client is its /64.
    pub ip: String,
    pub user_agent: String,
}

/// Attempts inside the windows: settled failures, and attempts still being verified.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub struct Counts {
    pub pair_all: i64,
    pub pair_pending: i64,
    pub ip_all: i64,
    pub ip_pending: i64,
}

/// Holds the rows by which concurrent attempts of one address, and of one address and name, take
/// turns. Always in this order. SQLite has one writer anyway.
pub async fn lock_gates(
    conn: &impl ConnectionTrait,
    who: &Subject,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if conn.get_database_backend() == sea_orm::DbBackend::Sqlite {
        return Ok(());
    }
    for text in [
        format!("ip\n{}", who.ip),
        format!("pair\n{}\n{}", who.ip, who.name),
    ] {
        let bucket = sha256_hex(&text);
        let sql = "UPDATE auth_login_gates SET touched_at = ? WHERE bucket = ?";
        if dialect::execute(conn, sql, [now.into(), bucket.clone().into()]).await? == 0 {
            let mut insert = Query::insert()
                .into_table("auth_login_gates")
                .columns(["bucket", "touched_at"])
                .values_panic([bucket.into(), now.into()])
                .take();
            dialect::upsert(&mut insert, &["bucket"], &["touched_at"]);
            conn.execute(&insert).await?;
        }
    }
    Ok(())
}

pub async fn count(
    conn: &impl ConnectionTrait,
    who: &Subject,
    pair_since: DateTime<Utc>,
    ip_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Counts, DbError> {
    let open = "is_successful = ? AND cleared_at IS NULL AND created_at > ?";
    let pair = format!("FROM auth_login_attempts WHERE username = ? AND ip_address = ? AND {open}");
    let ip = format!("FROM auth_login_attempts WHERE ip_address = ? AND {open}");
    let pending = "COUNT(CASE WHEN failure_reason = 'pending' AND created_at > ? THEN 1 END)";
    let sql = format!(
        "SELECT (SELECT COUNT(*) {pair}) AS pair_all, (SELECT {pending} {pair}) AS pair_pending, \
         (SELECT COUNT(*) {ip}) AS ip_all, (SELECT {pending} {ip}) AS ip_pending"
    );
    let fresh = now - LONGEST_PENDING;
    let (name, address) = (who.name.as_str(), who.ip.as_str());
    let values = [
        name.into(),
        address.into(),
        false.into(),
        pair_since.into(),
        fresh.into(),
        name.into(),
        address.into(),
        false.into(),
        pair_since.into(),
        address.into(),
        false.into(),
        ip_since.into(),
        fresh.into(),
        address.into(),
        false.into(),
        ip_since.into(),
    ];
    let statement = dialect::statement(conn.get_database_backend(), &sql, values);
    let row = conn.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbError::Other("a count gave no row".to_owned()))?;
    Ok(Counts::from_query_result(&row, "")?)
}

/// The time of the `n`-th newest open failure of an address, or of an address and name.
pub async fn find_nth_failure(
    conn: &impl ConnectionTrait,
    who: &Subject,
    with_name: bool,
    since: DateTime<Utc>,
    n: u32,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let by_name = if with_name { "username = ? AND " } else { "" };
    let sql = format!(
        "SELECT created_at FROM auth_login_attempts WHERE {by_name}ip_address = ? AND is_successful = ? \
         AND cleared_at IS NULL AND created_at > ? ORDER BY created_at DESC LIMIT 1 OFFSET {}",
        n.saturating_sub(1)
    );
    let mut values: Vec<sea_orm::Value> = Vec::with_capacity(4);
    if with_name {
        values.push(who.name.as_str().into());
    }
    values.extend([who.ip.as_str().into(), false.into(), since.into()]);
    let row = conn
        .query_one_raw(dialect::statement(conn.get_database_backend(), &sql, values))
        .await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
}

/// Writes a pending attempt and returns its id.
pub async fn insert_pending(
    conn: &impl ConnectionTrait,
    who: &Subject,
    now: DateTime<Utc>,
) -> Result<i64, DbError> {
    let insert = Query::insert()
        .into_table("auth_login_attempts")
        .columns([
            "username",
            "ip_address",
            "user_agent",
            "is_successful",
            "failure_reason",
            "created_at",
        ])
        .values_panic([
            who.name.as_str().into(),
            who.ip.as_str().into(),
            who.user_agent.as_str().into(),
            false.into(),
            PENDING.into(),
            now.into(),
        ])
        .take();
    let ids = dialect::insert_returning_ids(conn, insert, 1).await?;
    ids.first()
        .copied()
        .ok_or_else(|| DbError::Other("an attempt was stored without an id".to_owned()))
}

pub async fn update_failed(conn: &impl ConnectionTrait, id: i64, reason: &str) -> Result<(), DbError> {
    let sql = "UPDATE auth_login_attempts SET failure_reason = ? WHERE id = ?";
    dialect::execute(conn, sql, [reason.into(), id.into()]).await?;
    Ok(())
}

/// Marks an attempt as successful and lets the failures of its pair count no longer. Attempts of
/// the pair that are still being verified stay as they are.
pub async fn update_succeeded(
    conn: &impl ConnectionTrait,
    id: i64,
    who: &Subject,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "UPDATE auth_login_attempts SET cleared_at = ?, \
               is_successful = CASE WHEN id = ? THEN ? ELSE is_successful END, \
               failure_reason = CASE WHEN id = ? THEN '' ELSE failure_reason END \
               WHERE username = ? AND ip_address = ? AND cleared_at IS NULL AND is_successful = ? \
               AND (failure_reason <> 'pending' OR id = ?)";
    let values = [
        now.into(),
        id.into(),
        true.into(),
        id.into(),
        who.name.as_str().into(),
        who.ip.as_str().into(),
        false.into(),
        id.into(),
    ];
    dialect::execute(conn, sql, values).await?;
    Ok(())
}

/// Takes back an attempt that was not verified after all.
pub async fn delete(conn: &impl ConnectionTrait, id: i64) -> Result<(), DbError> {
    dialect::execute(conn, "DELETE FROM auth_login_attempts WHERE id = ?", [id.into()]).await?;
    Ok(())
}
