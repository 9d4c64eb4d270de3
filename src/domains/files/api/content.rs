//! The bytes behind signed links of the local backend. No credentials: the signature is the right.

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use yunque_kernel::http::{NoContent, ObjectKind, ObjectReply, RawBody, asked_range};
use yunque_kernel::storage::{Disposition, LocalAction, LocalGrant};
use yunque_kernel::{ApiError, FileId};

use super::FilesTags;
use crate::error::codes;
use crate::{Files, FilesError};

/// Contract "conventions" 12: presigned direct upload.
const CONTENT_LIMIT: u64 = 5 << 30;

/// A user's file on its way to a client.
struct Content;

impl ObjectKind for Content {
    const MEDIA_TYPE: &'static str = "application/octet-stream";
    const DESCRIPTION: &'static str = "The bytes.";
    const CACHE_CONTROL: &'static str = "private, no-store";
    const CONTENT_SECURITY_POLICY: &'static str = "default-src 'none'; sandbox";
}

pub(super) struct ContentApi {
    files: Files,
}

impl ContentApi {
    pub fn new(files: Files) -> Self {
        ContentApi { files }
    }

    fn grant(&self, method: &str, id: FileId, request: &Request) -> Result<LocalGrant, ApiError> {
        let query = request.uri().query().unwrap_or("");
        self.files
            .verify_link(method, id, query)
            .ok_or_else(|| codes::LINK_INVALID.into())
    }
}

#[OpenApi(prefix_path = "/file", tag = "FilesTags::Files")]
impl ContentApi {
    /// Sends the bytes of a file to whoever has its link.
    ///
    /// Only with local storage; with object storage links lead there. One byte range is supported.
    /// Errors: 403 `link_invalid`, 404, 416 `range_not_satisfiable`.
    #[oai(path = "/:id/content", method = "get", operation_id = "get_file_content")]
    async fn get(&self, request: &Request, id: Path<FileId>) -> Result<ObjectReply<Content>, ApiError> {
        let grant = self.grant("GET", id.0, request)?;
        let LocalAction::Get {
            disposition,
            file_name,
        } = &grant.action
        else {
            return Err(codes::LINK_INVALID.into());
        };
        let object = self
            .files
            .open_content(id.0, &grant, asked_range(request))
            .await?;
        // Declared by a client: whatever would run in a page of ours is sent as plain bytes. The link says
        // what the file's row says; the object has to agree.
        let kept = &object.head.content_type;
        let (disposition, content_type) = match (disposition, Disposition::for_content_type(kept)) {
            (Disposition::Inline, Disposition::Inline) => (Disposition::Inline, kept.clone()),
            _ => (Disposition::Attachment, "application/octet-stream".to_owned()),
        };
        let disposition = disposition.header(file_name);
        Ok(ObjectReply::new(object, content_type, disposition))
    }

    /// Takes the bytes of a presigned upload: exactly as many as announced, once.
    ///
    /// Only with local storage; with object storage links lead there.
    /// Errors: 400, 403 `link_invalid`, 404, 409 `not_pending`, 413.
    #[oai(path = "/:id/content", method = "put", operation_id = "put_file_content")]
    async fn put(
        &self,
        request: &Request,
        id: Path<FileId>,
        body: RawBody<CONTENT_LIMIT>,
    ) -> Result<NoContent, ApiError> {
        let grant = self.grant("PUT", id.0, request)?;
        let LocalAction::Put { size, .. } = &grant.action else {
            return Err(codes::LINK_INVALID.into());
        };
        if !grant.allows_type(request.content_type()) {
            return Err(codes::LINK_INVALID.into());
        }
        if let Some(actual) = body.declared().filter(|n| n != size) {
            return Err(FilesError::SizeMismatch {
                declared: *size,
                actual,
            }
            .into());
        }
        let (stream, fault) = body.into_stream();
        match self.files.receive_content(id.0, &grant, stream).await {
            Err(FilesError::Storage(e)) if matches!(e, yunque_kernel::storage::StorageError::Source(_)) => {
                Err(fault.explain().caused_by(e))
            }
            other => Ok(other.map(|()| NoContent)?),
        }
    }
}
