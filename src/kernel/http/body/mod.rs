//! Request bodies.
//!
//! [`Body`] is published as its type's JSON schema, read strictly, checked field by field along
//! that same schema with all faults collected, and only then parsed into the type. A body that is
//! empty counts as `{}`; one larger than `LIMIT` is refused while it is read; one over 256 KiB
//! first takes memory from a process-wide budget. [`FormOrJson`] also takes HTML forms.
//! [`ContentBody`] is a [`Body`] whose long contents are taken out while it is read. [`RawBody`] and
//! [`MultipartBody`] stream.

mod content;
mod form;
mod formats;
mod gate;
mod json;
mod read;
mod shape;
mod stream;
#[cfg(test)]
mod tests;
mod walk;

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use content::{CONTENT_FORMAT, Content, ContentBody, Contents, Received};
pub use formats::{
    FILE_NAME_FORMAT, FormatCheck, FormatFault, MESSAGE_FORMAT, is_email, message_text, register_format,
};
pub use gate::{BodyGate, BodyMemory};
pub(crate) use json::parse as parse_json;
pub use stream::{FilePart, MultipartBody, RawBody, RawFault};
pub(super) use walk::{clean, has_forbidden_control};

use crate::error::{ApiError, common};
use content::Mark;
use read::Media;

/// The limit of JSON bodies that say nothing else: 1 MiB.
pub const JSON_LIMIT: u64 = 1 << 20;

/// The limit of JSON bodies with base64 file content: 70 MiB, for 50 MiB of decoded bytes.
pub const BASE64_LIMIT: u64 = 70 << 20;

/// How many times a body is in memory at its worst moment: a union tries one of its types on a copy
/// of the parsed text while it keeps what another made of it.
const COPIES: u64 = 3;

/// What the memory budget must be able to give to one request.
pub(super) const LARGEST_BUFFERED_BODY: u64 = COPIES * BASE64_LIMIT;

/// Bodies from this size on are parsed off the async threads.
const PARSE_INLINE: usize = 64 * 1024;

/// SHA-256 of a body's bytes as received; 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest(pub [u8; 32]);

impl BodyDigest {
    pub fn of(bytes: &[u8]) -> Self {
        BodyDigest(Sha256::digest(bytes).into())
    }
}

/// A JSON request body of type `T`, at most `LIMIT` bytes.
///
/// 400 with `errors` when fields are wrong, 400 `parse_error` when it is not JSON, 413 and 415.
#[derive(Debug)]
pub struct Body<T, const LIMIT: u64 = JSON_LIMIT> {
    pub value: T,
    digest: BodyDigest,
}

impl<T, const LIMIT: u64> Body<T, LIMIT> {
    pub fn into_inner(self) -> T {
        self.value
    }

    /// For `Idempotency::run`: what was sent, without keeping it.
    pub fn digest(&self) -> BodyDigest {
        self.digest
    }

    pub fn into_parts(self) -> (T, BodyDigest) {
        (self.value, self.digest)
    }
}

impl<'a, T: ParseFromJSON + 'static, const LIMIT: u64> ApiExtractor<'a> for Body<T, LIMIT> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(json_request::<T>())
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = read::read(request, body, LIMIT, COPIES).await?;
        read::require(read::media_of(request), &[Media::Json], bytes.is_empty())?;
        let (value, digest) = off_thread(bytes.len(), move || {
            let (parsed, digest) = (json::parse(&bytes)?, BodyDigest::of(&bytes));
            // Not one copy more than `COPIES`.
            drop(bytes);
            Ok((checked::<T>(parsed, None)?, digest))
        })
        .await?;
        Ok(Body { value, digest })
    }
}

/// How a JSON body of type `T` is published.
fn json_request<T: ParseFromJSON + 'static>() -> MetaRequest {
    MetaRequest {
        description: None,
        content: vec![MetaMediaType {
            content_type: "application/json",
            schema: T::schema_ref(),
        }],
        required: shape::shape_of::<T>().has_required(),
    }
}

/// A login body: JSON, or an HTML form whose digits are taken for numbers.
#[derive(Debug)]
pub struct FormOrJson<T> {
    pub value: T,
    digest: BodyDigest,
}

impl<T> FormOrJson<T> {
    pub fn into_inner(self) -> T {
        self.value
    }

    pub fn digest(&self) -> BodyDigest {
        self.digest
    }
}

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for FormOrJson<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = ["application/json", "application/x-www-form-urlencoded"];
        Some(MetaRequest {
            description: None,
            content: content
                .map(|content_type| MetaMediaType {
                    content_type,
                    schema: T::schema_ref(),
                })
                .into(),
            required: shape::shape_of::<T>().has_required(),
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = read::read(request, body, JSON_LIMIT, COPIES).await?;
        let media = read::media_of(request);
        read::require(media, &[Media::Json, Media::Form], bytes.is_empty())?;
        let digest = BodyDigest::of(&bytes);
        let value = match media {
            Media::Form => checked::<T>(form::to_json(shape::shape_of::<T>(), &bytes), None)?,
            _ => from_json::<T>(&bytes)?,
        };
        Ok(FormOrJson { value, digest })
    }
}

/// The strict way from bytes to `T`.
///
/// # Errors
/// 400 `parse_error`, or 400 with every fault.
pub fn from_json<T: ParseFromJSON + 'static>(bytes: &[u8]) -> Result<T, ApiError> {
    checked(json::parse(bytes)?, None)
}

fn checked<T: ParseFromJSON + 'static>(mut value: Value, mark: Option<&Mark>) -> Result<T, ApiError> {
    let shape = shape::shape_of::<T>();
    let fits = value.is_object() || (value.is_array() && shape.takes_array());
    if !fits {
        return Err(common::PARSE_ERROR.into());
    }
    walk::walk(shape, &mut value, mark).into_result(())?;
    T::parse_from_json(Some(value)).map_err(|_| {
        // Its text may repeat the input, so only the type is named.
        tracing::debug!(body.r#type = %T::name(), "a body passed its schema but not its type; register a format check");
        common::VALIDATION_ERROR.into()
    })
}

async fn off_thread<R: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<R, ApiError> + Send + 'static,
) -> Result<R, ApiError> {
    if size < PARSE_INLINE {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)?
}
