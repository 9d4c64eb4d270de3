//! Base64 as clients really send it, and nothing looser.
//!
//! Standard or URL-safe alphabet (not both), padding optional, ASCII whitespace ignored, an optional
//! `data:<mime>;base64,` in front, whitespace of any kind around it all. Anything else is refused:
//! lenient decoders store damaged files.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD_ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT_PADDING);
const URL_SAFE_ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT_PADDING);

/// What a byte is, as bits: a symbol of both alphabets, of one of them, or none (0).
const CLASSES: [u8; 256] = classes();
const COMMON: u8 = 1;
const STANDARD_ONLY: u8 = 2;
const URL_SAFE_ONLY: u8 = 4;

const SCHEME: &[u8] = b"data:";
const MARKER: &[u8] = b";base64,";

/// What a text decoded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// There was no text at all, or only whitespace.
    Blank,
    /// Bytes, possibly none.
    Bytes,
}

/// The text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBase64;

/// Decodes a whole text.
pub fn base64(text: &str) -> Result<(Decoded, Vec<u8>), NotBase64> {
    let mut decoder = Decoder::new();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    decoder.push(text, &mut bytes)?;
    Ok((decoder.finish(&mut bytes)?, bytes))
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing but whitespace yet.
    Blank,
    /// So many bytes of `data:`.
    Scheme(usize),
    /// After `data:`, and so many bytes of `;base64,`.
    Type(usize),
    Symbols,
    Refused,
}

/// Decodes a text that comes in pieces.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Classes of all symbols so far.
    seen: u8,
    /// Symbols that do not make a group of four yet; from the first `=` on, all there is.
    group: [u8; 8],
    grouped: usize,
    padded: bool,
    /// Whitespace came that is only right at the end.
    ended: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Decoder {
            state: State::Blank,
            seen: 0,
            group: [0; 8],
            grouped: 0,
            padded: false,
            ended: false,
        }
    }

    /// Adds the bytes behind the next piece to `bytes`.
    ///
    /// # Errors
    /// The text is refused, whatever follows.
    pub fn push(&mut self, mut text: &str, bytes: &mut Vec<u8>) -> Result<(), NotBase64> {
        if let State::Blank = self.state {
            text = text.trim_start();
            if text.is_empty() {
                return Ok(());
            }
            self.state = State::Scheme(0);
        }
        let done = match self.head(text, bytes) {
            Ok(used) => self.symbols(&text[used..], bytes),
            Err(e) => Err(e),
        };
        if done.is_err() {
            self.state = State::Refused;
        }
        done
    }

    /// The text is complete.
    ///
    /// # Errors
    /// It is refused.
    pub fn finish(mut self, bytes: &mut Vec<u8>) -> Result<Decoded, NotBase64> {
        match self.state {
            State::Blank => return Ok(Decoded::Blank),
            State::Scheme(matched) => {
                self.run(&SCHEME[..matched], bytes)?;
            }
            State::Type(_) | State::Refused => return Err(NotBase64),
            State::Symbols => {}
        }
        let group = self.group;
        self.decode(&group[..self.grouped], bytes)?;
        Ok(Decoded::Bytes)
    }

    /// What may stand in front of the symbols. Tells how many bytes of the text belong to it.
    fn head(&mut self, text: &str, bytes: &mut Vec<u8>) -> Result<usize, NotBase64> {
        for (at, byte) in text.bytes().enumerate() {
            match self.state {
                State::Scheme(n) if byte == SCHEME[n] && n + 1 == SCHEME.len() => self.state = State::Type(0),
                State::Scheme(n) if byte == SCHEME[n] => self.state = State::Scheme(n + 1),
                State::Scheme(n) => {
                    // These were symbols.
                    self.state = State::Symbols;
                    self.run(&SCHEME[..n], bytes)?;
                    return Ok(at);
                }
                State::Type(n) if byte == MARKER[n] && n + 1 == MARKER.len() => self.state = State::Symbols,
                State::Type(n) if byte == MARKER[n] => self.state = State::Type(n + 1),
                // `;` is only at its beginning.
                State::Type(_) => self.state = State::Type(usize::from(byte == MARKER[0])),
                State::Symbols => return Ok(at),
                State::Blank | State::Refused => return Err(NotBase64),
            }
        }
        Ok(text.len())
    }

    fn symbols(&mut self, text: &str, bytes: &mut Vec<u8>) -> Result<(), NotBase64> {
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at).copied() {
            let rest = &text[at..];
            if CLASSES[usize::from(byte)] != 0 {
                at += self.run(rest.as_bytes(), bytes)?;
            } else if byte.is_ascii_whitespace() {
                at += 1;
            } else if byte == b'=' && !self.ended {
                self.padded = true;
                self.keep(byte)?;
                at += 1;
            } else {
                let other = rest.chars().next().filter(|c| !c.is_ascii() && c.is_whitespace());
                at += other.ok_or(NotBase64)?.len_utf8();
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Takes the symbols that these bytes begin with. Tells how many they are.
    fn run(&mut self, run: &[u8], bytes: &mut Vec<u8>) -> Result<usize, NotBase64> {
        let mut length = 0;
        for byte in run {
            let class = CLASSES[usize::from(*byte)];
            if class == 0 {
                break;
            }
            self.seen |= class;
            length += 1;
        }
        let both = STANDARD_ONLY | URL_SAFE_ONLY;
        if self.seen & both == both || (self.ended && length > 0) {
            return Err(NotBase64);
        }
        let mut run = &run[..length];
        while self.grouped > 0 || self.padded {
            let Some((first, others)) = run.split_first() else {
                return Ok(length);
            };
            self.keep(*first)?;
            run = others;
            if self.grouped == 4 && !self.padded {
                let group = self.group;
                self.decode(&group[..4], bytes)?;
                self.grouped = 0;
            }
        }
        let (whole, others) = run.split_at(run.len() / 4 * 4);
        self.decode(whole, bytes)?;
        self.group[..others.len()].copy_from_slice(others);
        self.grouped = others.len();
        Ok(length)
    }

    fn keep(&mut self, byte: u8) -> Result<(), NotBase64> {
        *self.group.get_mut(self.grouped).ok_or(NotBase64)? = byte;
        self.grouped += 1;
        Ok(())
    }

    fn decode(&self, symbols: &[u8], bytes: &mut Vec<u8>) -> Result<(), NotBase64> {
        let engine = if self.seen & URL_SAFE_ONLY == 0 {
            &STANDARD_ENGINE
        } else {
            &URL_SAFE_ENGINE
        };
        engine.decode_vec(symbols, bytes).map_err(|_| NotBase64)
    }
}

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'+' | b'/' => STANDARD_ONLY,
            b'-' | b'_' => URL_SAFE_ONLY,
            other if other.is_ascii_alphanumeric() => COMMON,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same rule, written down for texts that are there as a whole.
    fn whole(text: &str) -> Option<Vec<u8>> {
        let text = text.trim();
        let text = match text.strip_prefix("data:") {
            Some(rest) => rest.split_once(";base64,")?.1,
            None => text,
        };
        let packed: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let url_safe = packed.iter().any(|b| matches!(b, b'-' | b'_'));
        let engine = if url_safe {
            &URL_SAFE_ENGINE
        } else {
            &STANDARD_ENGINE
        };
        engine.decode(packed).ok()
    }

    /// Decodes with cuts at these places.
    fn in_pieces(text: &str, cuts: &[usize]) -> Option<Vec<u8>> {
        let mut decoder = Decoder::new();
        let mut bytes = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([text.len()]) {
            // Whatever comes after a refusal does not heal it.
            let _ = decoder.push(&text[from..cut], &mut bytes);
            from = cut;
        }
        decoder.finish(&mut bytes).ok().map(|_| bytes)
    }

    #[test]
    fn alphabets_padding_and_whitespace() {
        let bytes = |text: &str| base64(text).map(|(_, bytes)| bytes).ok();
        assert_eq!(bytes("aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(bytes("aGk").as_deref(), Some(&b"hi"[..]));
        assert_eq!(bytes(" aG\r\nk=\t").as_deref(), Some(&b"hi"[..]));
        assert_eq!(bytes("data:text/plain;base64,aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(bytes("data:a;base64;base64,aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(bytes("data:a;;base64,aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(bytes("-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(bytes("+/8=").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(bytes("data").as_deref(), Some(&[0x75, 0xab, 0x5a][..]));
        assert_eq!(base64(""), Ok((Decoded::Blank, Vec::new())));
        assert_eq!(base64(" \n\u{3000}"), Ok((Decoded::Blank, Vec::new())));
        assert_eq!(base64("data:;base64,"), Ok((Decoded::Bytes, Vec::new())));
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
            "data:",
            "data:;base64",
            "aGl",
            "你好",
            "aG\u{3000}k=",
            "aGk=\u{3000}=",
            "aGk=\u{3000}a",
        ] {
            assert_eq!(base64(bad), Err(NotBase64), "{bad}");
        }
    }

    #[test]
    fn pieces_decode_to_what_the_whole_decodes_to() {
        let texts = [
            "QUJDREVGR0g=",
            "data:image/png;base64,++++/wA=",
            " \u{3000}QUJD\r\nREVG \u{a0}\u{2003}",
            "data:;base;base64,----_wA",
            "dataQUJD",
            "dat",
            "QUJDREVGR0==",
            "QU=JD",
            "data:文;base64,QUJD",
        ];
        for text in texts {
            let cuts: Vec<usize> = (0..=text.len()).filter(|n| text.is_char_boundary(*n)).collect();
            for first in &cuts {
                for second in cuts.iter().filter(|n| *n >= first) {
                    assert_eq!(
                        in_pieces(text, &[*first, *second]),
                        whole(text),
                        "{text:?} at {first}, {second}"
                    );
                }
            }
            assert_eq!(in_pieces(text, &cuts), whole(text), "{text:?}, one by one");
        }
    }

    /// Texts made of what decides something, so that many of them are valid and many nearly so.
    #[test]
    fn made_texts_decode_to_what_the_whole_decodes_to() {
        let parts = [
            "A", "g", "Q", "w", "=", "==", "+", "/", "-", "_", " ", "\n", "QUJD", "data:", ";base64,",
            "\u{3000}", "*", "AAAA", "QQ==", "x",
        ];
        let mut state = 7_u32;
        let mut next = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let mut valid = 0;
        for _ in 0..200_000 {
            let text: String = (0..next(9)).map(|_| parts[next(parts.len())]).collect();
            let mut cuts: Vec<usize> = (0..next(3)).map(|_| next(text.len() + 1)).collect();
            cuts.retain(|cut| text.is_char_boundary(*cut));
            cuts.sort_unstable();
            let expected = whole(&text);
            valid += usize::from(expected.is_some());
            assert_eq!(in_pieces(&text, &cuts), expected, "{text:?} at {cuts:?}");
        }
        assert!((10_000..190_000).contains(&valid), "{valid}");
    }
}
