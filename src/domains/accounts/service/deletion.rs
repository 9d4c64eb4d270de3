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
use super::changes::Right;
use super::client::Client;
use super::hierarchy::lock_in_order;
use crate::entity::user::Column;
use crate::error::AccountsError;
use crate::jobs::PurgeUser;
use crate::policy;
use crate::repo::{keys, purge, security, sessions, tree, users};
use crate::scope::{Place, Scope};
use crate::values::CurrentPassword;
use crate::{Accounts, Heard};

/// Who gets those right below a deleted account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heir {
    Caller,
    Agent(UserId),
}

impl Accounts {
    /// Deactivates an account and queues the removal of its data. Admins delete anyone's; one's
    /// own needs the password.
    ///
    /// # Errors
    /// `NotFound` for accounts of others, `WrongPassword`, `LastStaff`, `HasChildren`.
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
        self.delete_now(caller.user_id, id, Right::Decided, None, client)
            .await
    }

    /// The same for those who manage the account; never one's own. Those right below it are handed
    /// to `heir`, in the same transaction.
    ///
    /// # Errors
    /// `CannotTargetSelf`; `NotFound` for accounts that are not managed or gone already;
    /// `LastStaff`; `HasChildren`; `AgentNotFound` for an heir that cannot take them.
    pub(crate) async fn delete_member(
        &self,
        caller: &SessionCaller,
        id: UserId,
        heir: Option<Heir>,
        client: &Client,
    ) -> Result<(), AccountsError> {
        if caller.user_id == id {
            return Err(AccountsError::CannotTargetSelf);
        }
        let heir = heir.map(|heir| match heir {
            Heir::Caller => caller.user_id,
            Heir::Agent(agent) => agent,
        });
        let right = Right::Manager(Scope::of(caller));
        self.delete_now(caller.user_id, id, right, heir, client).await
    }

    async fn delete_now(
        &self,
        by: UserId,
        id: UserId,
        right: Right,
        heir: Option<UserId>,
        client: &Client,
    ) -> Result<(), AccountsError> {
        let (accounts, client) = (self.clone(), client.clone());
        let deleted = self.0.ctx.db.write("delete_account", move |tx: Tx| {
            let (accounts, client) = (accounts.clone(), client.clone());
            async move {
                keep_an_admin(&tx, id).await?;
                lock_in_order(&tx, [Some(id), heir].into_iter().flatten()).await?;
                let row = users::lock(&tx, id).await?.ok_or(AccountsError::NotFound)?;
                if row.purged_at.is_some() {
                    return Err(AccountsError::NotFound);
                }
                let heir = accounts.judge_heir(&tx, id, right, heir).await?;
                let moved = accounts.hand_over(&tx, id, heir.as_ref()).await?;
                let gone = accounts.deactivate(&tx, id, by, &client.ip).await?;
                accounts.enqueue_purge(&tx, id, client.request_id).await?;
                Ok((moved, gone))
            }
        });
        let (moved, gone) = deleted.await?;
        tokio::join!(moved.everywhere(), gone.everywhere());
        Ok(())
    }

    /// Checks the right to delete, and that the heir is an agent in reach. What kinds it can take is
    /// looked at when it gets them.
    async fn judge_heir(
        &self,
        tx: &Tx,
        id: UserId,
        right: Right,
        heir: Option<UserId>,
    ) -> Result<Option<Place>, AccountsError> {
        let Right::Manager(scope) = right else {
            return Ok(None);
        };
        let place = tree::find_place(tx, id).await?;
        if !place.is_some_and(|place| !place.is_deleted && scope.manages(&place)) {
            return Err(AccountsError::NotFound);
        }
        let Some(heir) = heir else { return Ok(None) };
        let place = tree::find_place(tx, heir).await?;
        let fit = place.filter(|place| {
            let is_agent = place.user_type.is_agent() && place.is_active && !place.is_deleted;
            place.id != id && is_agent && scope.hands_to(place)
        });
        let refusal = AccountsError::AgentNotFound { field: "reassign_to" };
        fit.map(Some).ok_or(refusal)
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
                accounts.discard_avatar(&tx, id, row.avatar.clone()).await?;
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
