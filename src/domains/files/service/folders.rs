//! Folders, and moving things between them.
//!
//! A folder is a row with a unique key of owner, path and name. What is "in" it is every row whose
//! `path` is the folder's own address, so moving a folder rewrites the paths below it.

use std::collections::BTreeSet;

use yunque_kernel::{DbError, FileId, Tx, UserId};

use crate::entity::file::Model;
use crate::names::{FileName, FolderPath, MAX_PATH, folder_key};
use crate::repo::{self, NewFile};
use crate::status::{Source, UploadStatus};
use crate::{Files, FilesError};

/// Rows that one move rewrites at most; a tree beyond is refused rather than half moved.
const MAX_MOVED: u64 = 10_000;
const FOLDER_TYPE: &str = "folder";

impl Files {
    /// Makes an empty folder.
    ///
    /// # Errors
    /// `NameExists`.
    pub async fn create_folder(
        &self,
        user: UserId,
        name: FileName,
        path: FolderPath,
    ) -> Result<Model, FilesError> {
        let now = self.0.ctx.clock.now();
        let new = NewFile {
            user,
            name: name.as_str().to_owned(),
            content_type: FOLDER_TYPE.to_owned(),
            size: 0,
            path: path.as_str().to_owned(),
            object_key: None,
            status: UploadStatus::Completed,
            staged_ref: None,
            source: Source::Folder,
            folder_key: Some(folder_key(user, path.as_str(), name.as_str())),
        };
        let created = self.0.ctx.db.write("folder.create", move |tx: Tx| {
            let new = new.clone();
            async move { repo::insert_all(&tx, &[new], now).await.map_err(name_taken) }
        });
        created.await?.pop().ok_or(FilesError::NotFound)
    }

    /// Renames or moves a file or a folder with everything in it.
    ///
    /// # Errors
    /// `NotFound`; `NameExists` when a folder is already there, or a folder would move into itself;
    /// `PathTooLong` when something in the folder would lie too deep.
    pub async fn update_place(
        &self,
        user: UserId,
        id: FileId,
        name: Option<FileName>,
        path: Option<FolderPath>,
    ) -> Result<Model, FilesError> {
        let this = self.clone();
        self.0
            .ctx
            .db
            .write("file.place", move |tx: Tx| {
                let (this, name, path) = (this.clone(), name.clone(), path.clone());
                async move { this.update_place_in(&tx, user, id, name, path).await }
            })
            .await
    }

    async fn update_place_in(
        &self,
        tx: &Tx,
        user: UserId,
        id: FileId,
        name: Option<FileName>,
        path: Option<FolderPath>,
    ) -> Result<Model, FilesError> {
        let file = repo::find_visible(tx, user, id)
            .await?
            .ok_or(FilesError::NotFound)?;
        let new_name = name.map_or_else(|| file.name.clone(), FileName::into_string);
        let new_path = path.map_or_else(|| file.path.clone(), FolderPath::into_string);
        let now = self.0.ctx.clock.now().max(file.updated_at);
        let key = file.is_folder().then(|| folder_key(user, &new_path, &new_name));
        if file.is_folder() && (new_name != file.name || new_path != file.path) {
            self.move_inside(tx, user, &file, &new_path, &new_name, now)
                .await?;
        }
        repo::update_place(tx, file.id, &new_name, &new_path, key.clone(), now)
            .await
            .map_err(name_taken)?;
        Ok(Model {
            name: new_name,
            path: new_path,
            folder_key: key,
            updated_at: now,
            ..file
        })
    }

    async fn move_inside(
        &self,
        tx: &Tx,
        user: UserId,
        folder: &Model,
        new_path: &str,
        new_name: &str,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<(), FilesError> {
        let address = |path: &str, name: &str| FolderPath::parse(path).and_then(|p| p.join(name));
        let to = address(new_path, new_name).ok_or(FilesError::PathTooLong)?;
        let Some(from) = address(&folder.path, &folder.name) else {
            // Longer than a path may be, so nothing can be in it.
            return Ok(());
        };
        if FolderPath::parse(new_path).is_some_and(|target| from.contains(&target)) {
            return Err(FilesError::NameExists);
        }
        let inside = repo::list_inside(tx, user, &from, MAX_MOVED + 1).await?;
        if inside.len() as u64 > MAX_MOVED {
            return Err(FilesError::TooLarge);
        }
        let moved = |path: &str| format!("{}{}", to.as_str(), &path[from.as_str().len()..]);
        let paths: BTreeSet<&str> = inside.iter().map(|f| f.path.as_str()).collect();
        let too_long = |file: &Model| {
            let path = moved(&file.path);
            let end = if file.is_folder() {
                1 + file.name.chars().count()
            } else {
                0
            };
            path.chars().count() + end > MAX_PATH
        };
        if inside.iter().any(too_long) {
            return Err(FilesError::PathTooLong);
        }
        for path in paths {
            repo::move_files(tx, user, path, &moved(path), now).await?;
        }
        for sub in inside.iter().filter(|f| f.is_folder()) {
            let path = moved(&sub.path);
            let key = folder_key(user, &path, &sub.name);
            repo::update_place(tx, sub.id, &sub.name, &path, Some(key), now)
                .await
                .map_err(name_taken)?;
        }
        Ok(())
    }
}

fn name_taken(error: DbError) -> FilesError {
    if error.is_unique("files_folder_key_key") {
        FilesError::NameExists
    } else {
        error.into()
    }
}
