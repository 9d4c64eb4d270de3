//! A stored object as an answer, whole or one range of it (RFC 9110 section 14).
//!
//! A handler reads the `Range` header with [`asked_range`], gets that part from storage and answers
//! with an [`ObjectReply`]. What all objects of an endpoint have in common is its [`ObjectKind`].

use std::marker::PhantomData;

use futures_util::StreamExt;
use poem::http::{HeaderName, StatusCode, header};
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};

use crate::storage::{ByteRange, GetObject};

/// What all objects of an endpoint have in common.
pub trait ObjectKind: Send + 'static {
    /// The content type that the document names.
    const MEDIA_TYPE: &'static str;
    /// What the document says of a whole object.
    const DESCRIPTION: &'static str;
    const CACHE_CONTROL: &'static str;
    const CONTENT_SECURITY_POLICY: &'static str;
}

/// The part that a request asks for. A header that makes no sense, or names more than one part, is
/// ignored, as the standard wants.
pub fn asked_range(request: &Request) -> Option<ByteRange> {
    let header = request.headers().get(header::RANGE)?;
    ByteRange::parse(header.to_str().ok()?)
}

/// 200 with an object, or 206 with a part of it.
pub struct ObjectReply<K> {
    object: GetObject,
    content_type: String,
    disposition: Option<String>,
    kind: PhantomData<K>,
}

impl<K> ObjectReply<K> {
    /// * `content_type`: what the client is told, whatever was stored with the object.
    /// * `disposition`: the value of `Content-Disposition`, if any.
    pub fn new(object: GetObject, content_type: impl Into<String>, disposition: Option<String>) -> Self {
        ObjectReply {
            object,
            content_type: content_type.into(),
            disposition,
            kind: PhantomData,
        }
    }
}

impl<K: ObjectKind> IntoResponse for ObjectReply<K> {
    fn into_response(self) -> Response {
        let ObjectReply {
            object,
            content_type,
            disposition,
            ..
        } = self;
        let mut response = Response::builder()
            .status(StatusCode::OK)
            .body(Body::from_bytes_stream(object.stream.boxed()));
        let mut set = |name: HeaderName, value: &str| {
            // Types and names may come from clients; what cannot be a header is left out.
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, &content_type);
        set(header::CONTENT_LENGTH, &object.size.to_string());
        set(header::ACCEPT_RANGES, "bytes");
        set(header::CACHE_CONTROL, K::CACHE_CONTROL);
        set(header::CONTENT_SECURITY_POLICY, K::CONTENT_SECURITY_POLICY);
        // Beside a type that was declared, not told from the bytes, this is what keeps it safe.
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if let Some(disposition) = &disposition {
            set(header::CONTENT_DISPOSITION, disposition);
        }
        if let Some(etag) = &object.head.etag {
            set(header::ETAG, etag);
        }
        if let Some((first, last)) = object.range {
            let of = object.head.size;
            set(header::CONTENT_RANGE, &format!("bytes {first}-{last}/{of}"));
            response.set_status(StatusCode::PARTIAL_CONTENT);
        }
        response
    }
}

impl<K: ObjectKind> ApiResponse for ObjectReply<K> {
    fn meta() -> MetaResponses {
        let reply = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: K::MEDIA_TYPE,
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary"))),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                reply(200, K::DESCRIPTION),
                reply(206, "The range that was asked for."),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}
