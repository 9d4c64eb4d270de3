//! `auth_api_keys`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryFilter, QueryOrder,
};
use yunque_kernel::DbError;
use yunque_kernel::auth::{NewApiKey, Scopes};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::ids::UserId;

use crate::entity::api_key;

/// A user may not have two keys of one name.
pub const NAME_KEY: &str = "auth_api_keys_user_id_name_key";

/// A key with what its user says about it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct KeyState {
    pub id: i64,
    pub user_id: i64,
    pub permissions: String,
    pub key_active: bool,
    pub expires_at: Option<DateTime<Utc>>,
    pub username: String,
    pub is_active: bool,
    pub is_staff: bool,
    pub user_type: String,
    pub token_version: i32,
}

pub async fn find_state(conn: &impl ConnectionTrait, hash: &str) -> Result<Option<KeyState>, DbError> {
    let sql = "SELECT k.id, k.user_id, k.permissions, k.is_active AS key_active, k.expires_at, u.username, \
               u.is_active, u.is_staff, u.user_type, u.token_version \
               FROM auth_api_keys k JOIN users u ON u.id = k.user_id WHERE k.key_hash = ?";
    let row = conn
        .query_one_raw(dialect::statement(
            conn.get_database_backend(),
            sql,
            [hash.into()],
        ))
        .await?;
    Ok(row.map(|row| KeyState::from_query_result(&row, "")).transpose()?)
}

pub async fn insert(
    conn: &impl ConnectionTrait,
    user: UserId,
    name: &str,
    key: &NewApiKey,
    scopes: &Scopes,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<i64, DbError> {
    let row = api_key::ActiveModel {
        user_id: Set(user.0),
        name: Set(name.to_owned()),
        key_hash: Set(key.hash.clone()),
        prefix: Set(key.shown_prefix.clone()),
        permissions: Set(scopes.to_json()),
        created_at: Set(now),
        expires_at: Set(expires_at),
        ..Default::default()
    };
    Ok(api_key::Entity::insert(row).exec(conn).await?.last_insert_id)
}

pub async fn count(conn: &impl ConnectionTrait, user: UserId) -> Result<u64, DbError> {
    Ok(api_key::Entity::find()
        .filter(api_key::Column::UserId.eq(user.0))
        .count(conn)
        .await?)
}

/// Keys of one user or of all, newest first.
pub async fn list(conn: &impl ConnectionTrait, user: Option<UserId>) -> Result<Vec<api_key::Model>, DbError> {
    let mut query = api_key::Entity::find();
    if let Some(user) = user {
        query = query.filter(api_key::Column::UserId.eq(user.0));
    }
    let newest = query
        .order_by_desc(api_key::Column::CreatedAt)
        .order_by_desc(api_key::Column::Id);
    Ok(newest.all(conn).await?)
}

pub async fn find(conn: &impl ConnectionTrait, id: i64) -> Result<Option<api_key::Model>, DbError> {
    Ok(api_key::Entity::find_by_id(id).unique(conn).await?)
}

pub async fn delete(conn: &impl ConnectionTrait, id: i64) -> Result<bool, DbError> {
    Ok(api_key::Entity::delete_by_id(id).exec(conn).await?.rows_affected == 1)
}

/// Disables every key of a user.
pub async fn update_all_disabled(conn: &impl ConnectionTrait, user: UserId) -> Result<(), DbError> {
    api_key::Entity::update_many()
        .filter(api_key::Column::UserId.eq(user.0))
        .col_expr(api_key::Column::IsActive, Expr::value(false))
        .exec(conn)
        .await?;
    Ok(())
}

/// The last place and time of use.
pub async fn update_last_used(
    conn: &impl ConnectionTrait,
    id: i64,
    ip: &str,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    let sql = "UPDATE auth_api_keys SET last_used = ?, last_used_ip = ? WHERE id = ?";
    dialect::execute(conn, sql, [at.into(), ip.into(), id.into()]).await?;
    Ok(())
}
