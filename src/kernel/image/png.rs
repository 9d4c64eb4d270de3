//! PNG and APNG: a signature, then chunks with checksums.

use super::{ImageFault, Walked, exif, slice, take};

const SIGNATURE: usize = 8;
/// Length, type, checksum.
const AROUND: usize = 12;
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// What shows the picture: geometry, palette, data, colour, transparency, animation. `iCCP` is
/// decided by the caller.
const SHOWN: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI",
    b"sBIT", b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

/// What to do with the colour profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    Keep,
    Drop,
}

/// Width and height as the header claims them.
pub(super) fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let head = take::<8>(bytes, SIGNATURE).ok()?;
    if head[4..] != *b"IHDR" {
        return None;
    }
    let side = |at| take(bytes, SIGNATURE + at).ok().map(u32::from_be_bytes);
    Some((side(8)?, side(12)?))
}

pub(super) fn walk(bytes: &[u8], profile: Profile) -> Result<Walked, ImageFault> {
    let (width, height) = dimensions(bytes).ok_or_else(|| ImageFault::broken("no header"))?;
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(slice(bytes, 0, SIGNATURE)?);
    let (mut frames, mut promised, mut turned) = (0_u32, 1_u32, false);
    let mut at = SIGNATURE;
    loop {
        let length = usize::try_from(u32::from_be_bytes(take(bytes, at)?)).map_err(ImageFault::broken)?;
        let kind: [u8; 4] = take(bytes, at + 4)?;
        let body = slice(bytes, at + 8, length)?;
        let whole = slice(bytes, at, length + AROUND)?;
        at += whole.len();
        match &kind {
            b"IHDR" if out.len() > SIGNATURE => return Err(ImageFault::broken("two headers")),
            b"fcTL" => frames = frames.saturating_add(1),
            b"acTL" => promised = u32::from_be_bytes(take(body, 0)?),
            b"eXIf" if !turned => {
                if let Some(orientation) = exif::orientation(body) {
                    turned = true;
                    push(&mut out, *b"eXIf", &exif::only(orientation));
                }
            }
            _ => {}
        }
        if SHOWN.contains(&&kind) || (kind == *b"iCCP" && profile == Profile::Keep) {
            out.extend_from_slice(whole);
        } else if kind[0].is_ascii_uppercase() {
            // The format's own word for "cannot be shown without".
            return Err(ImageFault::broken("an unknown critical chunk"));
        }
        if kind == *b"IEND" {
            let frames = frames.max(promised).max(1);
            return Ok(Walked {
                width,
                height,
                frames,
                bytes: out,
                end: at,
            });
        }
    }
}

fn push(out: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) {
    // Only ever a few bytes.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    let start = out.len();
    out.extend_from_slice(&kind);
    out.extend_from_slice(body);
    let sum = CHECKSUM.checksum(&out[start..]);
    out.extend_from_slice(&sum.to_be_bytes());
}
