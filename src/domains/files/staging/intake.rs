//! Takes a body in, piece by piece: hashes it, keeps it in memory while it is small, spills it to
//! the folder when it is not.

use std::io;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::folder::{Folder, Guard};
use super::{CHUNK, DB_MAX, INLINE_MAX, Staged, new_reference};
use crate::settings::StagingMode;

/// A body on its way in. Dropping it removes what was written.
pub struct Intake {
    folder: Folder,
    mode: StagingMode,
    hash: Sha256,
    size: u64,
    memory: BytesMut,
    spilled: Option<(Guard, File)>,
}

impl Intake {
    pub(super) fn new(folder: Folder, mode: StagingMode) -> Self {
        Intake {
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

    /// # Errors
    /// The disk is full or gone; `FileTooLarge` for what does not belong into the database.
    pub async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        self.size += bytes.len() as u64;
        self.hash.update(&bytes);
        if let Some((_, file)) = &mut self.spilled {
            return file.write_all(&bytes).await;
        }
        let in_memory = match self.mode {
            StagingMode::Disk => INLINE_MAX as u64,
            StagingMode::Db => DB_MAX,
        };
        if self.size <= in_memory {
            self.memory.extend_from_slice(&bytes);
            return Ok(());
        }
        if self.mode == StagingMode::Db {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let (guard, mut file) = self.folder.create().await?;
        file.write_all(&self.memory).await?;
        file.write_all(&bytes).await?;
        self.memory = BytesMut::new();
        self.spilled = Some((guard, file));
        Ok(())
    }

    /// Makes a spilled body durable and names it.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub async fn finish(self) -> io::Result<Staged> {
        let sha256 = self.hash.finalize().into();
        let Some((guard, mut file)) = self.spilled else {
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
        file.flush().await?;
        file.sync_all().await?;
        let name = guard.publish().await?;
        let reference = format!("{}/{name}", self.folder.identity());
        Ok(Staged {
            reference,
            size: self.size,
            sha256,
            chunks: Vec::new(),
            guard: Some(guard),
        })
    }
}
