//! Checks that belong to a schema's `format`.
//!
//! A semantic newtype (`Email`, `Username` …) publishes a `format`; registering a check for it
//! lets the reader report its faults together with all others. The table is process-wide because
//! it describes types, not a running server; registering a name again replaces the check.

use std::sync::{PoisonError, RwLock};

use chrono::DateTime;

use crate::clock::is_storable;
use crate::error::{ApiError, Faults, Text, messages};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatFault {
    pub text: Text,
    /// Replaces `validation_error` when this is the first fault of the request.
    pub code: Option<&'static str>,
}

impl From<Text> for FormatFault {
    fn from(text: Text) -> Self {
        FormatFault { text, code: None }
    }
}

/// The check of one `format`. The value is already trimmed (unless it is a password) and free of
/// control characters, and its length is within the schema's bounds.
pub type FormatCheck = fn(&str) -> Result<(), FormatFault>;

static REGISTERED: RwLock<Vec<(&'static str, FormatCheck)>> = RwLock::new(Vec::new());

/// Adds or replaces the check for a `format`.
pub fn register_format(name: &'static str, check: FormatCheck) {
    let mut table = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    table.retain(|(known, _)| *known != name);
    table.push((name, check));
}

/// The check for a `format`, if there is one.
pub(super) fn check_of(name: &str) -> Option<FormatCheck> {
    let table = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    let registered = table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, check)| *check);
    registered.or(match name {
        "email" => Some(email),
        "date-time" => Some(date_time),
        "uuid" => Some(uuid),
        _ => None,
    })
}

/// The `format` of chat texts, which are kept with the blanks at their ends.
pub const MESSAGE_FORMAT: &str = "message-text";

/// A chat text with `\n` for line ends; nothing else changes.
///
/// # Errors
/// 400 for control characters other than `\n` and `\t`.
pub fn message_text(field: &str, text: String) -> Result<String, ApiError> {
    let text = match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n"),
        false => text,
    };
    if text.chars().any(|c| c < ' ' && !matches!(c, '\n' | '\t')) {
        return Err(Faults::one(field, messages::BAD_CHARACTER));
    }
    Ok(text)
}

/// Passwords and chat texts are taken as they are.
pub(super) fn is_verbatim(format: Option<&str>) -> bool {
    format.is_some_and(|f| f.contains("password") || f == MESSAGE_FORMAT)
}

/// The `format` of texts that become file names: control characters are not refused, because the
/// type behind it removes them.
pub const FILE_NAME_FORMAT: &str = "file-name";

pub(super) fn takes_controls(format: Option<&str>) -> bool {
    format == Some(FILE_NAME_FORMAT)
}

/// One `@`, RFC 5321 lengths, nothing that could break a mail header.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let lengths = (1..=64).contains(&local.len()) && (1..=255).contains(&domain.len()) && text.len() <= 254;
    let plain = |c: char| {
        !c.is_control()
            && !c.is_whitespace()
            && !matches!(
                c,
                '<' | '>' | '(' | ')' | ',' | ';' | ':' | '"' | '\\' | '[' | ']'
            )
    };
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-');
    let dots = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    lengths
        && dots
        && !domain.contains('@')
        && text.chars().all(plain)
        && domain.contains('.')
        && domain.split('.').all(label)
}

fn email(text: &str) -> Result<(), FormatFault> {
    if is_email(text) {
        Ok(())
    } else {
        Err(messages::BAD_EMAIL.into())
    }
}

fn date_time(text: &str) -> Result<(), FormatFault> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(moment) if is_storable(moment.to_utc()) => Ok(()),
        Ok(_) => Err(messages::OUT_OF_RANGE.into()),
        Err(_) => Err(messages::BAD_FORMAT.into()),
    }
}

fn uuid(text: &str) -> Result<(), FormatFault> {
    uuid::Uuid::parse_str(text)
        .map(drop)
        .map_err(|_| messages::BAD_FORMAT.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_that_every_database_keeps() {
        for good in [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-01-01T00:00:00+14:00",
        ] {
            assert!(date_time(good).is_ok(), "{good}");
        }
        for bad in [
            "9999-12-31T23:59:59-12:00",
            "0001-01-01T00:00:00+14:00",
            "0000-01-01T00:00:00Z",
            "x",
        ] {
            assert!(date_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        for good in ["a@b.cn", "first.last+tag@sub.example.com", "用户@例子.公司"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b.c",
            "a@",
            "a@b",
            "a@@b.c",
            "a@b@c.d",
            ".a@b.c",
            "a..b@c.d",
            "a b@c.d",
            "a@b..c",
            "a@-b.c",
            "a@b.c\r\nBcc: x@y.z",
            "\"a\"@b.c",
            "<a@b.c>",
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
        assert!(!is_email(&format!("{}@b.cn", "a".repeat(65))));
    }
}
