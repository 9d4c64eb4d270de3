//! `users` as other domains show them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, DerivePartialModel, EntityTrait, QueryFilter, QuerySelect};
use yunque_kernel::DbError;
use yunque_kernel::ids::UserId;

use crate::entity::user;

/// What others see of a user, for lists and messages of other domains.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "user::Entity")]
pub struct BriefRow {
    pub id: i64,
    pub username: String,
    pub display_name: String,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub avatar: Option<String>,
    pub user_type: String,
    pub parent_id: Option<i64>,
    pub is_active: bool,
    pub purged_at: Option<DateTime<Utc>>,
}

pub async fn list_briefs(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<BriefRow>, DbError> {
    let found = user::Entity::find().filter(user::Column::Id.is_in(ids.iter().copied()));
    Ok(found.into_partial_model::<BriefRow>().all(conn).await?)
}

/// Those of these users whose accounts are active.
pub async fn list_active(conn: &impl ConnectionTrait, ids: &[UserId]) -> Result<HashSet<UserId>, DbError> {
    let found: Vec<i64> = user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .filter(user::Column::Id.is_in(ids.iter().map(|id| id.0)))
        .filter(user::Column::IsActive.eq(true))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(found.into_iter().map(UserId).collect())
}
