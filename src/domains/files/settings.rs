//! Settings of file upload.

use std::time::Duration;

use yunque_kernel::config::{Reader, Seconds, Setting, Size};
use yunque_kernel::queue::Plan;

const MAX_BYTES: Setting = Setting::new(
    "UPLOAD_MAX_BYTES",
    "50MiB",
    "Largest decoded file, and sum of a batch, in a JSON upload",
);
const BATCH_MAX: Setting = Setting::new("UPLOAD_BATCH_MAX", "20", "Files in one JSON batch");
const STREAM_MAX: Setting = Setting::new(
    "UPLOAD_STREAM_MAX_BYTES",
    "1GiB",
    "Largest file in a multipart upload, up to 1GiB",
);
const PRESIGN_MAX: Setting = Setting::new(
    "UPLOAD_PRESIGN_MAX_BYTES",
    "5GiB",
    "Largest file in a presigned upload",
);
const MAX_RETRIES: Setting = Setting::new(
    "UPLOAD_MAX_RETRIES",
    "3",
    "Retries of an upload after its first attempt",
);
const RETRY_BASE: Setting = Setting::new(
    "UPLOAD_RETRY_BASE",
    "60s",
    "Wait before the first retry of an upload; doubled for each further one",
);
const RETRY_JITTER: Setting = Setting::new(
    "UPLOAD_RETRY_JITTER",
    "0.1",
    "Random part of that wait, as a fraction",
);
const WORKERS: Setting = Setting::new(
    "UPLOAD_WORKERS",
    "4",
    "Large uploads that one worker stores at once",
);
const SMALL_WORKERS: Setting = Setting::new(
    "UPLOAD_SMALL_WORKERS",
    "256",
    "Uploads of at most 64 KiB that one worker stores at once",
);
const STAGING: Setting = Setting::new(
    "UPLOAD_STAGING",
    "disk",
    "Where accepted bodies over 64 KiB wait: disk, or db for hosts with short-lived disks",
);
const STAGING_TTL: Setting = Setting::new(
    "UPLOAD_STAGING_TTL",
    "24h",
    "How long the bytes of a failed upload are kept for a retry without content",
);
const SIZE_MISMATCH: Setting = Setting::new(
    "UPLOAD_SIZE_MISMATCH",
    "reject",
    "A declared size that is wrong: reject answers 400, fail accepts and lets the upload fail",
);
const PRESIGN_TTL: Setting = Setting::new("UPLOAD_PRESIGN_TTL", "1h", "How long a presigned upload may take");

/// Where bodies over 64 KiB wait for their upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagingMode {
    Disk,
    Db,
}

yunque_kernel::setting_enum!(StagingMode { Disk = "disk", Db = "db" });

/// What to do about a body of another size than declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeMismatch {
    Reject,
    Fail,
}

yunque_kernel::setting_enum!(SizeMismatch { Reject = "reject", Fail = "fail" });

/// Settings of the files domain.
#[derive(Clone, Debug)]
pub struct FilesSettings {
    pub max_bytes: u64,
    pub batch_max: usize,
    pub stream_max: u64,
    pub presign_max: u64,
    pub plan: Plan,
    pub workers: usize,
    pub small_workers: usize,
    pub staging: StagingMode,
    pub staging_ttl: Duration,
    pub size_mismatch: SizeMismatch,
    pub presign_ttl: Duration,
}

impl FilesSettings {
    pub fn read(r: &mut Reader<'_>) -> Self {
        let retries: u32 = r.get(&MAX_RETRIES);
        let jitter: f64 = r.get(&RETRY_JITTER);
        if !(0.0..=1.0).contains(&jitter) {
            r.fault(&RETRY_JITTER, "must be between 0 and 1", "Example: 0.1.");
        }
        let settings = FilesSettings {
            max_bytes: r.get::<Size>(&MAX_BYTES).0,
            batch_max: r.above_zero(&BATCH_MAX),
            stream_max: r.get::<Size>(&STREAM_MAX).0,
            presign_max: r.get::<Size>(&PRESIGN_MAX).0,
            plan: Plan {
                max_attempts: retries.saturating_add(1),
                retry_base: r.above_zero::<Seconds>(&RETRY_BASE).0,
                retry_max: Duration::from_secs(24 * 3600),
                jitter,
                timeout: Duration::from_secs(60),
            },
            workers: r.above_zero(&WORKERS),
            small_workers: r.above_zero(&SMALL_WORKERS),
            staging: r.get(&STAGING),
            staging_ttl: r.above_zero::<Seconds>(&STAGING_TTL).0,
            size_mismatch: r.get(&SIZE_MISMATCH),
            presign_ttl: r.above_zero::<Seconds>(&PRESIGN_TTL).0,
        };
        if settings.stream_max > 1 << 30 {
            r.fault(
                &STREAM_MAX,
                "must be at most 1GiB",
                "Example: 1GiB; larger files take the presigned way.",
            );
        }
        settings
    }
}
