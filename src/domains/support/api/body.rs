//! The body of a new message: JSON for text, `multipart/form-data` for images.

use bytes::Bytes;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::{Digest, Sha256};
use yunque_kernel::error::messages;
use yunque_kernel::http::{Body, BodyDigest, MultipartBody};
use yunque_kernel::{ApiError, Faults};

use crate::SupportError;
use crate::dto::{SupportImageIn, SupportMessageIn};
use crate::kinds::ContentType;
use crate::message_text::{MAX_TEXT, MessageText};

/// Read and thrown away up to here, so that the client hears why; beyond it is a 413.
const MULTIPART_LIMIT: u64 = 64 << 20;
/// Contract "conventions" 12: exactly 10 MiB are allowed.
pub(super) const MAX_IMAGE: usize = 10 << 20;
/// Bodies up to this size need no room of their own.
const SMALL: u64 = 256 * 1024;
/// Longest text of a part, in bytes.
const MAX_PART_TEXT: usize = MAX_TEXT * 4;

/// Whichever of the two was sent.
pub(super) enum MessageBody {
    Json(Body<SupportMessageIn>),
    Multipart(Box<MultipartBody<SupportImageIn, MULTIPART_LIMIT>>),
}

/// What was in it, not yet compared with each other.
#[derive(Debug)]
pub(super) struct Draft {
    pub content_type: ContentType,
    pub content: Option<MessageText>,
    pub image: Option<Bytes>,
    pub digest: BodyDigest,
}

/// A message as it may be stored, but for the image, which nobody has looked at yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Text(String),
    Image(Bytes),
}

impl Draft {
    /// # Errors
    /// 400: no text, no image, an image beside a text.
    pub fn into_message(self) -> Result<Message, ApiError> {
        let Draft {
            content_type,
            content,
            image,
            ..
        } = self;
        match content_type {
            ContentType::Text if image.is_some() => Err(Faults::one("image", NO_IMAGE_HERE)),
            ContentType::Text => {
                let content = content.ok_or(SupportError::EmptyContent)?;
                Ok(Message::Text(content.into_valid()?))
            }
            // A text beside an image is ignored.
            ContentType::Image => {
                let image = image.filter(|bytes| !bytes.is_empty());
                Ok(Message::Image(image.ok_or(SupportError::ImageRequired)?))
            }
        }
    }
}

const NO_IMAGE_HERE: yunque_kernel::Text =
    yunque_kernel::Text::fixed("文本消息不能包含图片", "A text message cannot carry an image.");
const ONE_IMAGE: yunque_kernel::Text =
    yunque_kernel::Text::fixed("只能发送一张图片", "Only one image can be sent.");

impl MessageBody {
    /// Reads all of it.
    ///
    /// # Errors
    /// 400 for a malformed body or an image over 10 MiB, 413 over 64 MiB, 503 without memory.
    pub async fn read(self) -> Result<Draft, ApiError> {
        match self {
            MessageBody::Json(body) => {
                let (
                    SupportMessageIn {
                        content_type,
                        content,
                    },
                    digest,
                ) = body.into_parts();
                Ok(Draft {
                    content_type: content_type.unwrap_or(ContentType::Text),
                    content,
                    image: None,
                    digest,
                })
            }
            MessageBody::Multipart(body) => read_parts(*body).await,
        }
    }
}

/// Reads the parts in any order. The body is read to its end before anything is refused for its
/// size, so that the connection stays usable.
async fn read_parts(mut body: MultipartBody<SupportImageIn, MULTIPART_LIMIT>) -> Result<Draft, ApiError> {
    let largest = MAX_IMAGE as u64;
    let expected = body.declared().unwrap_or(largest).min(largest);
    if expected > SMALL {
        // What came, and what is left of it after the cleaning.
        body.hold(expected * 2).await?;
    }
    let (mut content_type, mut content, mut image) = (None, None, None);
    while let Some(part) = body.next().await? {
        match part.name() {
            Some("content_type") => content_type = Some(body.text(part, MAX_PART_TEXT).await?),
            Some("content") => content = Some(body.text(part, MAX_PART_TEXT).await?),
            Some("image") if image.is_some() => return Err(Faults::one("image", ONE_IMAGE)),
            Some("image") => image = Some(body.bytes(part, MAX_IMAGE).await?),
            _ => body.skip(part).await?,
        }
    }
    let image = image
        .map(|bytes| bytes.ok_or(SupportError::ImageTooLarge))
        .transpose()?;
    let kind = match content_type.as_deref() {
        None => ContentType::Text,
        Some(text) => {
            ContentType::parse(text).ok_or_else(|| Faults::one("content_type", messages::BAD_CHOICE))?
        }
    };
    let mut hash = Sha256::new();
    hash.update(kind.as_str());
    for part in [content.as_deref().map(str::as_bytes), image.as_deref()] {
        let part = part.unwrap_or_default();
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(Draft {
        content_type: kind,
        content: content.map(MessageText),
        image,
        digest: BodyDigest(hash.finalize().into()),
    })
}

fn is_multipart(request: &Request) -> bool {
    let essence = request.content_type().and_then(|t| t.split(';').next());
    essence.is_some_and(|t| t.trim().eq_ignore_ascii_case("multipart/form-data"))
}

impl<'a> ApiExtractor<'a> for MessageBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Body<SupportMessageIn> as ApiExtractor>::register(registry);
        <MultipartBody<SupportImageIn, MULTIPART_LIMIT> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let mut meta = <Body<SupportMessageIn> as ApiExtractor>::request_meta()?;
        let other = <MultipartBody<SupportImageIn, MULTIPART_LIMIT> as ApiExtractor>::request_meta()?;
        meta.content.extend(other.content);
        meta.required = true;
        Some(meta)
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if is_multipart(request) {
            let parts = <MultipartBody<_, _> as ApiExtractor>::from_request(request, body, options).await?;
            Ok(MessageBody::Multipart(Box::new(parts)))
        } else {
            let json = <Body<_> as ApiExtractor>::from_request(request, body, options).await?;
            Ok(MessageBody::Json(json))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(content_type: ContentType, content: Option<&str>, image: Option<&'static [u8]>) -> Draft {
        Draft {
            content_type,
            content: content.map(|c| MessageText(c.to_owned())),
            image: image.map(Bytes::from_static),
            digest: BodyDigest([0; 32]),
        }
    }

    #[test]
    fn each_kind_takes_its_own_part() {
        let code = |d: Draft| d.into_message().map_err(|e| e.code);
        assert_eq!(
            code(draft(ContentType::Text, Some(" a "), None)),
            Ok(Message::Text(" a ".to_owned()))
        );
        assert_eq!(
            code(draft(ContentType::Image, Some("ignored"), Some(b"x"))),
            Ok(Message::Image(Bytes::from_static(b"x")))
        );
        assert_eq!(code(draft(ContentType::Text, None, None)), Err("empty_content"));
        assert_eq!(
            code(draft(ContentType::Text, Some("a"), Some(b"x"))),
            Err("validation_error")
        );
        for missing in [None, Some(&b""[..])] {
            assert_eq!(
                code(draft(ContentType::Image, None, missing)),
                Err("image_required")
            );
        }
    }
}
