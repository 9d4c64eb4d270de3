//! Pictures made by hand, with whatever a test wants in them.

use crate::image::exif;

/// 16 × 8 grey pixels: one table of each kind, two blocks of one value.
pub(super) const JPEG_HEAD: &[u8] = &[0xFF, 0xD8];
pub(super) const SCAN: &[u8] = &[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x68, 0x0F];

pub(super) fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).expect("fits");
    [&[0xFF, marker], &length.to_be_bytes()[..], body].concat()
}

pub(super) fn frame(width: u16, height: u16) -> Vec<u8> {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    segment(0xC0, &[8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0])
}

/// With further segments in front of the frame, and bytes behind the end.
pub(super) fn jpeg_of(extra: &[Vec<u8>], width: u16, height: u16, tail: &[u8]) -> Vec<u8> {
    let mut counts = [0; 17];
    // Two codes of two bits: no difference, and one of six bits.
    counts[2] = 2;
    let dc = [&counts[..], &[0, 6]].concat();
    let mut counts = [0; 17];
    // One code of one bit: the end of the block.
    (counts[0], counts[1]) = (0x10, 1);
    let ac = [&counts[..], &[0]].concat();
    [
        JPEG_HEAD.to_vec(),
        segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        extra.concat(),
        segment(0xDB, &[&[0][..], &[1; 64]].concat()),
        frame(width, height),
        segment(0xC4, &dc),
        segment(0xC4, &ac),
        SCAN.to_vec(),
        vec![0xFF, 0xD9],
        tail.to_vec(),
    ]
    .concat()
}

pub(super) fn jpeg(extra: &[Vec<u8>]) -> Vec<u8> {
    jpeg_of(extra, 16, 8, b"")
}

pub(super) fn exif(orientation: u8, secret: &[u8]) -> Vec<u8> {
    [&b"Exif\0\0"[..], &exif::only(orientation), secret].concat()
}

pub(super) fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut summed = kind.to_vec();
    summed.extend_from_slice(body);
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&summed);
    let length = u32::try_from(body.len()).expect("fits");
    [&length.to_be_bytes()[..], &summed, &sum.to_be_bytes()].concat()
}

/// Zlib of about `count` equal bytes, by hand: one letter, then repeats of 258 letters with the
/// fixed codes, 13 bits each.
pub(super) fn inflates_to(count: usize) -> Vec<u8> {
    let repeats = count / 258;
    let mut bits: Vec<bool> = Vec::new();
    // The last block, fixed codes, least significant bit first.
    bits.extend([true, true, false]);
    let mut code = |value: u32, length: u32| bits.extend((0..length).rev().map(|i| value >> i & 1 == 1));
    // 'A' is 0x30 more than itself; 258 is symbol 285, a distance of one is code 0; 256 ends it.
    code(0x30 + u32::from(b'A'), 8);
    for _ in 0..repeats {
        code(0xC5, 8);
        code(0, 5);
    }
    code(0, 7);
    let packed = bits.chunks(8).map(|byte| {
        byte.iter()
            .enumerate()
            .fold(0_u8, |sum, (i, bit)| sum | u8::from(*bit) << i)
    });
    // Adler-32 of equal bytes.
    let (n, letter) = (1 + 258 * repeats as u128, u128::from(b'A'));
    let low = (1 + n * letter) % 65_521;
    let high = (n + letter * n * (n + 1) / 2) % 65_521;
    let sum = u32::try_from(high << 16 | low).expect("four bytes");
    [0x78, 0x01]
        .into_iter()
        .chain(packed)
        .chain(sum.to_be_bytes())
        .collect()
}

/// With further chunks behind the header.
pub(super) fn png_of(width: u32, height: u32, extra: &[Vec<u8>]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut plain, width, height);
    encoder.set_color(::png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("header");
    writer
        .write_image_data(&vec![7; (width * height) as usize])
        .expect("data");
    writer.finish().expect("end");
    // Behind signature and header.
    let at = 8 + 25;
    [&plain[..at], &extra.concat(), &plain[at..]].concat()
}

pub(super) fn png_header(width: u32, height: u32) -> Vec<u8> {
    let ihdr = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &ihdr)].concat()
}

pub(super) fn gif_of(width: u16, height: u16, frames: usize, extra: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder =
        ::gif::Encoder::new(&mut out, width, height, &[0, 0, 0, 255, 255, 255]).expect("encoder");
    for _ in 0..frames {
        let pixels = vec![1; usize::from(width) * usize::from(height)];
        let mut frame = ::gif::Frame::from_indexed_pixels(width, height, pixels, None);
        frame.palette = None;
        encoder.write_frame(&frame).expect("frame");
    }
    drop(encoder);
    // Behind the screen and its palette.
    let at = 13 + 6;
    [&out[..at], extra, &out[at..]].concat()
}

pub(super) fn extension(label: u8, name: &[u8], text: &[u8]) -> Vec<u8> {
    let block = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let name = if name.is_empty() { Vec::new() } else { block(name) };
    [&[0x21, label][..], &name, &block(text), &[0]].concat()
}

pub(super) fn webp_of(edit: impl FnOnce(&mut image_webp::WebPEncoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut out);
    edit(&mut encoder);
    encoder
        .encode(&[9; 16 * 8 * 3], 16, 8, image_webp::ColorType::Rgb8)
        .expect("encoded");
    out
}

/// Chunks of a RIFF file, each padded to an even length.
fn chunks_of(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, bytes) in chunks {
        out.extend_from_slice(*kind);
        out.extend_from_slice(&u32::try_from(bytes.len()).expect("short").to_le_bytes());
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(2), 0);
    }
    out
}

/// A WebP of these chunks.
pub(super) fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let body = [&b"WEBP"[..], &chunks_of(chunks)].concat();
    let length = u32::try_from(body.len()).expect("short");
    [&b"RIFF"[..], &length.to_le_bytes(), &body].concat()
}

/// The extended header of a WebP of 16 × 8 pixels.
pub(super) fn canvas(flags: u8) -> Vec<u8> {
    vec![flags, 0, 0, 0, 15, 0, 0, 7, 0, 0]
}

/// A frame of an animation that fills it.
pub(super) fn anmf(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let place = [0, 0, 0, 0, 0, 0, 15, 0, 0, 7, 0, 0, 0, 0, 0, 0];
    [&place[..], &chunks_of(chunks)].concat()
}
