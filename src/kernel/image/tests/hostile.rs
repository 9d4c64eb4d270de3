//! What is refused, and where the limits are.

use super::*;

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
    let still = riff(&[(b"VP8X", canvas(0)), (b"VP8L", lossless(16_384, 16_384))]);
    let animated = riff(&[
        (b"VP8X", canvas(2)),
        (b"ANIM", vec![0; 6]),
        (b"ANMF", anmf(&[(b"VP8L", lossless(16_384, 16_384))])),
    ]);
    let claims_more = riff(&[(b"VP8L", lossless(16_384, 16_384))]);
    assert!(matches!(checked(&still), Err(ImageFault::Broken(_))));
    assert!(matches!(checked(&animated), Err(ImageFault::Broken(_))));
    assert_eq!(checked(&claims_more), Err(ImageFault::TooBig));
}
