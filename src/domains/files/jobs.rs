//! The jobs of this domain: payloads, and which service method does the work.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yunque_kernel::queue::{Job, JobContext, JobError, NewJob, Plan, Schedule};
use yunque_kernel::storage::attempt_timeout;
use yunque_kernel::{Db, DbError, FileId, Tx, UserId};

use crate::{Files, FilesError};

/// Stores the staged bytes of one generation of a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct UploadFile {
    pub file_id: i64,
    pub generation: i32,
    /// Bytes; sets the timeout of a run.
    pub size: u64,
}

#[async_trait]
impl Job for UploadFile {
    const KIND: &'static str = "upload_file";
    type Domain = Files;

    fn subject(&self) -> Option<String> {
        Some(upload_subject(self.file_id, self.generation))
    }

    fn timeout(&self, _: &Files) -> Option<Duration> {
        // The storage deadline fires first and names the reason; this is for everything around it.
        Some(attempt_timeout(self.size) + Duration::from_secs(30))
    }

    async fn run(&self, files: &Files, cx: &JobContext) -> Result<(), JobError> {
        files.run_upload(*self, cx).await
    }

    async fn on_attempt_failed(&self, files: &Files, tx: &Tx, reason: &str) -> Result<(), DbError> {
        files.upload_attempt_failed(tx, *self, reason).await
    }

    async fn on_dead(&self, files: &Files, tx: &Tx, reason: &str) -> Result<(), DbError> {
        files.upload_failed(tx, *self, reason).await
    }

    async fn on_retry(&self, files: &Files, tx: &Tx) -> Result<(), JobError> {
        files.upload_revived(tx, *self).await
    }

    async fn on_cancel(&self, files: &Files, tx: &Tx) -> Result<(), DbError> {
        files
            .upload_failed(tx, *self, crate::status::reasons::CANCELLED)
            .await
    }

    async fn expected(files: &Files, _: &Db) -> Result<Option<Vec<String>>, DbError> {
        files.expected_uploads().await.map(Some)
    }
}

pub(crate) fn upload_subject(file_id: i64, generation: i32) -> String {
    format!("file:{file_id}:{generation}")
}

/// Removes the object of a deleted file, then its row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PurgeObject {
    pub file_id: i64,
}

#[async_trait]
impl Job for PurgeObject {
    const KIND: &'static str = "purge_object";
    type Domain = Files;

    fn subject(&self) -> Option<String> {
        Some(format!("file:{}", self.file_id))
    }

    async fn run(&self, files: &Files, _: &JobContext) -> Result<(), JobError> {
        files.purge_object(FileId(self.file_id)).await
    }

    async fn expected(files: &Files, _: &Db) -> Result<Option<Vec<String>>, DbError> {
        files.expected_purges().await.map(Some)
    }
}

/// Deletes everything a purged account left behind.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PurgeUserFiles {
    pub user_id: i64,
}

#[async_trait]
impl Job for PurgeUserFiles {
    const KIND: &'static str = "purge_user_files";
    type Domain = Files;

    fn subject(&self) -> Option<String> {
        Some(format!("user:{}", self.user_id))
    }

    async fn run(&self, files: &Files, _: &JobContext) -> Result<(), JobError> {
        files.purge_user(UserId(self.user_id)).await.map_err(retry)
    }
}

/// Re-drives what was left behind and tidies the staging area.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FilesSweep {}

#[async_trait]
impl Job for FilesSweep {
    const KIND: &'static str = "files_sweep";
    type Domain = Files;

    async fn run(&self, files: &Files, _: &JobContext) -> Result<(), JobError> {
        files.sweep().await.map_err(retry)
    }
}

/// Recomputes `used_space` of every user and logs drift.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FilesRecount {}

#[async_trait]
impl Job for FilesRecount {
    const KIND: &'static str = "files_recount";
    type Domain = Files;

    async fn run(&self, files: &Files, _: &JobContext) -> Result<(), JobError> {
        files.recount().await.map_err(retry)
    }
}

fn retry(error: FilesError) -> JobError {
    JobError::retry("files error").caused_by(error)
}

impl Files {
    /// Tells the queue how to run this domain's jobs.
    pub fn register_jobs(&self) {
        let queue = &self.0.ctx.queue;
        let long = Plan {
            max_attempts: 10,
            timeout: Duration::from_secs(600),
            ..Plan::default()
        };
        queue.register::<UploadFile>(self.clone(), self.0.settings.plan);
        queue.register::<PurgeObject>(
            self.clone(),
            Plan {
                max_attempts: 10,
                ..Plan::default()
            },
        );
        queue.register::<PurgeUserFiles>(self.clone(), long);
        queue.register::<FilesSweep>(
            self.clone(),
            Plan {
                max_attempts: 1,
                ..long
            },
        );
        queue.register::<FilesRecount>(
            self.clone(),
            Plan {
                max_attempts: 1,
                ..long
            },
        );
    }

    /// What comes round. Minutes are spread so that schedules do not meet.
    pub fn schedules(&self) -> Vec<Schedule> {
        let minute = |n: u64| Duration::from_secs(60 * n);
        vec![
            Schedule::new("files_sweep", minute(5), minute(2), || {
                NewJob::new(&FilesSweep {}).dedupe("files_sweep")
            }),
            // 03:17 UTC: a quiet hour where most users live.
            Schedule::new("files_recount", minute(24 * 60), minute(3 * 60 + 17), || {
                NewJob::new(&FilesRecount {}).dedupe("files_recount")
            }),
        ]
    }
}
