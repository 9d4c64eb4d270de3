//! Keeps credentials and control characters out of log lines.
//!
//! Code does not log secrets in the first place; this is the second fence, for the field that was
//! named carelessly and the error text of a library that repeats a URL.

use std::borrow::Cow;

/// Field names whose value is never written.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "api_key",
    "apikey",
    "otp",
    "signature",
];

/// Whether a field of this name holds a secret: a word of the list is in it.
pub(super) fn is_secret_name(name: &str) -> bool {
    // `token_type`, `token_version` and the like say something about a secret, not the secret.
    if name.ends_with("_type")
        || name.ends_with("_version")
        || name.ends_with("_id")
        || name.ends_with("_count")
    {
        return false;
    }
    SECRET_NAMES
        .iter()
        .any(|secret| has(name.as_bytes(), secret.as_bytes()))
}

/// Contains, in any case. Called for every field of every line, so it allocates nothing and looks
/// at the first letter first.
fn has(name: &[u8], word: &[u8]) -> bool {
    let (Some(first), Some(last)) = (word.first(), name.len().checked_sub(word.len())) else {
        return false;
    };
    (0..=last).any(|at| name[at] | 0x20 == *first && name[at..at + word.len()].eq_ignore_ascii_case(word))
}

/// Masks what looks like a JWT, an API key or the password of a URL.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    if !text.contains("eyJ") && !text.contains("ak_") && !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, kind)) = next_suspect(rest) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (shown, hidden) = match kind {
            Suspect::Jwt => (0, run_of(rest, |c| is_token(c) || c == '.')),
            Suspect::ApiKey => (3, run_of(&rest[3..], is_token)),
            Suspect::Url => (3, user_info(&rest[3..])),
        };
        let is_secret = match kind {
            Suspect::Jwt => hidden >= 20,
            Suspect::ApiKey => hidden >= 16,
            Suspect::Url => hidden > 0,
        };
        out.push_str(&rest[..shown]);
        if is_secret {
            out.push_str("***");
        } else {
            out.push_str(&rest[shown..shown + hidden]);
        }
        rest = &rest[shown + hidden..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[derive(Clone, Copy)]
enum Suspect {
    Jwt,
    ApiKey,
    Url,
}

fn next_suspect(text: &str) -> Option<(usize, Suspect)> {
    [
        ("eyJ", Suspect::Jwt),
        ("ak_", Suspect::ApiKey),
        ("://", Suspect::Url),
    ]
    .into_iter()
    .filter_map(|(mark, kind)| Some((text.find(mark)?, kind)))
    .min_by_key(|(at, _)| *at)
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Bytes of the longest prefix that `wanted` accepts.
fn run_of(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

/// Bytes of `user:password` in front of an `@` in a URL's authority; 0 when there is no password.
fn user_info(text: &str) -> usize {
    let authority = &text[..run_of(text, |c| !c.is_whitespace() && !"/?#\"'".contains(c))];
    match authority.rfind('@') {
        Some(at) if authority[..at].contains(':') => at,
        _ => 0,
    }
}

/// Writes a value so that it can neither end the line nor speak to the terminal: C0 and C1
/// controls, DEL, line separators and the marks that reverse the reading direction are escaped.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| (0x20..0x7f).contains(&b);
    if text.bytes().all(plain) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unsafe(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_a_line_or_move_the_cursor() {
        assert_eq!(
            one_line("a\n2026-01-01 INFO forged\r\x1b[2J\u{9b}2J"),
            "a\\n2026-01-01 INFO forged\\r\\u{1b}[2J\\u{9b}2J"
        );
        assert_eq!(one_line("\u{202e}x\u{2028}"), "\\u{202e}x\\u{2028}");
        assert!(matches!(one_line("中文 plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn tokens_keys_and_url_passwords_are_masked() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghij";
        assert_eq!(mask(&format!("got {jwt}, thanks")), "got ***, thanks");
        assert_eq!(mask("key ak_0123456789abcdefXYZ end"), "key ak_*** end");
        assert_eq!(mask("ak_short and break_down"), "ak_short and break_down");
        assert_eq!(
            mask("smtp://bob:s3cr3t@mail.example:25/x"),
            "smtp://***@mail.example:25/x"
        );
        assert_eq!(mask("https://example.com/a@b:c"), "https://example.com/a@b:c");
        assert_eq!(mask("中文://用户:密码@主机 eyJ"), "中文://***@主机 eyJ");
    }

    #[test]
    fn secret_names_are_known() {
        for name in [
            "password",
            "user.password",
            "refresh_token",
            "Authorization",
            "x-api_key",
            "new_password",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "token_type",
            "user.id",
            "code",
            "job.name",
            "token_version",
            "session_id",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
