//! The one thing of EXIF that stays: which way up the picture is.

/// IFD0, tag Orientation.
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;
/// More entries than any camera writes; the rest is not looked at.
const MOST_ENTRIES: u16 = 512;

/// The orientation, 2 to 8, in a TIFF block. `None` when upright or unreadable.
pub(super) fn orientation(tiff: &[u8]) -> Option<u8> {
    let tiff = tiff.strip_prefix(b"Exif\0\0").unwrap_or(tiff);
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let pair: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(pair)
        } else {
            u16::from_be_bytes(pair)
        })
    };
    let u32_at = |at: usize| -> Option<u32> {
        let four: [u8; 4] = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(four)
        } else {
            u32::from_be_bytes(four)
        })
    };
    let ifd = usize::try_from(u32_at(4)?).ok()?;
    for entry in 0..u16_at(ifd)?.min(MOST_ENTRIES) {
        let at = ifd.checked_add(2 + 12 * usize::from(entry))?;
        if u16_at(at)? == ORIENTATION {
            let is_one_short = u16_at(at + 2)? == SHORT && u32_at(at + 4)? == 1;
            let value = u16_at(at + 8)?;
            return u8::try_from(value)
                .ok()
                .filter(|v| is_one_short && (2..=8).contains(v));
        }
    }
    None
}

/// A TIFF block that says nothing else.
pub(super) fn only(orientation: u8) -> [u8; 26] {
    let mut tiff = *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    tiff[18] = orientation;
    tiff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orientation_survives_and_nothing_else() {
        for value in 2..=8 {
            assert_eq!(orientation(&only(value)), Some(value));
            assert_eq!(
                orientation(&[&b"Exif\0\0"[..], &only(value)].concat()),
                Some(value)
            );
        }
        for upright in [0, 1, 9, 255] {
            assert_eq!(orientation(&only(upright)), None);
        }
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        assert_eq!(orientation(big), Some(6));
    }

    #[test]
    fn damaged_blocks_say_nothing() {
        let good = only(6);
        for end in 0..20 {
            assert_eq!(orientation(&good[..end]), None, "{end}");
        }
        assert_eq!(orientation(b"II*\0\xFF\xFF\xFF\xFF"), None);
        assert_eq!(orientation(b"II*\0\x08\0\0\0\xFF\xFF"), None);
    }
}
