//! Bodies that are taken as a stream, never held in memory.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use poem::error::ParseMultipartError;
use poem::web::{Field, Multipart};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::gate::BodyGate;
use super::read::{self, Media};
use super::walk::{clean, has_forbidden_control};
use crate::error::{ApiError, Faults, common, messages};
use crate::http::failure::codes;

/// Bytes of a part that are read at a time.
const PIECE: usize = 64 * 1024;

/// Parts of one multipart body.
const MAX_PARTS: usize = 100;

/// What may come before a part begins: its head, or what stands before the first boundary. Larger
/// than one read of a connection, which may hold the beginning of the part as well.
const MAX_HEAD: u64 = 1 << 20;

/// The plain bytes of a body, at most `LIMIT` of them, whatever their type.
pub struct RawBody<const LIMIT: u64> {
    body: poem::Body,
    gate: Arc<BodyGate>,
}

impl<const LIMIT: u64> RawBody<LIMIT> {
    /// The announced length.
    pub fn declared(&self) -> Option<u64> {
        self.gate.declared()
    }

    /// The bytes as they come. After an error of the stream, [`RawFault::explain`] says what the
    /// client should hear.
    pub fn into_stream(
        self,
    ) -> (
        impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        RawFault,
    ) {
        (self.body.into_bytes_stream(), RawFault(self.gate))
    }
}

/// Tells why a body stream ended early.
#[derive(Clone, Debug)]
pub struct RawFault(Arc<BodyGate>);

impl RawFault {
    /// 413, 408, or 400 for a client that went away.
    pub fn explain(&self) -> ApiError {
        self.0.verdict().unwrap_or_else(|| codes::BAD_REQUEST.into())
    }
}

impl<'a, const LIMIT: u64> ApiExtractor<'a> for RawBody<LIMIT> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let content = vec![MetaMediaType {
            content_type: "application/octet-stream",
            schema,
        }];
        Some(MetaRequest {
            description: None,
            content,
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let gate = read::gate_of(request)?.clone();
        gate.admit(LIMIT)?;
        Ok(RawBody {
            body: body.take().unwrap_or_default(),
            gate,
        })
    }
}

/// A `multipart/form-data` body, read part by part. `T` is only its published schema.
pub struct MultipartBody<T, const LIMIT: u64> {
    inner: Multipart,
    gate: Arc<BodyGate>,
    parts: usize,
    shape: PhantomData<fn() -> T>,
}

impl<T, const LIMIT: u64> MultipartBody<T, LIMIT> {
    /// The next part, `None` after the last.
    ///
    /// # Errors
    /// 400 for a malformed body, 413 over the limit or with more than 100 parts.
    pub async fn next(&mut self) -> Result<Option<Field>, ApiError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(common::PAYLOAD_TOO_LARGE.into());
        }
        // The parser buffers until it has seen the head of the part as a whole.
        self.gate.narrow(MAX_HEAD, LIMIT);
        let next = self.inner.next_field().await;
        self.gate.widen(LIMIT);
        next.map_err(|e| self.explain(e))
    }

    /// Takes memory for `bytes` of parts that will be held as a whole, until the request is over.
    ///
    /// # Errors
    /// 503 when the budget of all bodies is used up.
    pub async fn hold(&self, bytes: u64) -> Result<(), ApiError> {
        self.gate.hold(bytes).await
    }

    /// The announced length of the whole body.
    pub fn declared(&self) -> Option<u64> {
        self.gate.declared()
    }

    /// Reads a part that nobody wants, piece by piece.
    ///
    /// # Errors
    /// As [`MultipartBody::next`].
    pub fn skip(&self, part: Field) -> impl Future<Output = Result<(), ApiError>> + Send + use<T, LIMIT> {
        skip(part, self.fault())
    }

    /// The text of a small part, such as a plain form field.
    ///
    /// # Errors
    /// 400 `errors.<name>` over `max` bytes or for anything but UTF-8; else as [`MultipartBody::next`].
    /// Never more than `max` bytes are held.
    pub fn text(
        &self,
        part: Field,
        max: usize,
    ) -> impl Future<Output = Result<String, ApiError>> + Send + use<T, LIMIT> {
        text_of(part, max, self.fault())
    }

    /// The bytes of a part, held as a whole; `None` over `max` of them. Then the rest is read and
    /// forgotten, so that the connection stays usable.
    ///
    /// # Errors
    /// As [`MultipartBody::next`].
    pub fn bytes(
        &self,
        part: Field,
        max: usize,
    ) -> impl Future<Output = Result<Option<Bytes>, ApiError>> + Send + use<T, LIMIT> {
        bytes_of(part, max, self.fault())
    }

    /// What the client should hear about an error while a part was read.
    pub fn explain(&self, error: ParseMultipartError) -> ApiError {
        self.fault().explain().caused_by(error)
    }

    /// The same for errors that come as `io::Error` out of a part's reader.
    pub fn fault(&self) -> RawFault {
        RawFault(self.gate.clone())
    }
}

impl<'a, T: Type, const LIMIT: u64> ApiExtractor<'a> for MultipartBody<T, LIMIT> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType {
            content_type: "multipart/form-data",
            schema: T::schema_ref(),
        }];
        Some(MetaRequest {
            description: None,
            content,
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let gate = read::gate_of(request)?.clone();
        gate.admit(LIMIT)?;
        if read::media_of(request) != Media::Multipart {
            return Err(ApiError::from(common::UNSUPPORTED_MEDIA_TYPE).into());
        }
        let inner = <Multipart as FromRequest>::from_request(request, body)
            .await
            .map_err(|e| ApiError::from(codes::BAD_REQUEST).caused_by(e.to_string()))?;
        Ok(MultipartBody {
            inner,
            gate,
            parts: 0,
            shape: PhantomData,
        })
    }
}

async fn skip(part: Field, fault: RawFault) -> Result<(), ApiError> {
    let mut reader = std::pin::pin!(part.into_async_read());
    tokio::io::copy(&mut reader, &mut tokio::io::sink())
        .await
        .map(drop)
        .map_err(|e| fault.explain().caused_by(e))
}

async fn bytes_of(part: Field, max: usize, fault: RawFault) -> Result<Option<Bytes>, ApiError> {
    let mut kept = Some(BytesMut::new());
    let mut chunks = ReaderStream::with_capacity(part.into_async_read(), PIECE);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| fault.explain().caused_by(e))?;
        kept = kept.filter(|bytes| bytes.len() + chunk.len() <= max);
        if let Some(bytes) = &mut kept {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(kept.map(BytesMut::freeze))
}

async fn text_of(part: Field, max: usize, fault: RawFault) -> Result<String, ApiError> {
    let name = part.name().unwrap_or("non_field_errors").to_owned();
    let mut bytes = Vec::new();
    let mut reader = std::pin::pin!(part.into_async_read().take(max as u64 + 1));
    reader
        .read_to_end(&mut bytes)
        .await
        .map_err(|e| fault.explain().caused_by(e))?;
    if bytes.len() > max {
        return Err(Faults::one(name, messages::too_long(max)));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| Faults::one(name.as_str(), messages::BAD_TYPE))?;
    if has_forbidden_control(&text) {
        return Err(Faults::one(name, messages::BAD_CHARACTER));
    }
    clean(&mut text);
    Ok(text)
}

/// Stands for a file in the published schema of a [`MultipartBody`]. There is never a value of it:
/// parts are read one by one.
#[derive(Debug)]
pub enum FilePart {}

crate::inline_type!(
    FilePart,
    "string_binary",
    MetaSchema::new_with_format("string", "binary")
);

impl ParseFromJSON for FilePart {
    fn parse_from_json(_: Option<serde_json::Value>) -> ParseResult<Self> {
        Err(ParseError::custom("files are not sent as JSON"))
    }
}

impl ToJSON for FilePart {
    fn to_json(&self) -> Option<serde_json::Value> {
        match *self {}
    }
}
