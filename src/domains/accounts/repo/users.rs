//! `users` and `user_profiles`.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, LockType, Order, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DerivePartialModel, EntityTrait,
    FromQueryResult as _, PaginatorTrait, PartialModelTrait, QueryFilter, QueryOrder, QuerySelect,
};
use yunque_kernel::DbError;
use yunque_kernel::auth::{Caller, UserType};
use yunque_kernel::db::{Unique as _, dialect};
use yunque_kernel::http::Page;
use yunque_kernel::ids::UserId;

use crate::entity::{profile, user};
use crate::error::AccountsError;
use crate::policy;
use crate::values::{Email, Username};

pub const USERNAME_KEY: &str = "users_username_key_key";
pub const EMAIL_KEY: &str = "users_email_key_key";

/// What clients see of an account.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "user::Entity")]
pub struct AccountRow {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub is_active: bool,
    pub is_staff: bool,
}

/// What a command lists.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "user::Entity")]
pub struct ListedRow {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub user_type: String,
    pub parent_id: Option<i64>,
    pub is_active: bool,
    pub is_staff: bool,
}

/// Somebody by his name.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "user::Entity")]
pub struct NamedRow {
    pub id: i64,
    pub username: String,
    pub username_key: String,
}

/// What a login and every check of a current password need.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "user::Entity")]
pub struct CredentialRow {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub first_name: String,
    pub last_name: String,
    pub password: String,
    pub is_active: bool,
    pub is_staff: bool,
    pub is_verified: bool,
    pub token_version: i32,
}

impl CredentialRow {
    pub fn user_id(&self) -> UserId {
        UserId(self.id)
    }

    pub fn account(&self) -> AccountRow {
        AccountRow {
            id: self.id,
            username: self.username.clone(),
            email: self.email.clone(),
            display_name: self.display_name.clone(),
            is_active: self.is_active,
            is_staff: self.is_staff,
        }
    }

    pub fn owner(&self) -> policy::PasswordOwner<'_> {
        policy::PasswordOwner {
            username: &self.username,
            email: &self.email,
            first_name: &self.first_name,
            last_name: &self.last_name,
        }
    }
}

/// A row about to be inserted.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub username: Username,
    pub email: Email,
    pub display_name: String,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub phone: Option<String>,
    pub password_hash: String,
    pub user_type: UserType,
    pub parent: Option<UserId>,
    pub is_verified: bool,
}

/// Inserts an account with its profile and returns its id.
pub async fn insert(
    conn: &impl ConnectionTrait,
    new: NewUser,
    now: DateTime<Utc>,
) -> Result<UserId, DbError> {
    let NewUser {
        username,
        email,
        display_name,
        name,
        first_name,
        last_name,
        phone,
        password_hash,
        user_type,
        parent,
        is_verified,
    } = new;
    let row = user::ActiveModel {
        username: Set(username.as_str().to_owned()),
        username_key: Set(username.key().to_owned()),
        email: Set(email.as_str().to_owned()),
        email_key: Set(email.key().to_owned()),
        display_name: Set(display_name),
        name: Set(name),
        first_name: Set(first_name),
        last_name: Set(last_name),
        phone: Set(phone),
        password: Set(password_hash),
        user_type: Set(user_type.as_str().to_owned()),
        parent_id: Set(parent.map(|id| id.0)),
        is_staff: Set(user_type == UserType::Admin),
        is_verified: Set(is_verified),
        privacy_setting: Set("{}".to_owned()),
        date_joined: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    let id = user::Entity::insert(row).exec(conn).await?.last_insert_id;
    let profile = profile::ActiveModel {
        user_id: Set(id),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    profile::Entity::insert(profile)
        .exec_without_returning(conn)
        .await?;
    Ok(UserId(id))
}

/// Who has a name or an address.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "user::Entity")]
pub struct TakenRow {
    pub id: i64,
    pub username_key: String,
    pub email_key: String,
}

/// Everybody who has one of these names or addresses.
pub async fn list_taken(
    conn: &impl ConnectionTrait,
    (names, addresses): (Vec<String>, Vec<String>),
) -> Result<Vec<TakenRow>, DbError> {
    let either = Condition::any()
        .add(user::Column::UsernameKey.is_in(names))
        .add(user::Column::EmailKey.is_in(addresses));
    let select = user::Entity::find().filter(either);
    Ok(select.into_partial_model().all(conn).await?)
}

/// Whether somebody has not logged in since his hash was imported.
pub async fn has_imported(conn: &impl ConnectionTrait) -> Result<bool, DbError> {
    let select = user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .filter(user::Column::Password.starts_with("pbkdf2"))
        .limit(1);
    Ok(select.into_tuple::<i64>().one(conn).await?.is_some())
}

/// Which of the two keys another account has.
pub async fn find_taken(
    conn: &impl ConnectionTrait,
    username: &Username,
    email: &Email,
) -> Result<(bool, bool), DbError> {
    let rows: Vec<(String, String)> = user::Entity::find()
        .select_only()
        .columns([user::Column::UsernameKey, user::Column::EmailKey])
        .filter(
            Condition::any()
                .add(user::Column::UsernameKey.eq(username.key()))
                .add(user::Column::EmailKey.eq(email.key())),
        )
        .into_tuple()
        .all(conn)
        .await?;
    Ok((
        rows.iter().any(|(name, _)| name == username.key()),
        rows.iter().any(|(_, address)| address == email.key()),
    ))
}

/// The account as `caller` may see it.
pub async fn get_visible(
    conn: &impl ConnectionTrait,
    caller: &Caller,
    id: UserId,
) -> Result<AccountRow, AccountsError> {
    policy::see_account(caller, id)?;
    find_account(conn, id).await?.ok_or(AccountsError::NotFound)
}

/// Read by every request for the own profile, so the statement is not put together each time.
pub async fn find_account(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<AccountRow>, DbError> {
    let sql = "SELECT id, username, email, display_name, is_active, is_staff FROM users WHERE id = ?";
    let statement = dialect::statement(conn.get_database_backend(), sql, [id.into()]);
    Ok(AccountRow::find_by_statement(statement).one(conn).await?)
}

/// By a login name: an address wins over a user name, so nobody can shadow another's address.
pub async fn find_for_login(
    conn: &impl ConnectionTrait,
    username_key: &str,
    email_key: Option<&str>,
) -> Result<Option<CredentialRow>, DbError> {
    if let Some(key) = email_key {
        let by_email = user::Entity::find().filter(user::Column::EmailKey.eq(key));
        if let Some(found) = by_email
            .into_partial_model::<CredentialRow>()
            .unique(conn)
            .await?
        {
            return Ok(Some(found));
        }
    }
    let by_name = user::Entity::find().filter(user::Column::UsernameKey.eq(username_key));
    Ok(by_name.into_partial_model::<CredentialRow>().unique(conn).await?)
}

pub async fn find_credential(
    conn: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<CredentialRow>, DbError> {
    Ok(user::Entity::find_by_id(id.0)
        .into_partial_model::<CredentialRow>()
        .unique(conn)
        .await?)
}

pub async fn find_full(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<user::Model>, DbError> {
    Ok(user::Entity::find_by_id(id.0).unique(conn).await?)
}

/// Active accounts with these folded names.
pub async fn list_active_by_keys(
    conn: &impl ConnectionTrait,
    keys: &[&str],
) -> Result<Vec<NamedRow>, DbError> {
    let found = user::Entity::find()
        .filter(user::Column::UsernameKey.is_in(keys.iter().copied()))
        .filter(user::Column::IsActive.eq(true));
    Ok(found.into_partial_model::<NamedRow>().all(conn).await?)
}

pub async fn find_id_by_name(
    conn: &impl ConnectionTrait,
    username_key: &str,
) -> Result<Option<UserId>, DbError> {
    let id: Option<i64> = user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .filter(user::Column::UsernameKey.eq(username_key))
        .into_tuple()
        .unique(conn)
        .await?;
    Ok(id.map(UserId))
}

/// One page of all accounts by id, and how many there are. `search` matches inside user name and
/// address, without regard to case.
pub async fn list<M: PartialModelTrait>(
    conn: &impl ConnectionTrait,
    search: Option<&str>,
    kind: Option<UserType>,
    page: Page,
) -> Result<(Vec<M>, u64), DbError> {
    let mut query = user::Entity::find();
    if let Some(kind) = kind {
        query = query.filter(user::Column::UserType.eq(kind.as_str()));
    }
    if let Some(text) = search {
        let like = |key: String| LikeExpr::new(format!("%{}%", dialect::like_escape(&key))).escape('!');
        query = query.filter(
            Condition::any()
                .add(Expr::col(user::Column::UsernameKey).like(like(crate::values::name_key(text))))
                .add(Expr::col(user::Column::EmailKey).like(like(crate::values::email_key(text)))),
        );
    }
    let total = query.clone().count(conn).await?;
    let rows = query
        .order_by_asc(user::Column::Id)
        .offset(page.offset())
        .limit(page.limit())
        .into_partial_model::<M>()
        .all(conn)
        .await?;
    Ok((rows, total))
}

/// Changes columns of one account; `updated_at` moves. Tells whether the account was there.
pub async fn update(
    conn: &impl ConnectionTrait,
    id: UserId,
    changes: Vec<(user::Column, SimpleExpr)>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let mut update = user::Entity::update_many().filter(user::Column::Id.eq(id.0));
    for (column, value) in changes {
        update = update.col_expr(column, value);
    }
    let done = update
        .col_expr(user::Column::UpdatedAt, Expr::value(now))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Stores a new hash if the old one is still there. `bump` voids every token of the user.
pub async fn update_password(
    conn: &impl ConnectionTrait,
    id: UserId,
    old_hash: Option<&str>,
    new_hash: &str,
    bump: bool,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let mut update = user::Entity::update_many()
        .filter(user::Column::Id.eq(id.0))
        .col_expr(user::Column::Password, Expr::value(new_hash))
        .col_expr(user::Column::UpdatedAt, Expr::value(now));
    if let Some(old) = old_hash {
        update = update.filter(user::Column::Password.eq(old));
    }
    if bump {
        update = update.col_expr(
            user::Column::TokenVersion,
            Expr::col(user::Column::TokenVersion).add(1),
        );
    }
    Ok(update.exec(conn).await?.rows_affected == 1)
}

/// Voids every token of the user.
pub async fn update_token_version(
    conn: &impl ConnectionTrait,
    id: UserId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    update(
        conn,
        id,
        vec![(
            user::Column::TokenVersion,
            Expr::col(user::Column::TokenVersion).add(1),
        )],
        now,
    )
    .await
}

/// Notes a successful login, unless the account changed since its password was verified. `updated_at`
/// stays.
pub async fn claim_login(
    conn: &impl ConnectionTrait,
    user: &CredentialRow,
    new_hash: Option<SimpleExpr>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let mut update = user::Entity::update_many()
        .filter(user::Column::Id.eq(user.id))
        .filter(user::Column::IsActive.eq(true))
        .filter(user::Column::TokenVersion.eq(user.token_version))
        .filter(user::Column::Password.eq(user.password.as_str()))
        .col_expr(user::Column::LastLogin, Expr::value(now))
        .col_expr(user::Column::LastActive, Expr::value(now));
    if let Some(hash) = new_hash {
        update = update.col_expr(user::Column::Password, hash);
    }
    if update.exec(conn).await?.rows_affected != 1 {
        return Ok(false);
    }
    profile::Entity::update_many()
        .filter(profile::Column::UserId.eq(user.id))
        .col_expr(
            profile::Column::LoginCount,
            Expr::col(profile::Column::LoginCount).add(1),
        )
        .exec(conn)
        .await?;
    Ok(true)
}

/// Locks the account's row until the transaction ends, and reads it.
pub async fn lock(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<user::Model>, DbError> {
    let mut query = user::Entity::find_by_id(id.0);
    if !is_sqlite(conn) {
        query = query.lock(LockType::Update);
    }
    Ok(query.unique(conn).await?)
}

/// The active admins, locked in the order of their ids: of two writes that would each remove one,
/// the second sees what the first left. `parent_id IS NULL` (always so for admins) lets the lock
/// run over an index instead of the whole table.
pub async fn lock_active_admins(conn: &impl ConnectionTrait) -> Result<Vec<i64>, DbError> {
    let mut query = user::Entity::find()
        .filter(user::Column::ParentId.is_null())
        .filter(user::Column::UserType.eq(UserType::Admin.as_str()))
        .filter(user::Column::IsActive.eq(true))
        .order_by(user::Column::Id, Order::Asc);
    if !is_sqlite(conn) {
        query = query.lock(LockType::Update);
    }
    let rows = query
        .select_only()
        .column(user::Column::Id)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows)
}

fn is_sqlite(conn: &impl ConnectionTrait) -> bool {
    conn.get_database_backend() == sea_orm::DbBackend::Sqlite
}

/// Times of last activity, many users at once. `updated_at` stays.
pub async fn update_last_active(
    conn: &impl ConnectionTrait,
    ids: &[i64],
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    user::Entity::update_many()
        .filter(user::Column::Id.is_in(ids.iter().copied()))
        .col_expr(user::Column::LastActive, Expr::value(at))
        .exec(conn)
        .await?;
    Ok(())
}
