//! Names, addresses and passwords that are valid by construction.
//!
//! Each publishes a `format` in the API document; [`register_formats`] gives the body reader the
//! check behind it, so that all faults of a body are reported at once and a handler only ever sees
//! valid values.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use yunque_kernel::error::{Text, messages};
use yunque_kernel::http::body::{FormatFault, is_email, register_format};
use yunque_kernel::text_type;

mod contact;

pub use contact::{MAX_PHONE, MaybeBlankPassword, Phone};

pub const MAX_USERNAME: usize = 150;
pub const MAX_EMAIL: usize = 254;
pub const MAX_DISPLAY_NAME: usize = 150;
pub const MIN_PASSWORD: usize = 8;
pub const MAX_PASSWORD: usize = 128;

const USERNAME_INVALID: Text = Text::fixed("用户名格式不符合要求", "Username format is invalid.");
/// What purged accounts are called.
const DELETED_PREFIX: &str = "deleted_";
const DELETED_DOMAIN: &str = "@invalid";

/// NFKC and case-folded: the form under which names are compared on every database.
pub fn name_key(name: &str) -> String {
    let compatible: String = name.nfkc().collect();
    caseless::default_case_fold_str(&compatible).nfkc().collect()
}

/// The form under which addresses are compared.
pub fn email_key(address: &str) -> String {
    address.to_lowercase()
}

/// A login name: 1 to 150 letters of any script, digits and `_ . + -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    text: String,
    key: String,
}

impl Username {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        // Composed, so that a name typed with separate accents is the same name.
        let text: String = text.trim().nfc().collect();
        if text.is_empty() {
            return Err(messages::BLANK);
        }
        let key = name_key(&text);
        if text.chars().count() > MAX_USERNAME || key.chars().count() > MAX_USERNAME {
            return Err(messages::too_long(MAX_USERNAME));
        }
        // The key is looked at too: some letters turn into a slash or an at sign.
        if !is_name(&text) || !is_name(&key) || key.starts_with(DELETED_PREFIX) {
            return Err(USERNAME_INVALID);
        }
        Ok(Username { text, key })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn is_reserved(&self, reserved: &[String]) -> bool {
        reserved.contains(&self.key)
    }

    /// The fault of a name that is kept back.
    pub fn reserved_fault() -> Text {
        USERNAME_INVALID
    }
}

/// Letters of any script with their marks, digits, and `_ . + -`; not a mark at the start.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
    text.starts_with(plain) && text.chars().all(|c| plain(c) || is_combining_mark(c))
}

/// An e-mail address, compared in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

impl Email {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let text = text.trim();
        if text.is_empty() {
            return Err(messages::BLANK);
        }
        let key = email_key(text);
        if text.chars().count() > MAX_EMAIL || key.chars().count() > MAX_EMAIL {
            return Err(messages::too_long(MAX_EMAIL));
        }
        if !is_email(text) || key.ends_with(DELETED_DOMAIN) {
            return Err(messages::BAD_EMAIL);
        }
        Ok(Email {
            text: text.to_owned(),
            key,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn key(&self) -> &str {
        &self.key
    }
}

/// An address that may be blank, for bodies where a blank one has an error code of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaybeBlankEmail(Option<Email>);

impl MaybeBlankEmail {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        if text.trim().is_empty() {
            Ok(MaybeBlankEmail(None))
        } else {
            Email::parse(text).map(|e| MaybeBlankEmail(Some(e)))
        }
    }

    pub fn into_email(self) -> Option<Email> {
        self.0
    }

    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Email::as_str)
    }
}

/// What somebody is called; may be empty, which for a display name means "the username".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let text = text.trim();
        if text.chars().count() > MAX_DISPLAY_NAME {
            return Err(messages::too_long(MAX_DISPLAY_NAME));
        }
        Ok(DisplayName(text.to_owned()))
    }

    /// The name, or `username` where none was chosen.
    pub fn or_username(self, username: &str) -> String {
        if self.0.is_empty() {
            username.to_owned()
        } else {
            self.0
        }
    }

    pub fn into_string(self) -> String {
        self.0
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password that somebody chooses: 8 to 128 characters, any of them, never trimmed.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        if text.contains('\0') {
            return Err(messages::BAD_CHARACTER);
        }
        match text.chars().count() {
            n if n < MIN_PASSWORD => Err(messages::short_password(MIN_PASSWORD)),
            n if n > MAX_PASSWORD => Err(messages::too_long(MAX_PASSWORD)),
            _ => Ok(Password(SecretString::from(text))),
        }
    }

    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A password that somebody proves to know. Any text up to the limit, because what is stored may
/// be older than today's rules.
#[derive(Clone, Debug)]
pub struct CurrentPassword(SecretString);

impl CurrentPassword {
    /// # Errors
    /// What a client may be told.
    pub fn parse(text: &str) -> Result<Self, Text> {
        match text.chars().count() {
            0 => Err(messages::BLANK),
            n if n > MAX_PASSWORD => Err(messages::too_long(MAX_PASSWORD)),
            _ => Ok(CurrentPassword(SecretString::from(text))),
        }
    }

    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Makes the checks of this domain's formats known to the body reader.
pub fn register_formats() {
    register_format("username", |text| fault_of(Username::parse(text)));
    register_format("email", |text| fault_of(Email::parse(text)));
    register_format("email-or-blank", |text| fault_of(MaybeBlankEmail::parse(text)));
    register_format("new-password", |text| fault_of(Password::parse(text)));
    register_format("phone", |text| fault_of(Phone::parse(text)));
}

fn fault_of<T>(parsed: Result<T, Text>) -> Result<(), FormatFault> {
    parsed.map(drop).map_err(FormatFault::from)
}

/// The texts above as API types.
macro_rules! checked_text {
    ($name:ident, $format:expr, $min:expr, $max:expr, $show:ident) => {
        text_type!(
            $name,
            $format,
            $min,
            $max,
            |text| $name::parse(&text),
            $show
        );
    };
}

checked_text!(Username, Some("username"), Some(1), MAX_USERNAME, as_str);
checked_text!(Email, Some("email"), Some(1), MAX_EMAIL, as_str);
checked_text!(MaybeBlankEmail, Some("email-or-blank"), None, MAX_EMAIL, as_str);
checked_text!(DisplayName, None, None, MAX_DISPLAY_NAME, as_str);
checked_text!(
    Password,
    Some("new-password"),
    Some(MIN_PASSWORD),
    MAX_PASSWORD,
    expose
);
checked_text!(CurrentPassword, Some("password"), Some(1), MAX_PASSWORD, expose);
checked_text!(MaybeBlankPassword, Some("password"), None, MAX_PASSWORD, expose);
checked_text!(Phone, Some("phone"), None, MAX_PHONE, as_str);

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_fold_case_and_width() {
        let key = |text: &str| Username::parse(text).expect("valid").key().to_owned();
        assert_eq!(key("Alice"), "alice");
        assert_eq!(key(" ALICE "), "alice");
        assert_eq!(key("Ａｌｉｃｅ"), "alice");
        assert_eq!(key("STRASSE"), key("straße"));
        assert_eq!(key("cafe\u{301}"), key("CAFÉ"));
        assert_ne!(key("cafe"), key("café"));
        assert_eq!(key("हिन्दी"), "हिन्दी");
        assert_eq!(key("张三.demo+1-x_"), "张三.demo+1-x_");
        assert_eq!(Username::parse("Alice").expect("valid").as_str(), "Alice");
    }

    #[test]
    fn usernames_outside_the_rules_are_refused() {
        let long = "x".repeat(151);
        // Grows beyond the limit when it is normalised.
        let growing = "ﷺ".repeat(20);
        for bad in [
            "",
            "  ",
            "\u{301}a",
            "a b",
            "a@b",
            "a/b",
            "a\0b",
            "a\u{202e}b",
            "<b>",
            "emoji😀",
            "＠x",
            "℀",
            "deleted_7",
            "DELETED_x",
            &long,
            &growing,
        ] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Username::parse(&"文".repeat(150)).is_ok());
    }

    #[test]
    fn reserved_names_are_compared_folded() {
        let reserved = vec!["admin".to_owned()];
        assert!(Username::parse("ADMIN").expect("valid").is_reserved(&reserved));
        assert!(!Username::parse("admin2").expect("valid").is_reserved(&reserved));
    }

    #[test]
    fn addresses_keep_their_form_and_compare_in_lower_case() {
        let email = Email::parse(" Bob@Example.COM ").expect("valid");
        assert_eq!(
            (email.as_str(), email.key()),
            ("Bob@Example.COM", "bob@example.com")
        );
        for bad in ["", "bob", "a@b@c.d", "deleted_1@invalid", "a@b.c\r\nBcc: x@y.z"] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_count_characters_and_are_not_trimmed() {
        assert!(Password::parse("1234567").is_err());
        assert!(Password::parse("12345678").is_ok());
        assert_eq!(
            Password::parse(" 12345678 ").expect("valid").expose(),
            " 12345678 "
        );
        assert!(Password::parse(&"密".repeat(8)).is_ok());
        assert!(Password::parse(&"密".repeat(128)).is_ok());
        assert!(Password::parse(&"密".repeat(129)).is_err());
        assert!(Password::parse("1234567\0").is_err());
        assert!(!format!("{:?}", Password::parse("correct horse").expect("valid")).contains("horse"));
    }

    #[test]
    fn an_empty_display_name_means_the_username() {
        assert_eq!(DisplayName::parse("  ").expect("valid").or_username("bob"), "bob");
        assert_eq!(
            DisplayName::parse(" Bob B. ").expect("valid").or_username("bob"),
            "Bob B."
        );
        assert!(DisplayName::parse(&"x".repeat(151)).is_err());
    }
}
