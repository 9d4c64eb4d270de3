//! Objects as files below `{data folder}/objects`, for the embedded size.
//!
//! * An object is the file at its key. It is written to `.tmp/`, synced, and renamed, so a reader
//!   sees all of it or nothing, also after a crash. A content type that its name does not say lies
//!   beside it in `.{name}.type`; keys never have a segment that starts with a dot.
//! * Small objects that come at the same time are written together: one trip to the blocking pool,
//!   and one sync of each folder.
//! * The folder has an identity (`.storage-id`, made once). The database remembers it; a host that
//!   sees another folder must refuse to run, because half of the files would be missing there.
//! * All calls into the file system run on the blocking pool.

mod place;
mod signer;

use std::fs::{self, File};
use std::io::{self, ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

pub use self::place::folder_identity;
use self::place::{Place, Root, Write, implied_type, type_file};
pub use self::signer::{GrantFault, LocalAction, LocalGrant, LocalSigner};
use super::body::{ByteStream, Measured, Sums};
use super::{ByteRange, GetObject, ObjectHead, StorageError};
use crate::batch::Batcher;
use crate::task::panic_text;

const IDENTITY: &str = ".storage-id";
const TEMP: &str = ".tmp";
/// No write takes this long; what is older was left by a process that died.
const TEMP_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
const PIECE: usize = 64 * 1024;
/// Bodies up to this size are written in one go.
const WHOLE: u64 = 64 * 1024;
/// Small bodies written together; all of them are in memory.
const MOST_AT_ONCE: usize = 64;

/// A folder of objects. Cheap to clone.
#[derive(Clone)]
pub struct LocalStore {
    root: Arc<Root>,
    identity: Uuid,
    /// Started by the first small object, because opening needs no runtime.
    small: Arc<OnceLock<Batcher<Write, io::Result<()>>>>,
}

/// Whether a write may replace an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Replace,
    Keep,
}

impl LocalStore {
    /// Opens `{data_dir}/objects`, making it when it is missing. Blocking; for the start.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be made or written.
    pub fn open(data_dir: &Path) -> Result<Self, StorageError> {
        let root = data_dir.join("objects");
        let open = || -> io::Result<Uuid> {
            fs::create_dir_all(root.join(TEMP))?;
            let identity = folder_identity(&root, IDENTITY)?;
            sweep(&root.join(TEMP))?;
            Ok(identity)
        };
        let identity = open().map_err(|e| io_error("open", &root, e))?;
        Ok(LocalStore {
            root: Arc::new(Root::new(root)),
            identity,
            small: Arc::default(),
        })
    }

    /// Who this folder is: made once, the same for every process that shares it.
    pub fn identity(&self) -> Uuid {
        self.identity
    }

    /// Removes what writes left that died long ago; `open` does it too, but servers run for months.
    pub(super) async fn sweep(&self) -> Result<(), StorageError> {
        let temp = self.root.path().join(TEMP);
        let swept = temp.clone();
        blocking(move || sweep(&swept))
            .await
            .map_err(|e| io_error("sweep", &temp, e))
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) async fn put(
        &self,
        key: &str,
        content_type: &str,
        size: u64,
        body: ByteStream,
        existing: Existing,
    ) -> Result<Sums, StorageError> {
        let target = self.path(key);
        let failed = |e| io_error("write", &target, e);
        let missing = || StorageError::Truncated {
            declared: size,
            actual: 0,
        };
        if existing == Existing::Keep && tokio::fs::try_exists(&target).await.map_err(failed)? {
            // Before the body is read; the rename below decides in a race.
            return Err(StorageError::AlreadyExists);
        }
        let (mut body, verdict) = Measured::new(body, size);
        let place = Place {
            path: target.clone(),
            content_type: content_type.to_owned(),
            existing,
        };
        let written = if size <= WHOLE {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            while let Some(Ok(piece)) = body.next().await {
                bytes.extend_from_slice(&piece);
            }
            let sums = verdict.take().unwrap_or_else(|| Err(missing()))?;
            self.write_small(Write { bytes, place }).await.map(|()| sums)
        } else {
            let root = self.root.clone();
            let temp = blocking(move || root.temporary()).await.map_err(failed)?;
            let (file, temp) = temp.into_parts();
            let mut file = tokio::fs::File::from_std(file);
            while let Some(Ok(piece)) = body.next().await {
                file.write_all(&piece).await.map_err(failed)?;
            }
            let sums = verdict.take().unwrap_or_else(|| Err(missing()))?;
            file.flush().await.map_err(failed)?;
            let (root, file) = (self.root.clone(), file.into_std().await);
            blocking(move || root.settle(file, temp, &place))
                .await
                .map(|()| sums)
        };
        written.map_err(|e| {
            if existing == Existing::Keep && e.kind() == ErrorKind::AlreadyExists {
                StorageError::AlreadyExists
            } else {
                failed(e)
            }
        })
    }

    async fn write_small(&self, write: Write) -> io::Result<()> {
        let root = &self.root;
        let small = self.small.get_or_init(|| {
            let root = root.clone();
            Batcher::new(MOST_AT_ONCE, move |writes: Vec<Write>| {
                let (root, count) = (root.clone(), writes.len());
                async move {
                    let written = blocking(move || Ok(root.write_all(writes))).await;
                    written.unwrap_or_else(|e| (0..count).map(|_| Err(e.kind().into())).collect())
                }
            })
        });
        small.call(write).await.map_err(io::Error::other)?
    }

    pub(super) async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<GetObject, StorageError> {
        let path = self.path(key);
        let opened = {
            let path = path.clone();
            blocking(move || Ok((look(&path)?, File::open(&path)?))).await
        };
        let (head, file) = opened.map_err(|e| io_error("read", &path, e))?;
        let mut file = tokio::fs::File::from_std(file);
        let (first, size) = match range {
            Some(range) => range.within(head.size)?,
            None => (0, head.size),
        };
        if first > 0 {
            file.seek(SeekFrom::Start(first))
                .await
                .map_err(|e| io_error("read", &path, e))?;
        }
        let stream = ReaderStream::with_capacity(file.take(size), PIECE).boxed();
        Ok(GetObject {
            stream,
            size,
            range: range.map(|_| (first, first + size - 1)),
            head,
        })
    }

    pub(super) async fn head(&self, key: &str) -> Result<ObjectHead, StorageError> {
        let path = self.path(key);
        let looked_at = path.clone();
        blocking(move || look(&looked_at))
            .await
            .map_err(|e| io_error("read", &path, e))
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key);
        let gone = path.clone();
        let removed = blocking(move || {
            let object = fs::remove_file(&gone);
            let beside = fs::remove_file(type_file(&gone));
            object.and(beside)
        });
        match removed.await {
            Err(e)
                if !matches!(
                    e.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
                ) =>
            {
                Err(io_error("delete", &path, e))
            }
            _ => Ok(()),
        }
    }

    /// `key` has been checked: plain segments, no dots in front.
    fn path(&self, key: &str) -> PathBuf {
        self.root.path().join(key)
    }
}

fn look(path: &Path) -> io::Result<ObjectHead> {
    // Not followed: a link in the folder is not an object of ours.
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let content_type = match fs::read_to_string(type_file(path)) {
        Ok(text) if !text.is_empty() => text,
        _ => implied_type(path).to_owned(),
    };
    let modified = meta.modified().ok();
    let nanos = modified
        .and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |d| d.as_nanos());
    Ok(ObjectHead {
        size: meta.len(),
        content_type,
        etag: Some(format!("\"{nanos:x}-{:x}\"", meta.len())),
        last_modified: modified.and_then(moment),
    })
}

/// File systems keep times that no calendar has.
fn moment(time: SystemTime) -> Option<DateTime<Utc>> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())
}

fn sweep(temp: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temp)?.flatten() {
        let age = entry
            .metadata()
            .ok()
            .and_then(|m| m.modified().ok())
            .and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age > TEMP_MAX_AGE) {
            // Somebody else may sweep the same folder.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => {
                let panic = panic_text(panic.as_ref());
                tracing::error!(panic, "work on the object folder ended by a panic");
                Err(io::Error::other(format!("panic: {panic}")))
            }
            Err(_) => Err(io::Error::other("the runtime is stopping")),
        },
    }
}

/// Sorts errors of the file system. A disk that is full or may not be written gets its own log
/// line, because the operator has to act.
fn io_error(operation: &str, path: &Path, error: io::Error) -> StorageError {
    let place = path.display();
    match error.kind() {
        ErrorKind::NotFound if operation != "open" && operation != "write" => return StorageError::NotFound,
        ErrorKind::NotADirectory if operation == "read" => return StorageError::NotFound,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            tracing::error!(storage.path = %place, error = %error, "The disk of the object folder is full");
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            tracing::error!(storage.path = %place, error = %error, "The object folder cannot be used by this user");
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename => {
            return StorageError::refused("invalid_key", format!("{operation} {place}: {error}"));
        }
        _ => {}
    }
    StorageError::Unavailable(format!("{operation} {place}: {error}"))
}

#[cfg(test)]
mod tests;
