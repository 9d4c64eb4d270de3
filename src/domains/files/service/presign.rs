//! Uploads that go to storage directly. The server chooses the key, signs one creation of it, and
//! believes only what storage says about the result.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::Expr;
use yunque_kernel::http::Claim;
use yunque_kernel::queue::Job;
use yunque_kernel::storage::{PresignPut, Presigned, StorageError};
use yunque_kernel::{FileId, Tx, UserId};

use super::Placement;
use super::accept::reserve;
use crate::entity::file::{Column, Model};
use crate::jobs::{UploadFile, upload_subject};
use crate::names::{FileName, FolderPath, object_key};
use crate::repo::{self, Edge, NewFile};
use crate::status::{Source, UploadStatus, reasons};
use crate::{Files, FilesError};

/// For an upload that ended with its link and is being confirmed.
pub(super) const LINK_GRACE: TimeDelta = TimeDelta::minutes(1);

/// A valid request for a presigned upload.
#[derive(Clone, Debug)]
pub struct NewPresign {
    pub name: FileName,
    pub content_type: String,
    pub size: u64,
    pub path: FolderPath,
}

/// The record, and where to send the bytes.
#[derive(Clone, Debug)]
pub struct PresignedUpload {
    pub file: Model,
    pub link: Presigned,
}

impl Files {
    /// Reserves the space, makes the record, signs the link.
    ///
    /// # Errors
    /// `TooLarge`, `QuotaExceeded`.
    pub async fn presign<A: serde::Serialize + Send + Sync>(
        &self,
        place: Placement,
        new: NewPresign,
        claim: Claim,
        answer: impl Fn(&PresignedUpload) -> A + Send + Sync + 'static,
    ) -> Result<PresignedUpload, FilesError> {
        if new.size > self.0.settings.presign_max {
            return Err(FilesError::TooLarge);
        }
        let this = self.clone();
        let answer = Arc::new(answer);
        self.0
            .ctx
            .db
            .write("file.presign", move |tx: Tx| {
                let (this, place, new) = (this.clone(), place.clone(), new.clone());
                let (claim, answer) = (claim.clone(), answer.clone());
                async move {
                    let upload = this.presign_in(&tx, place.user, &new).await?;
                    claim.store(&tx, 201, &answer(&upload)).await?;
                    Ok(upload)
                }
            })
            .await
    }

    async fn presign_in(
        &self,
        tx: &Tx,
        user: UserId,
        new: &NewPresign,
    ) -> Result<PresignedUpload, FilesError> {
        let now = self.0.ctx.clock.now();
        reserve(&self.0.accounts, tx, user, new.size).await?;
        let row = NewFile {
            user,
            name: new.name.as_str().to_owned(),
            content_type: new.content_type.clone(),
            size: i64::try_from(new.size).unwrap_or(i64::MAX),
            path: new.path.as_str().to_owned(),
            object_key: Some(object_key(user, &new.name)),
            status: UploadStatus::Pending,
            staged_ref: None,
            source: Source::Presigned,
            folder_key: None,
        };
        let file = repo::insert_all(tx, &[row], now)
            .await?
            .pop()
            .ok_or(FilesError::NotFound)?;
        let link = self.0.ctx.storage.presign_put(PresignPut {
            key: file.object_key.as_deref().unwrap_or_default(),
            content_type: &file.content_type,
            size: new.size,
            expires_at: self.link_expiry(now),
            local_path: &content_path(file.id),
        })?;
        Ok(PresignedUpload { file, link })
    }

    fn link_expiry(&self, from: DateTime<Utc>) -> DateTime<Utc> {
        from + self.0.settings.presign_ttl
    }

    /// From then on nothing that the link brings has to be expected. Whatever the state: an object
    /// that was removed makes room for another under the same link.
    pub(super) fn link_closes_at(&self, file: &Model) -> DateTime<Utc> {
        self.link_expiry(file.created_at) + LINK_GRACE
    }

    pub(super) fn link_is_open(&self, file: &Model, now: DateTime<Utc>) -> bool {
        file.source() == Source::Presigned && now < self.link_closes_at(file)
    }

    /// Confirms a presigned upload by looking at the object. Repeating it is harmless.
    ///
    /// # Errors
    /// `ObjectMissing`; `SizeMismatch`, and the object is removed; `NotPending`.
    pub async fn complete(&self, user: UserId, id: FileId) -> Result<Model, FilesError> {
        let file = self.get_visible(user, id).await?;
        match file.status() {
            _ if file.is_folder() => return Err(FilesError::IsFolder),
            UploadStatus::Completed => return Ok(file),
            UploadStatus::Pending if file.source() == Source::Presigned => {}
            _ => return Err(FilesError::NotPending),
        }
        let key = file.object_key.clone().unwrap_or_default();
        let head = match self.0.ctx.storage.head(&key).await {
            Ok(head) => head,
            Err(StorageError::NotFound) => return Err(FilesError::ObjectMissing),
            Err(e) => return Err(e.into()),
        };
        let fits = head.size == file.bytes();
        let edge = Edge {
            id: file.id,
            generation: file.generation,
            from: &[UploadStatus::Pending],
            to: if fits {
                UploadStatus::Completed
            } else {
                UploadStatus::Pending
            },
            now: self.0.ctx.clock.now(),
        };
        // Whoever sees a wrong object raises the generation before he removes it. Another who saw the
        // same then leaves alone what has come in its place.
        let set = if fits {
            (Column::UploadError, Expr::value(None::<String>))
        } else {
            (Column::Generation, Expr::value(file.generation + 1))
        };
        let taken = edge.take(self.0.ctx.db.writer(), [set]).await?;
        if taken && !fits {
            self.0.ctx.storage.delete(&key).await?;
        }
        // Completed, cancelled or expired meanwhile: the row tells.
        let now = self.get_visible(user, id).await?;
        match now.status() {
            UploadStatus::Completed => Ok(now),
            UploadStatus::Pending if !fits => Err(FilesError::SizeMismatch {
                declared: file.bytes(),
                actual: head.size,
            }),
            // Another request found a wrong one a moment before; what is there now has to be looked at again.
            UploadStatus::Pending => Err(FilesError::ObjectMissing),
            _ => Err(FilesError::NotPending),
        }
    }

    /// Gives a waiting upload up, and its bytes with it: a retry brings them again.
    ///
    /// # Errors
    /// `NotPending` once it runs, is done or has failed.
    pub async fn cancel(&self, user: UserId, id: FileId) -> Result<Model, FilesError> {
        let this = self.clone();
        self.0
            .ctx
            .db
            .write("file.cancel", move |tx: Tx| {
                let this = this.clone();
                async move {
                    this.0.accounts.lock_user(&tx, user).await?;
                    let file = repo::find_visible(&tx, user, id)
                        .await?
                        .ok_or(FilesError::NotFound)?;
                    if file.status() != UploadStatus::Pending {
                        return Err(FilesError::NotPending);
                    }
                    let now = this.0.ctx.clock.now();
                    let edge = Edge {
                        id: file.id,
                        generation: file.generation,
                        from: &[UploadStatus::Pending],
                        to: UploadStatus::Failed,
                        now,
                    };
                    let set = [
                        (Column::UploadError, Expr::value(reasons::CANCELLED)),
                        (Column::StagedRef, Expr::value(None::<String>)),
                    ];
                    if !edge.take(&tx, set).await? {
                        return Err(FilesError::NotPending);
                    }
                    // The space is free, so nothing of it may stay occupied.
                    if let Some(reference) = &file.staged_ref {
                        this.0.staging.discard(&tx, reference).await?;
                    }
                    this.0.accounts.release_space(&tx, user, file.bytes()).await?;
                    let subject = upload_subject(file.id, file.generation);
                    this.0.ctx.queue.withdraw(&tx, UploadFile::KIND, &subject).await?;
                    if file.source() == Source::Presigned {
                        this.enqueue_purge(&tx, &file).await?;
                    }
                    repo::find_visible(&tx, user, id)
                        .await?
                        .ok_or(FilesError::NotFound)
                }
            })
            .await
    }
}

/// The address behind links of the local backend.
pub(crate) fn content_path(id: i64) -> String {
    format!("/file/{id}/content/")
}
