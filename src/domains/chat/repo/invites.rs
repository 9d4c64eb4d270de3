//! `chat_invites`. A room has at most one invitation of a user that nobody answered; all of them
//! are written with the room locked.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, RelationDef,
};
use yunque_kernel::db::Unique as _;
use yunque_kernel::http::Page;
use yunque_kernel::{ChatInviteId, DbError, Tx, UserId};

use crate::entity::{invite, room};
use crate::kinds::InviteStatus;

/// `pending_key` of a room and a user.
fn pending_key(room: i64, user: i64) -> String {
    format!("{room}:{user}")
}

/// An invitation of a user, answered or not.
pub async fn find_invite(
    conn: &impl ConnectionTrait,
    id: ChatInviteId,
    invitee: UserId,
) -> Result<Option<invite::Model>, DbError> {
    let select = invite::Entity::find_by_id(id.0).filter(invite::Column::InviteeId.eq(invitee.0));
    Ok(select.unique(conn).await?)
}

/// A user's invitation into a room that nobody answered, which may have expired.
pub async fn find_pending(
    conn: &impl ConnectionTrait,
    room: i64,
    user: UserId,
) -> Result<Option<invite::Model>, DbError> {
    let select = invite::Entity::find().filter(invite::Column::PendingKey.eq(pending_key(room, user.0)));
    Ok(select.unique(conn).await?)
}

/// The same for many users.
pub async fn list_pending(
    conn: &impl ConnectionTrait,
    room: i64,
    users: &[UserId],
) -> Result<Vec<invite::Model>, DbError> {
    let keys = users.iter().map(|user| pending_key(room, user.0));
    let select = invite::Entity::find().filter(invite::Column::PendingKey.is_in(keys));
    Ok(select.all(conn).await?)
}

fn room_of() -> RelationDef {
    invite::Entity::belongs_to(room::Entity)
        .from(invite::Column::RoomId)
        .to(room::Column::Id)
        .into()
}

/// A page of the invitations that a user can accept now, newest first, each with its room.
pub async fn list_open_invites(
    conn: &impl ConnectionTrait,
    invitee: UserId,
    now: DateTime<Utc>,
    page: Page,
) -> Result<(Vec<(invite::Model, Option<room::Model>)>, u64), DbError> {
    let select = invite::Entity::find()
        .join(JoinType::InnerJoin, room_of())
        .filter(invite::Column::InviteeId.eq(invitee.0))
        .filter(invite::Column::Status.eq(InviteStatus::Pending.as_str()))
        .filter(invite::Column::ExpiresAt.gt(now))
        .filter(room::Column::IsActive.eq(true));
    let total = select.clone().count(conn).await?;
    let rows = select
        .select_also(room::Entity)
        .order_by_desc(invite::Column::Id)
        .offset(page.offset())
        .limit(page.limit());
    Ok((rows.all(conn).await?, total))
}

/// Invites users into a locked room, none of whom has an invitation that nobody answered.
pub async fn insert_invites(
    tx: &Tx,
    room: i64,
    inviter: UserId,
    invitees: &[UserId],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    if invitees.is_empty() {
        return Ok(());
    }
    let columns = [
        "room_id",
        "inviter_id",
        "invitee_id",
        "status",
        "created_at",
        "expires_at",
        "pending_key",
    ];
    let mut insert = Query::insert()
        .into_table(Alias::new("chat_invites"))
        .columns(columns.map(Alias::new))
        .take();
    for invitee in invitees {
        insert.values_panic([
            room.into(),
            inviter.0.into(),
            invitee.0.into(),
            InviteStatus::Pending.as_str().into(),
            now.into(),
            expires_at.into(),
            pending_key(room, invitee.0).into(),
        ]);
    }
    tx.execute(&insert).await?;
    Ok(())
}

/// Lets invitations last longer.
pub async fn extend_invites(tx: &Tx, ids: &[i64], expires_at: DateTime<Utc>) -> Result<(), DbError> {
    if ids.is_empty() {
        return Ok(());
    }
    invite::Entity::update_many()
        .col_expr(invite::Column::ExpiresAt, Expr::value(expires_at))
        .filter(invite::Column::Id.is_in(ids.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Ends an invitation that nobody answered, so that there can be another one.
pub async fn settle_invite(tx: &Tx, id: i64, status: InviteStatus) -> Result<(), DbError> {
    invite::Entity::update_many()
        .col_expr(invite::Column::Status, Expr::value(status.as_str()))
        .col_expr(invite::Column::PendingKey, Expr::value(Option::<String>::None))
        .filter(invite::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}
