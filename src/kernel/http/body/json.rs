//! From bytes to a JSON value, strictly.

use serde_json::Value;

use crate::error::{ApiError, common};

/// Deepest nesting of arrays and objects.
pub(super) const MAX_DEPTH: usize = 32;

/// Parses UTF-8 JSON. Nothing at all is `{}`.
///
/// # Errors
/// 400 `parse_error`; the parser's own words are not repeated.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| common::PARSE_ERROR)?;
    if deeper_than(text, MAX_DEPTH) {
        return Err(common::PARSE_ERROR.into());
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // A number that no type can hold is a fault of its field, not of the document.
        Err(e) if e.to_string().starts_with("number out of range") => {
            serde_json::from_str(&without_huge_numbers(text)).map_err(|_| common::PARSE_ERROR.into())
        }
        Err(_) => Err(common::PARSE_ERROR.into()),
    }
}

/// Walks the characters that matter outside of strings.
struct Outside<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for Outside<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            let at = self.at;
            let byte = *self.bytes.get(at)?;
            self.at += 1;
            if byte != b'"' {
                return Some((at, byte));
            }
            while let Some(byte) = self.bytes.get(self.at) {
                self.at += if *byte == b'\\' { 2 } else { 1 };
                if *byte == b'"' {
                    break;
                }
            }
        }
    }
}

fn deeper_than(text: &str, max: usize) -> bool {
    let mut depth = 0_usize;
    for (_, byte) in (Outside {
        bytes: text.as_bytes(),
        at: 0,
    }) {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Replaces numbers beyond every range by a text with a NUL in it, which is the wrong type for a
/// number and a refused character for everything else.
fn without_huge_numbers(text: &str) -> String {
    let is_number = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut outside = Outside {
        bytes: text.as_bytes(),
        at: 0,
    };
    while let Some((start, byte)) = outside.next() {
        if !(byte.is_ascii_digit() || byte == b'-') {
            continue;
        }
        let length = text.as_bytes()[start..]
            .iter()
            .take_while(|b| is_number(**b))
            .count();
        let end = start + length;
        outside.at = end;
        if text[start..end].parse::<f64>().is_ok_and(f64::is_infinite) {
            out.push_str(&text[copied..start]);
            out.push_str(r#""\u0000""#);
            copied = end;
        }
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_bodies_are_empty_objects() {
        assert_eq!(parse(b"").expect("empty"), serde_json::json!({}));
        assert_eq!(parse(b" \r\n").expect("blank"), serde_json::json!({}));
    }

    #[test]
    fn malformed_documents_are_parse_errors() {
        let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
        let cases: &[&[u8]] = &[
            b"{",
            b"{\"a\":1,}",
            b"NaN",
            b"[Infinity]",
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\\ud800\"}",
            b"{} {}",
            b"\xfe\xff\0{",
            b"{'a':1}",
            b"\"\\",
            deep.as_bytes(),
        ];
        for case in cases {
            let error = parse(case).expect_err("refused");
            assert_eq!(
                (error.status, error.code),
                (400, "parse_error"),
                "{}",
                String::from_utf8_lossy(case)
            );
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(format!("{}1{}", "[".repeat(32), "]".repeat(32)).as_bytes()).is_ok());
        assert!(parse(br#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[["}"#).is_ok());
    }

    #[test]
    fn numbers_without_a_type_become_faults_of_their_field() {
        let value = parse(br#"{"a": 1e400, "b": -1e999, "c": "1e400", "d": 12}"#).expect("readable");
        assert_eq!(
            value,
            serde_json::json!({"a": "\0", "b": "\0", "c": "1e400", "d": 12})
        );
    }
}
