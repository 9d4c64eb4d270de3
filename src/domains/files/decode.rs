//! Base64 as clients really send it, and nothing looser.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD_ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT_PADDING);
const URL_SAFE_ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT_PADDING);

/// The bytes behind a base64 text.
///
/// Standard or URL-safe alphabet (not both), padding optional, ASCII whitespace ignored, an
/// optional `data:<mime>;base64,` in front. `None` for anything else: lenient decoders store
/// damaged files.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let text = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,")?.1,
        None => text,
    };
    let has_space = text.bytes().any(|b| b.is_ascii_whitespace());
    let packed: std::borrow::Cow<'_, [u8]> = if has_space {
        text.bytes()
            .filter(|b| !b.is_ascii_whitespace())
            .collect::<Vec<u8>>()
            .into()
    } else {
        text.as_bytes().into()
    };
    let url_safe = packed.iter().any(|b| matches!(b, b'-' | b'_'));
    let engine = if url_safe {
        &URL_SAFE_ENGINE
    } else {
        &STANDARD_ENGINE
    };
    engine.decode(packed.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn alphabets_padding_and_whitespace() {
        assert_eq!(base64("aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64("aGk").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64(" aG\r\nk=\t").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64("data:text/plain;base64,aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64("-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(base64("+/8=").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(base64("").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "a",
            "aGk==x",
            "aG*k",
            "+_8=",
            "base64_encoded_file_content_here!",
            "data:x,aGk=",
            "aGl",
            "你好",
        ] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
