//! JPEG: marker segments, then scans of entropy-coded data.

use super::{ImageFault, Walked, cut_off, exif, slice, take};

const SOI: [u8; 2] = [0xFF, 0xD8];
const EOI: u8 = 0xD9;

/// Copies what decodes: tables, frames, scans, the JFIF and Adobe headers (they name the colour
/// space), the ICC profile.
pub(super) fn walk(bytes: &[u8]) -> Result<Walked, ImageFault> {
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&SOI);
    let mut size: Option<(u32, u32)> = None;
    let mut turned = false;
    let mut at = SOI.len();
    loop {
        let (marker, after) = marker_at(bytes, at)?;
        at = after;
        match marker {
            EOI => {
                out.extend_from_slice(&[0xFF, EOI]);
                let (width, height) = size.ok_or_else(|| ImageFault::broken("no frame"))?;
                return Ok(Walked {
                    width,
                    height,
                    frames: 1,
                    bytes: out,
                    end: at,
                });
            }
            // Stand alone: TEM, and restarts that strayed out of their scan.
            0x01 | 0xD0..=0xD7 => continue,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes(take(bytes, at)?));
        let whole = slice(bytes, at, length)?;
        let body = whole.get(2..).ok_or_else(cut_off)?;
        at += length;
        let mut keep = |data: &[u8]| {
            out.extend_from_slice(&[0xFF, marker]);
            // Never longer than what was read, so it fits.
            let length = u16::try_from(data.len() + 2).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(data);
        };
        match marker {
            // Frames. 0xC4 and 0xCC are tables, 0xC8 is reserved.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let [_, h1, h0, w1, w0] = take(body, 0)?;
                let found = (
                    u32::from(u16::from_be_bytes([w1, w0])),
                    u32::from(u16::from_be_bytes([h1, h0])),
                );
                if size.replace(found).is_some() {
                    return Err(ImageFault::broken("two frames"));
                }
                keep(body);
            }
            0xC4 | 0xCC | 0xDB | 0xDC | 0xDD => keep(body),
            0xDA => {
                keep(body);
                let end = scan_end(bytes, at)?;
                out.extend_from_slice(&bytes[at..end]);
                at = end;
            }
            // JFIF without its thumbnail; JFXX is nothing but one.
            0xE0 if body.starts_with(b"JFIF\0") && body.len() >= 14 => {
                let mut head = [0; 14];
                head.copy_from_slice(&body[..14]);
                (head[12], head[13]) = (0, 0);
                keep(&head);
            }
            0xE1 if body.starts_with(b"Exif\0\0") && !turned => {
                if let Some(orientation) = exif::orientation(body) {
                    turned = true;
                    keep(&[&b"Exif\0\0"[..], &exif::only(orientation)].concat());
                }
            }
            0xE2 if body.starts_with(b"ICC_PROFILE\0") => keep(body),
            0xEE if body.starts_with(b"Adobe") => keep(body),
            0xE0..=0xEF | 0xFE => {}
            _ => return Err(ImageFault::broken("an unknown marker")),
        }
    }
}

/// The marker at `at`, which may have fill bytes in front, and where it ends.
fn marker_at(bytes: &[u8], at: usize) -> Result<(u8, usize), ImageFault> {
    let rest = bytes.get(at..).ok_or_else(cut_off)?;
    let fill = rest.iter().take_while(|b| **b == 0xFF).count();
    match rest.get(fill) {
        Some(0) => Err(ImageFault::broken("data where a marker should be")),
        Some(marker) if fill > 0 => Ok((*marker, at + fill + 1)),
        Some(_) => Err(ImageFault::broken("no marker")),
        None => Err(cut_off()),
    }
}

/// Where the entropy-coded data from `at` on ends: at the first marker that is not a restart.
fn scan_end(bytes: &[u8], mut at: usize) -> Result<usize, ImageFault> {
    loop {
        let rest = bytes.get(at..).ok_or_else(cut_off)?;
        at += rest.iter().position(|b| *b == 0xFF).ok_or_else(cut_off)?;
        match bytes.get(at + 1) {
            None => return Err(cut_off()),
            Some(0x00 | 0xD0..=0xD7) => at += 2,
            Some(0xFF) => at += 1,
            Some(_) => return Ok(at),
        }
    }
}
