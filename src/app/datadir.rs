//! The data folder and its lock.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Held for as long as the process uses the folder alone. The lock is the operating system's and
/// goes with the process, however it ends.
pub struct DataDirLock {
    _file: File,
}

/// Makes the folder, readable by its owner only.
///
/// # Errors
/// It cannot be made.
pub fn prepare(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Takes the folder for this process. `None`: another process has it.
///
/// # Errors
/// The lock file cannot be made.
pub fn lock(path: &Path) -> io::Result<Option<DataDirLock>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DataDirLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}
