//! `security_events`, `user_login_logs`, mail tokens and second factors: what credentials leave
//! behind.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Query;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};
use serde_json::Value;
use yunque_kernel::DbError;
use yunque_kernel::db::dialect;
use yunque_kernel::ids::UserId;

use crate::entity::login_log;

/// Writes an audit row. `data` holds no secrets.
pub async fn insert_event(
    conn: &impl ConnectionTrait,
    user: Option<UserId>,
    kind: &str,
    ip: Option<&str>,
    data: &Value,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let insert = Query::insert()
        .into_table("security_events")
        .columns(["user_id", "kind", "ip", "data", "created_at"])
        .values_panic([
            user.map(|u| u.0).into(),
            kind.into(),
            ip.map(str::to_owned).into(),
            data.to_string().into(),
            now.into(),
        ])
        .take();
    conn.execute(&insert).await?;
    Ok(())
}

/// One login as its user sees it.
pub async fn insert_login_log(
    conn: &impl ConnectionTrait,
    user: Option<UserId>,
    ip: &str,
    user_agent: &str,
    device_type: &str,
    is_successful: bool,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let row = login_log::ActiveModel {
        user_id: Set(user.map(|u| u.0)),
        ip_address: Set(ip.to_owned()),
        user_agent: Set(user_agent.to_owned()),
        device_type: Set(device_type.to_owned()),
        login_time: Set(now),
        is_successful: Set(is_successful),
        ..Default::default()
    };
    login_log::Entity::insert(row)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Makes unused mail tokens and codes of a user unusable: those that prove an address, and those
/// that reset the password.
pub async fn update_mail_tokens_void(
    conn: &impl ConnectionTrait,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    for table in ["auth_email_verification_tokens", "auth_password_reset_tokens"] {
        let sql = format!("UPDATE {table} SET used_at = ? WHERE user_id = ? AND used_at IS NULL");
        dialect::execute(conn, &sql, [now.into(), user.into()]).await?;
    }
    let codes = "DELETE FROM password_reset_codes WHERE user_id = ?";
    dialect::execute(conn, codes, [user.into()]).await?;
    Ok(())
}

/// Whether the user logs in with two factors.
pub async fn has_second_factor(conn: &impl ConnectionTrait, user: UserId) -> Result<bool, DbError> {
    let sql = "SELECT id FROM auth_two_factor WHERE user_id = ? AND state = 'enabled'";
    let row = conn
        .query_one_raw(dialect::statement(
            conn.get_database_backend(),
            sql,
            [user.into()],
        ))
        .await?;
    Ok(row.is_some())
}

/// Removes the second factor and its backup codes; tells whether there was one.
pub async fn delete_second_factor(conn: &impl ConnectionTrait, user: UserId) -> Result<bool, DbError> {
    dialect::execute(
        conn,
        "DELETE FROM auth_backup_codes WHERE user_id = ?",
        [user.into()],
    )
    .await?;
    Ok(dialect::execute(
        conn,
        "DELETE FROM auth_two_factor WHERE user_id = ?",
        [user.into()],
    )
    .await?
        > 0)
}
