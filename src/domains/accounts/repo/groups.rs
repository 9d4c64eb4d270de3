//! `groups` and `user_groups`.

use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use yunque_kernel::DbError;
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::ids::UserId;

use crate::entity::{group, user_group};

pub async fn find_by_name(conn: &impl ConnectionTrait, name: &str) -> Result<Option<group::Model>, DbError> {
    Ok(group::Entity::find()
        .filter(group::Column::Name.eq(name))
        .unique(conn)
        .await?)
}

/// Tells whether the group is new.
pub async fn insert_ignore(
    conn: &impl ConnectionTrait,
    name: &str,
    description: &str,
) -> Result<bool, DbError> {
    let insert = Query::insert()
        .into_table("groups")
        .columns(["name", "description"])
        .values_panic([name.into(), description.into()])
        .take();
    dialect::insert_ignore(conn, insert, &["name"]).await
}

/// Tells whether the user was not a member before.
pub async fn insert_member(
    conn: &impl ConnectionTrait,
    group_id: i64,
    user: UserId,
) -> Result<bool, DbError> {
    let insert = Query::insert()
        .into_table("user_groups")
        .columns(["user_id", "group_id"])
        .values_panic([user.0.into(), group_id.into()])
        .take();
    dialect::insert_ignore(conn, insert, &["user_id", "group_id"]).await
}

/// The names of a user's groups.
pub async fn list_names(conn: &impl ConnectionTrait, user: UserId) -> Result<Vec<String>, DbError> {
    let of_user = Query::select()
        .column(user_group::Column::GroupId)
        .from(user_group::Entity)
        .and_where(user_group::Column::UserId.eq(user.0))
        .take();
    let names = group::Entity::find()
        .select_only()
        .column(group::Column::Name)
        .filter(group::Column::Id.in_subquery(of_user))
        .into_tuple();
    Ok(names.all(conn).await?)
}
