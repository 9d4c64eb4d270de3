//! Pictures of users.
//!
//! The bytes are stored before the row says so. A job that is committed before that looks an hour
//! later whether the row does, and removes the picture if not, so that no crash leaves one that
//! nobody knows of. The same job removes a picture that was replaced.

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::stream;
use sea_orm::sea_query::Expr;
use yunque_kernel::auth::{AuthChange, Caller};
use yunque_kernel::ids::UserId;
use yunque_kernel::image::{Clean, Limits};
use yunque_kernel::queue::{JobError, NewJob};
use yunque_kernel::{DbError, Tx};

use super::briefs::media_url;
use crate::entity::user::Column;
use crate::error::AccountsError;
use crate::jobs::CheckAvatar;
use crate::repo::users;
use crate::{Accounts, Heard};

/// A picture that is not its user's after this long never will be.
const ORPHAN_AGE: TimeDelta = TimeDelta::hours(1);

impl Accounts {
    /// Checks a picture, leaves only the picture, and makes it the caller's. Returns its address.
    ///
    /// # Errors
    /// What the bytes are not; storage failed.
    pub(crate) async fn set_avatar(&self, caller: &Caller, bytes: Bytes) -> Result<String, AccountsError> {
        let ctx = &self.0.ctx;
        let Clean { format, bytes, .. } = ctx.images.clean(bytes, Limits::default()).await?;
        let name = uuid::Uuid::new_v4().simple();
        let avatar = format!("avatars/{name}.{}", format.extension());
        let id = caller.user_id;
        let (accounts, watched) = (self.clone(), avatar.clone());
        let watch = ctx.db.write("watch_avatar", move |tx: Tx| {
            let (accounts, avatar) = (accounts.clone(), watched.clone());
            async move {
                let at = accounts.now() + ORPHAN_AGE;
                accounts.check_avatar_at(&tx, id, avatar, Some(at)).await
            }
        });
        watch.await?;
        let size = bytes.len() as u64;
        let body = stream::iter([Ok(Bytes::from(bytes))]);
        ctx.storage
            .put(&object_key(&avatar), format.content_type(), size, body)
            .await?;
        let (accounts, kept) = (self.clone(), avatar.clone());
        let set = ctx.db.write("set_avatar", move |tx: Tx| {
            let (accounts, avatar) = (accounts.clone(), kept.clone());
            async move {
                let row = users::lock(&tx, id).await?.ok_or(AccountsError::NotFound)?;
                if row.deactivated_at.is_some() {
                    return Err(AccountsError::NotFound);
                }
                accounts.discard_avatar(&tx, id, row.avatar).await?;
                let changes = vec![(Column::Avatar, Expr::value(avatar.as_str()))];
                users::update(&tx, id, changes, accounts.now()).await?;
                Ok(accounts.tell(&tx, AuthChange::Profile { user: id }).await?)
            }
        });
        let heard: Heard = set.await?;
        heard.everywhere().await;
        Ok(media_url(&ctx.public_base_url, &avatar))
    }

    /// Has a picture removed that is about to be nobody's.
    pub(super) async fn discard_avatar(
        &self,
        tx: &Tx,
        owner: UserId,
        avatar: Option<String>,
    ) -> Result<(), DbError> {
        match avatar {
            Some(avatar) => self.check_avatar_at(tx, owner, avatar, None).await,
            None => Ok(()),
        }
    }

    async fn check_avatar_at(
        &self,
        tx: &Tx,
        owner: UserId,
        avatar: String,
        at: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Result<(), DbError> {
        let mut job = NewJob::new(&CheckAvatar {
            user_id: owner,
            avatar,
        })
        .owner(owner);
        if let Some(at) = at {
            job = job.run_at(at);
        }
        self.0.ctx.queue.enqueue(tx, job).await?;
        Ok(())
    }

    /// Removes a picture unless it is its user's.
    pub(crate) async fn drop_stray_avatar(&self, owner: UserId, avatar: &str) -> Result<(), JobError> {
        let row = users::find_full(self.0.ctx.db.reader(), owner).await?;
        if row.is_some_and(|row| row.avatar.as_deref() == Some(avatar)) {
            return Ok(());
        }
        Ok(self.0.ctx.storage.delete(&object_key(avatar)).await?)
    }
}

/// Where a picture lies in storage.
fn object_key(avatar: &str) -> String {
    format!("media/{avatar}")
}
