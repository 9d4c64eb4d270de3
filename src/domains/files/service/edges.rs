//! The two edges that every upload takes, for many uploads at once.
//!
//! A small upload is little more than these two writes, so those of uploads that run at the same
//! time share a transaction and its statements.

use std::collections::HashMap;

use bytes::Bytes;
use yunque_kernel::batch::{Batcher, Interrupted};
use yunque_kernel::queue::JobError;
use yunque_kernel::{Clock, Db, DbError, Tx};

use crate::entity::file::Model;
use crate::repo::{self, Begin, Complete};
use crate::staging::Staging;
use crate::status::reasons;

/// Edges in one transaction. Their small bodies are in memory together.
const MOST: usize = 64;

/// A file that is `uploading` now.
#[derive(Clone, Debug)]
pub struct Begun {
    pub file: Model,
    /// The staged bytes, if they are one row.
    pub bytes: Option<Bytes>,
}

/// Takes edges by the batch. Cheap to clone.
#[derive(Clone)]
pub struct UploadEdges {
    begin: Batcher<Begin, Result<Option<Begun>, DbError>>,
    complete: Batcher<Complete, Result<bool, DbError>>,
}

impl UploadEdges {
    pub fn new(db: &Db, clock: &Clock, staging: &Staging) -> Self {
        let (begin, complete) = (
            Worker {
                db: db.clone(),
                clock: clock.clone(),
                staging: staging.clone(),
            },
            Worker {
                db: db.clone(),
                clock: clock.clone(),
                staging: staging.clone(),
            },
        );
        UploadEdges {
            begin: Batcher::new(MOST, move |batch| begin.clone().begin(batch)),
            complete: Batcher::new(MOST, move |batch| complete.clone().complete(batch)),
        }
    }

    /// To `uploading`. `None`: somebody else was faster, or the file is deleted.
    ///
    /// # Errors
    /// Worth another attempt.
    pub async fn begin(&self, begin: Begin) -> Result<Option<Begun>, JobError> {
        Ok(self.begin.call(begin).await.map_err(interrupted)??)
    }

    /// To `completed`, and the end of the staged bytes. False as above.
    ///
    /// # Errors
    /// Worth another attempt.
    pub async fn complete(&self, complete: Complete) -> Result<bool, JobError> {
        Ok(self.complete.call(complete).await.map_err(interrupted)??)
    }
}

fn interrupted(error: Interrupted) -> JobError {
    JobError::retry(reasons::STORAGE_UNAVAILABLE).caused_by(error)
}

#[derive(Clone)]
struct Worker {
    db: Db,
    clock: Clock,
    staging: Staging,
}

impl Worker {
    async fn begin(self, batch: Vec<Begin>) -> Vec<Result<Option<Begun>, DbError>> {
        match self.begin_all(&batch).await {
            Ok(mut begun) => {
                let mut found = |b: &Begin| begun.remove(&(b.id, b.generation));
                batch.iter().map(|b| Ok(found(b))).collect()
            }
            Err(e) => batch.iter().map(|_| Err(e.clone())).collect(),
        }
    }

    async fn begin_all(&self, batch: &[Begin]) -> Result<HashMap<(i64, i32), Begun>, DbError> {
        let (begins, now) = (batch.to_vec(), self.clock.now());
        let files = self.db.write("files.uploading", move |tx: Tx| {
            let begins = begins.clone();
            async move { repo::begin_uploads(&tx, &begins, now).await }
        });
        let files = files.await?;
        let mut bodies = self.staging.read_rows(&files).await?;
        let begun = files.into_iter().map(|file| {
            let bytes = file.staged_ref.as_ref().and_then(|r| bodies.remove(r));
            ((file.id, file.generation), Begun { file, bytes })
        });
        Ok(begun.collect())
    }

    async fn complete(self, batch: Vec<Complete>) -> Vec<Result<bool, DbError>> {
        match self.complete_all(&batch).await {
            Ok(done) => batch
                .iter()
                .map(|c| Ok(done.contains(&(c.id, c.generation))))
                .collect(),
            Err(e) => batch.iter().map(|_| Err(e.clone())).collect(),
        }
    }

    async fn complete_all(&self, batch: &[Complete]) -> Result<Vec<(i64, i32)>, DbError> {
        let (completes, now) = (batch.to_vec(), self.clock.now());
        let staging = self.staging.clone();
        let done = self.db.write("files.completed", move |tx: Tx| {
            let (completes, staging) = (completes.clone(), staging.clone());
            async move {
                let done = repo::complete_uploads(&tx, &completes, now).await?;
                let stored = completes
                    .iter()
                    .filter(|c| done.contains(&(c.id, c.generation)))
                    .filter_map(|c| c.staged_ref.as_deref());
                staging.discard_all(&tx, stored).await?;
                Ok::<_, DbError>(done)
            }
        });
        done.await
    }
}
