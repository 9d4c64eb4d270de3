//! Accepted bytes on their way to storage.
//!
//! * Bodies up to 64 KiB are rows of `staged_blobs`, written in the transaction that accepts them:
//!   no file, no second sync, and any worker can store them (`upload` queue).
//! * Larger ones are files in the staging folder, synced and renamed before that transaction. The
//!   folder has an identity, and its uploads go to the queue `upload@{identity}`, which only
//!   processes that see the folder drain.
//! * With `UPLOAD_STAGING=db` larger bodies become 256 KiB rows as well, at most 64 MiB a file.
//!
//! A body is taken in by a [`Spool`], which keeps small ones in memory and writes large ones to the
//! folder as they come: through an [`Intake`] where bytes arrive as such, through [`JsonContents`]
//! where they arrive as base64 in JSON. What is left of requests that came to nothing is removed with
//! them; what is left of a process that died, by the sweep.
//!
//! A reference is `db/{uuid}` or `{identity}/{uuid}`. An accepted upload survives process and host
//! restarts, not the loss of the disk.

mod blobs;
mod contents;
mod folder;
mod intake;
mod spool;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use sea_orm::ConnectionTrait;
use uuid::Uuid;
use yunque_kernel::{Db, DbError, Tx};

pub use contents::{JsonContents, Spooled, Upload};
pub use folder::{Folder, OldFiles};
pub use intake::Intake;
pub use spool::Spool;

use crate::FilesError;
use crate::entity::file::Model;
use crate::settings::StagingMode;

/// Bodies up to this size go into the accepting transaction.
pub const INLINE_MAX: usize = 64 * 1024;
/// Size of one row of a larger body.
const CHUNK: usize = 256 * 1024;
/// The database is no place for more.
pub const DB_MAX: u64 = 64 << 20;
/// The queue of uploads that any worker can do.
pub const SHARED_QUEUE: &str = "upload";

/// Bytes of a staged body.
pub type StagedStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A body that was taken in, and what is left to do to make it durable.
#[derive(Debug)]
pub struct Staged {
    pub reference: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
    /// Rows for the accepting transaction; empty when the bytes are in the folder.
    chunks: Vec<Bytes>,
    /// Removes the file unless the request was accepted.
    guard: Option<folder::Guard>,
}

impl Staged {
    /// Writes what belongs into the accepting transaction.
    ///
    /// # Errors
    /// As the database says.
    pub async fn write(&self, tx: &Tx, now: chrono::DateTime<chrono::Utc>) -> Result<(), DbError> {
        Staged::write_all(tx, &[self], now).await
    }

    /// As [`Staged::write`], of many, with few statements.
    ///
    /// # Errors
    /// As the database says.
    pub async fn write_all(
        tx: &Tx,
        staged: &[&Staged],
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<(), DbError> {
        let bodies = staged.iter().map(|s| (s.reference.as_str(), s.chunks.as_slice()));
        blobs::insert(tx, &bodies.collect::<Vec<_>>(), now).await
    }

    /// The file stays: the last act of the accepting transaction, before its commit. A connection
    /// may die when the server has committed and has not said so, and then nobody here knows; a file
    /// too many is removed by the sweep, a file that is missing is lost.
    pub fn keep(&self) {
        if let Some(guard) = &self.guard {
            guard.keep();
        }
    }

    /// Tells the sweep that this is still wanted. Blocks, but not for long.
    ///
    /// # Errors
    /// The file is gone.
    pub fn touch(&self) -> io::Result<()> {
        self.guard.as_ref().map_or(Ok(()), folder::Guard::touch)
    }
}

/// The queue that can reach a staged body.
pub fn queue_of(reference: Option<&str>) -> String {
    match reference.and_then(|r| r.split_once('/')) {
        Some(("db", _)) | None => SHARED_QUEUE.to_owned(),
        Some((identity, _)) => format!("upload@{identity}"),
    }
}

/// The staging area of this process. Cheap to clone.
#[derive(Clone)]
pub struct Staging {
    folder: Folder,
    mode: StagingMode,
    db: Db,
}

impl Staging {
    /// Opens (or makes) `{data_dir}/staging`.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn open(data_dir: &Path, mode: StagingMode, db: Db) -> io::Result<Self> {
        Ok(Staging {
            folder: Folder::open(&data_dir.join("staging"))?,
            mode,
            db,
        })
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The queue of uploads that need this folder.
    pub fn own_queue(&self) -> String {
        format!("upload@{}", self.folder.identity())
    }

    /// Starts taking a body of unknown length in, on threads that may block.
    pub fn spool(&self) -> Spool {
        Spool::new(self.folder.clone(), self.mode)
    }

    /// The same for async readers.
    pub fn intake(&self) -> Intake {
        Intake::new(self.spool())
    }

    /// Starts taking the contents of a JSON body in; `max` bytes of them, decoded.
    pub fn contents(&self, max: u64) -> JsonContents {
        JsonContents::new(self.clone(), max)
    }

    /// Opens a staged body for reading. `None`: the bytes are gone.
    ///
    /// # Errors
    /// The database or the disk does not answer.
    pub async fn read(&self, reference: &str) -> io::Result<Option<(u64, StagedStream)>> {
        match reference.split_once('/') {
            Some(("db", _)) => blobs::open(&self.db, reference).await.map_err(io::Error::other),
            Some((identity, name)) if identity == self.folder.identity() => self.folder.read(name).await,
            _ => Ok(None),
        }
    }

    /// Are the bytes still there, as far as this process can see?
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn has(&self, conn: &impl ConnectionTrait, reference: &str) -> Result<bool, DbError> {
        match reference.split_once('/') {
            Some(("db", _)) => blobs::exists(conn, reference).await,
            Some((identity, name)) if identity == self.folder.identity() => Ok(self.folder.has(name)),
            // Another host's folder: its worker will find out.
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// The bodies of these files that are one row each, by their reference.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn read_rows(&self, files: &[Model]) -> Result<HashMap<String, Bytes>, DbError> {
        let small = files.iter().filter(|f| f.size <= INLINE_MAX as i64);
        let references = small.filter_map(|f| f.staged_ref.as_deref());
        blobs::read_all(&self.db, references.filter(|r| r.starts_with("db/")).collect()).await
    }

    /// Removes the rows of a body inside the caller's transaction, and its file after the commit.
    ///
    /// # Errors
    /// As the database says.
    pub async fn discard(&self, tx: &Tx, reference: &str) -> Result<(), DbError> {
        self.discard_all(tx, [reference].into_iter()).await
    }

    /// The same for several.
    ///
    /// # Errors
    /// As the database says.
    pub async fn discard_all(
        &self,
        tx: &Tx,
        references: impl Iterator<Item = &str> + Send,
    ) -> Result<(), DbError> {
        let mut rows = Vec::new();
        for reference in references {
            match reference.split_once('/') {
                Some(("db", _)) => rows.push(reference),
                Some((identity, name)) if identity == self.folder.identity() => {
                    let (folder, name) = (self.folder.clone(), name.to_owned());
                    tx.after_commit(move || folder.remove(&name));
                }
                // A file of another host; that host's sweep finds it without a row.
                _ => {}
            }
        }
        blobs::delete(tx, rows).await
    }

    /// The files of the folder that are older than `age`, page by page.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn old_files(&self, age: Duration) -> io::Result<OldFiles> {
        self.folder.old_files(age)
    }
}

/// What clients hear when a body could not be taken in.
pub(crate) fn failure(error: io::Error) -> FilesError {
    match error.kind() {
        // Said by us. The system says the same of a limit of its own, and means no fault of the client.
        io::ErrorKind::FileTooLarge if error.raw_os_error().is_none() => FilesError::TooLarge,
        _ => FilesError::Staging(error),
    }
}

fn new_reference(place: &str) -> String {
    format!("{place}/{}", Uuid::new_v4().simple())
}
