//! Every query on `outgoing_mails`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value;

use super::{MailError, Message};
use crate::auth::Keys;
use crate::db::{DbError, Tx, dialect};
use crate::error::Lang;

const TABLE: &str = "outgoing_mails";

/// A row about to be inserted.
pub(super) struct NewMail {
    template: &'static str,
    lang: Lang,
    to: String,
    sealed: String,
    is_secret: bool,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// Ties sealed values to their mail: values copied into another row cannot be opened.
fn context(template: &str, to: &str) -> String {
    format!("{TABLE}/{template}/{to}")
}

impl NewMail {
    pub fn seal(keys: &Keys, message: Message, now: DateTime<Utc>) -> Self {
        let sealed = keys.seal(
            context(message.template, &message.to).as_bytes(),
            message.values.to_string().as_bytes(),
        );
        NewMail {
            template: message.template,
            lang: message.lang,
            sealed: STANDARD.encode(sealed),
            to: message.to,
            is_secret: message.is_secret,
            expires_at: message.expires_at,
            created_at: now,
        }
    }
}

/// A row of `outgoing_mails`.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct MailRow {
    pub id: i64,
    pub template: String,
    pub lang: String,
    pub to_address: String,
    pub params: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    pub failed_at: Option<DateTime<Utc>>,
}

impl MailRow {
    pub fn lang(&self) -> Lang {
        if self.lang == Lang::En.tag() {
            Lang::En
        } else {
            Lang::Zh
        }
    }

    pub fn is_finished(&self) -> bool {
        self.sent_at.is_some() || self.failed_at.is_some()
    }

    pub fn open(&self, keys: &Keys) -> Result<Value, MailError> {
        let sealed = self
            .params
            .as_deref()
            .ok_or(MailError::Malformed("the values were removed"))?;
        let unreadable = MailError::Malformed("the values were sealed with another SECRET_KEY");
        let Ok(sealed) = STANDARD.decode(sealed) else {
            return Err(unreadable);
        };
        let opened = keys.open(context(&self.template, &self.to_address).as_bytes(), &sealed);
        Ok(serde_json::from_slice(&opened.map_err(|_| unreadable)?)?)
    }
}

pub(super) async fn insert(tx: &Tx, mail: NewMail) -> Result<i64, DbError> {
    let columns = [
        "template",
        "lang",
        "to_address",
        "params",
        "is_secret",
        "attempts",
        "expires_at",
        "created_at",
    ];
    let insert = Query::insert()
        .into_table(TABLE)
        .columns(columns)
        .values_panic([
            mail.template.into(),
            mail.lang.tag().into(),
            mail.to.into(),
            mail.sealed.into(),
            mail.is_secret.into(),
            0.into(),
            mail.expires_at.into(),
            mail.created_at.into(),
        ])
        .take();
    let ids = dialect::insert_returning_ids(tx, insert, 1).await?;
    ids.first()
        .copied()
        .ok_or_else(|| DbError::Other("a mail was stored without an id".to_owned()))
}

pub(super) async fn find(conn: &impl ConnectionTrait, id: i64) -> Result<Option<MailRow>, DbError> {
    let columns = [
        "id",
        "template",
        "lang",
        "to_address",
        "params",
        "expires_at",
        "created_at",
        "sent_at",
        "failed_at",
    ];
    let select = Query::select()
        .columns(columns)
        .from(TABLE)
        .and_where(Expr::col("id").eq(id))
        .take();
    let row = conn.query_one(&select).await?;
    Ok(row.map(|row| MailRow::from_query_result(&row, "")).transpose()?)
}

/// Marks a mail as sent and removes its values.
pub(super) async fn update_sent(tx: &Tx, id: i64, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE outgoing_mails SET sent_at = ?, failed_at = NULL, last_error = NULL, params = NULL, \
               attempts = attempts + 1 WHERE id = ? AND sent_at IS NULL";
    dialect::execute(tx, sql, [now.into(), id.into()]).await.map(drop)
}

pub(super) async fn update_attempt(tx: &Tx, id: i64, reason: &str) -> Result<(), DbError> {
    let sql =
        "UPDATE outgoing_mails SET attempts = attempts + 1, last_error = ? WHERE id = ? AND sent_at IS NULL";
    dialect::execute(tx, sql, [cut(reason).into(), id.into()])
        .await
        .map(drop)
}

/// Gives a mail up. Secret values go; others stay, so that an operator can send it after all.
pub(super) async fn update_failed(tx: &Tx, id: i64, reason: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    let sql = "UPDATE outgoing_mails SET failed_at = ?, last_error = ?, attempts = attempts + 1, \
               params = CASE WHEN is_secret = ? THEN NULL ELSE params END WHERE id = ? AND sent_at IS NULL";
    dialect::execute(tx, sql, [now.into(), cut(reason).into(), true.into(), id.into()])
        .await
        .map(drop)
}

/// Takes a failed mail up again. `false`: it was sent, or its values are gone.
pub(super) async fn update_retried(tx: &Tx, id: i64) -> Result<bool, DbError> {
    let sql = "UPDATE outgoing_mails SET failed_at = NULL, last_error = NULL \
               WHERE id = ? AND sent_at IS NULL AND params IS NOT NULL";
    Ok(dialect::execute(tx, sql, [id.into()]).await? == 1)
}

pub(super) async fn list_unfinished(conn: &impl ConnectionTrait) -> Result<Vec<i64>, DbError> {
    let select = Query::select()
        .column("id")
        .from(TABLE)
        .and_where(Expr::col("sent_at").is_null())
        .and_where(Expr::col("failed_at").is_null())
        .take();
    let rows = conn.query_all(&select).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

pub(super) async fn purge(tx: &Tx, before: DateTime<Utc>) -> Result<u64, DbError> {
    let sql =
        "DELETE FROM outgoing_mails WHERE created_at < ? AND (sent_at IS NOT NULL OR failed_at IS NOT NULL)";
    dialect::execute(tx, sql, [before.into()]).await
}

/// To the width of the column.
fn cut(reason: &str) -> String {
    reason.chars().take(255).collect()
}
