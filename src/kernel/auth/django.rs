//! Passwords of accounts that come from Django: `pbkdf2_sha256$<iterations>$<salt>$<hash>`.
//!
//! Such a hash verifies, and is replaced by an Argon2 one when its owner logs in next. The salt is used as
//! the text that it is; the hash is Base64 with padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Sha256;

const PREFIX: &str = "pbkdf2_sha256$";
const HASH_BYTES: usize = 32;
/// What was stored decides how long a comparison takes, and a row can be edited or imported. Django itself asks
/// for 1.2 million in its newest release.
const MAX_ITERATIONS: u32 = 4_000_000;

/// A stored hash that we can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DjangoHash<'a> {
    pub iterations: u32,
    salt: &'a str,
    hash: [u8; HASH_BYTES],
}

impl<'a> DjangoHash<'a> {
    /// `None` for anything else, and for an unusable password (`!…`).
    pub fn parse(stored: &'a str) -> Option<Self> {
        let mut parts = stored.strip_prefix(PREFIX)?.split('$');
        let (iterations, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || salt.is_empty() {
            return None;
        }
        let iterations = iterations.parse().ok()?;
        (1..=MAX_ITERATIONS).contains(&iterations).then_some(())?;
        Some(DjangoHash {
            iterations,
            salt,
            hash: STANDARD.decode(hash).ok()?.try_into().ok()?,
        })
    }

    /// What this password hashes to, and what is stored: for a comparison that takes the same time wherever they
    /// differ.
    pub fn digests(&self, password: &str) -> ([u8; HASH_BYTES], [u8; HASH_BYTES]) {
        (digest(password, self.salt, self.iterations), self.hash)
    }
}

/// The work of a comparison, for measuring what it takes.
pub(super) fn digest(password: &str, salt: &str, iterations: u32) -> [u8; HASH_BYTES] {
    pbkdf2::pbkdf2_hmac_array::<Sha256, HASH_BYTES>(password.as_bytes(), salt.as_bytes(), iterations)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hashlib.pbkdf2_hmac`, written as Django writes it.
    const STORED: &str = "pbkdf2_sha256$1000$seasalt2$yqOvp9bQM1JclZme6GhHZ/xCF2VS5jn7s1dWE06cy/U=";

    #[test]
    fn a_hash_made_elsewhere_verifies() {
        let hash = DjangoHash::parse(STORED).expect("parsed");
        assert_eq!(hash.iterations, 1000);
        let (found, stored) = hash.digests("correct horse 电池");
        assert_eq!(found, stored);
        let (found, stored) = hash.digests("correct horse");
        assert_ne!(found, stored);
    }

    #[test]
    fn what_cannot_be_computed_is_no_hash() {
        let good = STORED.rsplit('$').next().expect("a hash");
        for broken in [
            String::new(),
            "!Xq1".to_owned(),
            format!("pbkdf2_sha1$1000$s${good}"),
            format!("pbkdf2_sha256$0$s${good}"),
            format!("pbkdf2_sha256$-1$s${good}"),
            format!("pbkdf2_sha256$4000001$s${good}"),
            format!("pbkdf2_sha256$99999999999$s${good}"),
            format!("pbkdf2_sha256$1000$${good}"),
            format!("pbkdf2_sha256$1000$s${good}$x"),
            "pbkdf2_sha256$1000$s$".to_owned(),
            "pbkdf2_sha256$1000$s$yqOvp9bQ".to_owned(),
            format!("pbkdf2_sha256$1000$s${}", good.trim_end_matches('=')),
        ] {
            assert_eq!(DjangoHash::parse(&broken), None, "{broken}");
        }
    }
}
