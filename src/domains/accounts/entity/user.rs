//! `users`: one account for every surface.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub username: String,
    pub username_key: String,
    pub email: String,
    pub email_key: String,
    pub password: String,
    pub display_name: String,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub phone: Option<String>,
    pub phone_key: Option<String>,
    pub avatar: Option<String>,
    pub birth_date: Option<Date>,
    pub gender: Option<String>,
    pub bio: Option<String>,
    pub country: Option<String>,
    pub city: Option<String>,
    pub website: Option<String>,
    pub github: Option<String>,
    pub user_type: String,
    pub parent_id: Option<i64>,
    pub is_verified: bool,
    pub is_premium: bool,
    pub is_staff: bool,
    pub is_active: bool,
    pub token_version: i32,
    pub quota: i64,
    pub used_space: i64,
    pub privacy_setting: String,
    pub date_joined: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub last_login: Option<DateTimeUtc>,
    pub last_active: Option<DateTimeUtc>,
    pub deactivated_at: Option<DateTimeUtc>,
    pub purged_at: Option<DateTimeUtc>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
