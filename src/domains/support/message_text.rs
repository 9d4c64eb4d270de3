//! The text of a message. Unlike other input it is kept as it came, blanks at its ends included
//! (contract "agents" 3.5).

use yunque_kernel::error::messages;
use yunque_kernel::http::body::{MESSAGE_FORMAT, message_text};
use yunque_kernel::{ApiError, Faults, text_type};

use crate::error::SupportError;

/// Characters.
pub const MAX_TEXT: usize = 5000;

/// What a client sent, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(pub String);

impl MessageText {
    /// Line ends become `\n`; nothing else changes.
    ///
    /// # Errors
    /// 400 `empty_content` for blanks only, 400 over 5000 characters or with control characters.
    pub fn into_valid(self) -> Result<String, ApiError> {
        let text = message_text("content", self.0)?;
        if text.trim().is_empty() {
            return Err(SupportError::EmptyContent.into());
        }
        if text.chars().count() > MAX_TEXT {
            return Err(Faults::one("content", messages::too_long(MAX_TEXT)));
        }
        Ok(text)
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

text_type!(
    MessageText,
    Some(MESSAGE_FORMAT),
    None,
    MAX_TEXT,
    |text| Ok(MessageText(text)),
    as_str
);

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &str) -> Result<String, &'static str> {
        MessageText(text.to_owned()).into_valid().map_err(|e| e.code)
    }

    #[test]
    fn text_is_kept_as_it_came() {
        assert_eq!(valid("  a\r\nb\rc\t "), Ok("  a\nb\nc\t ".to_owned()));
        for blank in ["", " ", "\n\t", "\u{3000}\u{a0}"] {
            assert_eq!(valid(blank), Err("empty_content"), "{blank:?}");
        }
        assert!(valid(&"字".repeat(5000)).is_ok());
        assert_eq!(valid(&"字".repeat(5001)), Err("validation_error"));
        assert_eq!(valid("a\0"), Err("validation_error"));
    }
}
