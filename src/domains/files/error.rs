//! What can go wrong with files, and what clients hear of it.

use yunque_kernel::error::{common, messages};
use yunque_kernel::{ApiError, Code, Coded, DbError, Faults, Text};

use crate::names::MAX_PATH;
use crate::status::reasons;

/// The codes of this domain.
pub mod codes {
    yunque_kernel::codes! {
        FILE_NOT_FOUND = 404, "not_found", "文件不存在", "File not found.";
        QUOTA_EXCEEDED = 400, "quota_exceeded", "存储空间不足", "Not enough storage.";
        ALREADY_COMPLETED = 400, "already_completed", "文件已经上传成功，无需重试", "The file is already uploaded.";
        CONTENT_REQUIRED = 400, "content_required", "请提供文件内容", "File content is required.";
        INVALID_BASE64 = 400, "invalid_base64", "文件内容不是有效的base64编码", "File content is not valid base64.";
        SIZE_MISMATCH = 400, "size_mismatch", "文件大小不匹配", "The file has another size than declared.";
        INVALID_FILE_IDS = 400, "validation_error", "请提供有效的文件ID列表", "Provide a list of valid file ids.";
        NOT_A_FILE = 400, "is_a_folder", "文件夹不支持该操作", "Not possible for a folder.";
        UPLOAD_IN_PROGRESS = 409, "upload_in_progress", "文件正在上传中", "Upload in progress.";
        FILE_NOT_READY = 409, "file_not_ready", "文件尚未上传完成", "The file is not uploaded yet.";
        NOT_PENDING = 409, "not_pending", "文件不在待上传状态", "The upload is not pending.";
        OBJECT_MISSING = 409, "object_missing", "文件尚未上传到存储", "The object has not been uploaded.";
        NAME_EXISTS = 409, "name_exists", "名称已存在", "The name is already in use.";
        FOLDER_NOT_EMPTY = 409, "folder_not_empty", "文件夹不为空", "The folder is not empty.";
        FILE_TOO_LARGE = 413, "file_too_large", "文件过大", "The file is too large.";
        LINK_INVALID = 403, "link_invalid", "链接无效或已过期", "The link is invalid or has expired.";
    }
}

/// Errors of the file services.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("no such file for this caller")]
    NotFound,
    #[error("quota exceeded")]
    QuotaExceeded,
    #[error("already completed")]
    AlreadyCompleted,
    #[error("no content and nothing staged")]
    ContentRequired,
    #[error("declared {declared} bytes, got {actual}")]
    SizeMismatch { declared: u64, actual: u64 },
    #[error("a folder")]
    IsFolder,
    #[error("upload in progress")]
    InProgress,
    #[error("not completed")]
    NotReady,
    #[error("not pending")]
    NotPending,
    #[error("object missing")]
    ObjectMissing,
    #[error("name exists")]
    NameExists,
    #[error("a path would be too long")]
    PathTooLong,
    #[error("folder not empty")]
    FolderNotEmpty,
    #[error("file too large")]
    TooLarge,
    #[error("staging: {0}")]
    Staging(#[from] std::io::Error),
    #[error(transparent)]
    Storage(#[from] yunque_kernel::storage::StorageError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Coded for FilesError {
    fn code(&self) -> Code {
        match self {
            FilesError::NotFound => codes::FILE_NOT_FOUND,
            FilesError::QuotaExceeded => codes::QUOTA_EXCEEDED,
            FilesError::AlreadyCompleted => codes::ALREADY_COMPLETED,
            FilesError::ContentRequired => codes::CONTENT_REQUIRED,
            FilesError::SizeMismatch { .. } => codes::SIZE_MISMATCH,
            FilesError::IsFolder => codes::NOT_A_FILE,
            FilesError::InProgress => codes::UPLOAD_IN_PROGRESS,
            FilesError::NotReady => codes::FILE_NOT_READY,
            FilesError::NotPending => codes::NOT_PENDING,
            FilesError::ObjectMissing => codes::OBJECT_MISSING,
            FilesError::NameExists => codes::NAME_EXISTS,
            FilesError::PathTooLong => common::VALIDATION_ERROR,
            FilesError::FolderNotEmpty => codes::FOLDER_NOT_EMPTY,
            FilesError::TooLarge => codes::FILE_TOO_LARGE,
            // A full or read-only disk heals; nothing was accepted.
            FilesError::Staging(_) => common::SERVICE_UNAVAILABLE,
            FilesError::Storage(e) => e.code(),
            FilesError::Db(e) => e.code(),
        }
    }

    fn decorate(&self, error: ApiError) -> ApiError {
        match self {
            FilesError::SizeMismatch { declared, actual } => {
                let mut faults = Faults::new();
                faults.add_coded_text("size", codes::SIZE_MISMATCH.code, size_text(*declared, *actual));
                faults.into_error()
            }
            FilesError::PathTooLong => Faults::one("path", messages::too_long(MAX_PATH)),
            FilesError::Storage(e) => e.decorate(error),
            _ => error,
        }
    }
}

/// The size fault in both languages.
pub fn size_text(declared: u64, actual: u64) -> Text {
    Text::owned(
        reasons::size_mismatch(declared, actual),
        format!("Size mismatch: declared {declared} bytes, got {actual} bytes."),
    )
}
