//! The staging folder: `{uuid}` for accepted bodies, `{uuid}.tmp` while they come in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio_util::io::ReaderStream;
use uuid::Uuid;
use yunque_kernel::storage::folder_identity;

use super::StagedStream;

const IDENTITY_FILE: &str = ".staging-id";
const READ_SIZE: usize = 64 * 1024;

/// A cheap handle to the folder.
#[derive(Clone, Debug)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    identity: String,
}

impl Folder {
    /// Makes the folder and its identity, once.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let identity = folder_identity(root, IDENTITY_FILE)?.simple().to_string();
        Ok(Folder(Arc::new(Inner {
            root: root.to_owned(),
            identity,
        })))
    }

    pub fn root(&self) -> &Path {
        &self.0.root
    }

    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// A new file, removed again unless it is published and kept. Blocks.
    pub(super) fn create(&self) -> io::Result<(Guard, std::fs::File)> {
        let guard = Guard {
            folder: self.clone(),
            name: Uuid::new_v4().simple().to_string(),
            keep: AtomicBool::new(false),
        };
        let file = std::fs::File::create_new(guard.incoming())?;
        Ok((guard, file))
    }

    pub(super) async fn read(&self, name: &str) -> io::Result<Option<(u64, StagedStream)>> {
        let Some(path) = self.path(name) else {
            return Ok(None);
        };
        match File::open(path).await {
            Ok(file) => {
                let size = file.metadata().await?.len();
                Ok(Some((
                    size,
                    ReaderStream::with_capacity(file, READ_SIZE).into_stream().boxed(),
                )))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).is_some_and(|p| p.exists())
    }

    /// Short and best effort; the sweep repeats it.
    pub fn remove(&self, name: &str) {
        let Some(path) = self.path(name) else { return };
        if let Err(e) = std::fs::remove_file(&path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(error = %e, "could not remove a staged file");
        }
    }

    pub(super) fn old_files(&self, age: Duration) -> io::Result<OldFiles> {
        let before = SystemTime::now().checked_sub(age);
        Ok(OldFiles {
            entries: std::fs::read_dir(&self.0.root)?,
            before: before.unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    /// Names come from our own references; anything else never leaves the folder.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let plain = name.strip_suffix(".tmp").unwrap_or(name);
        let ok = plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit());
        ok.then(|| self.0.root.join(name))
    }
}

/// A walk through old files. However many there are, a page of names is all that is in memory.
#[derive(Debug)]
pub struct OldFiles {
    entries: std::fs::ReadDir,
    before: SystemTime,
}

impl OldFiles {
    /// The next names, at most `max`; none at the end. Blocks.
    ///
    /// # Errors
    /// The folder cannot be listed any more.
    pub fn page(&mut self, max: usize) -> io::Result<Vec<String>> {
        let mut old = Vec::new();
        while old.len() < max
            && let Some(entry) = self.entries.next()
        {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let modified = entry.metadata().and_then(|m| m.modified());
            if name != IDENTITY_FILE && modified.is_ok_and(|at| at < self.before) {
                old.push(name);
            }
        }
        Ok(old)
    }
}

/// Owns a file that nobody refers to yet.
#[derive(Debug)]
pub(super) struct Guard {
    folder: Folder,
    name: String,
    keep: AtomicBool,
}

impl Guard {
    fn incoming(&self) -> PathBuf {
        self.folder.0.root.join(format!("{}.tmp", self.name))
    }

    /// Opens the file again. Blocks.
    pub fn reopen(&self) -> io::Result<std::fs::File> {
        std::fs::File::options().write(true).open(self.incoming())
    }

    /// Gives the file its final name and makes the name durable. Blocks.
    pub fn publish(&self) -> io::Result<String> {
        let root = &self.folder.0.root;
        std::fs::rename(self.incoming(), root.join(&self.name))?;
        std::fs::File::open(root)?.sync_all()?;
        Ok(self.name.clone())
    }

    /// Makes the published file look new.
    pub fn touch(&self) -> io::Result<()> {
        let file = std::fs::File::options()
            .write(true)
            .open(self.folder.0.root.join(&self.name))?;
        file.set_modified(SystemTime::now())
    }

    /// The file outlives this guard.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Relaxed) {
            self.folder.remove(&self.name);
            self.folder.remove(&format!("{}.tmp", self.name));
        }
    }
}
