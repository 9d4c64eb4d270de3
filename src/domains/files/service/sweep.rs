//! What comes round: uploads without a job, links that ran out, staged bytes that nobody wants, and
//! the daily recount of used space.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use yunque_kernel::queue::{Job, NewJob};
use yunque_kernel::{DbError, FileId, Tx, UserId};

use super::presign::LINK_GRACE;
use super::upload::upload_job;
use crate::entity::file::Model;
use crate::jobs::{UploadFile, upload_subject};
use crate::status::reasons;
use crate::{Files, FilesError, PurgeObject, repo};

const PAGE: u64 = 500;
/// Staged bytes without a row are this old before they are removed: an upload may be on its way.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Names of staged files that are looked up together.
const NAMES: usize = 1000;

impl Files {
    /// Runs all sweeps once.
    pub(crate) async fn sweep(&self) -> Result<(), FilesError> {
        let revived = self.revive_uploads().await?;
        let purges = self.revive_purges().await?;
        let expired = self.expire_presigned().await?;
        let stale = self.drop_stale_staged().await?;
        let orphans = self.drop_orphans().await?;
        if revived + purges + expired + stale + orphans > 0 {
            tracing::info!(revived, purges, expired, stale, orphans, "files swept");
        }
        Ok(())
    }

    /// Unfinished uploads without a live job get one. There are none unless rows were changed by
    /// hand; `jobs audit` shows the same.
    async fn revive_uploads(&self) -> Result<u64, FilesError> {
        let mut revived = 0;
        let mut after = 0;
        loop {
            let page = repo::list_unfinished(self.0.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(revived);
            };
            after = last.id;
            let wanted: Vec<String> = page.iter().map(|f| upload_subject(f.id, f.generation)).collect();
            let live = self.0.ctx.queue.live_among(UploadFile::KIND, &wanted).await?;
            for file in page
                .into_iter()
                .filter(|f| !live.contains(&upload_subject(f.id, f.generation)))
            {
                // Its job may have ended between the two looks; then the file has moved on as well.
                let now = repo::find_for_job(self.0.ctx.db.reader(), FileId(file.id)).await?;
                let unfinished = now.is_some_and(|now| {
                    now.generation == file.generation
                        && now.deleted_at.is_none()
                        && now.status().is_unfinished()
                });
                if !unfinished {
                    continue;
                }
                let subject = upload_subject(file.id, file.generation);
                let job = upload_job(&file, None).dedupe(format!("revive:{subject}"));
                if self.enqueue_alone(job).await? {
                    tracing::warn!(file.id = file.id, "upload had no job, made one");
                    revived += 1;
                }
            }
        }
    }

    async fn revive_purges(&self) -> Result<u64, FilesError> {
        let mut revived = 0;
        let mut after = 0;
        loop {
            let page = repo::list_unpurged(self.0.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(revived);
            };
            after = last.id;
            let subject = |file: &Model| PurgeObject { file_id: file.id }.subject();
            let wanted: Vec<String> = page.iter().filter_map(subject).collect();
            let live = self
                .0
                .ctx
                .queue
                .unfinished_among(PurgeObject::KIND, &wanted)
                .await?;
            for file in page
                .iter()
                .filter(|f| subject(f).is_some_and(|s| !live.contains(&s)))
            {
                let new = self.purge_job(file).dedupe(format!("purge:{}", file.id));
                revived += u64::from(self.enqueue_alone(new).await?);
            }
        }
    }

    async fn enqueue_alone(&self, job: NewJob) -> Result<bool, DbError> {
        let queue = self.0.ctx.queue.clone();
        let db = self.0.ctx.db.clone();
        db.write("file.revive", move |tx: Tx| {
            let (queue, job) = (queue.clone(), job.clone());
            async move { queue.enqueue(&tx, job).await.map(|id| id.is_some()) }
        })
        .await
    }

    /// Presigned uploads whose link ran out fail and free their space; the object, if any, goes by job.
    async fn expire_presigned(&self) -> Result<u64, FilesError> {
        let before = self.0.ctx.clock.now() - self.0.settings.presign_ttl - LINK_GRACE;
        let mut expired = 0;
        for file in repo::list_expired_presigned(self.0.ctx.db.reader(), before, PAGE).await? {
            let this = self.clone();
            let row = file.clone();
            let done = self
                .0
                .ctx
                .db
                .write("file.expire", move |tx: Tx| {
                    let (this, row) = (this.clone(), row.clone());
                    async move {
                        let failed = this
                            .fail_file(&tx, &row, row.generation, reasons::EXPIRED)
                            .await?;
                        if failed {
                            this.enqueue_purge(&tx, &row).await?;
                        }
                        Ok::<_, DbError>(failed)
                    }
                })
                .await?;
            expired += u64::from(done);
        }
        Ok(expired)
    }

    async fn drop_stale_staged(&self) -> Result<u64, FilesError> {
        let before = self.0.ctx.clock.now() - self.0.settings.staging_ttl;
        let mut dropped = 0;
        for file in repo::list_stale_staged(self.0.ctx.db.reader(), before, PAGE).await? {
            let Some(reference) = file.staged_ref.clone() else {
                continue;
            };
            let this = self.clone();
            self.0
                .ctx
                .db
                .write("file.unstage", move |tx: Tx| {
                    let (this, reference) = (this.clone(), reference.clone());
                    async move {
                        if repo::clear_staged(&tx, file.id, &reference).await? {
                            this.0.staging.discard(&tx, &reference).await?;
                        }
                        Ok::<_, DbError>(())
                    }
                })
                .await?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Files of the staging folder that no row refers to: accepted requests always have one. All old
    /// ones are looked at, because while storage is away any number of them may be wanted.
    async fn drop_orphans(&self) -> Result<u64, FilesError> {
        let staging = self.0.staging.clone();
        let mut walk = blocking(move || staging.old_files(ORPHAN_AGE)).await?;
        let mut dropped = 0;
        loop {
            let names;
            (walk, names) = blocking(move || walk.page(NAMES).map(|names| (walk, names))).await?;
            if names.is_empty() {
                return Ok(dropped);
            }
            dropped += self.drop_unreferenced(&names).await?;
        }
    }

    async fn drop_unreferenced(&self, names: &[String]) -> Result<u64, FilesError> {
        let identity = self.0.staging.folder().identity();
        let references: Vec<String> = names.iter().map(|n| format!("{identity}/{n}")).collect();
        let mut used = BTreeSet::new();
        for chunk in references.chunks(200) {
            used.extend(repo::list_referenced(self.0.ctx.db.reader(), chunk).await?);
        }
        let mut dropped = 0;
        for (name, reference) in names.iter().zip(&references) {
            if !used.contains(reference) {
                self.0.staging.folder().remove(name);
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Compares `used_space` with the files, user by user, and corrects what drifted.
    pub(crate) async fn recount(&self) -> Result<(), FilesError> {
        let mut after = 0;
        loop {
            let owners = repo::list_owners(self.0.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = owners.last() else { return Ok(()) };
            after = *last;
            for owner in owners {
                self.recount_one(UserId(owner)).await?;
            }
        }
    }

    async fn recount_one(&self, user: UserId) -> Result<(), FilesError> {
        let this = self.clone();
        self.0
            .ctx
            .db
            .write("file.recount", move |tx: Tx| {
                let this = this.clone();
                async move {
                    this.0.accounts.lock_user(&tx, user).await?;
                    let sum = repo::sum_space(&tx, user).await?;
                    let drift = this
                        .0
                        .accounts
                        .recompute_space(&tx, user, u64::try_from(sum).unwrap_or(0))
                        .await?;
                    if drift != 0 {
                        tracing::warn!(user.id = user.0, drift, "used space had drifted, corrected");
                    }
                    Ok::<_, FilesError>(())
                }
            })
            .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FilesError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(io::Error::other)??)
}
