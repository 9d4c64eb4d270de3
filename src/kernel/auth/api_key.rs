//! API keys: `ak_` and 48 random letters and digits.
//!
//! Only the SHA-256 is stored. That is enough for 285 bits of randomness, and lets a request find
//! its key by one unique lookup, with nothing to compare character by character.

use std::fmt;

use rand::Rng;
use rand::distr::Alphanumeric;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::hex;

const PREFIX: &str = "ak_";
const RANDOM_CHARS: usize = 48;
/// Characters shown in lists to tell keys apart.
const SHOWN_CHARS: usize = 8;

/// A key that was just made. The text is shown once and never stored.
pub struct NewApiKey {
    pub text: SecretString,
    /// SHA-256 in hex.
    pub hash: String,
    pub shown_prefix: String,
}

impl NewApiKey {
    pub fn generate() -> Self {
        let random = rand::rng()
            .sample_iter(Alphanumeric)
            .take(RANDOM_CHARS)
            .map(char::from);
        let text: String = PREFIX.chars().chain(random).collect();
        NewApiKey {
            hash: sha256_hex(&text),
            shown_prefix: text[..SHOWN_CHARS].to_owned(),
            text: text.into(),
        }
    }
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewApiKey({}…)", self.shown_prefix)
    }
}

/// Does a bearer token claim to be an API key?
pub fn looks_like_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The stored form of a presented key; `None` when it does not even have the form of one.
pub fn hash_of(text: &str) -> Option<String> {
    let random = text.strip_prefix(PREFIX)?;
    let formed = random.len() == RANDOM_CHARS && random.bytes().all(|b| b.is_ascii_alphanumeric());
    formed.then(|| sha256_hex(text))
}

/// SHA-256 of a text, in lowercase hex.
pub fn sha256_hex(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes()))
}

/// The scopes of a key: `*`, `staff`, or `<module>:read` / `<module>:write`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

/// The modules that scopes may name.
pub const MODULES: &[&str] = &[
    "users",
    "core",
    "ai",
    "metaverse",
    "social",
    "cloud",
    "agents",
    "chat",
];

impl Scopes {
    /// Everything but staff rights.
    pub fn all() -> Self {
        Scopes(vec!["*".to_owned()])
    }

    /// # Errors
    /// The first unknown scope, or an empty list.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Result<Self, String> {
        let mut scopes = Vec::with_capacity(list.len());
        for scope in list.iter().map(|s| s.as_ref().trim()) {
            let module = scope
                .strip_suffix(":read")
                .or_else(|| scope.strip_suffix(":write"));
            let known = matches!(scope, "*" | "staff") || module.is_some_and(|m| MODULES.contains(&m));
            if !known {
                return Err(scope.to_owned());
            }
            if !scopes.iter().any(|s| s == scope) {
                scopes.push(scope.to_owned());
            }
        }
        if scopes.is_empty() {
            Err(String::new())
        } else {
            Ok(Scopes(scopes))
        }
    }

    /// From the stored JSON list. What cannot be read grants nothing.
    pub fn from_json(text: &str) -> Self {
        Scopes(serde_json::from_str(text).unwrap_or_default())
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a list of strings is JSON")
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// `staff` must be named; `*` does not imply it.
    pub fn staff(&self) -> bool {
        self.has("staff")
    }

    /// May a request of this module be made? `write` implies `read`.
    pub fn allow(&self, module: Option<&str>, write: bool) -> bool {
        let Some(module) = module else {
            return self.has("*");
        };
        self.has("*")
            || self.has(&format!("{module}:write"))
            || (!write && self.has(&format!("{module}:read")))
    }

    fn has(&self, scope: &str) -> bool {
        self.0.iter().any(|s| s == scope)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn keys_have_the_published_form_and_only_their_hash_is_kept() {
        let key = NewApiKey::generate();
        let text = key.text.expose_secret();
        assert_eq!(text.len(), 51);
        assert_eq!(hash_of(text).as_deref(), Some(key.hash.as_str()));
        assert_eq!(key.shown_prefix, text[..8]);
        assert!(!format!("{key:?}").contains(&text[8..]));
        for bad in [
            "",
            "ak_",
            "ak_short",
            &text[..50],
            &format!("{text}x"),
            &text.replace("ak_", "AK_"),
            &format!("ak_{}", "é".repeat(24)),
        ] {
            assert_eq!(hash_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn write_implies_read_and_a_star_never_grants_staff() {
        let s = |list: &[&str]| Scopes::parse(list).expect("known scopes");
        assert!(s(&["cloud:write"]).allow(Some("cloud"), false));
        assert!(s(&["cloud:read"]).allow(Some("cloud"), false));
        assert!(!s(&["cloud:read"]).allow(Some("cloud"), true));
        assert!(!s(&["cloud:write"]).allow(Some("chat"), false));
        assert!(s(&["*"]).allow(None, true) && !s(&["cloud:write"]).allow(None, false));
        assert!(!s(&["*"]).staff() && s(&["*", "staff"]).staff());
        assert_eq!(Scopes::parse(&["cloud:admin"]), Err("cloud:admin".into()));
        assert!(Scopes::parse::<&str>(&[]).is_err());
        assert!(!Scopes::from_json("broken").allow(Some("cloud"), false));
        assert_eq!(Scopes::from_json(&s(&["chat:read"]).to_json()), s(&["chat:read"]));
    }
}
