//! Rules, by use case.

mod accept;
mod delete;
mod download;
mod edges;
mod folders;
mod presign;
pub(crate) mod read;
mod retry;
mod sweep;
mod upload;

pub(crate) use accept::{Accepting, Acceptor};
pub use accept::{NewUpload, Placement};
pub(crate) use edges::UploadEdges;
pub use presign::{NewPresign, PresignedUpload};
pub use read::FilesQuery;
pub use retry::Restarted;
