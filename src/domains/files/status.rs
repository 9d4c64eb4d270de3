//! The words stored in `files.upload_status` and `files.source`, and the texts of
//! `files.upload_error`.

/// Where an upload stands. Edges: contract "cloud" 3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, poem_openapi::Enum)]
#[oai(rename_all = "lowercase")]
pub enum UploadStatus {
    /// Waiting for its job, or for the client in a presigned upload.
    Pending,
    /// A worker is storing the bytes.
    Uploading,
    /// The bytes are in storage. Final.
    Completed,
    /// Given up; `upload_error` says why.
    Failed,
}

impl UploadStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            UploadStatus::Pending => "pending",
            UploadStatus::Uploading => "uploading",
            UploadStatus::Completed => "completed",
            UploadStatus::Failed => "failed",
        }
    }

    /// The stored word; the column has a check constraint.
    pub fn parse(text: &str) -> Self {
        match text {
            "uploading" => UploadStatus::Uploading,
            "completed" => UploadStatus::Completed,
            "failed" => UploadStatus::Failed,
            _ => UploadStatus::Pending,
        }
    }

    /// Is there still something to do?
    pub fn is_unfinished(self) -> bool {
        matches!(self, UploadStatus::Pending | UploadStatus::Uploading)
    }

    /// Does the file count against the quota in this state?
    pub fn holds_space(self) -> bool {
        self != UploadStatus::Failed
    }
}

/// How a file came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Base64,
    Multipart,
    Presigned,
    Folder,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Base64 => "base64",
            Source::Multipart => "multipart",
            Source::Presigned => "presigned",
            Source::Folder => "folder",
        }
    }

    pub fn parse(text: &str) -> Self {
        match text {
            "multipart" => Source::Multipart,
            "presigned" => Source::Presigned,
            "folder" => Source::Folder,
            _ => Source::Base64,
        }
    }
}

/// The fixed vocabulary of `upload_error`. Stored text: it does not change with the language.
pub mod reasons {
    pub const STORAGE_UNAVAILABLE: &str = "存储服务不可用";
    pub const STORAGE_REFUSED: &str = "存储服务拒绝写入";
    pub const STAGED_LOST: &str = "暂存内容丢失";
    pub const CANCELLED: &str = "已取消";
    pub const EXPIRED: &str = "上传已过期";

    /// `文件大小不匹配：声明 {declared} 字节，实际 {actual} 字节`
    pub fn size_mismatch(declared: u64, actual: u64) -> String {
        format!("文件大小不匹配：声明 {declared} 字节，实际 {actual} 字节")
    }
}
