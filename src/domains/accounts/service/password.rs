//! Changing a password.

use serde_json::json;
use yunque_kernel::Tx;
use yunque_kernel::auth::{AuthChange, SessionCaller};
use yunque_kernel::ids::UserId;
use yunque_kernel::mail::{Message, PasswordChanged};

use super::client::Client;
use crate::error::AccountsError;
use crate::policy;
use crate::repo::users::{self, CredentialRow};
use crate::repo::{security, sessions};
use crate::scope::Scope;
use crate::values::{CurrentPassword, Password};
use crate::{Accounts, Heard};

impl Accounts {
    /// Changes the caller's own password. The calling session stays, every other one ends.
    ///
    /// # Errors
    /// `WrongPassword`; field faults of `new_password`.
    pub async fn change_password(
        &self,
        caller: &SessionCaller,
        old: &CurrentPassword,
        new: &Password,
        client: &Client,
    ) -> Result<(), AccountsError> {
        let user = self
            .prove_password(caller.user_id, Some(old), "old_password")
            .await?;
        if old.expose() == new.expose() {
            return Err(AccountsError::field("new_password", policy::unchanged()));
        }
        self.check_strength(new, user.owner(), "new_password")?;
        let hash = self.0.ctx.passwords.hash(new.secret()).await?;
        let (accounts, client, session) = (self.clone(), client.clone(), caller.session);
        let changed = self.0.ctx.db.write("change_password", move |tx: Tx| {
            let (accounts, client, user, hash) =
                (accounts.clone(), client.clone(), user.clone(), hash.clone());
            async move {
                let (id, now) = (user.user_id(), accounts.now());
                if !users::update_password(&tx, id, Some(&user.password), &hash, false, now).await? {
                    return Err(AccountsError::ChangedMeanwhile);
                }
                sessions::update_all_revoked(&tx, id, Some(session), now).await?;
                security::update_mail_tokens_void(&tx, id, now).await?;
                accounts
                    .note_password_change(&tx, &user, "self", Some(&client))
                    .await?;
                Ok(accounts.tell(&tx, AuthChange::User { user: id }).await?)
            }
        });
        changed.await?.everywhere().await;
        Ok(())
    }

    /// Sets somebody's password without knowing the old one. All sessions end.
    pub(super) async fn set_password(
        &self,
        id: UserId,
        new: &Password,
        by: &'static str,
        client: Option<&Client>,
    ) -> Result<(), AccountsError> {
        let (user, hash) = self.hash_for(id, new, "password").await?;
        let (accounts, client) = (self.clone(), client.cloned());
        let set = self.0.ctx.db.write("set_password", move |tx: Tx| {
            let (accounts, client, user, hash) =
                (accounts.clone(), client.clone(), user.clone(), hash.clone());
            async move {
                accounts
                    .replace_password(&tx, &user, &hash, by, client.as_ref())
                    .await
            }
        });
        let heard: Heard = set.await?;
        heard.everywhere().await;
        Ok(())
    }

    /// The same for those who manage the account, which is looked at under lock.
    pub(super) async fn set_managed_password(
        &self,
        scope: Scope,
        id: UserId,
        new: &Password,
        client: &Client,
    ) -> Result<(), AccountsError> {
        let (user, hash) = self.hash_for(id, new, "new_password").await?;
        let (accounts, client) = (self.clone(), client.clone());
        let set = self.0.ctx.db.write("set_managed_password", move |tx: Tx| {
            let (accounts, client, user, hash) =
                (accounts.clone(), client.clone(), user.clone(), hash.clone());
            async move {
                let place = accounts.lock_place(&tx, id).await?;
                if !place.is_some_and(|place| !place.is_deleted && scope.manages(&place)) {
                    return Err(AccountsError::NotFound);
                }
                accounts
                    .replace_password(&tx, &user, &hash, "manager", Some(&client))
                    .await
            }
        });
        let heard: Heard = set.await?;
        heard.everywhere().await;
        Ok(())
    }

    /// A strong enough password of this user, hashed.
    pub(super) async fn hash_for(
        &self,
        id: UserId,
        new: &Password,
        field: &str,
    ) -> Result<(CredentialRow, String), AccountsError> {
        let user = users::find_credential(self.0.ctx.db.reader(), id)
            .await?
            .ok_or(AccountsError::NotFound)?;
        self.check_strength(new, user.owner(), field)?;
        let hash = self.0.ctx.passwords.hash(new.secret()).await?;
        Ok((user, hash))
    }

    /// Stores a hash that does not come from the owner's session: everything that was signed in by
    /// the old password ends.
    pub(super) async fn replace_password(
        &self,
        tx: &Tx,
        user: &CredentialRow,
        hash: &str,
        by: &str,
        client: Option<&Client>,
    ) -> Result<Heard, AccountsError> {
        let (id, now) = (user.user_id(), self.now());
        if !users::update_password(tx, id, None, hash, true, now).await? {
            return Err(AccountsError::NotFound);
        }
        sessions::update_all_revoked(tx, id, None, now).await?;
        security::update_mail_tokens_void(tx, id, now).await?;
        self.note_password_change(tx, user, by, client).await?;
        Ok(self.tell(tx, AuthChange::User { user: id }).await?)
    }

    pub(super) fn check_strength(
        &self,
        password: &Password,
        owner: policy::PasswordOwner<'_>,
        field: &str,
    ) -> Result<(), AccountsError> {
        match policy::weakness(self.0.settings.password_policy, password.expose(), owner) {
            Some(fault) => Err(AccountsError::field(field, fault)),
            None => Ok(()),
        }
    }

    /// The audit row, and the mail to the owner.
    async fn note_password_change(
        &self,
        tx: &Tx,
        user: &CredentialRow,
        by: &str,
        client: Option<&Client>,
    ) -> Result<(), AccountsError> {
        let (id, now, ip) = (user.user_id(), self.now(), client.map(|c| c.ip.clone()));
        security::insert_event(
            tx,
            Some(id),
            "password_changed",
            ip.as_deref(),
            &json!({ "by": by }),
            now,
        )
        .await?;
        let notice = PasswordChanged {
            username: user.username.clone(),
            changed_at: now,
            ip,
        };
        let mail = Message::new(
            user.email.clone(),
            client.map(|c| c.lang).unwrap_or_default(),
            &notice,
        )
        .owner(id)
        .request_id(client.and_then(|c| c.request_id.clone()));
        Ok(self.0.ctx.mail.queue(tx, &self.0.ctx.queue, mail).await?)
    }
}
