//! The row of one scope.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};

use super::{KEEP, LOCK};
use crate::db::{DbError, Tx, dialect};

/// What a row is found by, and whose it is.
#[derive(Clone)]
pub(super) struct Ids {
    pub scope: String,
    pub body: String,
    pub owner: String,
}

pub(super) enum Found {
    Mine,
    OtherBody,
    Running,
    Done { status: u16, body: String },
}

/// Finds, takes or takes over the row of a scope.
pub(super) async fn claim_row(tx: &Tx, ids: &Ids, now: DateTime<Utc>) -> Result<Found, DbError> {
    let columns = [
        "scope_hash",
        "body_hash",
        "status",
        "body",
        "owner",
        "locked_until",
        "created_at",
    ];
    let insert = Query::insert()
        .into_table(Alias::new("idempotency_keys"))
        .columns(columns)
        .values_panic([
            ids.scope.clone().into(),
            ids.body.clone().into(),
            Expr::val(None::<i32>),
            Expr::val(None::<String>),
            ids.owner.clone().into(),
            (now + LOCK).into(),
            now.into(),
        ])
        .take();
    if dialect::insert_ignore(tx, insert, &["scope_hash"]).await? {
        return Ok(Found::Mine);
    }
    let mut select = Query::select()
        .columns(["body_hash", "status", "body", "locked_until", "created_at"])
        .from(Alias::new("idempotency_keys"))
        .and_where(Expr::col("scope_hash").eq(ids.scope.as_str()))
        .take();
    dialect::for_update(tx, &mut select);
    // Released between the two statements: the client may simply come again.
    let Some(row) = tx.query_one(&select).await? else {
        return Ok(Found::Running);
    };
    let body_hash: String = row.try_get("", "body_hash")?;
    let status: Option<i32> = row.try_get("", "status")?;
    let locked_until: DateTime<Utc> = row.try_get("", "locked_until")?;
    let created_at: DateTime<Utc> = row.try_get("", "created_at")?;
    let expired = now - created_at >= KEEP;
    if !expired {
        if body_hash != ids.body {
            return Ok(Found::OtherBody);
        }
        if let Some(status) = status {
            let body: Option<String> = row.try_get("", "body")?;
            return Ok(Found::Done {
                status: u16::try_from(status).unwrap_or(200),
                body: body.unwrap_or_default(),
            });
        }
        if locked_until > now {
            return Ok(Found::Running);
        }
    }
    let update = "UPDATE idempotency_keys SET body_hash = ?, status = NULL, body = NULL, owner = ?, locked_until = ?, \
                  created_at = ? WHERE scope_hash = ?";
    let values = [
        ids.body.clone().into(),
        ids.owner.clone().into(),
        (now + LOCK).into(),
        now.into(),
        ids.scope.clone().into(),
    ];
    dialect::execute(tx, update, values).await?;
    Ok(Found::Mine)
}
