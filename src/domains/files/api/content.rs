//! The bytes behind signed links of the local backend. No credentials: the signature is the right.

use futures_util::StreamExt;
use poem::http::{HeaderMap, StatusCode, header};
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::Path;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, OpenApi};
use yunque_kernel::http::{NoContent, RawBody};
use yunque_kernel::storage::{ByteRange, Disposition, GetObject, LocalAction, LocalGrant};
use yunque_kernel::{ApiError, FileId};

use super::FilesTags;
use crate::error::codes;
use crate::{Files, FilesError};

/// Contract "conventions" 12: presigned direct upload.
const CONTENT_LIMIT: u64 = 5 << 30;

pub(super) struct ContentApi {
    files: Files,
}

impl ContentApi {
    pub fn new(files: Files) -> Self {
        ContentApi { files }
    }

    fn grant(&self, method: &str, id: FileId, request: &Request) -> Result<LocalGrant, ApiError> {
        // The path as it was signed; the router has trimmed the slash.
        let path = format!("/file/{id}/content/");
        let query = request.uri().query().unwrap_or("");
        self.files
            .verify_link(method, &path, query)
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
    async fn get(&self, request: &Request, id: Path<FileId>) -> Result<ContentReply, ApiError> {
        let grant = self.grant("GET", id.0, request)?;
        let range = request
            .headers()
            .get(header::RANGE)
            .and_then(|v| v.to_str().ok())
            .and_then(ByteRange::parse);
        let object = self.files.open_content(id.0, &grant, range).await?;
        Ok(ContentReply { object, grant })
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

/// An object on its way to a client, whole or in part.
struct ContentReply {
    object: GetObject,
    grant: LocalGrant,
}

impl IntoResponse for ContentReply {
    fn into_response(self) -> Response {
        let ContentReply { object, grant } = self;
        let mut headers = HeaderMap::new();
        let mut set = |name, value: String| {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        };
        let LocalAction::Get {
            disposition,
            file_name,
        } = &grant.action
        else {
            return StatusCode::FORBIDDEN.into();
        };
        // Declared by a client: whatever would run in a page of ours is sent as plain bytes.
        let safe = *disposition == Disposition::Inline;
        let content_type = if safe {
            object.head.content_type.clone()
        } else {
            "application/octet-stream".to_owned()
        };
        set(header::CONTENT_TYPE, content_type);
        set(header::CONTENT_LENGTH, object.size.to_string());
        set(header::ACCEPT_RANGES, "bytes".to_owned());
        set(header::CACHE_CONTROL, "private, no-store".to_owned());
        set(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox".to_owned(),
        );
        if let Some(value) = disposition.header(file_name) {
            set(header::CONTENT_DISPOSITION, value);
        }
        if let Some(etag) = &object.head.etag {
            set(header::ETAG, etag.clone());
        }
        let status = match object.range {
            Some((first, last)) => {
                set(
                    header::CONTENT_RANGE,
                    format!("bytes {first}-{last}/{}", object.head.size),
                );
                StatusCode::PARTIAL_CONTENT
            }
            None => StatusCode::OK,
        };
        let mut response = Response::builder()
            .status(status)
            .body(Body::from_bytes_stream(object.stream.boxed()));
        response.headers_mut().extend(headers);
        response
    }
}

impl ApiResponse for ContentReply {
    fn meta() -> MetaResponses {
        let reply = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: "application/octet-stream",
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary"))),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                reply(200, "The bytes."),
                reply(206, "The range that was asked for."),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}
