//! Checks over the whole: the published document, every operation of it, every setting, and that no
//! secret leaves.

mod document;
mod probes;
mod secrets;
mod settings;
mod stage;
mod table;

use std::path::PathBuf;

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
