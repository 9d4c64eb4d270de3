//! Objects as files below `{data folder}/objects`, for the embedded size.
//!
//! * An object is the file at its key. It is written to `.tmp/`, synced, and renamed, so a reader
//!   sees all of it or nothing, also after a crash. Its content type lies beside it in
//!   `.{name}.type`; keys never have a segment that starts with a dot.
//! * The folder has an identity (`.storage-id`, made once). The database remembers it; a host that
//!   sees another folder must refuse to run, because half of the files would be missing there.
//! * All calls into the file system run on the blocking pool.

mod signer;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

pub use self::signer::{GrantFault, LocalAction, LocalGrant, LocalSigner};
use super::body::{ByteStream, Measured, Sums};
use super::{ByteRange, DEFAULT_TYPE, GetObject, ObjectHead, StorageError};

const IDENTITY: &str = ".storage-id";
const TEMP: &str = ".tmp";
/// No write takes this long; what is older was left by a process that died.
const TEMP_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
const PIECE: usize = 64 * 1024;
/// Bodies up to this size are written in one go.
const WHOLE: u64 = 64 * 1024;
/// Folders remembered as durable; one for each user and kind of object.
const REMEMBERED: usize = 10_000;

/// A folder of objects. Cheap to clone.
#[derive(Clone)]
pub struct LocalStore {
    root: Arc<Path>,
    identity: Uuid,
    /// Folders whose names were synced by this process, so that one sync is enough for an object.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
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
            let identity = identity(&root)?;
            sweep(&root.join(TEMP))?;
            Ok(identity)
        };
        let identity = open().map_err(|e| io_error("open", &root, e))?;
        Ok(LocalStore {
            root: root.into(),
            identity,
            durable: Arc::default(),
        })
    }

    /// Who this folder is: made once, the same for every process that shares it.
    pub fn identity(&self) -> Uuid {
        self.identity
    }

    pub fn root(&self) -> &Path {
        &self.root
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
        let temp_dir = self.root.join(TEMP);
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
        let (store, path, content_type) = (self.clone(), target.clone(), content_type.to_owned());
        let stored = if size <= WHOLE {
            // All in one go: each trip to the blocking pool costs more than writing this little.
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            while let Some(Ok(piece)) = body.next().await {
                bytes.extend_from_slice(&piece);
            }
            let sums = verdict.take().unwrap_or_else(|| Err(missing()))?;
            let write = move || {
                let mut temp = NamedTempFile::new_in(temp_dir)?;
                temp.write_all(&bytes)?;
                let (file, temp) = temp.into_parts();
                store.settle(file, temp, &path, &content_type, existing)
            };
            blocking(write).await.map(|()| sums)
        } else {
            let temp = blocking(move || NamedTempFile::new_in(temp_dir))
                .await
                .map_err(failed)?;
            let (file, temp) = temp.into_parts();
            let mut file = tokio::fs::File::from_std(file);
            while let Some(Ok(piece)) = body.next().await {
                file.write_all(&piece).await.map_err(failed)?;
            }
            let sums = verdict.take().unwrap_or_else(|| Err(missing()))?;
            file.flush().await.map_err(failed)?;
            let file = file.into_std().await;
            blocking(move || store.settle(file, temp, &path, &content_type, existing))
                .await
                .map(|()| sums)
        };
        stored.map_err(|e| {
            if existing == Existing::Keep && e.kind() == ErrorKind::AlreadyExists {
                StorageError::AlreadyExists
            } else {
                failed(e)
            }
        })
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
        self.root.join(key)
    }

    /// Puts a complete temporary file in its place. Blocking.
    fn settle(
        &self,
        file: File,
        temp: TempPath,
        path: &Path,
        content_type: &str,
        existing: Existing,
    ) -> io::Result<()> {
        file.sync_all()?;
        drop(file);
        let folder = path.parent().unwrap_or(&self.root);
        let known = self.is_durable(folder);
        if !known {
            fs::create_dir_all(folder)?;
        }
        // The type goes first, so that a visible object has one. It is not synced: after a power cut
        // it may be missing, and the object is then served as plain bytes.
        let mut beside = NamedTempFile::new_in(self.root.join(TEMP))?;
        beside.write_all(content_type.as_bytes())?;
        match existing {
            Existing::Replace => {
                beside.persist(type_file(path))?;
                temp.persist(path)?;
            }
            Existing::Keep => {
                // Two writers may race for a key; only the first may say what type it has.
                temp.persist_noclobber(path)?;
                beside.persist(type_file(path))?;
            }
        }
        // A rename is durable when its folder is; a new folder when its parent is.
        File::open(folder)?.sync_all()?;
        if !known {
            for parent in folder
                .ancestors()
                .skip(1)
                .take_while(|f| f.starts_with(&self.root))
            {
                File::open(parent)?.sync_all()?;
            }
            self.mark_durable(folder);
        }
        Ok(())
    }

    /// Is this folder there, and its own name on the disk for good?
    fn is_durable(&self, folder: &Path) -> bool {
        self.durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(folder)
            && folder.is_dir()
    }

    fn mark_durable(&self, folder: &Path) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(folder.to_owned());
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
        _ => DEFAULT_TYPE.to_owned(),
    };
    let modified = meta.modified().ok();
    let nanos = modified
        .and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |d| d.as_nanos());
    Ok(ObjectHead {
        size: meta.len(),
        content_type,
        etag: Some(format!("\"{nanos:x}-{:x}\"", meta.len())),
        last_modified: modified.map(DateTime::<Utc>::from),
    })
}

fn type_file(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.type"))
}

fn identity(root: &Path) -> io::Result<Uuid> {
    let path = root.join(IDENTITY);
    if !path.exists() {
        let mut file = NamedTempFile::new_in(root.join(TEMP))?;
        writeln!(file, "{}", Uuid::new_v4())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Ok(_) => File::open(root)?.sync_all()?,
            // Another process was faster; its id counts.
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.error),
        }
    }
    let text = fs::read_to_string(&path)?;
    let damaged = |_| {
        io::Error::new(
            ErrorKind::InvalidData,
            format!("{} does not hold an id", path.display()),
        )
    };
    Uuid::parse_str(text.trim()).map_err(damaged)
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
        Err(_) => Err(io::Error::other("the runtime is stopping")),
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
