//! Accepting uploads: everything that makes a 201 true is one transaction.

use std::sync::Arc;

use yunque_accounts::Accounts;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Claim;
use yunque_kernel::{DbError, Tx, UserId};

use crate::entity::file::Model;
use crate::names::{FileName, FolderPath, object_key};
use crate::repo::{self, NewFile};
use crate::staging::Staged;
use crate::status::{Source, UploadStatus};
use crate::{Files, FilesError};

/// A valid upload whose bytes are staged.
#[derive(Debug)]
pub struct NewUpload {
    pub name: FileName,
    pub content_type: String,
    /// As declared; counts against the quota.
    pub size: u64,
    pub path: FolderPath,
    pub source: Source,
    pub staged: Staged,
}

/// Who uploads, and on behalf of which request.
#[derive(Clone)]
pub struct Placement {
    pub user: UserId,
    pub request_id: Option<String>,
}

impl Placement {
    pub fn of(caller: &Caller, request_id: &str) -> Self {
        Placement {
            user: caller.user_id,
            request_id: Some(request_id.to_owned()),
        }
    }
}

impl Files {
    /// Accepts a batch, or nothing of it. `answer` makes the stored idempotent answer out of the
    /// rows.
    ///
    /// # Errors
    /// `QuotaExceeded`; storage of the request failed.
    pub async fn accept<A: serde::Serialize + Send + Sync>(
        &self,
        place: Placement,
        uploads: Vec<NewUpload>,
        claim: Claim,
        answer: impl Fn(&[Model]) -> A + Send + Sync + 'static,
    ) -> Result<Vec<Model>, FilesError> {
        let this = self.clone();
        let uploads = Arc::new(uploads);
        let answer = Arc::new(answer);
        let shared = uploads.clone();
        let db = self.0.ctx.db.clone();
        let rows = db
            .write("file.accept", move |tx: Tx| {
                let (this, place, uploads) = (this.clone(), place.clone(), shared.clone());
                let (claim, answer) = (claim.clone(), answer.clone());
                async move {
                    let rows = this.accept_in(&tx, &place, &uploads).await?;
                    claim.store(&tx, 201, &answer(&rows)).await?;
                    Ok::<_, FilesError>(rows)
                }
            })
            .await?;
        // The closure is gone, so this is the last reference: the staged files stay.
        if let Ok(uploads) = Arc::try_unwrap(uploads) {
            uploads.into_iter().for_each(|u| u.staged.keep());
        }
        Ok(rows)
    }

    async fn accept_in(
        &self,
        tx: &Tx,
        place: &Placement,
        uploads: &[NewUpload],
    ) -> Result<Vec<Model>, FilesError> {
        let now = self.0.ctx.clock.now();
        let total = uploads.iter().map(|u| u.size).sum();
        reserve(&self.0.accounts, tx, place.user, total).await?;
        let new: Vec<NewFile> = uploads.iter().map(|u| new_row(place.user, u)).collect();
        let rows = repo::insert_all(tx, &new, now).await?;
        for upload in uploads {
            upload.staged.write(tx, now).await?;
        }
        let jobs = rows
            .iter()
            .map(|row| self.upload_job(row, place.request_id.clone()))
            .collect();
        self.0.ctx.queue.enqueue_many(tx, jobs).await?;
        Ok(rows)
    }
}

/// Takes space, or says that there is none.
pub(crate) async fn reserve(
    accounts: &Accounts,
    tx: &Tx,
    user: UserId,
    bytes: u64,
) -> Result<(), FilesError> {
    let reserved: Result<bool, DbError> = accounts.reserve_space(tx, user, bytes).await;
    if reserved? {
        Ok(())
    } else {
        Err(FilesError::QuotaExceeded)
    }
}

fn new_row(user: UserId, upload: &NewUpload) -> NewFile {
    NewFile {
        user,
        name: upload.name.as_str().to_owned(),
        content_type: upload.content_type.clone(),
        size: i64::try_from(upload.size).unwrap_or(i64::MAX),
        path: upload.path.as_str().to_owned(),
        object_key: Some(object_key(user, &upload.name)),
        status: UploadStatus::Pending,
        staged_ref: Some(upload.staged.reference.clone()),
        source: upload.source,
        folder_key: None,
    }
}
