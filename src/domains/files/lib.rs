//! Files and folders of users, and the jobs that bring their bytes to object storage.
//!
//! * Tables: `files`, `staged_blobs`.
//! * An upload is accepted by one transaction: quota, file row, staged bytes (small ones) and job.
//!   A job of kind `upload_file` then stores the bytes and completes the row. Everything a job does
//!   is a conditional update on (`upload_status`, `generation`), so running twice equals once.
//! * A file's object key is chosen once; every attempt writes the same object.
//! * Deleting marks the row and leaves the object to a `purge_object` job, which removes the row
//!   last.
//! * Jobs: `upload_file`, `purge_object`, `purge_user_files`, `files_sweep`, `files_recount`.
//!
//! What surprises: `used_space` in `users` belongs to the quota rules here but to the table of
//! `accounts`, so it is changed through that domain's methods, always in the transaction that
//! changes the file's state.

pub mod api;
mod declared_name;
mod decode;
mod dto;
mod entity;
mod error;
mod jobs;
mod names;
mod repo;
mod service;
mod settings;
pub mod staging;
mod status;

use std::sync::Arc;

use async_trait::async_trait;
use yunque_accounts::{Accounts, PurgeHook};
use yunque_kernel::queue::NewJob;
use yunque_kernel::{Ctx, DbError, Tx, UserId};

use service::{Accepting, Acceptor, UploadEdges};

pub use error::{FilesError, codes};
pub use jobs::{FilesRecount, FilesSweep, PurgeObject, PurgeUserFiles, UploadFile};
pub use settings::FilesSettings;
pub use staging::Staging;

/// The files domain. Cheap to clone.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    ctx: Ctx,
    accounts: Accounts,
    staging: Staging,
    acceptor: Acceptor,
    accepting: Accepting,
    edges: UploadEdges,
    settings: FilesSettings,
}

impl Files {
    /// Inside a runtime.
    pub fn new(ctx: Ctx, accounts: Accounts, staging: Staging, settings: FilesSettings) -> Self {
        let acceptor = Acceptor::new(&ctx, &accounts);
        Files(Arc::new(Inner {
            accepting: acceptor.batched(),
            acceptor,
            edges: UploadEdges::new(&ctx.db, &ctx.clock, &staging),
            ctx,
            accounts,
            staging,
            settings,
        }))
    }

    pub fn settings(&self) -> &FilesSettings {
        &self.0.settings
    }

    pub fn staging(&self) -> &Staging {
        &self.0.staging
    }

    pub(crate) fn storage(&self) -> &yunque_kernel::storage::Storage {
        &self.0.ctx.storage
    }

    pub(crate) fn idempotency(&self) -> &yunque_kernel::http::Idempotency {
        &self.0.ctx.idempotency
    }

    pub(crate) fn limits(&self) -> &yunque_kernel::http::Limits {
        &self.0.ctx.limits
    }
}

/// An account that is purged takes its files with it.
#[async_trait]
impl PurgeHook for Files {
    async fn user_purged(&self, tx: &Tx, user: UserId) -> Result<(), DbError> {
        let job = NewJob::new(&PurgeUserFiles { user_id: user.0 }).dedupe(format!("purge_user_files:{user}"));
        self.0.ctx.queue.enqueue(tx, job).await.map(|_| ())
    }
}
