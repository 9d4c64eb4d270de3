//! Small pictures of every kind, made here.

use base64::Engine as _;

fn decoded(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}

/// One transparent pixel.
pub fn png() -> Vec<u8> {
    decoded(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    )
}

pub fn gif() -> Vec<u8> {
    decoded("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
}

pub fn webp() -> Vec<u8> {
    decoded("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
}

/// A JPEG segment.
pub fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).expect("fits");
    [&[0xFF, marker], &length.to_be_bytes()[..], body].concat()
}

/// 16 × 8 grey pixels, with further segments in front.
pub fn jpeg(extra: &[Vec<u8>]) -> Vec<u8> {
    let table = |class: u8, counts: &[(usize, u8)], symbols: &[u8]| {
        let mut body = vec![0; 17];
        body[0] = class;
        for (length, count) in counts {
            body[*length] = *count;
        }
        body.extend_from_slice(symbols);
        segment(0xC4, &body)
    };
    [
        vec![0xFF, 0xD8],
        segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        extra.concat(),
        segment(0xDB, &[&[0][..], &[1; 64]].concat()),
        segment(0xC0, &[8, 0, 8, 0, 16, 1, 1, 0x11, 0]),
        table(0, &[(2, 2)], &[0, 6]),
        table(0x10, &[(1, 1)], &[0]),
        vec![0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x68, 0x0F, 0xFF, 0xD9],
    ]
    .concat()
}

/// A JPEG of exactly so many bytes: comments in front of the picture.
pub fn jpeg_of_size(size: usize) -> Vec<u8> {
    let mut left = size - jpeg(&[]).len();
    let mut comments = Vec::new();
    while left > 0 {
        // A comment takes four bytes more than its text, and the last must not be too short.
        let take = if left > 65_537 + 4 { 65_537 } else { left };
        let take = if left - take > 0 && left - take < 4 {
            take - 4
        } else {
            take
        };
        comments.push(segment(0xFE, &vec![b'x'; take - 4]));
        left -= take;
    }
    let jpeg = jpeg(&comments);
    assert_eq!(jpeg.len(), size);
    jpeg
}

/// A position in EXIF, as cameras write it: IFD0 with an orientation and a GPS directory.
pub fn exif_with_gps(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x02".to_vec();
    tiff.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    // GPSInfo at 38: latitude reference N, latitude as text behind it.
    tiff.extend_from_slice(&[0x88, 0x25, 0, 4, 0, 0, 0, 1, 0, 0, 0, 38]);
    tiff.extend_from_slice(&[0, 0, 0, 0]);
    tiff.extend_from_slice(b"\0\x01\0\x01\0\x02\0\0\0\x02N\0\0\0\0\0\0\0");
    tiff.extend_from_slice(b"48.8583N2.2945E");
    segment(0xE1, &[&b"Exif\0\0"[..], &tiff].concat())
}
