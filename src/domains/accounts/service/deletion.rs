//! Deleting an account: deactivation at once, removal of personal data by a job.
//!
//! The row stays, anonymised, because content points to it.

use sea_orm::sea_query::{Expr, ExprTrait};
use serde_json::json;
use yunque_kernel::auth::{AuthChange, SessionCaller};
use yunque_kernel::ids::UserId;
use yunque_kernel::queue::NewJob;
use yunque_kernel::{DbError, Tx};

use super::accounts::keep_an_admin;
use super::client::Client;
use crate::entity::user::Column;
use crate::error::AccountsError;
use crate::jobs::PurgeUser;
use crate::policy;
use crate::repo::{keys, purge, security, sessions, users};
use crate::values::CurrentPassword;
use crate::{Accounts, Heard};

impl Accounts {
    /// Deactivates an account and queues the removal of its data. Admins delete anyone's; one's
    /// own needs the password.
    ///
    /// # Errors
    /// `NotFound` for accounts of others, `WrongPassword`, `LastStaff`.
    pub async fn delete_account(
        &self,
        caller: &SessionCaller,
        id: UserId,
        password: Option<&CurrentPassword>,
        client: &Client,
    ) -> Result<(), AccountsError> {
        policy::see_account(caller, id)?;
        if caller.user_id == id {
            self.prove_password(id, password, "password").await?;
        }
        let (accounts, by, client) = (self.clone(), caller.user_id, client.clone());
        let deleted = self.0.ctx.db.write("delete_account", move |tx: Tx| {
            let (accounts, client) = (accounts.clone(), client.clone());
            async move {
                keep_an_admin(&tx, id).await?;
                let row = users::lock(&tx, id).await?.ok_or(AccountsError::NotFound)?;
                if row.purged_at.is_some() {
                    return Err(AccountsError::NotFound);
                }
                let heard = accounts.deactivate(&tx, id, by, &client.ip).await?;
                accounts.enqueue_purge(&tx, id, client.request_id).await?;
                Ok(heard)
            }
        });
        deleted.await?.everywhere().await;
        Ok(())
    }

    /// The one routine of deactivation: no login, no session, no key. Rows stay.
    async fn deactivate(&self, tx: &Tx, id: UserId, by: UserId, ip: &str) -> Result<Heard, DbError> {
        let now = self.now();
        let changes = vec![
            (Column::IsActive, Expr::value(false)),
            (Column::DeactivatedAt, Expr::value(now)),
            (Column::TokenVersion, Expr::col(Column::TokenVersion).add(1)),
        ];
        users::update(tx, id, changes, now).await?;
        sessions::update_all_revoked(tx, id, None, now).await?;
        keys::update_all_disabled(tx, id).await?;
        security::update_mail_tokens_void(tx, id, now).await?;
        security::insert_event(
            tx,
            Some(id),
            "account_deactivated",
            Some(ip),
            &json!({ "by": by }),
            now,
        )
        .await?;
        self.tell(tx, AuthChange::User { user: id }).await
    }

    pub(super) async fn enqueue_purge(
        &self,
        tx: &Tx,
        id: UserId,
        request_id: Option<String>,
    ) -> Result<(), DbError> {
        let job = NewJob::new(&PurgeUser { user_id: id })
            .owner(id)
            .dedupe(PurgeUser::key(id))
            .request_id(request_id);
        self.0.ctx.queue.enqueue(tx, job).await?;
        Ok(())
    }

    /// Removes the personal data of a deactivated account and tells the other domains. Doing it
    /// twice changes nothing; an account that was enabled again meanwhile is left alone.
    pub(crate) async fn purge(&self, id: UserId) -> Result<(), DbError> {
        let accounts = self.clone();
        let purged = self.0.ctx.db.write("purge_user", move |tx: Tx| {
            let accounts = accounts.clone();
            async move {
                let Some(row) = users::lock(&tx, id).await? else {
                    return Ok(None);
                };
                if row.is_active || row.purged_at.is_some() {
                    return Ok(None);
                }
                let now = accounts.now();
                purge::update_anonymised(&tx, id, now).await?;
                purge::delete_traces(&tx, id).await?;
                for hook in accounts.purge_hooks() {
                    hook.user_purged(&tx, id).await?;
                }
                security::insert_event(&tx, Some(id), "account_purged", None, &json!({}), now).await?;
                Ok::<_, DbError>(Some(accounts.tell(&tx, AuthChange::User { user: id }).await?))
            }
        });
        if let Some(heard) = purged.await? {
            heard.everywhere().await;
        }
        Ok(())
    }
}
