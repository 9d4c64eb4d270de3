//! Rules, by use case.

mod accept;
mod delete;
mod download;
mod folders;
mod presign;
pub(crate) mod read;
mod retry;
mod sweep;
mod upload;

pub use accept::{NewUpload, Placement};
pub use presign::{NewPresign, PresignedUpload};
pub use read::FilesQuery;
pub use retry::Restarted;
