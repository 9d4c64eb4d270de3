//! Looking files up.

use yunque_accounts::StorageInfo;
use yunque_kernel::http::Page;
use yunque_kernel::{FileId, UserId};

use crate::entity::file::{Column, Model};
use crate::repo::{self, Filter};
use crate::status::UploadStatus;
use crate::{Files, FilesError};

/// A valid list query.
#[derive(Clone, Debug, Default)]
pub struct FilesQuery {
    pub status: Option<UploadStatus>,
    pub path: Option<String>,
    pub search: Option<String>,
    pub content_type: Option<String>,
    pub ordering: Option<Ordering>,
}

/// A column to order by, and whether downwards.
#[derive(Clone, Copy, Debug)]
pub struct Ordering {
    column: Column,
    descending: bool,
}

impl Ordering {
    /// `id`, `name`, `size`, `created_at`, `updated_at`, each with an optional `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let column = match name {
            "id" => Column::Id,
            "name" => Column::Name,
            "size" => Column::Size,
            "created_at" => Column::CreatedAt,
            "updated_at" => Column::UpdatedAt,
            _ => return None,
        };
        Some(Ordering { column, descending })
    }
}

impl Files {
    /// # Errors
    /// `NotFound` for unknown, foreign and deleted files alike.
    pub async fn get_visible(&self, user: UserId, id: FileId) -> Result<Model, FilesError> {
        repo::find_visible(self.0.ctx.db.reader(), user, id)
            .await?
            .ok_or(FilesError::NotFound)
    }

    /// A page and the total.
    ///
    /// # Errors
    /// As the database says.
    pub async fn list(
        &self,
        user: UserId,
        query: FilesQuery,
        page: Page,
    ) -> Result<(Vec<Model>, u64), FilesError> {
        let FilesQuery {
            status,
            path,
            search,
            content_type,
            ordering,
        } = query;
        let order = ordering.map(|o| (o.column, o.descending));
        let filter = Filter {
            status,
            path,
            search,
            content_type,
            order,
        };
        Ok(repo::list(self.0.ctx.db.reader(), user, &filter, page).await?)
    }

    /// Those of `ids` that the user has, by id.
    ///
    /// # Errors
    /// As the database says.
    pub async fn list_by_ids(&self, user: UserId, ids: &[i64]) -> Result<Vec<Model>, FilesError> {
        Ok(repo::list_by_ids(self.0.ctx.db.reader(), user, ids).await?)
    }

    /// Bytes that the user may still store, as of now.
    ///
    /// # Errors
    /// As the database says.
    pub async fn space_left(&self, user: UserId) -> Result<u64, FilesError> {
        let info = self.storage_info(user).await?;
        Ok(u64::try_from(info.quota.saturating_sub(info.used_space)).unwrap_or(0))
    }

    /// # Errors
    /// As the database says.
    pub async fn storage_info(&self, user: UserId) -> Result<StorageInfo, FilesError> {
        Ok(self.0.accounts.storage_info(user).await?)
    }
}
