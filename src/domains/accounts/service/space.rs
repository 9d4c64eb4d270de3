//! Bytes that users may store. The counting rules belong to the files domain, which calls these in
//! the transaction that changes a file's state; the counter belongs to the account.
//!
//! Rows are locked in the order users, files, jobs: call these first.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use yunque_kernel::ids::UserId;
use yunque_kernel::{DbError, Tx};

use crate::Accounts;
use crate::repo::space::{self, StorageInfo};
use crate::repo::users;

impl Accounts {
    /// Takes `bytes` of a user's quota; `false` when they do not fit.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn reserve_space(&self, tx: &Tx, user: UserId, bytes: u64) -> Result<bool, DbError> {
        match i64::try_from(bytes) {
            Ok(bytes) => space::claim_space(tx, user, bytes).await,
            Err(_) => Ok(false),
        }
    }

    /// As [`Accounts::reserve_space`] for many users: takes the bytes of all of them, or says `false` when those of one
    /// do not fit, and the transaction must then be given up.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn reserve_space_of(&self, tx: &Tx, sizes: &BTreeMap<UserId, u64>) -> Result<bool, DbError> {
        let sizes = sizes
            .iter()
            .map(|(user, bytes)| Some((*user, i64::try_from(*bytes).ok()?)));
        match sizes.collect::<Option<Vec<_>>>().as_deref() {
            None => Ok(false),
            Some([(user, bytes)]) => space::claim_space(tx, *user, *bytes).await,
            Some(sizes) => space::claim_spaces(tx, sizes).await,
        }
    }

    /// Gives `bytes` back.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn release_space(&self, tx: &Tx, user: UserId, bytes: u64) -> Result<(), DbError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if !space::update_space_released(tx, user, bytes).await? {
            tracing::warn!(user.id = %user, space.bytes = bytes, "more space was given back than was taken; the counter is now 0");
        }
        Ok(())
    }

    /// Sets the counter to the true sum, `files` and whatever else counts, and returns by how much it
    /// was wrong (positive: too much was counted).
    ///
    /// # Errors
    /// Only the database's.
    pub async fn recompute_space(&self, tx: &Tx, user: UserId, files: u64) -> Result<i64, DbError> {
        let Some(row) = users::lock(tx, user).await? else {
            return Ok(0);
        };
        let hooks = self.0.space_hooks.read();
        let hooks = hooks.unwrap_or_else(PoisonError::into_inner).clone();
        let mut sum = files;
        for hook in hooks {
            sum = sum.saturating_add(hook.space_of(tx, user).await?);
        }
        let sum = i64::try_from(sum).unwrap_or(i64::MAX);
        let drift = row.used_space - sum;
        if drift != 0 {
            space::update_space(tx, user, sum).await?;
        }
        Ok(drift)
    }

    /// Holds the user's row until the transaction ends: nobody else can change its space, and files
    /// counted meanwhile are complete.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn lock_user(&self, tx: &Tx, user: UserId) -> Result<(), DbError> {
        users::lock(tx, user).await.map(drop)
    }

    /// Quota and used bytes; nothing at all for an unknown user.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn storage_info(&self, user: UserId) -> Result<StorageInfo, DbError> {
        Ok(space::find_space(self.0.ctx.db.reader(), user)
            .await?
            .unwrap_or_default())
    }
}
