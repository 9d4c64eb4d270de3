//! The text of a message. Unlike other input it keeps the blanks at its ends, except line ends at
//! the very end (contract "chat" 3.4).

use yunque_kernel::error::messages;
use yunque_kernel::http::body::{FormatFault, MESSAGE_FORMAT, message_text, register_format};
use yunque_kernel::{ApiError, Faults, Text, text_type};

/// Characters.
pub const MAX_TEXT: usize = 10_000;
const MAX_CLIENT_ID: usize = 64;
const CLIENT_ID_FORMAT: &str = "client-id";

/// What a client sent, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatText(pub String);

impl ChatText {
    /// `None` for blanks only.
    ///
    /// # Errors
    /// 400 over 10,000 characters or with control characters.
    pub fn into_valid(self) -> Result<Option<String>, ApiError> {
        let mut text = message_text("content", self.0)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.trim().chars().count() > MAX_TEXT {
            return Err(Faults::one("content", messages::too_long(MAX_TEXT)));
        }
        text.truncate(text.trim_end_matches('\n').len());
        Ok(Some(text))
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

// Blanks around a text that is just short enough are no fault.
text_type!(
    ChatText,
    Some(MESSAGE_FORMAT),
    None,
    MAX_TEXT * 2,
    |text| Ok(ChatText(text)),
    as_str
);

/// What a client calls a message of its own: 1 to 64 of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId(pub String);

impl ClientId {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if (1..=MAX_CLIENT_ID).contains(&text.len()) && text.bytes().all(plain) {
            Ok(ClientId(text.to_owned()))
        } else {
            Err(messages::BAD_FORMAT)
        }
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

text_type!(
    ClientId,
    Some(CLIENT_ID_FORMAT),
    Some(1),
    MAX_CLIENT_ID,
    |text| ClientId::parse(&text),
    as_str
);

/// Lets the body reader check the texts of this domain.
pub fn register_formats() {
    register_format(CLIENT_ID_FORMAT, |text| {
        ClientId::parse(text).map(drop).map_err(FormatFault::from)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> Result<Option<String>, &'static str> {
        ChatText(text.to_owned()).into_valid().map_err(|e| e.code)
    }

    #[test]
    fn only_line_ends_at_the_end_are_cut() {
        assert_eq!(valid("  a\r\nb\rc\t \n\r\n"), Ok(Some("  a\nb\nc\t ".to_owned())));
        for blank in ["", " ", "\n\t", "\u{3000}\u{a0}"] {
            assert_eq!(valid(blank), Ok(None), "{blank:?}");
        }
        assert!(valid(&format!("  {}\n\n", "字".repeat(MAX_TEXT))).is_ok());
        assert_eq!(valid(&"字".repeat(MAX_TEXT + 1)), Err("validation_error"));
        assert_eq!(valid("a\0"), Err("validation_error"));
    }
}
