//! `files`: one row for each file or folder.

use sea_orm::entity::prelude::*;

use crate::status::{Source, UploadStatus};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "files")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub user_id: i64,
    pub name: String,
    /// The folded name that searches compare with.
    pub name_key: String,
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    /// The folder the file is in, `/` at the top.
    pub path: String,
    /// `None` for folders, and after the object was purged.
    pub object_key: Option<String>,
    pub upload_status: String,
    pub upload_error: Option<String>,
    pub attempts: i32,
    /// Raised by each new upload of the same record; a job of an older one does nothing.
    pub generation: i32,
    pub staged_ref: Option<String>,
    /// Hex.
    pub sha256: Option<String>,
    pub source: String,
    pub folder_key: Option<String>,
    pub deleted_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn status(&self) -> UploadStatus {
        UploadStatus::parse(&self.upload_status)
    }

    pub fn source(&self) -> Source {
        Source::parse(&self.source)
    }

    pub fn is_folder(&self) -> bool {
        self.source() == Source::Folder
    }

    /// Bytes as the quota counts them.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }
}
