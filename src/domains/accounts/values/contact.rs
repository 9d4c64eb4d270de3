//! Values of the users' surface: telephone numbers, and passwords that may be missing.

use secrecy::{ExposeSecret, SecretString};
use yunque_kernel::error::{Text, messages};

use super::{CurrentPassword, MAX_PASSWORD, Password};

pub const MAX_PHONE: usize = 20;
const MIN_PHONE: usize = 3;

/// A telephone number as somebody writes it: 3 to 20 digits, blanks and `+ ( ) -`. Blank means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone(Option<String>);

impl Phone {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Phone(None));
        }
        let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'(' | b')' | b' ' | b'-');
        match text.chars().count() {
            n if n > MAX_PHONE => Err(messages::too_long(MAX_PHONE)),
            n if n < MIN_PHONE || !text.bytes().all(plain) => Err(messages::BAD_FORMAT),
            _ => Ok(Phone(Some(text.to_owned()))),
        }
    }

    pub fn into_option(self) -> Option<String> {
        self.0
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// A password of a body where a missing or blank one has an error code of its own.
#[derive(Clone, Debug)]
pub struct MaybeBlankPassword(SecretString);

impl MaybeBlankPassword {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        if text.chars().count() > MAX_PASSWORD {
            return Err(messages::too_long(MAX_PASSWORD));
        }
        Ok(MaybeBlankPassword(SecretString::from(text)))
    }

    pub fn into_password(self) -> Option<CurrentPassword> {
        CurrentPassword::parse(self.0.expose_secret()).ok()
    }

    /// Whether it repeats a new password.
    pub fn equals(&self, password: &Password) -> bool {
        self.expose() == password.expose()
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_as_they_are_written() {
        for good in [
            "123",
            "13800138000",
            "+86 138-0013-8000",
            "(010) 1234 5678",
            &"1".repeat(20),
        ] {
            assert_eq!(
                Phone::parse(good).expect("valid").into_option().as_deref(),
                Some(good)
            );
        }
        assert_eq!(Phone::parse("  ").expect("blank").into_option(), None);
        for bad in ["12", "12a", "１３８", "138;001", "1\n2", &"1".repeat(21)] {
            assert!(Phone::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_blank_password_is_none_and_blanks_are_not_trimmed() {
        assert!(
            MaybeBlankPassword::parse("")
                .expect("blank")
                .into_password()
                .is_none()
        );
        let kept = MaybeBlankPassword::parse(" x ").expect("text").into_password();
        assert_eq!(kept.expect("a password").expose(), " x ");
        assert!(MaybeBlankPassword::parse(&"x".repeat(129)).is_err());
    }
}
