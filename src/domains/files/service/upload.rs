//! The upload job: staged bytes to storage, and the edges of the file's state.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sea_orm::sea_query::Expr;
use yunque_kernel::queue::{Job, JobContext, JobError, NewJob};
use yunque_kernel::storage::StorageError;
use yunque_kernel::{DbError, FileId, Tx, UserId};

use super::edges::Begun;
use crate::entity::file::{Column, Model};
use crate::jobs::{UploadFile, upload_subject};
use crate::repo::{self, Begin, Complete, Edge};
use crate::staging::{StagedStream, queue_of};
use crate::status::{Source, UploadStatus, reasons};
use crate::{Files, PurgeObject};

use UploadStatus::{Failed, Pending, Uploading};

impl Files {
    /// Runs one attempt. Every step may find that somebody else was faster, and then stops.
    pub(crate) async fn run_upload(&self, job: UploadFile, cx: &JobContext) -> Result<(), JobError> {
        let begin = Begin {
            id: job.file_id,
            generation: job.generation,
            attempt: i32::try_from(cx.attempt).unwrap_or(i32::MAX),
        };
        let Some(Begun { file, bytes }) = self.0.edges.begin(begin).await? else {
            return Ok(());
        };
        let Some(key) = file.object_key.clone() else {
            return Err(JobError::fail(reasons::STAGED_LOST));
        };
        let staged = match (bytes, &file.staged_ref) {
            (Some(bytes), _) => Ok(Some(in_memory(bytes))),
            (None, Some(reference)) => self.0.staging.read(reference).await,
            (None, None) => Ok(None),
        };
        let (actual, bytes) = match staged {
            Ok(Some(staged)) => staged,
            Ok(None) => return Err(JobError::fail(reasons::STAGED_LOST)),
            Err(e) => return Err(JobError::retry(reasons::STORAGE_UNAVAILABLE).caused_by(e)),
        };
        if actual != file.bytes() {
            return Err(JobError::fail(reasons::size_mismatch(file.bytes(), actual)));
        }
        let stored = self
            .0
            .ctx
            .storage
            .put(&key, &file.content_type, actual, bytes)
            .await
            .map_err(storage_failure)?;
        let complete = Complete {
            id: file.id,
            generation: file.generation,
            sha256: stored.sha256_hex(),
            staged_ref: file.staged_ref.clone(),
        };
        if self.0.edges.complete(complete).await? {
            tracing::info!(file.id = file.id, file.size = file.size, "file stored");
            return Ok(());
        }
        self.drop_unwanted(&file, &key).await
    }

    /// The bytes are stored, but nobody wants them any more: the file was deleted meanwhile. A
    /// newer generation overwrites the same key, so nothing is done then.
    async fn drop_unwanted(&self, file: &Model, key: &str) -> Result<(), JobError> {
        let now = repo::find_for_job(self.0.ctx.db.reader(), FileId(file.id)).await?;
        if now.is_none_or(|f| f.deleted_at.is_some()) {
            self.0.ctx.storage.delete(key).await.map_err(storage_failure)?;
        }
        Ok(())
    }

    /// An attempt failed and another is scheduled: `pending`, with the reason.
    pub(crate) async fn upload_attempt_failed(
        &self,
        tx: &Tx,
        job: UploadFile,
        reason: &str,
    ) -> Result<(), DbError> {
        let edge = Edge {
            id: job.file_id,
            generation: job.generation,
            from: &[Pending, Uploading],
            to: Pending,
            now: self.0.ctx.clock.now(),
        };
        edge.take(tx, [(Column::UploadError, Expr::value(shown(reason)))])
            .await
            .map(|_| ())
    }

    /// Given up: `failed`, and the space is free again.
    pub(crate) async fn upload_failed(&self, tx: &Tx, job: UploadFile, reason: &str) -> Result<(), DbError> {
        let Some(file) = repo::find_for_job(tx, FileId(job.file_id)).await? else {
            return Ok(());
        };
        self.fail_file(tx, &file, job.generation, &shown(reason))
            .await
            .map(|_| ())
    }

    /// The edge to `failed`, and the space it frees. The owner's row is locked first: users come
    /// before files everywhere.
    pub(crate) async fn fail_file(
        &self,
        tx: &Tx,
        file: &Model,
        generation: i32,
        reason: &str,
    ) -> Result<bool, DbError> {
        let user = UserId(file.user_id);
        self.0.accounts.lock_user(tx, user).await?;
        let edge = Edge {
            id: file.id,
            generation,
            from: &[Pending, Uploading],
            to: Failed,
            now: self.0.ctx.clock.now(),
        };
        let taken = edge
            .take(tx, [(Column::UploadError, Expr::value(reason))])
            .await?;
        if taken {
            self.0.accounts.release_space(tx, user, file.bytes()).await?;
        }
        Ok(taken)
    }

    /// An operator revives the job: back to `pending`, with the space reserved again.
    pub(crate) async fn upload_revived(&self, tx: &Tx, job: UploadFile) -> Result<(), JobError> {
        let file = repo::find_for_job(tx, FileId(job.file_id)).await?;
        let Some(file) = file.filter(|f| f.deleted_at.is_none()) else {
            return Err(JobError::fail("the file is gone"));
        };
        if file.staged_ref.is_none() {
            return Err(JobError::fail(
                "the bytes were dropped; the owner has to bring them again",
            ));
        }
        if !self
            .0
            .accounts
            .reserve_space(tx, UserId(file.user_id), file.bytes())
            .await?
        {
            return Err(JobError::fail("the owner's storage is full"));
        }
        let edge = Edge {
            id: file.id,
            generation: job.generation,
            from: &[Failed],
            to: Pending,
            now: self.0.ctx.clock.now(),
        };
        if edge
            .take(tx, [(Column::UploadError, Expr::value(None::<String>))])
            .await?
        {
            return Ok(());
        }
        Err(JobError::fail(
            "the file is not in the state failed, or has newer content",
        ))
    }

    /// Subjects of files that a job should be working on.
    pub(crate) async fn expected_uploads(&self) -> Result<Vec<String>, DbError> {
        let mut subjects = Vec::new();
        let mut after = 0;
        loop {
            let page = repo::list_unfinished(self.0.ctx.db.reader(), after, 1000).await?;
            let Some(last) = page.last() else {
                return Ok(subjects);
            };
            after = last.id;
            subjects.extend(page.iter().map(|f| upload_subject(f.id, f.generation)));
        }
    }

    pub(crate) async fn expected_purges(&self) -> Result<Vec<String>, DbError> {
        let mut subjects = Vec::new();
        let mut after = 0;
        loop {
            let page = repo::list_unpurged(self.0.ctx.db.reader(), after, 1000).await?;
            let Some(last) = page.last() else {
                return Ok(subjects);
            };
            after = last.id;
            subjects.extend(
                page.iter()
                    .filter_map(|f| PurgeObject { file_id: f.id }.subject()),
            );
        }
    }

    /// Does this upload run by job (as opposed to presigned uploads and folders)?
    pub(crate) fn has_job(file: &Model) -> bool {
        matches!(file.source(), Source::Base64 | Source::Multipart)
    }
}

/// The job that stores a file's staged bytes.
pub(crate) fn upload_job(file: &Model, request_id: Option<String>) -> NewJob {
    let job = UploadFile {
        file_id: file.id,
        generation: file.generation,
        size: file.bytes(),
    };
    NewJob::new(&job)
        .queue(queue_of(file.staged_ref.as_deref()))
        .owner(UserId(file.user_id))
        .request_id(request_id)
}

fn in_memory(bytes: Bytes) -> (u64, StagedStream) {
    (bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
}

fn storage_failure(error: StorageError) -> JobError {
    if error.is_retryable() {
        JobError::retry(reasons::STORAGE_UNAVAILABLE).caused_by(error)
    } else {
        JobError::fail(reasons::STORAGE_REFUSED).caused_by(error)
    }
}

/// Reasons of the queue itself (a timeout, a lost worker, a panic) are not for users.
fn shown(reason: &str) -> String {
    let ours = [reasons::STORAGE_REFUSED, reasons::STAGED_LOST, reasons::CANCELLED];
    let known = ours.contains(&reason) || reason.starts_with("文件大小不匹配");
    if known {
        reason
    } else {
        reasons::STORAGE_UNAVAILABLE
    }
    .to_owned()
}
