//! JSON bodies with long contents, such as files in base64, which are never in memory as a whole.
//!
//! A field of type [`Content`] is a string like any other as long as it is short. In a body of 64 KiB
//! and more, long ones are taken out while they arrive and given, piece by piece, to the [`Contents`]
//! of whoever reads the body. In their place the document keeps a text that only this process can
//! have written, since its random part is made for this one body; so the rest is parsed, checked and
//! cleaned the ordinary way, and all faults are found together.

mod scan;
#[cfg(test)]
mod tests;
mod unescape;

use std::sync::Arc;

use futures_util::StreamExt;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaRequest, MetaSchema, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::gate::{BodyGate, FREE_BUFFER};
use super::read::{self, Media};
use super::shape::{self, Shape};
use super::{BodyDigest, COPIES, LARGEST_BUFFERED_BODY, PARSE_INLINE};
use super::{checked, json, json_request, off_thread};
use crate::error::{ApiError, common};
use scan::Scanner;

/// The `format` of texts that may be taken out.
pub const CONTENT_FORMAT: &str = "base64";

/// Bodies below this size are read as any other; larger ones in pieces of about this size.
const PIECE: usize = PARSE_INLINE;

/// Contents up to this length stay in the document.
const LONG: usize = 16 * 1024;

/// Begins every text that stands for a content. Clients cannot send it: the walker refuses control
/// characters in contents.
const SIGN: char = '\u{1}';

/// A text that may be long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It was short, or in a small body. Trimmed.
    Text(String),
    /// The one with this number in the [`Contents`] of the body.
    Taken(usize),
}

/// Takes the long contents of one body while they arrive. They are numbered from 0 in the order of
/// their ends. Called on threads that may block.
pub trait Contents: Send + 'static {
    /// The next content begins.
    fn begin(&mut self);

    /// More of it, cut between any two characters; escapes are resolved.
    ///
    /// # Errors
    /// End the request, and the rest of its body is not read.
    fn push(&mut self, text: &str) -> Result<(), ApiError>;

    /// It is complete.
    ///
    /// # Errors
    /// As for [`Contents::push`].
    fn end(&mut self) -> Result<(), ApiError>;

    /// The content with this number is not part of the document: its name came again.
    fn forget(&mut self, number: usize);

    /// Bytes in memory because of it, more than a few KiB.
    fn held(&self) -> u64;
}

/// A JSON request body of type `T`, at most `LIMIT` bytes, whose contents are not held in memory.
/// [`ContentBody::read`] does what extracting does for a `Body`.
pub struct ContentBody<T, const LIMIT: u64> {
    body: poem::Body,
    gate: Arc<BodyGate>,
    media: Media,
    value: std::marker::PhantomData<fn() -> T>,
}

/// A body that was read.
#[derive(Debug)]
pub struct Received<T, C> {
    pub value: T,
    pub contents: C,
    /// Of the bytes as received.
    pub digest: BodyDigest,
}

impl<T: ParseFromJSON + 'static, const LIMIT: u64> ContentBody<T, LIMIT> {
    /// Reads everything, and long contents into `contents`.
    ///
    /// # Errors
    /// As a `Body`: 400 with `errors` when fields are wrong, 400 `parse_error` when it is not JSON, 413
    /// and 415; and whatever `contents` says.
    pub async fn read<C: Contents>(self, contents: C) -> Result<Received<T, C>, ApiError> {
        let ContentBody {
            body, gate, media, ..
        } = self;
        let mut contents = Some(contents);
        let mut buffer = Vec::with_capacity(capacity(&gate));
        let mut taking: Option<Box<Taking<C>>> = None;
        let mut held = FREE_BUFFER;
        let mut stream = Box::pin(body.into_bytes_stream());
        while let Some(chunk) = stream.next().await {
            // Without a verdict the client is gone or broke the framing.
            let chunk = chunk.map_err(|e| gate.verdict().unwrap_or_else(|| read::broken(e)))?;
            buffer.extend_from_slice(&chunk);
            drop(chunk);
            if buffer.len() < PIECE {
                continue;
            }
            let mut now = match taking {
                Some(taking) => taking,
                // What is not taken for JSON is only counted, and refused at its end.
                None => Box::new(Taking::new(
                    shape::shape_of::<T>(),
                    contents.take().filter(|_| media.may_be_json()),
                )),
            };
            (now, buffer) = off_thread(buffer.len(), move || {
                now.take(&buffer)?;
                buffer.clear();
                Ok((now, buffer))
            })
            .await?;
            let needed = now.held().min(LARGEST_BUFFERED_BODY);
            if needed > held {
                // No request asks for more than the budget has.
                let more = (needed - held).max(1 << 20).min(LARGEST_BUFFERED_BODY - held);
                gate.hold(more).await?;
                held += more;
            }
            taking = Some(now);
        }
        read::require(media, &[Media::Json], buffer.is_empty() && taking.is_none())?;
        match (taking, contents) {
            (Some(mut taking), _) => {
                let work = move || {
                    taking.take(&buffer)?;
                    taking.finish()
                };
                off_thread(PIECE, work).await
            }
            (None, Some(contents)) => Ok(Received {
                value: checked::<T>(json::parse(&buffer)?, None)?,
                contents,
                digest: BodyDigest::of(&buffer),
            }),
            (None, None) => Err(ApiError::internal("contents without a body")),
        }
    }
}

fn capacity(gate: &BodyGate) -> usize {
    let declared = gate.declared().and_then(|n| usize::try_from(n).ok());
    declared.unwrap_or(0).min(PIECE)
}

/// A large body on its way in.
struct Taking<C> {
    scanner: Scanner,
    hash: Sha256,
    /// Gone when this will not become a value of the type.
    contents: Option<C>,
}

impl<C: Contents> Taking<C> {
    fn new(shape: &'static Shape, contents: Option<C>) -> Self {
        Taking {
            scanner: Scanner::new(shape, LONG),
            hash: Sha256::new(),
            contents,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.hash.update(bytes);
        if let Some(contents) = &mut self.contents {
            self.scanner.feed(bytes, contents)?;
        }
        if self.scanner.is_broken() {
            self.contents = None;
        }
        Ok(())
    }

    /// Bytes in memory once the document is parsed.
    fn held(&self) -> u64 {
        let values = self.scanner.values() * size_of::<Value>() as u64;
        let contents = self.contents.as_ref().map_or(0, Contents::held);
        (self.scanner.kept() + values) * COPIES + contents
    }

    fn finish<T: ParseFromJSON + 'static>(self) -> Result<Received<T, C>, ApiError> {
        let digest = BodyDigest(self.hash.finalize().into());
        let (Some((document, mark)), Some(contents)) = (self.scanner.finish(), self.contents) else {
            return Err(common::PARSE_ERROR.into());
        };
        let parsed = json::parse(&document)?;
        drop(document);
        Ok(Received {
            value: checked::<T>(parsed, Some(&mark))?,
            contents,
            digest,
        })
    }
}

/// What stands in one document for the contents that were taken out of it.
#[derive(Debug)]
pub(super) struct Mark(String);

impl Mark {
    fn new() -> Self {
        Mark(Uuid::new_v4().simple().to_string())
    }

    /// Writes the JSON string for the content with this number.
    fn write(&self, number: usize, document: &mut Vec<u8>) {
        let text = format!("\"\\u{:04x}{}:{number}\"", u32::from(SIGN), self.0);
        document.extend_from_slice(text.as_bytes());
    }

    /// Does this text stand for a content of this document?
    pub fn is_in(&self, text: &str) -> bool {
        text.strip_prefix(SIGN).is_some_and(|t| t.starts_with(&self.0))
    }
}

impl<'a, T: ParseFromJSON + 'static, const LIMIT: u64> ApiExtractor<'a> for ContentBody<T, LIMIT> {
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
        let gate = read::gate_of(request)?.clone();
        gate.admit(LIMIT)?;
        Ok(ContentBody {
            body: body.take().unwrap_or_default(),
            gate,
            media: read::media_of(request),
            value: std::marker::PhantomData,
        })
    }
}

crate::inline_type!(
    Content,
    format!("string_{CONTENT_FORMAT}"),
    MetaSchema::new_with_format("string", CONTENT_FORMAT)
);

impl ParseFromJSON for Content {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let Some(Value::String(text)) = value else {
            return Err(ParseError::expected_type(value.unwrap_or_default()));
        };
        if !text.starts_with(SIGN) {
            return Ok(Content::Text(text));
        }
        // Only a mark has come past the walker.
        let number = text.rsplit(':').next().and_then(|n| n.parse().ok());
        number
            .map(Content::Taken)
            .ok_or_else(|| ParseError::custom("no content"))
    }
}

impl ToJSON for Content {
    /// Contents that were taken out have no text.
    fn to_json(&self) -> Option<Value> {
        match self {
            Content::Text(text) => Some(text.clone().into()),
            Content::Taken(_) => None,
        }
    }
}
