//! A body that is taken in by an async reader.

use std::io;

use bytes::Bytes;

use super::{Spool, Staged};

/// A body on its way in. Dropping it removes what was written.
pub struct Intake {
    /// Away while a thread writes; gone after an error.
    spool: Option<Spool>,
    size: u64,
}

impl Intake {
    pub(super) fn new(spool: Spool) -> Self {
        Intake {
            spool: Some(spool),
            size: 0,
        }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// # Errors
    /// The disk is full or gone; `FileTooLarge` for what does not belong into the database.
    pub async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        let mut spool = self.take()?;
        self.size += bytes.len() as u64;
        if !spool.uses_disk(bytes.len()) {
            spool.push(&bytes)?;
            self.spool = Some(spool);
            return Ok(());
        }
        let write = move || spool.push(&bytes).map(|()| spool);
        self.spool = Some(
            tokio::task::spawn_blocking(write)
                .await
                .map_err(io::Error::other)??,
        );
        Ok(())
    }

    /// Makes a spilled body durable and names it.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub async fn finish(mut self) -> io::Result<Staged> {
        self.take()?.stage().await
    }

    fn take(&mut self) -> io::Result<Spool> {
        self.spool
            .take()
            .ok_or_else(|| io::Error::other("a body was left in the middle"))
    }
}
