//! Object storage: the bytes of uploaded files.
//!
//! [`Storage`] is one handle over two backends with the same behaviour: an Aliyun OSS bucket
//! ([`oss`]) and a folder ([`local`]). Objects are named by keys the server chose ([`key`]); they
//! are streamed in both directions, so a transfer needs the same memory whatever its size.
//!
//! What surprises:
//! * A write checks the declared length in both directions and stores nothing when it is wrong.
//! * `put` replaces an object (one key per file record, so a repeated attempt overwrites its own
//!   bytes); a presigned upload creates and never replaces.
//! * Presigned URLs of OSS go to OSS; those of the local backend come back to this server, to the
//!   path the caller names, and are checked with [`LocalBackend::verify`].
//! * Buckets are private: [`Storage::object_url`] names an object and gives no access.

mod body;
mod disposition;
mod error;
mod key;
mod local;
mod object;
mod oss;
mod probe;
mod range;
mod settings;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use futures_util::{Stream, StreamExt as _};
use uuid::Uuid;

pub use self::body::ByteStream;
pub use self::disposition::{Disposition, attachment};
pub use self::error::{StorageError, codes};
pub use self::local::{GrantFault, LocalAction, LocalGrant, LocalSigner, LocalStore, folder_identity};
pub use self::object::{CorsAnswer, GetObject, ObjectHead, PresignGet, PresignPut, Presigned, PutOutcome};
pub use self::oss::Endpoint;
pub use self::probe::ProbeFault;
pub use self::range::ByteRange;
pub use self::settings::{OssSettings, StorageKind, StorageSettings};

use self::local::Existing;
use crate::auth::Keys;
use crate::telemetry::Metrics;

/// For objects whose type is not known.
const DEFAULT_TYPE: &str = "application/octet-stream";
/// The name of the local "bucket" in URLs and logs.
const LOCAL_BUCKET: &str = "local";

/// The object storage of this process. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    backend: Arc<Backend>,
    metrics: Option<Metrics>,
}

enum Backend {
    Local(LocalBackend),
    Oss(oss::Oss),
}

/// What the local backend needs to know about this installation.
#[derive(Clone, Copy, Debug)]
pub struct LocalPlace<'a> {
    /// Objects are below `{data_dir}/objects`.
    pub data_dir: &'a Path,
    /// In front of the paths of presigned URLs.
    pub public_base_url: &'a str,
    /// For presigned URLs; the same on all hosts.
    pub keys: &'a Keys,
}

/// How long one attempt to store `size` bytes may take: 30 s and 256 KiB/s (contract "cloud" 3.5).
pub fn attempt_timeout(size: u64) -> Duration {
    Duration::from_secs(30) + Duration::from_millis(size.saturating_mul(1000) / (256 * 1024))
}

impl Storage {
    /// Opens the backend that the settings name. Blocking, short; for the start. OSS is not
    /// contacted: see [`Storage::probe`].
    ///
    /// # Errors
    /// `Unavailable` when the local folder cannot be used, `Rejected` when no HTTP client can be
    /// made.
    pub fn open(settings: &StorageSettings, place: LocalPlace<'_>) -> Result<Self, StorageError> {
        let backend = match settings {
            StorageSettings::Local => Backend::Local(LocalBackend {
                store: LocalStore::open(place.data_dir)?,
                signer: LocalSigner::new(place.keys, place.public_base_url),
                base: place.public_base_url.trim_end_matches('/').to_owned(),
            }),
            StorageSettings::Oss(settings) => Backend::Oss(oss::Oss::new(settings)?),
        };
        Ok(Storage {
            backend: Arc::new(backend),
            metrics: None,
        })
    }

    /// Counts and times requests from now on.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Storage {
            metrics: Some(metrics),
            ..self
        }
    }

    /// Stores the bytes of one object, replacing an older one, within [`attempt_timeout`].
    ///
    /// * `size`: length of `body` in bytes, exact.
    /// # Errors
    /// See [`StorageError`]; `is_retryable` tells whether another attempt makes sense. Nothing is
    /// stored then, or the same bytes.
    pub async fn put<S>(
        &self,
        key: &str,
        content_type: &str,
        size: u64,
        body: S,
    ) -> Result<PutOutcome, StorageError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        self.put_within(attempt_timeout(size), key, content_type, size, body)
            .await
    }

    /// [`Storage::put`] with a deadline of the caller's choice.
    ///
    /// # Errors
    /// As `put`; `Unavailable` when the deadline passes.
    pub async fn put_within<S>(
        &self,
        timeout: Duration,
        key: &str,
        content_type: &str,
        size: u64,
        body: S,
    ) -> Result<PutOutcome, StorageError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        key::check(key)?;
        let body = body.boxed();
        let put = async {
            match &*self.backend {
                Backend::Oss(oss) => oss.put(key, content_type, size, body, timeout).await,
                Backend::Local(local) => {
                    let put = local.store.put(key, content_type, size, body, Existing::Replace);
                    let late =
                        |_| StorageError::Unavailable(format!("write {key}: not done within {timeout:?}"));
                    tokio::time::timeout(timeout, put).await.map_err(late)?
                }
            }
        };
        let sums = self.observed("put", put).await?;
        Ok(PutOutcome {
            sha256: sums.sha256,
            size,
        })
    }

    /// Opens an object, or a part of it, for reading.
    ///
    /// # Errors
    /// `NotFound`, `BadRange`, or what the backend says.
    pub async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<GetObject, StorageError> {
        key::check(key)?;
        match &*self.backend {
            Backend::Oss(oss) => self.observed("get", oss.get(key, range)).await,
            Backend::Local(local) => self.observed("get", local.store.get(key, range)).await,
        }
    }

    /// Size and type of an object.
    ///
    /// # Errors
    /// `NotFound`, or what the backend says.
    pub async fn head(&self, key: &str) -> Result<ObjectHead, StorageError> {
        key::check(key)?;
        match &*self.backend {
            Backend::Oss(oss) => self.observed("head", oss.head(key)).await,
            Backend::Local(local) => self.observed("head", local.store.head(key)).await,
        }
    }

    /// Removes an object. One that is gone already counts as removed.
    ///
    /// # Errors
    /// What the backend says; never `NotFound`.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        key::check(key)?;
        match &*self.backend {
            Backend::Oss(oss) => self.observed("delete", oss.delete(key)).await,
            Backend::Local(local) => self.observed("delete", local.store.delete(key)).await,
        }
    }

    /// Removes parts of objects whose writers died. A bucket keeps none.
    ///
    /// # Errors
    /// The local folder cannot be read.
    pub async fn sweep(&self) -> Result<(), StorageError> {
        match &*self.backend {
            Backend::Oss(_) => Ok(()),
            Backend::Local(local) => local.store.sweep().await,
        }
    }

    /// Counts a request. Answers about the object itself, such as `NotFound`, are the storage
    /// working.
    async fn observed<T>(
        &self,
        operation: &str,
        request: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let started = tokio::time::Instant::now();
        let result = request.await;
        if let Some(metrics) = &self.metrics {
            let outcome = match &result {
                Err(StorageError::Unavailable(_)) => "unavailable",
                Err(StorageError::Rejected { .. }) => "rejected",
                _ => "ok",
            };
            metrics
                .storage
                .requests
                .with_label_values(&[operation, outcome])
                .inc();
            metrics
                .storage
                .seconds
                .with_label_values(&[operation])
                .observe(started.elapsed().as_secs_f64());
        }
        result
    }

    /// A URL with which a client can create the object itself, and never replace it.
    ///
    /// # Errors
    /// `Rejected` when the key is not allowed.
    pub fn presign_put(&self, put: PresignPut<'_>) -> Result<Presigned, StorageError> {
        key::check(put.key)?;
        let expires_at = whole_seconds(put.expires_at);
        let content_type = put.content_type.to_owned();
        let (url, headers) = match &*self.backend {
            Backend::Oss(oss) => oss.presign_put(put.key, put.content_type, expires_at),
            Backend::Local(local) => {
                let headers = vec![("Content-Type", content_type.clone())];
                let action = LocalAction::Put {
                    content_type,
                    size: put.size,
                };
                let grant = LocalGrant {
                    key: put.key.to_owned(),
                    action,
                    expires_at,
                };
                (local.signer.url(put.local_path, &grant), headers)
            }
        };
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Ok(Presigned {
            url,
            method: "PUT",
            headers,
            expires_at,
        })
    }

    /// A URL with which anybody can read the object until it expires.
    ///
    /// # Errors
    /// `Rejected` when the key is not allowed.
    pub fn presign_get(&self, get: PresignGet<'_>) -> Result<Presigned, StorageError> {
        key::check(get.key)?;
        let expires_at = whole_seconds(get.expires_at);
        let url = match &*self.backend {
            Backend::Oss(oss) => oss.presign_get(get.key, get.disposition.header(get.file_name), expires_at),
            Backend::Local(local) => {
                let action = LocalAction::Get {
                    disposition: get.disposition,
                    file_name: get.file_name.to_owned(),
                };
                local.signer.url(
                    get.local_path,
                    &LocalGrant {
                        key: get.key.to_owned(),
                        action,
                        expires_at,
                    },
                )
            }
        };
        Ok(Presigned {
            url,
            method: "GET",
            headers: BTreeMap::new(),
            expires_at,
        })
    }

    /// The unsigned name of an object, `oss_url` in responses. It gives no access.
    pub fn object_url(&self, key: &str) -> String {
        match &*self.backend {
            Backend::Oss(oss) => oss.url(key),
            Backend::Local(local) => format!("{}/oss/{LOCAL_BUCKET}/{key}", local.base),
        }
    }

    /// Whether a browser page of `origin` may use presigned uploads. Best effort, for `doctor`.
    pub async fn cors_allows_put(&self, origin: &str) -> CorsAnswer {
        match &*self.backend {
            Backend::Oss(oss) => oss.cors_allows_put(origin).await,
            // Our own server answers, by its own CORS rules.
            Backend::Local(_) => CorsAnswer::Allowed,
        }
    }

    pub fn kind(&self) -> StorageKind {
        match &*self.backend {
            Backend::Oss(_) => StorageKind::Oss,
            Backend::Local(_) => StorageKind::Local,
        }
    }

    /// Where objects are, for logs and `doctor`. No secret in it.
    pub fn place(&self) -> String {
        match &*self.backend {
            Backend::Oss(oss) => format!("bucket {} at {}", oss.bucket(), oss.address()),
            Backend::Local(local) => format!("folder {}", local.store.root().display()),
        }
    }

    /// The local backend, for the endpoint behind its presigned URLs and for the identity check.
    pub fn local(&self) -> Option<&LocalBackend> {
        match &*self.backend {
            Backend::Local(local) => Some(local),
            Backend::Oss(_) => None,
        }
    }
}

/// A folder of objects together with its presigned URLs.
pub struct LocalBackend {
    store: LocalStore,
    signer: LocalSigner,
    base: String,
}

impl LocalBackend {
    /// Which folder this is. All hosts of an installation must see the same one; the caller
    /// compares it with what the database remembers.
    pub fn identity(&self) -> Uuid {
        self.store.identity()
    }

    /// Checks a request to a presigned URL: its method, path and raw query.
    ///
    /// # Errors
    /// Not signed by this installation, or expired: 403.
    pub fn verify(
        &self,
        method: &str,
        path: &str,
        query: &str,
        now: DateTime<Utc>,
    ) -> Result<LocalGrant, GrantFault> {
        self.signer.verify(method, path, query, now)
    }

    /// Takes the bytes of a presigned upload, whose `Content-Type` the caller has compared
    /// ([`LocalGrant::allows_type`]). The object comes into being with exactly the granted
    /// length, once.
    ///
    /// # Errors
    /// `AlreadyExists` the second time, `Truncated` or `TooLong` for another length, `Rejected`
    /// when the grant is not for an upload.
    pub async fn receive<S>(&self, grant: &LocalGrant, body: S) -> Result<PutOutcome, StorageError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        key::check(&grant.key)?;
        let LocalAction::Put { content_type, size } = &grant.action else {
            return Err(StorageError::refused("not_an_upload", "the URL is for reading"));
        };
        let sums = self
            .store
            .put(&grant.key, content_type, *size, body.boxed(), Existing::Keep)
            .await?;
        Ok(PutOutcome {
            sha256: sums.sha256,
            size: *size,
        })
    }
}

/// Signatures know seconds only.
fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::seconds(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests;
