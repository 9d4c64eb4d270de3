//! `/media/…`: pictures, for everybody who has their address. Names are random, so an address is
//! the right to look; there is no list of them.

use futures_util::StreamExt;
use poem::http::{HeaderMap, StatusCode, header};
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::Path;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, OpenApi};
use yunque_kernel::ApiError;
use yunque_kernel::error::common;
use yunque_kernel::image::Format;
use yunque_kernel::storage::{ByteRange, GetObject, Storage};

use super::SupportTags;

/// A name is never used again, so what it shows never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";
const POLICY: &str = "default-src 'none'";
/// Longest name without its extension.
const MAX_NAME: usize = 64;

pub(super) struct MediaApi {
    storage: Storage,
}

impl MediaApi {
    pub fn new(storage: Storage) -> Self {
        MediaApi { storage }
    }

    async fn open(&self, folder: &str, file: &str, request: &Request) -> Result<Picture, ApiError> {
        let format = format_of(file).ok_or(common::NOT_FOUND)?;
        let range = request
            .headers()
            .get(header::RANGE)
            .and_then(|v| v.to_str().ok())
            .and_then(ByteRange::parse);
        let object = self.storage.get(&format!("media/{folder}/{file}"), range).await?;
        Ok(Picture { object, format })
    }
}

#[OpenApi(prefix_path = "/media", tag = "SupportTags::Support")]
impl MediaApi {
    /// Sends an image of a support chat to whoever has its address.
    ///
    /// One byte range is supported. Outside of the rate limits.
    /// Errors: 404, 416 `range_not_satisfiable`.
    #[oai(path = "/chat_images/:file", method = "get", operation_id = "get_chat_image")]
    async fn chat_image(&self, request: &Request, file: Path<String>) -> Result<Picture, ApiError> {
        self.open("chat_images", &file.0, request).await
    }

    /// Sends an avatar to whoever has its address.
    ///
    /// One byte range is supported. Outside of the rate limits.
    /// Errors: 404, 416 `range_not_satisfiable`.
    #[oai(path = "/avatars/:file", method = "get", operation_id = "get_avatar")]
    async fn avatar(&self, request: &Request, file: Path<String>) -> Result<Picture, ApiError> {
        self.open("avatars", &file.0, request).await
    }
}

/// What a name shows; `None` for names that no picture of ours has.
fn format_of(file: &str) -> Option<Format> {
    let (name, extension) = file.split_once('.')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_ours = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain);
    Format::from_extension(extension).filter(|_| is_ours)
}

/// A picture on its way to a client, whole or in part.
struct Picture {
    object: GetObject,
    format: Format,
}

impl IntoResponse for Picture {
    fn into_response(self) -> Response {
        let Picture { object, format } = self;
        let mut headers = HeaderMap::new();
        let mut set = |name, value: String| {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, format.content_type().to_owned());
        set(header::CONTENT_LENGTH, object.size.to_string());
        set(header::ACCEPT_RANGES, "bytes".to_owned());
        set(header::CACHE_CONTROL, FOREVER.to_owned());
        set(header::CONTENT_SECURITY_POLICY, POLICY.to_owned());
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
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

impl ApiResponse for Picture {
    fn meta() -> MetaResponses {
        let reply = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: "image/*",
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary"))),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                reply(200, "The picture."),
                reply(206, "The range that was asked for."),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_lead_anywhere() {
        assert_eq!(
            format_of("0123456789abcdef0123456789abcdef.jpg"),
            Some(Format::Jpeg)
        );
        assert_eq!(format_of("image_123-a.webp"), Some(Format::Webp));
        let long = format!("{}.png", "a".repeat(65));
        for bad in [
            "",
            ".",
            "..",
            ".png",
            "a",
            "a.",
            "a.svg",
            "a.JPG",
            "a.b.png",
            ".a.type",
            "a.png.type",
            "a/b.png",
            "a%2fb.png",
            "a b.png",
            "中.png",
            "a\0.png",
            &long,
        ] {
            assert_eq!(format_of(bad), None, "{bad:?}");
        }
    }
}
