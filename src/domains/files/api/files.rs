//! `/file/…`: look, move, download, delete.

use std::time::Duration;

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use yunque_kernel::auth::Caller;
use yunque_kernel::error::messages;
use yunque_kernel::http::{Body, Created, Json, Listed, NoContent, PageQuery, RequestInfo};
use yunque_kernel::{ApiError, Faults, FileId, Lang, Text};

use super::FilesTags;
use crate::Files;
use crate::dto::{
    self, BatchDeleteIn, BatchDeleteOut, DownloadOut, FileMessageOut, FileOut, FileStatusOut, FileUpdateIn,
    FolderCreateIn, StorageInfoOut,
};
use crate::error::codes;
use crate::names::{FileName, FolderPath};
use crate::service::FilesQuery;
use crate::service::read::Ordering;
use crate::status::UploadStatus;

const PAGE_SIZE: u32 = 100;
const MAX_STATUS_IDS: usize = 100;
const DELETED: Text = Text::fixed("文件已删除", "File deleted.");

pub(super) struct FilesApi {
    files: Files,
}

impl FilesApi {
    pub fn new(files: Files) -> Self {
        FilesApi { files }
    }

    async fn link(
        &self,
        caller: &Caller,
        id: FileId,
        expires: Option<i64>,
    ) -> Result<Json<DownloadOut>, ApiError> {
        let seconds = expires.unwrap_or(3600);
        if !(60..=86_400).contains(&seconds) {
            return Err(Faults::one("expires", messages::OUT_OF_RANGE));
        }
        let expires = Duration::from_secs(seconds.unsigned_abs());
        let (file, link) = self.files.download(caller.user_id, id, expires).await?;
        Ok(Json(DownloadOut {
            download_url: link.url,
            expires_at: dto::time(link.expires_at),
            file_name: file.name,
        }))
    }

    async fn place(
        &self,
        caller: &Caller,
        id: FileId,
        body: FileUpdateIn,
    ) -> Result<Json<FileOut>, ApiError> {
        let mut faults = Faults::new();
        let name = body
            .name
            .map(|n| FileName::parse(&n.0).ok_or_else(|| faults.add("name", messages::BAD_FORMAT)));
        let path = body
            .path
            .map(|p| FolderPath::parse(&p).ok_or_else(|| faults.add("path", messages::BAD_FORMAT)));
        faults.into_result(())?;
        let (name, path) = (name.and_then(Result::ok), path.and_then(Result::ok));
        let file = self.files.update_place(caller.user_id, id, name, path).await?;
        Ok(Json(self.out(&file)))
    }

    fn out(&self, file: &crate::entity::file::Model) -> FileOut {
        dto::full(file, self.files.storage())
    }
}

#[OpenApi(prefix_path = "/file", tag = "FilesTags::Files")]
impl FilesApi {
    /// Lists the caller's files and folders, newest first.
    ///
    /// A bare array with paging headers. `ordering` takes `id`, `name`, `size`, `created_at` and
    /// `updated_at`, with `-` for descending. `search` looks for a part of the name.
    #[oai(path = "/", method = "get", operation_id = "list_files")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each query parameter of the document"
    )]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        status: Query<Option<UploadStatus>>,
        path: Query<Option<String>>,
        search: Query<Option<String>>,
        content_type: Query<Option<String>>,
        ordering: Query<Option<String>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<FileOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let mut faults = Faults::new();
        let ordering = ordering
            .0
            .map(|o| Ordering::parse(&o).ok_or_else(|| faults.add("ordering", messages::BAD_CHOICE)));
        let path = path
            .0
            .map(|p| FolderPath::parse(&p).ok_or_else(|| faults.add("path", messages::BAD_FORMAT)));
        faults.into_result(())?;
        let query = FilesQuery {
            status: status.0,
            path: path.and_then(Result::ok).map(FolderPath::into_string),
            search: search.0.filter(|s| !s.is_empty()),
            content_type: content_type.0,
            ordering: ordering.and_then(Result::ok),
        };
        let (files, total) = self.files.list(caller.user_id, query, page).await?;
        Ok(Listed::new(
            files.iter().map(|f| self.out(f)).collect(),
            total,
            page,
            &info,
        ))
    }

    /// Shows how uploads are going.
    ///
    /// `file_ids` is a comma-separated list of 1 to 100 ids; blanks and repeats are fine, unknown
    /// and foreign ids are left out. Ordered by id.
    #[oai(
        path = "/upload_status",
        method = "get",
        operation_id = "list_upload_statuses"
    )]
    async fn upload_status(
        &self,
        caller: Caller,
        file_ids: Query<Option<String>>,
    ) -> Result<Json<Vec<FileStatusOut>>, ApiError> {
        let ids = parse_ids(file_ids.0.as_deref().unwrap_or("")).ok_or(codes::INVALID_FILE_IDS)?;
        let files = self.files.list_by_ids(caller.user_id, &ids).await?;
        Ok(Json(
            files
                .iter()
                .map(|f| dto::status(f, self.files.storage()))
                .collect(),
        ))
    }

    /// Shows the caller's storage quota and use, in bytes.
    #[oai(path = "/storage-info", method = "get", operation_id = "get_storage_info")]
    async fn storage_info(&self, caller: Caller) -> Result<Json<StorageInfoOut>, ApiError> {
        let info = self.files.storage_info(caller.user_id).await?;
        let percent = if info.quota > 0 {
            info.used_space as f64 / info.quota as f64 * 100.0
        } else {
            100.0
        };
        Ok(Json(StorageInfoOut {
            quota: info.quota,
            used_space: info.used_space,
            available_space: (info.quota - info.used_space).max(0),
            usage_percentage: (percent * 100.0).round() / 100.0,
        }))
    }

    /// Makes an empty folder.
    ///
    /// Errors: 409 `name_exists`.
    #[oai(path = "/new-folder", method = "post", operation_id = "create_folder")]
    async fn new_folder(
        &self,
        caller: Caller,
        body: Body<FolderCreateIn>,
    ) -> Result<Created<FileOut>, ApiError> {
        let FolderCreateIn { folder_name, path } = body.into_inner();
        let mut faults = Faults::new();
        let name = FileName::parse_folder(&folder_name);
        if name.is_none() {
            faults.add("folder_name", messages::BAD_FORMAT);
        }
        let path = path.map_or_else(|| Some(FolderPath::root()), |p| FolderPath::parse(&p));
        if path.is_none() {
            faults.add("path", messages::BAD_FORMAT);
        }
        let (Some(name), Some(path)) = (name, path) else {
            return Err(faults.into_error());
        };
        let folder = self.files.create_folder(caller.user_id, name, path).await?;
        Ok(Created(self.out(&folder)))
    }

    /// Deletes several files. Those that are not the caller's, and folders that are not empty, are
    /// left out of the answer.
    #[oai(path = "/batch_delete", method = "post", operation_id = "delete_files")]
    async fn batch_delete(
        &self,
        caller: Caller,
        body: Body<BatchDeleteIn>,
    ) -> Result<Json<BatchDeleteOut>, ApiError> {
        let deleted = self
            .files
            .delete_many(caller.user_id, body.into_inner().file_ids)
            .await?;
        Ok(Json(BatchDeleteOut { deleted }))
    }

    /// Shows one file.
    #[oai(path = "/:id", method = "get", operation_id = "get_file")]
    async fn get(&self, caller: Caller, id: Path<FileId>) -> Result<Json<FileOut>, ApiError> {
        let file = self.files.get_visible(caller.user_id, id.0).await?;
        Ok(Json(self.out(&file)))
    }

    /// Renames or moves a file, or a folder with everything in it.
    ///
    /// Errors: 409 `name_exists`.
    #[oai(path = "/:id", method = "patch", operation_id = "update_file")]
    async fn patch(
        &self,
        caller: Caller,
        id: Path<FileId>,
        body: Body<FileUpdateIn>,
    ) -> Result<Json<FileOut>, ApiError> {
        self.place(&caller, id.0, body.into_inner()).await
    }

    /// The same as PATCH: fields that are left out stay as they are.
    ///
    /// Errors: 409 `name_exists`.
    #[oai(path = "/:id", method = "put", operation_id = "replace_file")]
    async fn put(
        &self,
        caller: Caller,
        id: Path<FileId>,
        body: Body<FileUpdateIn>,
    ) -> Result<Json<FileOut>, ApiError> {
        self.place(&caller, id.0, body.into_inner()).await
    }

    /// Deletes a file, or a folder.
    ///
    /// A folder that is not empty needs `recursive=true`.
    /// Errors: 409 `folder_not_empty`.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_file")]
    async fn delete(
        &self,
        caller: Caller,
        id: Path<FileId>,
        recursive: Query<Option<bool>>,
    ) -> Result<NoContent, ApiError> {
        self.files
            .delete(caller.user_id, id.0, recursive.0.unwrap_or(false))
            .await?;
        Ok(NoContent)
    }

    /// Deletes a file, for clients without DELETE.
    ///
    /// Errors: 409 `folder_not_empty`.
    #[oai(path = "/:id/delete", method = "post", operation_id = "delete_file_by_post")]
    async fn delete_by_post(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<FileId>,
        recursive: Query<Option<bool>>,
    ) -> Result<Json<FileMessageOut>, ApiError> {
        self.files
            .delete(caller.user_id, id.0, recursive.0.unwrap_or(false))
            .await?;
        Ok(Json(FileMessageOut {
            message: text(&DELETED, info.lang),
        }))
    }

    /// Makes a link to the bytes that works without credentials.
    ///
    /// `expires`: seconds, 60 to 86400, default 3600.
    /// Errors: 409 `file_not_ready`.
    #[oai(path = "/:id/download", method = "get", operation_id = "get_file_download")]
    async fn download(
        &self,
        caller: Caller,
        id: Path<FileId>,
        expires: Query<Option<i64>>,
    ) -> Result<Json<DownloadOut>, ApiError> {
        self.link(&caller, id.0, expires.0).await
    }

    /// The same as GET.
    ///
    /// Errors: 409 `file_not_ready`.
    #[oai(
        path = "/:id/download",
        method = "post",
        operation_id = "create_file_download"
    )]
    async fn download_by_post(
        &self,
        caller: Caller,
        id: Path<FileId>,
        expires: Query<Option<i64>>,
    ) -> Result<Json<DownloadOut>, ApiError> {
        self.link(&caller, id.0, expires.0).await
    }
}

pub(super) fn text(text: &Text, lang: Lang) -> String {
    text.get(lang).to_owned()
}

/// 1 to 100 distinct positive ids, or `None`.
fn parse_ids(text: &str) -> Option<Vec<i64>> {
    let mut ids = Vec::new();
    for token in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let digits = token.strip_prefix('-').unwrap_or(token);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // An integer that cannot be an id names nothing; it is left out like an unknown one.
        ids.extend(yunque_kernel::ids::parse_id(token));
    }
    ids.sort_unstable();
    ids.dedup();
    (1..=MAX_STATUS_IDS).contains(&ids.len()).then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::parse_ids;

    #[test]
    fn id_lists_are_bounded_lists_of_integers() {
        assert_eq!(parse_ids("3, 1,,2,1"), Some(vec![1, 2, 3]));
        assert_eq!(parse_ids("1,-5,99999999999999999999"), Some(vec![1]));
        for bad in ["", ",", "a", "1,b", "1.0", "0", "-1"] {
            assert_eq!(parse_ids(bad), None, "{bad}");
        }
        let many: Vec<String> = (1..=101).map(|n| n.to_string()).collect();
        assert_eq!(parse_ids(&many.join(",")), None);
        assert!(parse_ids(&many[..100].join(",")).is_some());
    }
}
