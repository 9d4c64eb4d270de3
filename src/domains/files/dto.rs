//! What clients of the cloud surface send and see.

use chrono::{DateTime, Utc};
use poem_openapi::{Object, Union};
use yunque_kernel::clock::rfc3339;
use yunque_kernel::http::body::Content;
use yunque_kernel::storage::Storage;

use crate::declared_name::DeclaredName;
use crate::entity::file::Model;
use crate::status::UploadStatus;

/// One file as base64 in JSON.
#[derive(Clone, Debug, Object)]
#[oai(example)]
pub struct FileCreateIn {
    /// File name; only the part after the last `/` or `\` is kept. 1 to 255 characters.
    pub name: DeclaredName,
    /// Media type, `type/subtype`. Stored as declared, never trusted.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub content_type: String,
    /// Length of the decoded content in bytes.
    #[oai(validator(minimum(value = "0")))]
    pub size: i64,
    /// The content in base64: standard or URL-safe alphabet, padding optional, an optional
    /// `data:…;base64,` in front. At most 50 MiB decoded.
    pub file_content: Option<Content>,
    /// Folder to put the file in; default `/`.
    #[oai(validator(max_length = 1024))]
    pub path: Option<String>,
}

impl poem_openapi::types::Example for FileCreateIn {
    fn example() -> Self {
        FileCreateIn {
            name: DeclaredName("hello.txt".to_owned()),
            content_type: "text/plain".to_owned(),
            size: 5,
            file_content: Some(Content::Text("aGVsbG8=".to_owned())),
            path: None,
        }
    }
}

/// One file, or a batch of 1 to 20.
#[derive(Clone, Debug, Union)]
#[oai(one_of)]
pub enum FileUploadIn {
    One(FileCreateIn),
    Many(Vec<FileCreateIn>),
}

/// A file that was accepted.
#[derive(Clone, Debug, Object)]
pub struct FileCreatedOut {
    pub id: i64,
    pub name: String,
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    pub upload_status: UploadStatus,
}

/// The answer to an upload: an object for an object, an array for an array.
#[derive(Clone, Debug, Union)]
#[oai(one_of)]
pub enum FileUploadOut {
    One(FileCreatedOut),
    Many(Vec<FileCreatedOut>),
}

/// A file in lists and details.
#[derive(Clone, Debug, Object)]
pub struct FileOut {
    pub id: i64,
    pub name: String,
    /// `folder` for folders.
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    /// Storage key; null until completed.
    pub oss_key: Option<String>,
    /// Unsigned address of the object; gives no access by itself. Null until completed.
    pub oss_url: Option<String>,
    pub upload_status: UploadStatus,
    /// Why the last attempt did not work; null when nothing is wrong.
    pub upload_error: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC. Moves with every change, those of workers included.
    pub updated_at: String,
    /// The folder the file is in.
    pub path: String,
    /// Of the stored bytes, hex; null until completed, and for presigned uploads.
    pub sha256: Option<String>,
    /// Runs of the upload job so far.
    pub attempts: i32,
}

/// A file's upload status.
#[derive(Clone, Debug, Object)]
pub struct FileStatusOut {
    pub id: i64,
    pub name: String,
    pub upload_status: UploadStatus,
    pub upload_error: Option<String>,
    pub oss_url: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// New content for a failed or waiting upload.
#[derive(Clone, Debug, Object)]
pub struct RetryUploadIn {
    /// Base64 as in an upload, of exactly the recorded size. May be left out while the bytes
    /// first sent are still staged.
    pub file_content: Option<Content>,
}

/// A restarted upload.
#[derive(Clone, Debug, Object)]
pub struct RetryUploadOut {
    pub message: String,
    /// Id of the new job.
    pub task_id: String,
    pub file_id: i64,
    pub upload_status: UploadStatus,
}

/// What can be changed of a file.
#[derive(Clone, Debug, Object)]
pub struct FileUpdateIn {
    pub name: Option<DeclaredName>,
    #[oai(validator(max_length = 1024))]
    pub path: Option<String>,
}

/// A done deed.
#[derive(Clone, Debug, Object)]
pub struct FileMessageOut {
    pub message: String,
}

/// A link to the bytes.
#[derive(Clone, Debug, Object)]
pub struct DownloadOut {
    /// Signed; works without credentials until it expires.
    pub download_url: String,
    pub expires_at: String,
    pub file_name: String,
}

/// The caller's storage, in bytes.
#[derive(Clone, Debug, Object)]
pub struct StorageInfoOut {
    pub quota: i64,
    pub used_space: i64,
    pub available_space: i64,
    /// Percent, rounded to two digits.
    pub usage_percentage: f64,
}

/// A new folder.
#[derive(Clone, Debug, Object)]
pub struct FolderCreateIn {
    /// 1 to 255 characters, no `/`.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub folder_name: String,
    /// Where; default `/`.
    #[oai(validator(max_length = 1024))]
    pub path: Option<String>,
}

/// An upload that goes to storage directly.
#[derive(Clone, Debug, Object)]
pub struct PresignIn {
    pub name: DeclaredName,
    #[oai(validator(min_length = 1, max_length = 255))]
    pub content_type: String,
    /// Exact length in bytes, at most 5 GiB.
    #[oai(validator(minimum(value = "0")))]
    pub size: i64,
    #[oai(validator(max_length = 1024))]
    pub path: Option<String>,
}

/// Where and how to send the bytes.
#[derive(Clone, Debug, Object)]
pub struct PresignOut {
    pub id: i64,
    pub name: String,
    pub content_type: String,
    pub size: i64,
    pub upload_status: UploadStatus,
    /// Send the bytes here with `method`, then call `/file/{id}/complete/`.
    pub upload_url: String,
    pub method: String,
    /// Must be sent exactly like this.
    pub headers: std::collections::HashMap<String, String>,
    pub expires_at: String,
}

/// Files to delete.
#[derive(Clone, Debug, Object)]
pub struct BatchDeleteIn {
    /// 1 to 100 ids; unknown and foreign ones are ignored.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub file_ids: Vec<i64>,
}

/// Files that were deleted.
#[derive(Clone, Debug, Object)]
pub struct BatchDeleteOut {
    pub deleted: Vec<i64>,
}

/// The parts of a multipart upload.
#[derive(Debug, Object)]
pub struct FileMultipartIn {
    /// The bytes. Its file name is the file's name.
    pub file: yunque_kernel::http::body::FilePart,
    /// Folder; default `/`.
    pub path: Option<String>,
    /// Media type; default that of the part.
    pub content_type: Option<String>,
    /// Expected length in bytes.
    pub size: Option<i64>,
}

pub(crate) fn created(file: &Model) -> FileCreatedOut {
    FileCreatedOut {
        id: file.id,
        name: file.name.clone(),
        content_type: file.content_type.clone(),
        size: file.size,
        upload_status: file.status(),
    }
}

fn oss_url(file: &Model, storage: &Storage) -> Option<String> {
    let key = file
        .object_key
        .as_deref()
        .filter(|_| file.status() == UploadStatus::Completed)?;
    Some(storage.object_url(key))
}

pub(crate) fn full(file: &Model, storage: &Storage) -> FileOut {
    FileOut {
        id: file.id,
        name: file.name.clone(),
        content_type: file.content_type.clone(),
        size: file.size,
        oss_key: file
            .object_key
            .clone()
            .filter(|_| file.status() == UploadStatus::Completed),
        oss_url: oss_url(file, storage),
        upload_status: file.status(),
        upload_error: file.upload_error.clone(),
        created_at: time(file.created_at),
        updated_at: time(file.updated_at),
        path: file.path.clone(),
        sha256: file.sha256.clone(),
        attempts: file.attempts,
    }
}

pub(crate) fn status(file: &Model, storage: &Storage) -> FileStatusOut {
    FileStatusOut {
        id: file.id,
        name: file.name.clone(),
        upload_status: file.status(),
        upload_error: file.upload_error.clone(),
        oss_url: oss_url(file, storage),
        created_at: time(file.created_at),
        updated_at: time(file.updated_at),
    }
}

pub(crate) fn time(at: DateTime<Utc>) -> String {
    rfc3339(at)
}
