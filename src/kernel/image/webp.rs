//! WebP: a RIFF file of chunks, each padded to an even length.

use super::{ImageFault, Walked, cut_off, exif, slice, take};

/// `RIFF`, length, `WEBP`.
const HEAD: usize = 12;
const FLAG_XMP: u8 = 0x04;
const FLAG_EXIF: u8 = 0x08;
/// Copied as they are.
const SHOWN: &[&[u8; 4]] = &[b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ICCP"];
/// The same inside of a frame.
const SHOWN_IN_FRAME: &[&[u8; 4]] = &[b"VP8 ", b"VP8L", b"ALPH"];

pub(super) fn walk(bytes: &[u8]) -> Result<Walked, ImageFault> {
    let claimed = usize::try_from(u32::from_le_bytes(take(bytes, 4)?)).map_err(ImageFault::broken)?;
    let end = claimed.checked_add(8).ok_or_else(cut_off)?;
    let riff = slice(bytes, 0, end)?;
    let mut out = Vec::with_capacity(riff.len());
    out.extend_from_slice(slice(riff, 0, HEAD)?);
    let mut size: Option<(u32, u32)> = None;
    let (mut frames, mut extended, mut orientation) = (0_u32, None, None);
    let mut has_picture = false;
    let mut at = HEAD;
    while at < end {
        let kind: [u8; 4] = take(riff, at)?;
        let length = usize::try_from(u32::from_le_bytes(take(riff, at + 4)?)).map_err(ImageFault::broken)?;
        let body = slice(riff, at + 8, length)?;
        match &kind {
            b"VP8X" if at == HEAD => {
                extended = Some(out.len() + 8);
                size = Some(canvas(body)?);
            }
            b"VP8X" => return Err(ImageFault::broken("a second header")),
            b"VP8 " | b"VP8L" => {
                // Decoders believe the bitstream, so it must agree with the canvas.
                let found = bitstream(&kind, body)?;
                let is_first = !std::mem::replace(&mut has_picture, true);
                if !is_first || *size.get_or_insert(found) != found {
                    return Err(ImageFault::broken("two pictures, or one of two sizes"));
                }
            }
            b"ANMF" => {
                frames = frames.saturating_add(1);
                push(&mut out, kind, &frame(body, size)?)?;
            }
            b"EXIF" if orientation.is_none() => orientation = exif::orientation(body),
            _ if size.is_none() => return Err(ImageFault::broken("no header")),
            _ => {}
        }
        if SHOWN.contains(&&kind) {
            push(&mut out, kind, body)?;
        }
        // Some writers forget the padding of the last chunk.
        at = (at + 8 + length + (length & 1)).min(end.max(at + 8 + length));
    }
    let (width, height) = size.ok_or_else(|| ImageFault::broken("no header"))?;
    if let Some(flags) = extended.and_then(|at| out.get_mut(at)) {
        *flags &= !(FLAG_XMP | FLAG_EXIF);
        if orientation.is_some() {
            *flags |= FLAG_EXIF;
        }
        if let Some(orientation) = orientation {
            push(&mut out, *b"EXIF", &exif::only(orientation))?;
        }
    }
    let length = u32::try_from(out.len() - 8).map_err(ImageFault::broken)?;
    out[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(Walked {
        width,
        height,
        frames: frames.max(1),
        bytes: out,
        end,
    })
}

/// Flags, three reserved bytes, width and height less one in three bytes each.
fn canvas(body: &[u8]) -> Result<(u32, u32), ImageFault> {
    let [_, _, _, _, w0, w1, w2, h0, h1, h2] = take(body, 0)?;
    Ok((
        u32::from_le_bytes([w0, w1, w2, 0]) + 1,
        u32::from_le_bytes([h0, h1, h2, 0]) + 1,
    ))
}

/// A frame of an animation: its place, then chunks of its own. It must lie on the canvas, and its
/// bitstream must have its size. Returns the frame without the chunks that show nothing.
fn frame(body: &[u8], canvas: Option<(u32, u32)>) -> Result<Vec<u8>, ImageFault> {
    const PLACE: usize = 16;
    let (width, height) = canvas.ok_or_else(|| ImageFault::broken("a frame without a canvas"))?;
    let three = |at: usize| -> Result<u32, ImageFault> {
        let [a, b, c] = take(body, at)?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    };
    // Offsets are halved, sizes are less one.
    let (x, y) = (three(0)? * 2, three(3)? * 2);
    let (w, h) = (three(6)? + 1, three(9)? + 1);
    if x + w > width || y + h > height {
        return Err(ImageFault::broken("a frame outside of the canvas"));
    }
    let mut out = Vec::with_capacity(body.len());
    out.extend_from_slice(slice(body, 0, PLACE)?);
    let mut at = PLACE;
    while at < body.len() {
        let kind: [u8; 4] = take(body, at)?;
        let length = usize::try_from(u32::from_le_bytes(take(body, at + 4)?)).map_err(ImageFault::broken)?;
        let inner = slice(body, at + 8, length)?;
        if matches!(&kind, b"VP8 " | b"VP8L") && bitstream(&kind, inner)? != (w, h) {
            return Err(ImageFault::broken("a frame of two sizes"));
        }
        if SHOWN_IN_FRAME.contains(&&kind) {
            push(&mut out, kind, inner)?;
        }
        at += 8 + length + (length & 1);
    }
    Ok(out)
}

fn bitstream(kind: &[u8; 4], body: &[u8]) -> Result<(u32, u32), ImageFault> {
    if kind == b"VP8L" {
        let [0x2F, a, b, c, d] = take(body, 0)? else {
            return Err(ImageFault::broken("no lossless header"));
        };
        let bits = u32::from_le_bytes([a, b, c, d]);
        return Ok(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1));
    }
    let [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1] = take(body, 0)? else {
        return Err(ImageFault::broken("no lossy header"));
    };
    let side = |pair| u32::from(u16::from_le_bytes(pair) & 0x3FFF);
    Ok((side([w0, w1]), side([h0, h1])))
}

fn push(out: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) -> Result<(), ImageFault> {
    let length = u32::try_from(body.len()).map_err(ImageFault::broken)?;
    out.extend_from_slice(&kind);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
    if body.len() % 2 == 1 {
        out.push(0);
    }
    Ok(())
}
