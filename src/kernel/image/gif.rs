//! GIF: a screen, then blocks. Texts hide in extensions here.

use super::{ImageFault, Walked, slice, take};

const HEAD: usize = 13;

/// Extensions that belong to the picture: looping, and the colour profile.
const KEPT: [&[u8; 11]; 3] = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

/// Width and height of the screen.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let [w0, w1, h0, h1] = take(bytes, 6).ok()?;
    Some((
        u16::from_le_bytes([w0, w1]).into(),
        u16::from_le_bytes([h0, h1]).into(),
    ))
}

pub(super) fn walk(bytes: &[u8]) -> Result<Walked, ImageFault> {
    let (width, height) = dimensions(bytes).ok_or_else(|| ImageFault::broken("no header"))?;
    let head = slice(bytes, 0, HEAD)?;
    let mut at = HEAD + palette(head[10]);
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(slice(bytes, 0, at)?);
    let mut frames = 0_u32;
    loop {
        let start = at;
        let [kind] = take(bytes, at)?;
        match kind {
            0x3B => {
                out.push(kind);
                if frames == 0 {
                    return Err(ImageFault::broken("no frame"));
                }
                return Ok(Walked {
                    width,
                    height,
                    frames,
                    bytes: out,
                    end: at + 1,
                });
            }
            0x2C => {
                let place: [u8; 9] = take(bytes, at + 1)?;
                let side = |i: usize| u32::from(u16::from_le_bytes([place[i], place[i + 1]]));
                let (right, bottom) = (side(0) + side(4), side(2) + side(6));
                if side(4) == 0 || side(6) == 0 || right > width || bottom > height {
                    return Err(ImageFault::broken("a frame outside of the screen"));
                }
                frames = frames.saturating_add(1);
                // The byte behind the palette is the code size.
                at = blocks_end(bytes, at + 10 + palette(place[8]) + 1)?;
                out.extend_from_slice(&bytes[start..at]);
            }
            0x21 => {
                let [label] = take(bytes, at + 1)?;
                at = blocks_end(bytes, at + 2)?;
                let is_kept = match label {
                    0xF9 => true,
                    // A block of eleven bytes names the application.
                    0xFF => KEPT
                        .iter()
                        .any(|name| bytes[start + 2] == 11 && bytes[start + 3..at].starts_with(*name)),
                    _ => false,
                };
                if is_kept {
                    out.extend_from_slice(&bytes[start..at]);
                }
            }
            _ => return Err(ImageFault::broken("an unknown block")),
        }
    }
}

/// Bytes of the palette that these flags announce.
fn palette(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Behind the empty block that ends a run of blocks.
fn blocks_end(bytes: &[u8], mut at: usize) -> Result<usize, ImageFault> {
    loop {
        let [length] = take(bytes, at)?;
        at += 1 + usize::from(length);
        if length == 0 {
            return Ok(at);
        }
    }
}
