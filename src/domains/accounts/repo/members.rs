//! `users` as the users' surface shows them: with the parent's name, and without those who were
//! deleted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait, Func, JoinType, LikeExpr, Order, Query, SelectStatement,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect};
use yunque_kernel::DbError;
use yunque_kernel::auth::UserType;
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::http::Page;
use yunque_kernel::ids::UserId;

use super::users::AccountRow;
use crate::entity::user;
use crate::scope::{Reach, Scope};
use crate::values::{email_key, name_key};

/// An account with the name of its parent.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct MemberRow {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub name: String,
    pub phone: Option<String>,
    /// Key below `media/`.
    pub avatar: Option<String>,
    pub user_type: String,
    pub parent_id: Option<i64>,
    pub parent_username: Option<String>,
    pub is_active: bool,
    pub date_joined: DateTime<Utc>,
    pub display_name: String,
    pub first_name: String,
    pub last_name: String,
}

impl MemberRow {
    /// What the cloud surface shows of it.
    pub fn account(&self) -> AccountRow {
        AccountRow {
            id: self.id,
            username: self.username.clone(),
            email: self.email.clone(),
            display_name: self.display_name.clone(),
            is_active: self.is_active,
            is_staff: self.user_type == UserType::Admin.as_str(),
        }
    }
}

/// By what a list is sorted; the id breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordering {
    column: &'static str,
    descends: bool,
}

impl Default for Ordering {
    /// The newest first.
    fn default() -> Self {
        Ordering {
            column: "id",
            descends: true,
        }
    }
}

impl Ordering {
    /// A field of the answer, with `-` for descending. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descends) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let column = match name {
            "id" => "id",
            "username" => "username_key",
            "email" => "email_key",
            "name" => "name",
            "user_type" => "user_type",
            "is_active" => "is_active",
            "created_at" => "date_joined",
            _ => return None,
        };
        Some(Ordering { column, descends })
    }
}

/// What a list shows. Whatever is not named is not restricted.
#[derive(Clone, Debug, Default)]
pub struct MemberFilter {
    pub user_type: Option<UserType>,
    /// Right below this account.
    pub parent: Option<UserId>,
    pub is_active: Option<bool>,
    /// Inside user name, name, address or telephone number.
    pub search: Option<String>,
    pub ordering: Ordering,
}

fn select() -> SelectStatement {
    let mut query = Query::select();
    for column in [
        "id",
        "username",
        "email",
        "name",
        "phone",
        "avatar",
        "user_type",
        "parent_id",
        "is_active",
        "date_joined",
        "display_name",
        "first_name",
        "last_name",
    ] {
        query.column(("u", column));
    }
    query
        .expr_as(Expr::col(("p", "username")), "parent_username")
        .from_as("users", "u")
        .join_as(
            JoinType::LeftJoin,
            "users",
            "p",
            Expr::col(("p", "id")).equals(("u", "parent_id")),
        )
        .and_where(Expr::col(("u", "deactivated_at")).is_null())
        .take()
}

pub async fn find(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<MemberRow>, DbError> {
    let query = select().and_where(Expr::col(("u", "id")).eq(id.0)).take();
    let row = conn.query_one(&query).await?;
    Ok(row
        .map(|row| MemberRow::from_query_result(&row, ""))
        .transpose()?)
}

/// One page of those whom `scope` sees, and how many there are. An agent's own account is not among
/// those below it.
pub async fn list(
    conn: &impl ConnectionTrait,
    scope: Scope,
    filter: &MemberFilter,
    page: Page,
) -> Result<(Vec<MemberRow>, u64), DbError> {
    let mut query = select();
    match scope.reach {
        Reach::Everybody | Reach::Reading => {}
        Reach::Tree => {
            query.cond_where(below(scope.user));
        }
        Reach::Own => {
            query.and_where(Expr::col(("u", "id")).eq(scope.user.0));
        }
    }
    if let Some(kind) = filter.user_type {
        query.and_where(Expr::col(("u", "user_type")).eq(kind.as_str()));
    }
    if let Some(parent) = filter.parent {
        query.and_where(Expr::col(("u", "parent_id")).eq(parent.0));
    }
    if let Some(is_active) = filter.is_active {
        query.and_where(Expr::col(("u", "is_active")).eq(is_active));
    }
    if let Some(text) = &filter.search {
        query.cond_where(contains(text));
    }
    let total = dialect::count(conn, query.clone()).await?;
    let Ordering { column, descends } = filter.ordering;
    let order = if descends { Order::Desc } else { Order::Asc };
    query.order_by(("u", column), order.clone());
    if column != "id" {
        query.order_by(("u", "id"), order);
    }
    query.offset(page.offset()).limit(page.limit());
    let mut rows = Vec::new();
    for row in conn.query_all(&query).await? {
        rows.push(MemberRow::from_query_result(&row, "")?);
    }
    Ok((rows, total))
}

/// Children and grandchildren.
fn below(user: UserId) -> Condition {
    let children = Query::select()
        .column(("c", "id"))
        .from_as("users", "c")
        .and_where(Expr::col(("c", "parent_id")).eq(user.0))
        .take();
    Condition::any()
        .add(Expr::col(("u", "parent_id")).eq(user.0))
        .add(Expr::col(("u", "parent_id")).in_subquery(children))
}

fn contains(text: &str) -> Condition {
    let like = |text: &str| LikeExpr::new(format!("%{}%", dialect::like_escape(text))).escape('!');
    let column = |name: &'static str| Expr::col(("u", name));
    Condition::any()
        .add(column("username_key").like(like(&name_key(text))))
        .add(column("email_key").like(like(&email_key(text))))
        // Names have no folded column; what the database does not fold is found as it is written.
        .add(Expr::expr(Func::lower(column("name"))).like(like(&text.to_lowercase())))
        .add(column("name").like(like(text)))
        .add(column("phone").like(like(text)))
}

/// How many customers hang right below each of these agents.
pub async fn count_customers(
    conn: &impl ConnectionTrait,
    agents: &[i64],
) -> Result<HashMap<i64, i64>, DbError> {
    if agents.is_empty() {
        return Ok(HashMap::new());
    }
    let counts: Vec<(i64, i64)> = user::Entity::find()
        .select_only()
        .column(user::Column::ParentId)
        .column_as(user::Column::Id.count(), "customers")
        .filter(user::Column::ParentId.is_in(agents.iter().copied()))
        .filter(user::Column::UserType.eq(UserType::Customer.as_str()))
        .filter(user::Column::DeactivatedAt.is_null())
        .group_by(user::Column::ParentId)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(counts.into_iter().collect())
}

/// Which of these keys somebody else has.
pub async fn find_taken_by_others(
    conn: &impl ConnectionTrait,
    id: UserId,
    username_key: Option<&str>,
    email_key: Option<&str>,
) -> Result<(bool, bool), DbError> {
    let mut taken = [false, false];
    let keys = [
        (user::Column::UsernameKey, username_key),
        (user::Column::EmailKey, email_key),
    ];
    for (taken, (column, key)) in taken.iter_mut().zip(keys) {
        let Some(key) = key else { continue };
        let holder: Option<i64> = user::Entity::find()
            .select_only()
            .column(user::Column::Id)
            .filter(column.eq(key))
            .into_tuple()
            .unique(conn)
            .await?;
        *taken = holder.is_some_and(|holder| holder != id.0);
    }
    Ok((taken[0], taken[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_by_fields_of_the_answer_only() {
        assert_eq!(Ordering::parse("-id"), Some(Ordering::default()));
        let by_time = Ordering::parse("created_at").expect("known");
        assert_eq!((by_time.column, by_time.descends), ("date_joined", false));
        for bad in ["", "-", "password", "--id", "u.id", "date_joined", "id desc"] {
            assert_eq!(Ordering::parse(bad), None, "{bad:?}");
        }
    }
}
