//! Links to bytes, and the bytes themselves when storage is this server.

use std::time::Duration;

use yunque_kernel::storage::{
    ByteRange, Disposition, GetObject, LocalAction, LocalGrant, PresignGet, Presigned, StorageError,
};
use yunque_kernel::{FileId, UserId};

use super::presign::content_path;
use crate::entity::file::Model;
use crate::repo;
use crate::status::{Source, UploadStatus};
use crate::{Files, FilesError};

impl Files {
    /// A link that works without credentials for `expires`.
    ///
    /// # Errors
    /// `IsFolder`; `NotReady` unless completed.
    pub async fn download(
        &self,
        user: UserId,
        id: FileId,
        expires: Duration,
    ) -> Result<(Model, Presigned), FilesError> {
        let file = self.get_visible(user, id).await?;
        if file.is_folder() {
            return Err(FilesError::IsFolder);
        }
        if file.status() != UploadStatus::Completed {
            return Err(FilesError::NotReady);
        }
        let link = self.0.ctx.storage.presign_get(PresignGet {
            key: file.object_key.as_deref().unwrap_or_default(),
            file_name: &file.name,
            disposition: Disposition::for_content_type(&file.content_type),
            expires_at: self.0.ctx.clock.now() + expires,
            local_path: &content_path(file.id),
        })?;
        Ok((file, link))
    }

    /// What a signed link of the local backend allows. `None`: not signed by this server, expired,
    /// or storage is elsewhere.
    pub fn verify_link(&self, method: &str, id: FileId, query: &str) -> Option<LocalGrant> {
        let local = self.0.ctx.storage.local()?;
        let now = self.0.ctx.clock.now();
        local.verify(method, &content_path(id.0), query, now).ok()
    }

    /// Opens the bytes behind a verified link.
    ///
    /// # Errors
    /// `NotFound` when the file was deleted since; a bad range.
    pub async fn open_content(
        &self,
        id: FileId,
        grant: &LocalGrant,
        range: Option<ByteRange>,
    ) -> Result<GetObject, FilesError> {
        self.file_of_grant(id, grant, &[UploadStatus::Completed]).await?;
        match self.0.ctx.storage.get(&grant.key, range).await {
            Err(StorageError::NotFound) => Err(FilesError::NotFound),
            other => Ok(other?),
        }
    }

    /// Takes the bytes of a presigned upload: exactly as many as were signed, once.
    ///
    /// # Errors
    /// `NotPending` for the second time or an upload that was given up, also while the bytes came;
    /// another length.
    pub async fn receive_content<S>(&self, id: FileId, grant: &LocalGrant, body: S) -> Result<(), FilesError>
    where
        S: futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static,
    {
        let file = self.file_of_grant(id, grant, &[UploadStatus::Pending]).await?;
        let (Some(local), LocalAction::Put { .. }, Source::Presigned) =
            (self.0.ctx.storage.local(), &grant.action, file.source())
        else {
            return Err(FilesError::NotFound);
        };
        match local.receive(grant, body).await {
            Ok(_) => {}
            Err(StorageError::AlreadyExists) => return Err(FilesError::NotPending),
            Err(e) => return Err(e.into()),
        }
        // A body may take so long that the upload is given up, and its object purged, before it ends.
        let wanted = [UploadStatus::Pending, UploadStatus::Completed];
        match self.file_of_grant(id, grant, &wanted).await {
            Err(refused @ (FilesError::NotFound | FilesError::NotPending)) => {
                self.0.ctx.storage.delete(&grant.key).await?;
                Err(refused)
            }
            looked => looked.map(drop),
        }
    }

    /// The link names the key; the row must still have it and be in one of these states.
    async fn file_of_grant(
        &self,
        id: FileId,
        grant: &LocalGrant,
        states: &[UploadStatus],
    ) -> Result<Model, FilesError> {
        let file = repo::find_for_job(self.0.ctx.db.reader(), id)
            .await?
            .ok_or(FilesError::NotFound)?;
        if file.deleted_at.is_some() || file.object_key.as_deref() != Some(grant.key.as_str()) {
            return Err(FilesError::NotFound);
        }
        if !states.contains(&file.status()) {
            return Err(FilesError::NotPending);
        }
        Ok(file)
    }
}
