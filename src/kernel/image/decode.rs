//! Decoding what a walk left, only to see that it can be done. Pixels go nowhere.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Format, ImageFault, Limits, Walked};

/// What a PNG may need besides a row: an inflated colour profile, in the first place.
const PNG_LIMIT: usize = 8 << 20;
/// Of an animation so many times the largest picture is decoded; the rest has been walked.
const SHARE: u64 = 4;

/// How the decoding went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Good,
    /// The picture is fine, its colour profile is not.
    BadProfile,
}

/// What decoding will take, in MiB.
pub(super) fn memory_mib(format: Format, walked: &Walked) -> u32 {
    let pixels = u64::from(walked.width) * u64::from(walked.height);
    let bytes = match format {
        // Rows only.
        Format::Png => (PNG_LIMIT as u64) + u64::from(walked.width) * 16,
        // One byte for each pixel of a frame.
        Format::Gif => pixels,
        // A progressive one keeps coefficients of two bytes for three planes beside its pixels.
        Format::Jpeg => pixels * 9,
        // The picture, and planes or a canvas beside it.
        Format::Webp => pixels * 12,
    };
    u32::try_from((bytes >> 20) + 1).unwrap_or(u32::MAX)
}

pub(super) fn decode(format: Format, walked: &Walked, limits: &Limits) -> Result<Seen, ImageFault> {
    match format {
        Format::Jpeg => jpeg(walked, limits).map(|()| Seen::Good),
        Format::Png => png(walked, limits),
        Format::Gif => gif(walked, limits).map(|()| Seen::Good),
        Format::Webp => webp(walked, limits).map(|()| Seen::Good),
    }
}

fn jpeg(walked: &Walked, limits: &Limits) -> Result<(), ImageFault> {
    let side = usize::try_from(limits.max_side).unwrap_or(usize::MAX);
    let options = DecoderOptions::default().set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(walked.bytes.as_slice()), options);
    decoder.decode_headers().map_err(ImageFault::broken)?;
    let size = decoder.dimensions().unwrap_or_default();
    same_size(walked, size.0 as u64, size.1 as u64)?;
    decoder.decode().map(drop).map_err(ImageFault::broken)
}

/// Row by row, so that a large picture needs no more memory than a small one.
fn png(walked: &Walked, limits: &Limits) -> Result<Seen, ImageFault> {
    let limit = png::Limits { bytes: PNG_LIMIT };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(walked.bytes.as_slice()), limit);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(ImageFault::broken)?;
    let info = reader.info();
    same_size(walked, info.width.into(), info.height.into())?;
    let has_profile = info.icc_profile.is_some();
    let mut left = limits.max_pixels.saturating_mul(SHARE);
    while reader.next_row().map_err(ImageFault::broken)?.is_some() {}
    // The first picture is decoded whatever it takes. Fewer frames than promised are fine.
    while let Ok(frame) = reader.next_frame_info() {
        left = left.saturating_sub(u64::from(frame.width) * u64::from(frame.height));
        if left == 0 {
            break;
        }
        while reader.next_row().map_err(ImageFault::broken)?.is_some() {}
    }
    let promised = walked.bytes.windows(4).any(|w| w == b"iCCP");
    Ok(if promised && !has_profile {
        Seen::BadProfile
    } else {
        Seen::Good
    })
}

fn gif(walked: &Walked, limits: &Limits) -> Result<(), ImageFault> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.check_frame_consistency(true);
    let mut decoder = options
        .read_info(Cursor::new(walked.bytes.as_slice()))
        .map_err(ImageFault::broken)?;
    same_size(walked, decoder.width().into(), decoder.height().into())?;
    let mut left = limits.max_pixels.saturating_mul(SHARE);
    let mut pixels = Vec::new();
    while let Some(frame) = decoder.next_frame_info().map_err(ImageFault::broken)? {
        let count = u64::from(frame.width) * u64::from(frame.height);
        if count > left {
            break;
        }
        left -= count;
        pixels.resize(decoder.buffer_size(), 0);
        decoder
            .read_into_buffer(&mut pixels)
            .map_err(ImageFault::broken)?;
    }
    Ok(())
}

fn webp(walked: &Walked, limits: &Limits) -> Result<(), ImageFault> {
    let mut decoder =
        image_webp::WebPDecoder::new(Cursor::new(walked.bytes.as_slice())).map_err(ImageFault::broken)?;
    let (width, height) = decoder.dimensions();
    same_size(walked, width.into(), height.into())?;
    let size = decoder
        .output_buffer_size()
        .ok_or_else(|| ImageFault::broken("too large"))?;
    decoder.set_memory_limit(size.saturating_mul(2).max(1 << 20));
    let mut pixels = vec![0; size];
    if !decoder.is_animated() {
        return decoder.read_image(&mut pixels).map_err(ImageFault::broken);
    }
    // Each frame is put onto the whole canvas.
    let canvas = u64::from(width) * u64::from(height);
    let most = (limits.max_pixels.saturating_mul(SHARE) / canvas.max(1)).max(1);
    for _ in 0..u64::from(decoder.num_frames()).min(most) {
        decoder.read_frame(&mut pixels).map_err(ImageFault::broken)?;
    }
    Ok(())
}

/// The decoder must see the picture that the limits were checked for.
fn same_size(walked: &Walked, width: u64, height: u64) -> Result<(), ImageFault> {
    if (u64::from(walked.width), u64::from(walked.height)) == (width, height) {
        Ok(())
    } else {
        Err(ImageFault::broken("two sizes"))
    }
}
