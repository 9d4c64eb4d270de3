//! Deleting. The row is marked at once and its space freed; the object goes by job.

use yunque_kernel::queue::{Job, JobError, NewJob};
use yunque_kernel::{DbError, FileId, Tx, UserId};

use crate::entity::file::Model;
use crate::jobs::{UploadFile, upload_subject};
use crate::names::FolderPath;
use crate::repo;
use crate::status::{Source, UploadStatus};
use crate::{Files, FilesError, PurgeObject};

/// Rows deleted in one transaction.
const CHUNK: u64 = 200;

impl Files {
    /// Deletes a file, or a folder with everything in it.
    ///
    /// # Errors
    /// `NotFound`; `FolderNotEmpty` unless `recursive`.
    pub async fn delete(&self, user: UserId, id: FileId, recursive: bool) -> Result<(), FilesError> {
        let file = self.get_visible(user, id).await?;
        let inner = FolderPath::parse(&file.path)
            .and_then(|p| p.join(&file.name))
            .filter(|_| file.is_folder());
        if let Some(folder) = &inner
            && recursive
        {
            // Children first, so that an interrupted delete leaves a folder to try again on.
            while self.delete_some_inside(user, folder).await? {}
        }
        let this = self.clone();
        self.0
            .ctx
            .db
            .write("file.delete", move |tx: Tx| {
                let (this, inner) = (this.clone(), inner.clone());
                async move {
                    this.0.accounts.lock_user(&tx, user).await?;
                    if let Some(folder) = &inner
                        && repo::has_inside(&tx, user, folder).await?
                    {
                        return Err(FilesError::FolderNotEmpty);
                    }
                    repo::find_visible(&tx, user, id)
                        .await?
                        .ok_or(FilesError::NotFound)?;
                    this.delete_in(&tx, id).await.map_err(FilesError::from)
                }
            })
            .await
    }

    /// Deletes those of `ids` that the user has; tells which. Folders that are not empty stay.
    ///
    /// # Errors
    /// As the database says.
    pub async fn delete_many(&self, user: UserId, ids: Vec<i64>) -> Result<Vec<i64>, FilesError> {
        let mut deleted = Vec::new();
        for file in self.list_by_ids(user, &ids).await? {
            match self.delete(user, FileId(file.id), false).await {
                Ok(()) => deleted.push(file.id),
                Err(FilesError::NotFound | FilesError::FolderNotEmpty) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(deleted)
    }

    async fn delete_some_inside(&self, user: UserId, folder: &FolderPath) -> Result<bool, FilesError> {
        let (this, folder) = (self.clone(), folder.clone());
        let n = self
            .0
            .ctx
            .db
            .write("folder.delete", move |tx: Tx| {
                let (this, folder) = (this.clone(), folder.clone());
                async move {
                    this.0.accounts.lock_user(&tx, user).await?;
                    let some = repo::list_inside(&tx, user, &folder, CHUNK).await?;
                    for file in &some {
                        this.delete_in(&tx, FileId(file.id)).await?;
                    }
                    Ok::<_, FilesError>(some.len())
                }
            })
            .await?;
        Ok(n > 0)
    }

    /// Marks one file and does everything that follows. The owner's row is locked by the caller.
    async fn delete_in(&self, tx: &Tx, id: FileId) -> Result<(), DbError> {
        let now = self.0.ctx.clock.now();
        // Locked, so that no worker moves the state between this look and the mark.
        let Some(file) = repo::lock_live(tx, id).await? else {
            return Ok(());
        };
        repo::mark_deleted(tx, id, now).await?;
        let user = UserId(file.user_id);
        if file.status().holds_space() {
            self.0.accounts.release_space(tx, user, file.bytes()).await?;
        }
        if let Some(reference) = &file.staged_ref {
            self.0.staging.discard(tx, reference).await?;
        }
        if Self::has_job(&file) && file.status() != UploadStatus::Completed {
            self.0
                .ctx
                .queue
                .withdraw(tx, UploadFile::KIND, &upload_subject(file.id, file.generation))
                .await?;
        }
        if file.status() == UploadStatus::Completed && self.link_is_open(&file, now) {
            // What was stored goes now, and what the link brings after it later.
            let job = NewJob::new(&PurgeObject { file_id: file.id }).owner(user);
            self.0.ctx.queue.enqueue(tx, job).await?;
        }
        self.enqueue_purge(tx, &file).await
    }

    /// Has the object of a file that nobody wants any more removed, once no link can create it.
    pub(crate) async fn enqueue_purge(&self, tx: &Tx, file: &Model) -> Result<(), DbError> {
        self.0.ctx.queue.enqueue(tx, self.purge_job(file)).await?;
        Ok(())
    }

    pub(crate) fn purge_job(&self, file: &Model) -> NewJob {
        let now = self.0.ctx.clock.now();
        let run_at = match file.source() {
            Source::Presigned => now.max(self.link_closes_at(file)),
            _ => now,
        };
        NewJob::new(&PurgeObject { file_id: file.id })
            .owner(UserId(file.user_id))
            .run_at(run_at)
    }

    /// Removes the object of a deleted file and then the row; of a presigned upload that was given
    /// up the object only. An object that is gone is fine.
    pub(crate) async fn purge_object(&self, id: FileId) -> Result<(), JobError> {
        let ctx = &self.0.ctx;
        let Some(file) = repo::find_for_job(ctx.db.reader(), id).await? else {
            return Ok(());
        };
        let given_up = file.source() == Source::Presigned && file.status() == UploadStatus::Failed;
        if file.deleted_at.is_none() && !given_up {
            return Ok(());
        }
        let upload = upload_subject(file.id, file.generation);
        if file.status() == UploadStatus::Uploading
            && ctx
                .queue
                .is_running(ctx.db.reader(), UploadFile::KIND, &upload)
                .await?
        {
            // The attempt may store the object after this, and die before it looks at the row again.
            return Err(JobError::retry("the upload is still running"));
        }
        if let Some(key) = &file.object_key {
            ctx.storage.delete(key).await?;
        }
        // As long as the link may bring the object back, the row stays, and with it the job of later.
        if !self.link_is_open(&file, ctx.clock.now()) {
            if file.deleted_at.is_some() {
                repo::delete_row(ctx.db.writer(), id).await?;
            } else {
                repo::clear_object_key(ctx.db.writer(), id).await?;
            }
        }
        Ok(())
    }

    /// Deletes everything a user has.
    pub(crate) async fn purge_user(&self, user: UserId) -> Result<(), FilesError> {
        while self.delete_some_inside(user, &FolderPath::root()).await? {}
        Ok(())
    }
}
