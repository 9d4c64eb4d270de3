//! `password_reset_codes`: at most one row for each address, known or not.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter};
use yunque_kernel::DbError;
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::ids::UserId;

use super::users::CredentialRow;
use crate::entity::user;

/// Wrong guesses after which a code is void.
pub const MOST_ATTEMPTS: i32 = 5;

/// A code about to be stored.
#[derive(Clone, Debug)]
pub struct NewCode {
    pub email_hmac: String,
    pub code_hmac: String,
    pub expires_at: DateTime<Utc>,
    pub ip: String,
}

/// A code that is being guessed.
#[derive(Clone, Debug, FromQueryResult)]
pub struct CodeRow {
    pub user_id: Option<i64>,
    pub code_hmac: String,
    /// Including the one that is being made.
    pub attempts: i32,
}

/// The active account of an address.
pub async fn find_active_by_email(
    conn: &impl ConnectionTrait,
    email_key: &str,
) -> Result<Option<CredentialRow>, DbError> {
    let found = user::Entity::find()
        .filter(user::Column::EmailKey.eq(email_key))
        .filter(user::Column::IsActive.eq(true));
    Ok(found.into_partial_model::<CredentialRow>().unique(conn).await?)
}

/// Stores a code; an older one of the address, and the token it became, are void.
pub async fn upsert(conn: &impl ConnectionTrait, code: NewCode, user: Option<UserId>) -> Result<(), DbError> {
    let NewCode {
        email_hmac,
        code_hmac,
        expires_at,
        ip,
    } = code;
    let columns = [
        "email_hmac",
        "user_id",
        "code_hmac",
        "attempts",
        "expires_at",
        "token_hash",
        "token_expires_at",
        "request_ip",
    ];
    let mut insert = Query::insert()
        .into_table("password_reset_codes")
        .columns(columns)
        .values_panic([
            email_hmac.into(),
            user.map(|id| id.0).into(),
            code_hmac.into(),
            0.into(),
            expires_at.into(),
            None::<String>.into(),
            None::<DateTime<Utc>>.into(),
            ip.into(),
        ])
        .take();
    dialect::upsert(&mut insert, &["email_hmac"], &columns[1..]);
    conn.execute(&insert).await?;
    Ok(())
}

/// Counts an attempt before anything is compared. `false` when there is nothing to guess.
///
/// A code that was exchanged is told by its token and not by a time: who waited here for the row looked at his clock
/// before the exchange.
pub async fn claim_attempt(
    conn: &impl ConnectionTrait,
    email_hmac: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let sql = "UPDATE password_reset_codes SET attempts = attempts + 1 \
               WHERE email_hmac = ? AND attempts < ? AND expires_at > ? AND token_hash IS NULL";
    let values = [email_hmac.into(), MOST_ATTEMPTS.into(), now.into()];
    Ok(dialect::execute(conn, sql, values).await? == 1)
}

/// Takes the count of a right guess back.
pub async fn update_attempt_forgiven(conn: &impl ConnectionTrait, email_hmac: &str) -> Result<(), DbError> {
    let sql = "UPDATE password_reset_codes SET attempts = attempts - 1 WHERE email_hmac = ? AND attempts > 0";
    dialect::execute(conn, sql, [email_hmac.into()]).await?;
    Ok(())
}

pub async fn find(conn: &impl ConnectionTrait, email_hmac: &str) -> Result<Option<CodeRow>, DbError> {
    let sql = "SELECT user_id, code_hmac, attempts FROM password_reset_codes WHERE email_hmac = ?";
    let statement = dialect::statement(conn.get_database_backend(), sql, [email_hmac.into()]);
    let row = conn.query_one_raw(statement).await?;
    Ok(row.map(|row| CodeRow::from_query_result(&row, "")).transpose()?)
}

/// Exchanges a code for a token: the code ends now.
pub async fn update_exchanged(
    conn: &impl ConnectionTrait,
    email_hmac: &str,
    token_hash: &str,
    token_expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "UPDATE password_reset_codes SET expires_at = ?, token_hash = ?, token_expires_at = ? \
               WHERE email_hmac = ?";
    let values = [
        now.into(),
        token_hash.into(),
        token_expires_at.into(),
        email_hmac.into(),
    ];
    dialect::execute(conn, sql, values).await?;
    Ok(())
}

/// The account that a live token is bound to.
pub async fn find_user_of_token(
    conn: &impl ConnectionTrait,
    token_hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, DbError> {
    let sql = "SELECT user_id FROM password_reset_codes WHERE token_hash = ? AND token_expires_at > ?";
    let values = [token_hash.into(), now.into()];
    let statement = dialect::statement(conn.get_database_backend(), sql, values);
    let row = conn.query_one_raw(statement).await?;
    let id: Option<Option<i64>> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(id.flatten().map(UserId))
}

/// Uses a code up; `false` when it was used, replaced or ended meanwhile.
pub async fn claim_code(
    conn: &impl ConnectionTrait,
    email_hmac: &str,
    code_hmac: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let sql = "DELETE FROM password_reset_codes \
               WHERE email_hmac = ? AND code_hmac = ? AND expires_at > ? AND token_hash IS NULL";
    let values = [email_hmac.into(), code_hmac.into(), now.into()];
    Ok(dialect::execute(conn, sql, values).await? == 1)
}

/// Uses a token up; `false` when it was used or ended meanwhile.
pub async fn claim_token(
    conn: &impl ConnectionTrait,
    token_hash: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let sql = "DELETE FROM password_reset_codes WHERE token_hash = ? AND token_expires_at > ?";
    Ok(dialect::execute(conn, sql, [token_hash.into(), now.into()]).await? == 1)
}
