//! `/media/…`: pictures, for everybody who has their address. Names are random, so an address is
//! the right to look; there is no list of them.

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use yunque_kernel::ApiError;
use yunque_kernel::error::common;
use yunque_kernel::http::{ObjectKind, ObjectReply, asked_range};
use yunque_kernel::image::Format;
use yunque_kernel::storage::Storage;

use super::SupportTags;

/// Longest name without its extension.
const MAX_NAME: usize = 64;

/// A picture on its way to a client.
struct Picture;

impl ObjectKind for Picture {
    const MEDIA_TYPE: &'static str = "image/*";
    const DESCRIPTION: &'static str = "The picture.";
    /// A name is never used again, so what it shows never changes.
    const CACHE_CONTROL: &'static str = "public, max-age=31536000, immutable";
    const CONTENT_SECURITY_POLICY: &'static str = "default-src 'none'";
}

pub(super) struct MediaApi {
    storage: Storage,
}

impl MediaApi {
    pub fn new(storage: Storage) -> Self {
        MediaApi { storage }
    }

    async fn open(
        &self,
        folder: &str,
        file: &str,
        request: &Request,
    ) -> Result<ObjectReply<Picture>, ApiError> {
        let format = format_of(file).ok_or(common::NOT_FOUND)?;
        let key = format!("media/{folder}/{file}");
        let object = self.storage.get(&key, asked_range(request)).await?;
        Ok(ObjectReply::new(object, format.content_type(), None))
    }
}

#[OpenApi(prefix_path = "/media", tag = "SupportTags::Support")]
impl MediaApi {
    /// Sends an image of a support chat to whoever has its address.
    ///
    /// One byte range is supported. Outside of the rate limits.
    /// Errors: 404, 416 `range_not_satisfiable`.
    #[oai(path = "/chat_images/:file", method = "get", operation_id = "get_chat_image")]
    async fn chat_image(
        &self,
        request: &Request,
        file: Path<String>,
    ) -> Result<ObjectReply<Picture>, ApiError> {
        self.open("chat_images", &file.0, request).await
    }

    /// Sends an avatar to whoever has its address.
    ///
    /// One byte range is supported. Outside of the rate limits.
    /// Errors: 404, 416 `range_not_satisfiable`.
    #[oai(path = "/avatars/:file", method = "get", operation_id = "get_avatar")]
    async fn avatar(&self, request: &Request, file: Path<String>) -> Result<ObjectReply<Picture>, ApiError> {
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
