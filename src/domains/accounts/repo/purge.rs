//! What the removal of personal data reads and writes.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use yunque_kernel::DbError;
use yunque_kernel::db::dialect;
use yunque_kernel::ids::UserId;

use super::users;
use crate::entity::user;

/// Accounts that were deactivated before `before` and still hold personal data.
pub async fn list_due_for_purge(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<i64>, DbError> {
    let ids = user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .filter(user::Column::IsActive.eq(false))
        .filter(user::Column::DeactivatedAt.lt(before))
        .filter(user::Column::PurgedAt.is_null())
        .order_by_asc(user::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids)
}

/// Replaces everything personal. The row stays, because content points to it.
pub async fn update_anonymised(
    conn: &impl ConnectionTrait,
    id: UserId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let name = format!("deleted_{id}");
    let address = format!("{name}@invalid");
    let text = |value: &str| Expr::value(value.to_owned());
    let nothing = || Expr::value(None::<String>);
    use user::Column as C;
    let changes = vec![
        (C::Username, text(&name)),
        (C::UsernameKey, text(&name)),
        (C::Email, text(&address)),
        (C::EmailKey, text(&address)),
        // Not a hash: no password verifies.
        (C::Password, text("!")),
        (C::DisplayName, text(&name)),
        (C::Name, text("")),
        (C::FirstName, text("")),
        (C::LastName, text("")),
        (C::Phone, nothing()),
        (C::PhoneKey, nothing()),
        (C::Avatar, nothing()),
        (C::ParentId, Expr::value(None::<i64>)),
        (C::BirthDate, Expr::value(None::<chrono::NaiveDate>)),
        (C::Gender, nothing()),
        (C::Bio, nothing()),
        (C::Country, nothing()),
        (C::City, nothing()),
        (C::Website, nothing()),
        (C::Github, nothing()),
        (C::PrivacySetting, text("{}")),
        (C::LastLogin, Expr::value(None::<DateTime<Utc>>)),
        (C::LastActive, Expr::value(None::<DateTime<Utc>>)),
        (C::PurgedAt, Expr::value(now)),
    ];
    users::update(conn, id, changes, now).await?;
    Ok(())
}

/// Removes what tells of a person: where and with what it logged in.
pub async fn delete_traces(conn: &impl ConnectionTrait, user: UserId) -> Result<(), DbError> {
    for table in [
        "user_login_logs",
        "auth_email_verification_tokens",
        "auth_password_reset_tokens",
        "password_reset_codes",
        "auth_backup_codes",
        "auth_two_factor",
        "auth_sessions",
        "auth_api_keys",
        "user_groups",
    ] {
        dialect::execute(
            conn,
            &format!("DELETE FROM {table} WHERE user_id = ?"),
            [user.into()],
        )
        .await?;
    }
    Ok(())
}
