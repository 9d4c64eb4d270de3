//! The hostile pictures of the promise list, and that good ones come out as pictures without what
//! nobody else should know.

use super::*;

/// 16 × 8 grey pixels: one table of each kind, two blocks of one value.
const JPEG_HEAD: &[u8] = &[0xFF, 0xD8];
const SCAN: &[u8] = &[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x68, 0x0F];

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).expect("fits");
    [&[0xFF, marker], &length.to_be_bytes()[..], body].concat()
}

fn frame(width: u16, height: u16) -> Vec<u8> {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    segment(0xC0, &[8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0])
}

/// With further segments in front of the frame, and bytes behind the end.
fn jpeg_of(extra: &[Vec<u8>], width: u16, height: u16, tail: &[u8]) -> Vec<u8> {
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

fn jpeg(extra: &[Vec<u8>]) -> Vec<u8> {
    jpeg_of(extra, 16, 8, b"")
}

fn exif(orientation: u8, secret: &[u8]) -> Vec<u8> {
    [&b"Exif\0\0"[..], &exif::only(orientation), secret].concat()
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut summed = kind.to_vec();
    summed.extend_from_slice(body);
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&summed);
    let length = u32::try_from(body.len()).expect("fits");
    [&length.to_be_bytes()[..], &summed, &sum.to_be_bytes()].concat()
}

/// Zlib of about `count` equal bytes, by hand: one letter, then repeats of 258 letters with the
/// fixed codes, 13 bits each.
fn inflates_to(count: usize) -> Vec<u8> {
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
fn png_of(width: u32, height: u32, extra: &[Vec<u8>]) -> Vec<u8> {
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

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let ihdr = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &ihdr)].concat()
}

fn gif_of(width: u16, height: u16, frames: usize, extra: &[u8]) -> Vec<u8> {
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

fn extension(label: u8, name: &[u8], text: &[u8]) -> Vec<u8> {
    let block = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let name = if name.is_empty() { Vec::new() } else { block(name) };
    [&[0x21, label][..], &name, &block(text), &[0]].concat()
}

fn webp_of(edit: impl FnOnce(&mut image_webp::WebPEncoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut out);
    edit(&mut encoder);
    encoder
        .encode(&[9; 16 * 8 * 3], 16, 8, image_webp::ColorType::Rgb8)
        .expect("encoded");
    out
}

fn checked(bytes: &[u8]) -> Result<Clean, ImageFault> {
    clean(bytes, &Limits::default())
}

#[track_caller]
fn good(bytes: &[u8]) -> Clean {
    let clean = checked(bytes).unwrap_or_else(|e| panic!("{e}"));
    // What was cleaned is clean.
    assert_eq!(checked(&clean.bytes).as_ref(), Ok(&clean));
    clean
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|w| w == text)
}

const SECRET: &[u8] = b"48.8583 N 2.2945 E";

#[test]
fn good_pictures_stay_byte_for_byte() {
    let pictures = [
        (Format::Jpeg, jpeg(&[]), 16, 8),
        (Format::Png, png_of(5, 3, &[]), 5, 3),
        (Format::Gif, gif_of(4, 2, 1, b""), 4, 2),
        (
            Format::Gif,
            gif_of(4, 2, 3, &extension(0xFF, b"NETSCAPE2.0", &[1, 0, 0])),
            4,
            2,
        ),
        (Format::Webp, webp_of(|_| {}), 16, 8),
    ];
    for (format, bytes, width, height) in pictures {
        let clean = good(&bytes);
        assert_eq!((clean.format, clean.width, clean.height), (format, width, height));
        assert_eq!(clean.bytes, bytes, "{format:?}");
    }
}

#[test]
fn jpeg_keeps_orientation_and_profile_and_nothing_else() {
    let profile = segment(0xE2, b"ICC_PROFILE\0\x01\x01profile");
    let adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0");
    let extra = [
        segment(0xE1, &exif(6, SECRET)),
        segment(0xE1, &[b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat()),
        profile.clone(),
        segment(0xE0, &[b"JFXX\0\x10", SECRET].concat()),
        segment(0xE2, &[b"MPF\0", SECRET].concat()),
        segment(0xED, &[b"Photoshop 3.0\0", SECRET].concat()),
        segment(0xFE, SECRET),
        adobe.clone(),
    ];
    let clean = good(&jpeg_of(&extra, 16, 8, SECRET));
    assert!(!holds(&clean.bytes, SECRET));
    assert_eq!(clean.bytes, jpeg(&[segment(0xE1, &exif(6, b"")), profile, adobe]));
    // Upright pictures need no word about it.
    assert_eq!(good(&jpeg(&[segment(0xE1, &exif(1, SECRET))])).bytes, jpeg(&[]));
    // A thumbnail in the JFIF header shows what was cut off.
    let mut thumbnail = b"JFIF\0\x01\x01\0\0\x01\0\x01\x01\x01".to_vec();
    thumbnail.extend_from_slice(b"RGB");
    let with = [JPEG_HEAD, &segment(0xE0, &thumbnail), &jpeg(&[])[20..]].concat();
    assert_eq!(good(&with).bytes, jpeg(&[]));
}

#[test]
fn png_keeps_what_shows_the_picture() {
    let shown = [
        chunk(b"gAMA", &45_455_u32.to_be_bytes()),
        chunk(b"pHYs", &[0, 0, 11, 19, 0, 0, 11, 19, 1]),
    ];
    let extra = [
        shown.concat(),
        chunk(b"tEXt", &[b"Comment\0", SECRET].concat()),
        chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()),
        chunk(b"eXIf", &[&exif::only(8)[..], SECRET].concat()),
        chunk(b"tIME", &[7, 234, 1, 1, 1, 1, 1]),
        chunk(b"prVt", SECRET),
    ];
    let clean = good(&[&png_of(5, 3, &extra)[..], SECRET].concat());
    assert!(!holds(&clean.bytes, SECRET));
    assert_eq!(
        clean.bytes,
        png_of(5, 3, &[shown.concat(), chunk(b"eXIf", &exif::only(8))])
    );
}

#[test]
fn a_png_profile_stays_unless_it_is_a_trap() {
    let profile = |size| chunk(b"iCCP", &[&b"p\0\0"[..], &inflates_to(size)].concat());
    let kept = png_of(5, 3, &[profile(32_000)]);
    assert_eq!(good(&kept).bytes, kept);
    let plain = png_of(5, 3, &[]);
    assert_eq!(good(&png_of(5, 3, &[profile(100_000_000)])).bytes, plain);
    assert_eq!(
        good(&png_of(5, 3, &[chunk(b"iCCP", b"p\0\0not deflated")])).bytes,
        plain
    );
    // A hundred megabytes of text are never inflated.
    let text = chunk(
        b"zTXt",
        &[&b"Comment\0\0"[..], &inflates_to(100_000_000)].concat(),
    );
    assert_eq!(good(&png_of(5, 3, &[text])).bytes, plain);
}

#[test]
fn gif_and_webp_lose_their_texts() {
    let texts = [
        extension(0xFE, b"", SECRET),
        extension(0xFF, b"XMP DataXMP", SECRET),
        extension(0xFF, b"UNKNOWN 1.0", SECRET),
    ];
    let clean = good(&[&gif_of(4, 2, 2, &texts.concat())[..], SECRET].concat());
    assert_eq!(clean.bytes, gif_of(4, 2, 2, b""));
    let with = webp_of(|e| {
        e.set_exif_metadata([&exif::only(3)[..], SECRET].concat());
        e.set_xmp_metadata(SECRET.to_vec());
        e.set_icc_profile(b"profile!".to_vec());
    });
    assert!(holds(&with, SECRET));
    let clean = good(&[&with[..], SECRET].concat());
    assert!(!holds(&clean.bytes, SECRET) && holds(&clean.bytes, b"profile!"));
    assert!(holds(&clean.bytes, &exif::only(3)) && !holds(&clean.bytes, b"XMP "));
    assert_eq!(clean.bytes[20] & 0x0C, 0x08, "the flags tell the truth");
    let length = u32::from_le_bytes(clean.bytes[4..8].try_into().expect("four"));
    assert_eq!(length as usize + 8, clean.bytes.len());
}

/// What is no picture, or not only one.
#[test]
fn hostile_files_are_refused() {
    use ImageFault::{TooBig, Unsupported};
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    let zip = b"PK\x03\x04\x14\0\0\0payload.jar";
    let refused: Vec<(&str, Vec<u8>, Option<ImageFault>)> = vec![
        ("empty", vec![], Some(Unsupported)),
        ("text", b"hello, I am a picture".to_vec(), Some(Unsupported)),
        ("svg with a script", svg.to_vec(), Some(Unsupported)),
        (
            "html",
            b"<!DOCTYPE html><script>alert(1)</script>".to_vec(),
            Some(Unsupported),
        ),
        ("pdf", b"%PDF-1.7".to_vec(), Some(Unsupported)),
        ("zip", zip.to_vec(), Some(Unsupported)),
        ("executable", b"MZ\x90\0".to_vec(), Some(Unsupported)),
        (
            "bmp",
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0".to_vec(),
            Some(Unsupported),
        ),
        ("tiff", b"II*\0\x08\0\0\0".to_vec(), Some(Unsupported)),
        ("heic", b"\0\0\0\x18ftypheic\0\0\0\0".to_vec(), Some(Unsupported)),
        (
            "wave in riff",
            b"RIFF\x24\0\0\0WAVEfmt ".to_vec(),
            Some(Unsupported),
        ),
        (
            "png head and html",
            [&png_header(1, 1)[..], b"<script>alert(1)</script>"].concat(),
            None,
        ),
        (
            "gif and jar",
            [&gif_of(4, 2, 1, b"")[..], zip].concat(),
            Some(Unsupported),
        ),
        (
            "jpeg and html",
            jpeg_of(&[], 16, 8, b"\n <script>"),
            Some(Unsupported),
        ),
        (
            "png and zip",
            [&png_of(5, 3, &[])[..], zip].concat(),
            Some(Unsupported),
        ),
        (
            "webp and pdf",
            [&webp_of(|_| {})[..], b"%PDF-1.7"].concat(),
            Some(Unsupported),
        ),
        (
            "a png of 50,000 x 50,000",
            png_header(50_000, 50_000),
            Some(TooBig),
        ),
        (
            "a gif of 65,535 x 65,535",
            b"GIF89a\xFF\xFF\xFF\xFF\0\0\0;".to_vec(),
            Some(TooBig),
        ),
        (
            "a jpeg of 65,500 x 65,500",
            jpeg_of(&[], 65_500, 65_500, b""),
            Some(TooBig),
        ),
        ("a side too long", png_header(16_385, 1), Some(TooBig)),
        ("too many pixels", png_header(8000, 5001), Some(TooBig)),
        ("a gif of 1,000 frames", gif_of(4, 2, 1000, b""), Some(TooBig)),
        ("a gif of 501 frames", gif_of(1, 1, 501, b""), Some(TooBig)),
        ("no pixels", png_header(0, 1), None),
        ("no lines", jpeg_of(&[], 16, 0, b""), None),
        ("two frames", jpeg(&[frame(16, 8)]), None),
        ("an unknown marker", jpeg(&[segment(0xF7, b"")]), None),
        ("a critical chunk", png_of(5, 3, &[chunk(b"HACK", b"")]), None),
        (
            "two headers",
            png_of(5, 3, &[png_header(1, 1)[8..].to_vec()]),
            None,
        ),
        (
            "a wrong sum",
            [&png_header(5, 3)[..29], b"\0\0\0\0", &png_of(5, 3, &[])[33..]].concat(),
            None,
        ),
    ];
    for (what, bytes, expected) in refused {
        let fault = checked(&bytes).expect_err(what);
        match expected {
            Some(expected) => assert_eq!(fault, expected, "{what}"),
            None => assert!(matches!(fault, ImageFault::Broken(_)), "{what}: {fault}"),
        }
    }
}

#[test]
fn the_edges_of_the_limits_are_inside() {
    good(&gif_of(1, 1, 500, b""));
    good(&png_of(16_384, 1, &[]));
    let small = Limits {
        max_side: 10,
        max_pixels: 50,
        max_frames: 1,
    };
    assert!(clean(&png_of(10, 5, &[]), &small).is_ok());
    for bytes in [png_of(10, 6, &[]), png_of(11, 1, &[]), gif_of(2, 2, 2, b"")] {
        assert_eq!(clean(&bytes, &small), Err(ImageFault::TooBig));
    }
}

/// No prefix of a picture is one, and no damage makes anything panic.
#[test]
fn damaged_pictures_are_told_from_whole_ones() {
    let with_exif = webp_of(|e| e.set_exif_metadata(exif::only(3).to_vec()));
    for whole in [
        jpeg(&[]),
        png_of(5, 3, &[]),
        gif_of(4, 2, 2, b""),
        webp_of(|_| {}),
        with_exif,
    ] {
        for end in 0..whole.len() {
            assert!(checked(&whole[..end]).is_err(), "{end} of {}", whole.len());
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                // Some damage still decodes; what matters is that it is decided.
                let _ = checked(&damaged);
            }
        }
    }
}

/// A bitstream that claims more than its frame would make a decoder allocate for it.
#[test]
fn a_webp_of_two_sizes_is_refused() {
    let lossless = |w: u32, h: u32| {
        let bits = (w - 1) | (h - 1) << 14;
        [&[0x2F][..], &bits.to_le_bytes(), &[0; 3]].concat()
    };
    let riff = |chunks: &[(&[u8; 4], Vec<u8>)]| {
        let mut body = b"WEBP".to_vec();
        for (kind, bytes) in chunks {
            body.extend_from_slice(*kind);
            body.extend_from_slice(&u32::try_from(bytes.len()).expect("short").to_le_bytes());
            body.extend_from_slice(bytes);
            body.resize(body.len().next_multiple_of(2), 0);
        }
        let length = u32::try_from(body.len()).expect("short");
        [&b"RIFF"[..], &length.to_le_bytes(), &body].concat()
    };
    let canvas = |flags: u8| vec![flags, 0, 0, 0, 15, 0, 0, 7, 0, 0];
    let frame = |bits: Vec<u8>| {
        let place = [0, 0, 0, 0, 0, 0, 15, 0, 0, 7, 0, 0, 0, 0, 0, 0];
        let length = u32::try_from(bits.len()).expect("short").to_le_bytes();
        [&place[..], b"VP8L", &length, &bits].concat()
    };
    let still = riff(&[(b"VP8X", canvas(0)), (b"VP8L", lossless(16_384, 16_384))]);
    let animated = riff(&[
        (b"VP8X", canvas(2)),
        (b"ANIM", vec![0; 6]),
        (b"ANMF", frame(lossless(16_384, 16_384))),
    ]);
    let claims_more = riff(&[(b"VP8L", lossless(16_384, 16_384))]);
    assert!(matches!(checked(&still), Err(ImageFault::Broken(_))));
    assert!(matches!(checked(&animated), Err(ImageFault::Broken(_))));
    assert_eq!(checked(&claims_more), Err(ImageFault::TooBig));
}

#[tokio::test]
async fn many_callers_get_their_turns() {
    let images = Images::default();
    let mut tasks = Vec::new();
    for i in 0..40 {
        let images = images.clone();
        let bytes: Bytes = if i % 2 == 0 {
            png_of(64, 64, &[])
        } else {
            b"no".to_vec()
        }
        .into();
        tasks.push(crate::task::spawn(async move {
            images.clean(bytes, Limits::default()).await.is_ok()
        }));
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("no panic"));
    }
    assert!(done.iter().enumerate().all(|(i, ok)| *ok == (i % 2 == 0)));
}
