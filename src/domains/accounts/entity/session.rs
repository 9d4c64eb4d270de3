//! `auth_sessions`: one row for each login.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_sessions")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub user_id: i64,
    pub surface: String,
    #[sea_orm(column_name = "gen")]
    pub generation: i32,
    pub refresh_hash: String,
    pub rotated_at: Option<DateTimeUtc>,
    pub token_version: i32,
    pub remember_me: bool,
    pub ip_address: String,
    pub user_agent: String,
    pub device_type: String,
    pub access_ttl: i64,
    pub refresh_ttl: i64,
    pub created_at: DateTimeUtc,
    pub last_used_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    pub revoked_at: Option<DateTimeUtc>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
