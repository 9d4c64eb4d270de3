//! What of a good picture stays.

use super::*;

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

#[test]
fn frames_of_a_webp_lose_their_texts_too() {
    // Signature, length and the one chunk's head.
    let picture = webp_of(|_| {})[20..].to_vec();
    let animated = |texts: &[(&[u8; 4], Vec<u8>)]| {
        let frame = anmf(&[&[(b"VP8L", picture.clone())], texts].concat());
        riff(&[
            (b"VP8X", canvas(2)),
            (b"ANIM", vec![0; 6]),
            (b"ANMF", frame.clone()),
            (b"ANMF", frame),
        ])
    };
    let with = animated(&[(b"XMP ", SECRET.to_vec()), (b"EXIF", SECRET.to_vec())]);
    assert!(holds(&with, SECRET));
    assert_eq!(good(&with).bytes, animated(&[]));
}
