//! A body on its way in: hashed, in memory while it is small, in a file of the folder when it is not.

use std::fs::File;
use std::io::{self, Write};
use std::time::SystemTime;

use bytes::BytesMut;
use sha2::{Digest, Sha256};

use super::folder::{Folder, Guard};
use super::{CHUNK, DB_MAX, INLINE_MAX, Staged, new_reference};
use crate::settings::StagingMode;

/// Dropping it removes what was written.
#[derive(Debug)]
pub struct Spool {
    folder: Folder,
    mode: StagingMode,
    hash: Sha256,
    size: u64,
    memory: BytesMut,
    spilled: Option<Spilled>,
}

#[derive(Debug)]
struct Spilled {
    guard: Guard,
    /// `None` while the spool is at rest.
    file: Option<File>,
}

impl Spool {
    pub(super) fn new(folder: Folder, mode: StagingMode) -> Self {
        Spool {
            folder,
            mode,
            hash: Sha256::new(),
            size: 0,
            memory: BytesMut::new(),
            spilled: None,
        }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Those of them that are in memory.
    pub fn held(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Will taking so many bytes more block on the disk?
    pub fn uses_disk(&self, more: usize) -> bool {
        self.spilled.is_some()
            || (self.mode == StagingMode::Disk && self.size + more as u64 > INLINE_MAX as u64)
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// The disk is full or gone; `FileTooLarge` for what does not belong into the database.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let uses_disk = self.uses_disk(bytes.len());
        self.size += bytes.len() as u64;
        if self.mode == StagingMode::Db && self.size > DB_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.hash.update(bytes);
        if !uses_disk {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            None => {
                let (guard, mut file) = self.folder.create()?;
                file.write_all(&std::mem::take(&mut self.memory))?;
                let file = Some(file);
                self.spilled.insert(Spilled { guard, file })
            }
        };
        spilled.open()?.write_all(bytes)
    }

    /// Nothing more comes soon: gives back the file handle.
    pub fn rest(&mut self) {
        if let Some(spilled) = &mut self.spilled {
            spilled.file = None;
        }
    }

    /// Tells the sweep that this is still wanted.
    ///
    /// # Errors
    /// The file is gone.
    pub fn touch(&self) -> io::Result<()> {
        match &self.spilled {
            Some(spilled) => spilled.guard.reopen()?.set_modified(SystemTime::now()),
            None => Ok(()),
        }
    }

    /// Makes what was spilled durable and names it.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub async fn stage(self) -> io::Result<Staged> {
        if !self.uses_disk(0) {
            return self.finish();
        }
        tokio::task::spawn_blocking(|| self.finish())
            .await
            .map_err(io::Error::other)?
    }

    fn finish(mut self) -> io::Result<Staged> {
        let sha256 = self.hash.finalize().into();
        let Some(mut spilled) = self.spilled.take() else {
            let mut rest = self.memory.freeze();
            let mut chunks = Vec::with_capacity(rest.len() / CHUNK + 1);
            while rest.len() > CHUNK {
                chunks.push(rest.split_to(CHUNK));
            }
            chunks.push(rest);
            return Ok(Staged {
                reference: new_reference("db"),
                size: self.size,
                sha256,
                chunks,
                guard: None,
            });
        };
        spilled.open()?.sync_all()?;
        let name = spilled.guard.publish()?;
        let reference = format!("{}/{name}", self.folder.identity());
        Ok(Staged {
            reference,
            size: self.size,
            sha256,
            chunks: Vec::new(),
            guard: Some(spilled.guard),
        })
    }
}

impl Spilled {
    fn open(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            closed => Ok(closed.insert(self.guard.reopen()?)),
        }
    }
}
