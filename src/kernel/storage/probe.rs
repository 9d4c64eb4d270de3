//! The live check of the storage, for `doctor` and `/readyz`.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::{TryStreamExt as _, stream};
use uuid::Uuid;

use super::{Backend, Disposition, PresignGet, PresignPut, Storage, StorageError, StorageKind};
use crate::Clock;

const CONTENT: &[u8] = b"yunque storage probe";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which step of the check failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}")]
pub struct ProbeFault {
    /// `put`, `get`, `delete`, `presigned put` or `presigned get`.
    pub step: &'static str,
    pub error: StorageError,
    kind: StorageKind,
}

impl ProbeFault {
    /// What the operator can do.
    pub fn remedy(&self) -> &'static str {
        let code = match &self.error {
            StorageError::Rejected { code, .. } => code.as_str(),
            _ => "",
        };
        match (self.kind, code) {
            (StorageKind::Local, _) => "Check free space and the owner of the folder `objects` in DATA_DIR.",
            (_, "InvalidAccessKeyId") => {
                "ALIYUN_ACCESS_KEY is unknown or disabled; check it in the RAM console."
            }
            (_, "SignatureDoesNotMatch") => "ALIYUN_ACCESS_KEY_SECRET does not belong to ALIYUN_ACCESS_KEY.",
            (_, "SecurityTokenExpired" | "InvalidSecurityToken") => {
                "Renew ALIYUN_SECURITY_TOKEN and its key pair."
            }
            (_, "NoSuchBucket") => {
                "Create the bucket, or correct OSS_BUCKET_NAME or the region in OSS_ENDPOINT."
            }
            (_, "AccessDenied") => {
                "Allow oss:PutObject, oss:GetObject and oss:DeleteObject on the bucket, and check its region in OSS_ENDPOINT."
            }
            (_, "RequestTimeTooSkewed") => "Set the clock of this machine (NTP).",
            (_, "") if self.step.starts_with("presigned") => {
                "Clients use URLs with OSS_CUSTOM_DOMAIN, else OSS_PUBLIC_ENDPOINT, else OSS_ENDPOINT: check that this name leads to the bucket."
            }
            (_, "") => "Check OSS_ENDPOINT, and that this machine can reach it.",
            _ => "Look the code up in the OSS error reference.",
        }
    }
}

impl Storage {
    /// Writes, reads and removes a small object under `probe/`. Answers how long that took.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn probe(&self) -> Result<Duration, ProbeFault> {
        let started = tokio::time::Instant::now();
        let key = format!("probe/{}", Uuid::new_v4().simple());
        let fault = |step| {
            move |error| ProbeFault {
                step,
                error,
                kind: self.kind(),
            }
        };

        let body = stream::iter([Ok(Bytes::from_static(CONTENT))]);
        let put = self.put_within(TIMEOUT, &key, super::DEFAULT_TYPE, CONTENT.len() as u64, body);
        put.await.map_err(fault("put"))?;
        let read = tokio::time::timeout(TIMEOUT, self.read_back(&key)).await;
        // Removed also when it could not be read.
        let removed = tokio::time::timeout(TIMEOUT, self.delete(&key)).await;
        read.unwrap_or_else(late).map_err(fault("get"))?;
        removed.unwrap_or_else(late).map_err(fault("delete"))?;
        Ok(started.elapsed())
    }

    /// Writes and reads a small object through presigned URLs, as a client does, under the name that
    /// clients use. `None`: those of the local backend lead to this server itself.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn probe_presigned(&self) -> Result<Option<Duration>, ProbeFault> {
        let Backend::Oss(oss) = &*self.backend else {
            return Ok(None);
        };
        let started = tokio::time::Instant::now();
        let key = format!("probe/{}", Uuid::new_v4().simple());
        let expires_at = Clock::default().now() + TimeDelta::minutes(5);
        let fault = |step| {
            move |error| ProbeFault {
                step,
                error,
                kind: self.kind(),
            }
        };
        let put = self
            .presign_put(PresignPut {
                key: &key,
                content_type: super::DEFAULT_TYPE,
                size: CONTENT.len() as u64,
                expires_at,
                local_path: "",
            })
            .map_err(fault("presigned put"))?;
        let get = self
            .presign_get(PresignGet {
                key: &key,
                file_name: "probe",
                disposition: Disposition::Attachment,
                expires_at,
                local_path: "",
            })
            .map_err(fault("presigned get"))?;
        oss.follow(&put, Bytes::from_static(CONTENT), TIMEOUT)
            .await
            .map_err(fault("presigned put"))?;
        let read = oss.follow(&get, Bytes::new(), TIMEOUT).await;
        let removed = tokio::time::timeout(TIMEOUT, self.delete(&key)).await;
        if read.map_err(fault("presigned get"))? != CONTENT {
            let error = StorageError::Unavailable("another object was answered".to_owned());
            return Err(fault("presigned get")(error));
        }
        removed.unwrap_or_else(late).map_err(fault("delete"))?;
        Ok(Some(started.elapsed()))
    }

    /// Whether the storage answers at all: one request, nothing is written.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn ping(&self) -> Result<(), StorageError> {
        match tokio::time::timeout(TIMEOUT, self.head("probe/ping"))
            .await
            .unwrap_or_else(late)
        {
            Ok(_) | Err(StorageError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn read_back(&self, key: &str) -> Result<(), StorageError> {
        let broken = |e| StorageError::Unavailable(format!("GET: {e}"));
        let pieces: Vec<Bytes> = self
            .get(key, None)
            .await?
            .stream
            .try_collect()
            .await
            .map_err(broken)?;
        if pieces.concat() == CONTENT {
            return Ok(());
        }
        Err(StorageError::Unavailable(
            "the object that was read is not the one that was written".to_owned(),
        ))
    }
}

fn late<T>(_: tokio::time::error::Elapsed) -> Result<T, StorageError> {
    Err(StorageError::Unavailable(format!("no answer within {TIMEOUT:?}")))
}
