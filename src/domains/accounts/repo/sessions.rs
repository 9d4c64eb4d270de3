//! `auth_sessions`, and the one query that every uncached request makes.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect,
};
use yunque_kernel::DbError;
use yunque_kernel::db::dialect;
use yunque_kernel::ids::{SessionId, UserId};

use crate::entity::session;

/// A session list is never longer than this.
const MOST_LISTED: u64 = 100;

/// A session with what its user says about it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SessionState {
    pub user_id: i64,
    pub surface: String,
    pub generation: i32,
    /// When the newest refresh token was handed out; unknown while its answer is being made.
    pub rotated_at: Option<DateTime<Utc>>,
    pub access_ttl: i64,
    pub refresh_ttl: i64,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub username: String,
    pub is_active: bool,
    pub is_staff: bool,
    pub user_type: String,
    pub token_version: i32,
}

pub async fn find_state(conn: &impl ConnectionTrait, id: SessionId) -> Result<Option<SessionState>, DbError> {
    let sql = "SELECT s.user_id, s.surface, s.gen AS generation, s.rotated_at, s.access_ttl, s.refresh_ttl, \
               s.expires_at, s.revoked_at, u.username, u.is_active, u.is_staff, u.user_type, u.token_version \
               FROM auth_sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ?";
    let statement = dialect::statement(conn.get_database_backend(), sql, [id.into()]);
    let row = conn.query_one_raw(statement).await?;
    Ok(row
        .map(|row| SessionState::from_query_result(&row, ""))
        .transpose()?)
}

/// Inserts a session whose refresh token is not made yet, and returns its id.
pub async fn insert(conn: &impl ConnectionTrait, row: session::ActiveModel) -> Result<SessionId, DbError> {
    Ok(SessionId(
        session::Entity::insert(row).exec(conn).await?.last_insert_id,
    ))
}

pub async fn update_refresh_hash(
    conn: &impl ConnectionTrait,
    id: SessionId,
    hash: &str,
) -> Result<(), DbError> {
    let sql = "UPDATE auth_sessions SET refresh_hash = ? WHERE id = ?";
    dialect::execute(conn, sql, [hash.into(), id.into()]).await?;
    Ok(())
}

/// One use of a refresh token.
pub struct Rotation<'a> {
    pub session: SessionId,
    pub presented_hash: &'a str,
    pub new_hash: &'a str,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Replaces the refresh token; tells whether the presented one was still the current one. The time
/// of the rotation is left open until [`settle_rotation`], which the winner calls after its commit.
pub async fn claim_rotation(conn: &impl ConnectionTrait, rotation: &Rotation<'_>) -> Result<bool, DbError> {
    let Rotation {
        session,
        presented_hash,
        new_hash,
        now,
        expires_at,
    } = rotation;
    let sql = "UPDATE auth_sessions SET gen = gen + 1, refresh_hash = ?, rotated_at = NULL, last_used_at = ?, \
               expires_at = ? WHERE id = ? AND refresh_hash = ? AND revoked_at IS NULL";
    let values = [
        (*new_hash).into(),
        (*now).into(),
        (*expires_at).into(),
        (*session).into(),
        (*presented_hash).into(),
    ];
    Ok(dialect::execute(conn, sql, values).await? == 1)
}

/// Notes when the token of this generation was about to be handed out.
pub async fn settle_rotation(
    conn: &impl ConnectionTrait,
    id: SessionId,
    generation: i32,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "UPDATE auth_sessions SET rotated_at = ? WHERE id = ? AND gen = ? AND rotated_at IS NULL";
    dialect::execute(conn, sql, [now.into(), id.into(), generation.into()]).await?;
    Ok(())
}

/// Without rotation: notes the use, and tells whether the presented token is the current one.
pub async fn claim_use(
    conn: &impl ConnectionTrait,
    id: SessionId,
    presented_hash: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE auth_sessions SET last_used_at = ? WHERE id = ? AND refresh_hash = ? AND revoked_at IS NULL";
    Ok(dialect::execute(conn, sql, [now.into(), id.into(), presented_hash.into()]).await? == 1)
}

/// Whether a refresh token is the current one of its session.
pub async fn is_current(
    conn: &impl ConnectionTrait,
    id: SessionId,
    presented_hash: &str,
) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM auth_sessions WHERE id = ? AND refresh_hash = ? AND revoked_at IS NULL";
    let statement = dialect::statement(
        conn.get_database_backend(),
        sql,
        [id.into(), presented_hash.into()],
    );
    Ok(conn.query_one_raw(statement).await?.is_some())
}

/// Ends one session of a user; tells whether it was alive.
pub async fn claim_revocation(
    conn: &impl ConnectionTrait,
    user: UserId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let sql = "UPDATE auth_sessions SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL \
               AND expires_at > ?";
    Ok(dialect::execute(conn, sql, [now.into(), id.into(), user.into(), now.into()]).await? == 1)
}

/// Ends all sessions of a user but `keep`; returns how many.
pub async fn update_all_revoked(
    conn: &impl ConnectionTrait,
    user: UserId,
    keep: Option<SessionId>,
    now: DateTime<Utc>,
) -> Result<u64, DbError> {
    let mut update = session::Entity::update_many()
        .filter(session::Column::UserId.eq(user.0))
        .filter(session::Column::RevokedAt.is_null())
        .col_expr(session::Column::RevokedAt, Expr::value(now));
    if let Some(keep) = keep {
        update = update.filter(session::Column::Id.ne(keep.0));
    }
    Ok(update.exec(conn).await?.rows_affected)
}

/// Live sessions, the last used first.
pub async fn list_live(
    conn: &impl ConnectionTrait,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<session::Model>, DbError> {
    Ok(session::Entity::find()
        .filter(session::Column::UserId.eq(user.0))
        .filter(session::Column::RevokedAt.is_null())
        .filter(session::Column::ExpiresAt.gt(now))
        .order_by_desc(session::Column::LastUsedAt)
        .order_by_desc(session::Column::Id)
        .limit(MOST_LISTED)
        .all(conn)
        .await?)
}

/// Times of last use, many sessions at once.
pub async fn update_last_used(
    conn: &impl ConnectionTrait,
    ids: &[i64],
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    session::Entity::update_many()
        .filter(session::Column::Id.is_in(ids.iter().copied()))
        .filter(Expr::col(session::Column::LastUsedAt).lt(at))
        .col_expr(session::Column::LastUsedAt, Expr::value(at))
        .exec(conn)
        .await?;
    Ok(())
}

/// A row of a new login.
pub struct NewSession<'a> {
    pub user: UserId,
    pub surface: &'a str,
    pub token_version: i32,
    pub ip: &'a str,
    pub user_agent: &'a str,
    pub device_type: &'a str,
    pub access_ttl: i64,
    pub refresh_ttl: i64,
    pub placeholder_hash: String,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl NewSession<'_> {
    pub fn into_row(self) -> session::ActiveModel {
        session::ActiveModel {
            user_id: Set(self.user.0),
            surface: Set(self.surface.to_owned()),
            generation: Set(0),
            refresh_hash: Set(self.placeholder_hash),
            token_version: Set(self.token_version),
            remember_me: Set(false),
            ip_address: Set(self.ip.to_owned()),
            user_agent: Set(self.user_agent.to_owned()),
            device_type: Set(self.device_type.to_owned()),
            access_ttl: Set(self.access_ttl),
            refresh_ttl: Set(self.refresh_ttl),
            created_at: Set(self.now),
            last_used_at: Set(self.now),
            expires_at: Set(self.expires_at),
            ..Default::default()
        }
    }
}
