//! Accepting uploads: everything that makes a 201 true is one transaction.
//!
//! Single uploads of many clients share that transaction and its statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use yunque_accounts::Accounts;
use yunque_kernel::auth::Caller;
use yunque_kernel::batch::Batcher;
use yunque_kernel::http::Claim;
use yunque_kernel::queue::Queue;
use yunque_kernel::{Clock, Ctx, Db, DbError, Tx, UserId};

use super::upload::upload_job;
use crate::entity::file::Model;
use crate::names::{FileName, FolderPath, object_key};
use crate::repo::{self, NewFile};
use crate::staging::Staged;
use crate::status::{Source, UploadStatus};
use crate::{Files, FilesError};

/// Requests in one transaction. Their small bodies are in memory together.
const MOST: usize = 64;

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
        let request = Request {
            place,
            uploads: uploads.into(),
        };
        if claim.is_none() && request.uploads.len() == 1 {
            let accepted = self.0.accepting.call(request).await;
            return accepted.map_err(|_| DbError::Cancelled)?;
        }
        let (acceptor, answer) = (self.0.acceptor.clone(), Arc::new(answer));
        let accept = move |tx: Tx| {
            let (acceptor, request, kept) = (acceptor.clone(), request.clone(), request.clone());
            let (claim, answer) = (claim.clone(), answer.clone());
            async move {
                let mut rows = acceptor.accept(&tx, &[request]).await?;
                let rows = rows.pop().unwrap_or_default();
                claim.store(&tx, 201, &answer(&rows)).await?;
                kept.keep();
                Ok::<_, FilesError>(rows)
            }
        };
        self.0.ctx.db.write("file.accept", accept).await
    }
}

/// What one request wants accepted: all of it or nothing.
#[derive(Clone)]
pub(crate) struct Request {
    place: Placement,
    uploads: Arc<[NewUpload]>,
}

impl Request {
    fn keep(&self) {
        self.uploads.iter().for_each(|upload| upload.staged.keep());
    }
}

/// Puts many requests into one transaction. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor {
    accounts: Accounts,
    clock: Clock,
    db: Db,
    queue: Queue,
}

/// Requests that come while others are being accepted, accepted together.
pub(crate) type Accepting = Batcher<Request, Result<Vec<Model>, FilesError>>;

impl Acceptor {
    pub fn new(ctx: &Ctx, accounts: &Accounts) -> Self {
        Acceptor {
            accounts: accounts.clone(),
            clock: ctx.clock.clone(),
            db: ctx.db.clone(),
            queue: ctx.queue.clone(),
        }
    }

    /// Inside a runtime.
    pub fn batched(&self) -> Accepting {
        let this = self.clone();
        Batcher::new(MOST, move |batch| this.clone().accept_batch(batch))
    }

    async fn accept_batch(self, batch: Vec<Request>) -> Vec<Result<Vec<Model>, FilesError>> {
        if batch.len() > 1 {
            match self.write(&batch).await {
                Ok(accepted) => return accepted.into_iter().map(Ok).collect(),
                // Nobody would fare better alone.
                Err(FilesError::Db(e)) if e.is_transient() => {
                    return batch.iter().map(|_| Err(e.clone().into())).collect();
                }
                // The space of one of them is used up, or he is gone: each learns by himself.
                Err(_) => {}
            }
        }
        let alone = batch.chunks(1).map(|one| async {
            let mut accepted = self.write(one).await?;
            Ok(accepted.pop().unwrap_or_default())
        });
        join_all(alone).await
    }

    async fn write(&self, batch: &[Request]) -> Result<Vec<Vec<Model>>, FilesError> {
        let (this, batch): (_, Arc<[Request]>) = (self.clone(), batch.into());
        let accept = move |tx: Tx| {
            let (this, batch) = (this.clone(), batch.clone());
            async move {
                let rows = this.accept(&tx, &batch).await?;
                batch.iter().for_each(Request::keep);
                Ok::<_, FilesError>(rows)
            }
        };
        self.db.write("file.accept", accept).await
    }

    /// The rows of each request, in their order.
    async fn accept(&self, tx: &Tx, batch: &[Request]) -> Result<Vec<Vec<Model>>, FilesError> {
        let now = self.clock.now();
        let mut sizes: BTreeMap<UserId, u64> = BTreeMap::new();
        for request in batch {
            let size = sizes.entry(request.place.user).or_default();
            *size = request
                .uploads
                .iter()
                .fold(*size, |sum, u| sum.saturating_add(u.size));
        }
        if !self.accounts.reserve_space_of(tx, &sizes).await? {
            return Err(FilesError::QuotaExceeded);
        }
        let pairs = batch.iter().flat_map(|r| r.uploads.iter().map(|u| (&r.place, u)));
        let uploads: Vec<(&Placement, &NewUpload)> = pairs.collect();
        let new: Vec<NewFile> = uploads.iter().map(|(place, u)| new_row(place.user, u)).collect();
        let rows = repo::insert_all(tx, &new, now).await?;
        let staged: Vec<&Staged> = uploads.iter().map(|(_, u)| &u.staged).collect();
        Staged::write_all(tx, &staged, now).await?;
        let jobs = rows.iter().zip(&uploads);
        let jobs = jobs
            .map(|(row, (place, _))| upload_job(row, place.request_id.clone()))
            .collect();
        self.queue.enqueue_many(tx, jobs).await?;
        let mut rows = rows.into_iter();
        let of = |request: &Request| rows.by_ref().take(request.uploads.len()).collect();
        Ok(batch.iter().map(of).collect())
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
