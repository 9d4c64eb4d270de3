//! HTTP adapters of this domain.

mod content;
mod files;
mod parse;
mod upload;

use poem_openapi::{OpenApi, Tags};
use yunque_kernel::error::common::PERMISSION_DENIED;

use crate::Files;

/// Stands for the bucket of local storage under `/oss/…`: like a private bucket it shows nothing to
/// anybody without a signature.
#[poem::handler]
pub fn private_bucket() -> poem::Result<()> {
    Err(yunque_kernel::ApiError::from(PERMISSION_DENIED).into())
}

/// Tags of this domain in the published document.
#[derive(Tags)]
enum FilesTags {
    /// Files and folders of the caller: upload, look, move, download, delete.
    Files,
}

impl Files {
    /// Everything this domain serves.
    pub fn api(&self) -> impl OpenApi + use<> {
        (
            files::FilesApi::new(self.clone()),
            upload::UploadApi::new(self.clone()),
            content::ContentApi::new(self.clone()),
        )
    }
}
