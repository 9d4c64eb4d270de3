//! Pictures that clients send: what they are, whether they are whole, and without what nobody else
//! should know.
//!
//! [`clean`] looks at the bytes alone; names and declared types are not asked for. It
//! 1. tells the format by its first bytes (JPEG, PNG, GIF, WebP; nothing else),
//! 2. walks the container ([`jpeg`], [`png`], [`gif`], [`webp`]): dimensions and frames against the
//!    [`Limits`], and a copy that holds only what shows the picture. EXIF, XMP, IPTC, comments,
//!    thumbnails, unknown chunks and everything behind the end are left out; the colour profile and
//!    the orientation stay,
//! 3. decodes the copy, so that what is stored is a picture and not something that begins like one.
//!
//! The walk allocates no more than the size of its input, whatever sizes the input claims. Texts
//! and profiles are never inflated beyond a bound, rows and GIF frames are decoded one at a time,
//! and the frames of an animation are decoded only until [`Limits::max_pixels`] were seen four
//! times; the rest is walked. JPEG and WebP decoders need the whole picture in memory, which is why
//! [`Images`] lets only as many run as fit its budget.

mod decode;
mod exif;
mod gif;
mod jpeg;
mod png;
#[cfg(test)]
mod tests;
mod webp;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::error::{Code, Coded, common};

/// The codes of this module.
pub mod codes {
    crate::codes! {
        UNSUPPORTED_IMAGE = 400, "unsupported_image", "不支持的图片格式，仅支持 JPEG、PNG、GIF、WebP", "Unsupported image type; use JPEG, PNG, GIF or WebP.";
        INVALID_IMAGE = 400, "invalid_image", "图片文件已损坏，无法解析", "The image is damaged and cannot be decoded.";
        IMAGE_DIMENSIONS = 400, "image_dimensions_exceeded", "图片尺寸超出限制", "The image has too many pixels or frames.";
    }
}

/// What a picture may be. The size in bytes is the business of whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width and height, each.
    pub max_side: u32,
    /// Width times height.
    pub max_pixels: u64,
    /// Of an animation.
    pub max_frames: u32,
}

impl Default for Limits {
    /// Contract "agents" 3.6.
    fn default() -> Self {
        Limits {
            max_side: 16_384,
            max_pixels: 40_000_000,
            max_frames: 500,
        }
    }
}

impl Limits {
    fn check(&self, width: u32, height: u32, frames: u32) -> Result<(), ImageFault> {
        if width == 0 || height == 0 {
            return Err(ImageFault::Broken("a side of zero".to_owned()));
        }
        let fits = width <= self.max_side
            && height <= self.max_side
            && u64::from(width) * u64::from(height) <= self.max_pixels
            && frames <= self.max_frames;
        if fits { Ok(()) } else { Err(ImageFault::TooBig) }
    }
}

/// The formats there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    Gif,
    Webp,
}

impl Format {
    /// By the first bytes.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Format::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::Webp),
            _ => None,
        }
    }

    /// Without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
            Format::Gif => "gif",
            Format::Webp => "webp",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::Png => "image/png",
            Format::Gif => "image/gif",
            Format::Webp => "image/webp",
        }
    }

    /// The format whose files end like this.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "jpg" => Some(Format::Jpeg),
            "png" => Some(Format::Png),
            "gif" => Some(Format::Gif),
            "webp" => Some(Format::Webp),
            _ => None,
        }
    }
}

/// A picture that may be stored and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    pub format: Format,
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
}

/// Why bytes are no picture of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageFault {
    #[error("not a JPEG, PNG, GIF or WebP")]
    Unsupported,
    #[error("too many pixels or frames")]
    TooBig,
    #[error("damaged: {0}")]
    Broken(String),
    #[error("the server is stopping")]
    Stopping,
}

impl ImageFault {
    fn broken(what: impl std::fmt::Display) -> Self {
        ImageFault::Broken(what.to_string())
    }
}

impl Coded for ImageFault {
    fn code(&self) -> Code {
        match self {
            ImageFault::Unsupported => codes::UNSUPPORTED_IMAGE,
            ImageFault::TooBig => codes::IMAGE_DIMENSIONS,
            ImageFault::Broken(_) => codes::INVALID_IMAGE,
            ImageFault::Stopping => common::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a walk through a container found.
#[derive(Debug)]
struct Walked {
    width: u32,
    height: u32,
    /// 1 unless animated.
    frames: u32,
    /// The picture without everything else.
    bytes: Vec<u8>,
    /// Where the picture ended in the input.
    end: usize,
}

fn walk(bytes: &[u8], limits: &Limits) -> Result<(Format, Walked), ImageFault> {
    let format = Format::sniff(bytes).ok_or(ImageFault::Unsupported)?;
    let walked = match format {
        Format::Jpeg => jpeg::walk(bytes),
        Format::Png => png::walk(bytes, png::Profile::Keep),
        Format::Gif => gif::walk(bytes),
        Format::Webp => webp::walk(bytes),
    };
    let walked = match walked {
        // Sizes that nothing could be read behind are told apart from damage.
        Err(fault) => return Err(dimensions_first(format, bytes, limits).unwrap_or(fault)),
        Ok(walked) => walked,
    };
    limits.check(walked.width, walked.height, walked.frames)?;
    if bytes.get(walked.end..).is_some_and(is_other_file) {
        return Err(ImageFault::Unsupported);
    }
    Ok((format, walked))
}

/// A header that claims too much is refused for that, even when nothing follows it.
fn dimensions_first(format: Format, bytes: &[u8], limits: &Limits) -> Option<ImageFault> {
    let (width, height) = match format {
        Format::Png => png::dimensions(bytes)?,
        Format::Gif => gif::dimensions(bytes)?,
        Format::Jpeg | Format::Webp => return None,
    };
    match limits.check(width, height, 1) {
        Err(ImageFault::TooBig) => Some(ImageFault::TooBig),
        _ => None,
    }
}

/// Whether what stands behind a picture is a file of its own that some program would open: then
/// the whole was made to be two things at once. Padding and what cameras append is just cut off.
fn is_other_file(tail: &[u8]) -> bool {
    let start = tail
        .iter()
        .position(|b| !b.is_ascii_whitespace() && *b != 0)
        .unwrap_or(tail.len());
    let tail = &tail[start..];
    [
        &b"PK\x03\x04"[..],
        b"PK\x05\x06",
        b"%PDF",
        b"MZ",
        b"\x7fELF",
        b"<",
        b"Rar!",
        b"7z\xBC\xAF",
        b"#!",
    ]
    .iter()
    .any(|magic| tail.starts_with(magic))
}

/// Checks a picture and leaves only the picture. Blocking, and up to a second for the largest; use
/// [`Images::clean`] where others wait.
///
/// # Errors
/// `Unsupported` for other formats and for files that are two things at once, `TooBig` over the
/// limits, `Broken` for what cannot be decoded.
pub fn clean(bytes: &[u8], limits: &Limits) -> Result<Clean, ImageFault> {
    let (format, walked) = walk(bytes, limits)?;
    finish(bytes, format, walked, limits)
}

fn finish(bytes: &[u8], format: Format, walked: Walked, limits: &Limits) -> Result<Clean, ImageFault> {
    let seen = decode::decode(format, &walked, limits)?;
    let Walked {
        width,
        height,
        bytes: mut kept,
        ..
    } = walked;
    if seen == decode::Seen::BadProfile {
        // Too large when inflated, or not inflatable: a trap for whoever looks at the picture.
        kept = png::walk(bytes, png::Profile::Drop)?.bytes;
    }
    Ok(Clean {
        format,
        width,
        height,
        bytes: kept,
    })
}

/// Memory that all decoders of a process may use together, in MiB.
const BUDGET_MIB: u32 = 512;

/// Cleans pictures beside the async threads, a bounded number at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {
    budget: Arc<Semaphore>,
    /// One decoder uses one core.
    turns: Arc<Semaphore>,
}

impl Default for Images {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Images {
            budget: Arc::new(Semaphore::new(BUDGET_MIB as usize)),
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
        }
    }
}

impl Images {
    /// [`clean`], with at most half of the cores and [`BUDGET_MIB`] for all callers together.
    ///
    /// # Errors
    /// As `clean`.
    pub async fn clean(&self, bytes: Bytes, limits: Limits) -> Result<Clean, ImageFault> {
        let _turn = self.turns.acquire().await.map_err(|_| ImageFault::Stopping)?;
        let (bytes, (format, walked)) = blocking(move || {
            let walked = walk(&bytes, &limits)?;
            Ok((bytes, walked))
        })
        .await?;
        let need = decode::memory_mib(format, &walked).clamp(1, BUDGET_MIB);
        let _room = self
            .budget
            .acquire_many(need)
            .await
            .map_err(|_| ImageFault::Stopping)?;
        blocking(move || finish(&bytes, format, walked, &limits)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageFault> + Send + 'static,
) -> Result<T, ImageFault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) if e.is_panic() => Err(ImageFault::broken("the decoder gave up")),
        Err(_) => Err(ImageFault::Stopping),
    }
}

/// `N` bytes at `at`.
fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ImageFault> {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|slice| slice.try_into().ok())
        .ok_or_else(cut_off)
}

/// `len` bytes at `at`.
fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], ImageFault> {
    at.checked_add(len)
        .and_then(|end| bytes.get(at..end))
        .ok_or_else(cut_off)
}

fn cut_off() -> ImageFault {
    ImageFault::broken("cut off")
}
