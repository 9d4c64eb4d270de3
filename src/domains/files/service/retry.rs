//! Starting an upload again, with new bytes or with those still staged.

use std::sync::Arc;

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::Expr;
use yunque_kernel::http::Claim;
use yunque_kernel::queue::Job;
use yunque_kernel::{FileId, JobId, Tx};

use super::Placement;
use super::accept::reserve;
use super::upload::upload_job;
use crate::entity::file::{Column, Model};
use crate::jobs::{UploadFile, upload_subject};
use crate::repo::{self, Edge};
use crate::staging::Staged;
use crate::status::UploadStatus;
use crate::{Files, FilesError};

use UploadStatus::{Completed, Failed, Pending, Uploading};

/// A restarted upload.
#[derive(Clone, Debug)]
pub struct Restarted {
    pub file: Model,
    pub job: JobId,
}

impl Files {
    /// The size that new content for this file must have.
    ///
    /// # Errors
    /// The file cannot be uploaded again.
    pub async fn retry_size(&self, place: &Placement, id: FileId) -> Result<u64, FilesError> {
        let file = self.get_visible(place.user, id).await?;
        self.may_restart(self.0.ctx.db.reader(), &file).await?;
        Ok(file.bytes())
    }

    /// Restarts an upload as a new generation. The job of the old one, if it still waits, is
    /// withdrawn.
    ///
    /// # Errors
    /// `AlreadyCompleted`, `InProgress`, `ContentRequired`, `SizeMismatch`, `QuotaExceeded`.
    pub async fn restart<A: serde::Serialize + Send + Sync>(
        &self,
        place: Placement,
        id: FileId,
        content: Option<Staged>,
        claim: Claim,
        answer: impl Fn(&Restarted) -> A + Send + Sync + 'static,
    ) -> Result<Restarted, FilesError> {
        let this = self.clone();
        let content = Arc::new(content);
        let answer = Arc::new(answer);
        let db = self.0.ctx.db.clone();
        db.write("file.restart", move |tx: Tx| {
            let (this, place, content) = (this.clone(), place.clone(), content.clone());
            let (claim, answer) = (claim.clone(), answer.clone());
            async move {
                let restarted = this
                    .restart_in(&tx, &place, id, content.as_ref().as_ref())
                    .await?;
                claim.store(&tx, 200, &answer(&restarted)).await?;
                content.iter().for_each(Staged::keep);
                Ok::<_, FilesError>(restarted)
            }
        })
        .await
    }

    async fn restart_in(
        &self,
        tx: &Tx,
        place: &Placement,
        id: FileId,
        content: Option<&Staged>,
    ) -> Result<Restarted, FilesError> {
        self.0.accounts.lock_user(tx, place.user).await?;
        let file = repo::find_visible(tx, place.user, id)
            .await?
            .ok_or(FilesError::NotFound)?;
        self.may_restart(tx, &file).await?;
        let now = self.0.ctx.clock.now();
        let reference = match (content, &file.staged_ref) {
            (Some(staged), _) if staged.size != file.bytes() => {
                return Err(FilesError::SizeMismatch {
                    declared: file.bytes(),
                    actual: staged.size,
                });
            }
            (Some(staged), _) => staged.reference.clone(),
            (None, Some(reference)) if self.0.staging.has(tx, reference).await? => reference.clone(),
            (None, _) => return Err(FilesError::ContentRequired),
        };
        if file.status() == Failed {
            reserve(&self.0.accounts, tx, place.user, file.bytes()).await?;
        }
        if let Some(staged) = content {
            staged.write(tx, now).await?;
            if let Some(old) = &file.staged_ref {
                self.0.staging.discard(tx, old).await?;
            }
        }
        let from = [file.status()];
        let edge = Edge {
            id: file.id,
            generation: file.generation,
            from: &from,
            to: Pending,
            now,
        };
        let set = [
            (Column::Generation, Expr::value(file.generation + 1)),
            (Column::Attempts, Expr::value(0)),
            (Column::UploadError, Expr::value(None::<String>)),
            (Column::StagedRef, Expr::value(reference.clone())),
        ];
        if !edge.take(tx, set).await? {
            return Err(FilesError::InProgress);
        }
        self.0
            .ctx
            .queue
            .withdraw(tx, UploadFile::KIND, &upload_subject(file.id, file.generation))
            .await?;
        let file = Model {
            generation: file.generation + 1,
            attempts: 0,
            upload_error: None,
            upload_status: Pending.as_str().to_owned(),
            staged_ref: Some(reference),
            updated_at: now,
            ..file
        };
        let jobs = vec![upload_job(&file, place.request_id.clone())];
        let job = self.0.ctx.queue.enqueue_many(tx, jobs).await?.pop();
        let job = job.ok_or_else(|| yunque_kernel::DbError::Other("no job id".to_owned()))?;
        Ok(Restarted { file, job })
    }

    /// Only an upload whose job runs at this moment is in progress; one that lost its worker may
    /// be restarted.
    async fn may_restart(&self, conn: &impl ConnectionTrait, file: &Model) -> Result<(), FilesError> {
        match file.status() {
            _ if file.is_folder() => Err(FilesError::IsFolder),
            Completed => Err(FilesError::AlreadyCompleted),
            _ if !Self::has_job(file) => Err(FilesError::ContentRequired),
            Pending | Failed => Ok(()),
            Uploading => {
                let subject = upload_subject(file.id, file.generation);
                let queue = &self.0.ctx.queue;
                if queue.is_running(conn, UploadFile::KIND, &subject).await? {
                    Err(FilesError::InProgress)
                } else {
                    Ok(())
                }
            }
        }
    }
}
