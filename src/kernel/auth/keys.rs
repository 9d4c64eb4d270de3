//! The secret keys of a deployment.
//!
//! There is one master secret, `SECRET_KEY`. Nothing uses it directly: every use has a key of its
//! own, derived by HKDF-SHA-256 with the use's label, so a leak of one derived key says nothing
//! about another. `SECRET_KEY_PREVIOUS` holds former masters; they only verify and decrypt.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac};
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::hex;

/// What a derived key is for. The label is part of the derivation: renaming one voids what it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    Jwt,
    Idempotency,
    Presign,
    MailToken,
    Encryption,
    /// Recognises the master secret without revealing it; stored in the database.
    Check,
}

impl KeyUse {
    fn label(self) -> &'static str {
        match self {
            KeyUse::Jwt => "yunque/jwt/v1",
            KeyUse::Idempotency => "yunque/idempotency/v1",
            KeyUse::Presign => "yunque/presign/v1",
            KeyUse::MailToken => "yunque/mail-token/v1",
            KeyUse::Encryption => "yunque/encryption/v1",
            KeyUse::Check => "yunque/check/v1",
        }
    }
}

/// A derived 256-bit key. Never printed.
#[derive(Clone)]
pub struct DerivedKey {
    /// Names the key without revealing it: 8 hex digits.
    pub id: String,
    pub bytes: [u8; 32],
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DerivedKey({})", self.id)
    }
}

/// The current and the former master secrets.
#[derive(Clone)]
pub struct Keys {
    /// Current first; never empty.
    masters: Arc<[Hkdf<Sha256>]>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} masters)", self.masters.len())
    }
}

/// The key is not one of ours, or the bytes were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted with any configured key")]
pub struct Undecipherable;

impl Keys {
    pub fn new(current: &SecretString, previous: &[SecretString]) -> Self {
        let masters = std::iter::once(current)
            .chain(previous)
            .map(|secret| Hkdf::<Sha256>::new(None, secret.expose_secret().as_bytes()))
            .collect();
        Keys { masters }
    }

    /// A random secret, for tests and for commands that never touch stored data.
    pub fn ephemeral() -> Self {
        let mut bytes = [0_u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        Keys {
            masters: Arc::new([Hkdf::<Sha256>::new(None, &bytes)]),
        }
    }

    /// The key that signs and encrypts from now on.
    pub fn current(&self, purpose: KeyUse) -> DerivedKey {
        derive(&self.masters[0], purpose)
    }

    /// Every key that may verify and decrypt, the current one first.
    pub fn all(&self, purpose: KeyUse) -> Vec<DerivedKey> {
        self.masters
            .iter()
            .map(|master| derive(master, purpose))
            .collect()
    }

    /// HMAC-SHA-256 under the current key of `purpose`.
    pub fn mac(&self, purpose: KeyUse, message: &[u8]) -> [u8; 32] {
        mac_with(&self.current(purpose), message)
    }

    /// Compares in constant time with what any configured key makes of `message`.
    pub fn verify_mac(&self, purpose: KeyUse, message: &[u8], tag: &[u8]) -> bool {
        self.all(purpose).iter().any(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key.bytes).expect("HMAC takes keys of any length");
            mac.update(message);
            mac.verify_slice(tag).is_ok()
        })
    }

    /// AES-256-GCM: 4 bytes of key id, 12 of nonce, ciphertext with tag. `context` is
    /// authenticated but not stored (a table and row, say), so a value cannot be moved elsewhere.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let key = self.current(KeyUse::Encryption);
        let mut nonce = [0_u8; 12];
        rand::rng().fill_bytes(&mut nonce);
        let sealed = cipher(&key)
            .encrypt(
                &Nonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: context,
                },
            )
            .expect("AES-GCM only fails beyond 64 GiB");
        [key_id_bytes(&key).as_slice(), &nonce, &sealed].concat()
    }

    /// Opens what [`Keys::seal`] made under any configured key.
    ///
    /// # Errors
    /// Unknown key, other context or changed bytes; the cases are not told apart.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Undecipherable> {
        let (id, rest) = sealed.split_first_chunk::<4>().ok_or(Undecipherable)?;
        let (nonce, body) = rest.split_first_chunk::<12>().ok_or(Undecipherable)?;
        let keys = self.all(KeyUse::Encryption);
        let key = keys
            .iter()
            .find(|key| key_id_bytes(key) == *id)
            .ok_or(Undecipherable)?;
        cipher(key)
            .decrypt(
                &Nonce::from(*nonce),
                Payload {
                    msg: body,
                    aad: context,
                },
            )
            .map_err(|_| Undecipherable)
    }
}

fn derive(master: &Hkdf<Sha256>, purpose: KeyUse) -> DerivedKey {
    let expand = |label: &str, out: &mut [u8]| {
        master
            .expand(label.as_bytes(), out)
            .expect("32 bytes are far below HKDF's limit");
    };
    let mut bytes = [0_u8; 32];
    expand(purpose.label(), &mut bytes);
    let mut id = [0_u8; 4];
    expand(&format!("{}/id", purpose.label()), &mut id);
    DerivedKey {
        id: hex::encode(&id),
        bytes,
    }
}

fn mac_with(key: &DerivedKey, message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.bytes).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn cipher(key: &DerivedKey) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(&key.bytes).expect("a derived key has 32 bytes")
}

fn key_id_bytes(key: &DerivedKey) -> [u8; 4] {
    u32::from_str_radix(&key.id, 16).unwrap_or(0).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: &str, previous: &[&str]) -> Keys {
        let previous: Vec<_> = previous.iter().map(|s| SecretString::from(*s)).collect();
        Keys::new(&SecretString::from(current), &previous)
    }

    #[test]
    fn every_use_has_a_key_of_its_own() {
        let k = keys("a secret of more than thirty-two bytes", &[]);
        let jwt = k.current(KeyUse::Jwt);
        assert_eq!(jwt.id.len(), 8);
        assert_ne!(jwt.bytes, k.current(KeyUse::Presign).bytes);
        assert_ne!(jwt.id, k.current(KeyUse::Presign).id);
        assert_eq!(
            jwt.bytes,
            keys("a secret of more than thirty-two bytes", &["other"])
                .current(KeyUse::Jwt)
                .bytes
        );
    }

    #[test]
    fn a_former_key_still_verifies_and_decrypts_but_no_longer_signs() {
        let old = keys("the first secret, quite long enough", &[]);
        let new = keys(
            "the second secret, also long enough",
            &["the first secret, quite long enough"],
        );
        let tag = old.mac(KeyUse::Presign, b"m");
        assert!(new.verify_mac(KeyUse::Presign, b"m", &tag));
        assert!(!new.verify_mac(KeyUse::Jwt, b"m", &tag));
        assert_ne!(new.mac(KeyUse::Presign, b"m"), tag);
        assert!(!old.verify_mac(KeyUse::Presign, b"m", &new.mac(KeyUse::Presign, b"m")));
        assert!(!new.verify_mac(KeyUse::Presign, b"m", b""));

        let sealed = old.seal(b"row 1", b"plain");
        assert_eq!(new.open(b"row 1", &sealed), Ok(b"plain".to_vec()));
        assert_eq!(new.open(b"row 2", &sealed), Err(Undecipherable));
        assert_eq!(
            old.open(b"row 1", &new.seal(b"row 1", b"plain")),
            Err(Undecipherable)
        );
        let mut changed = sealed.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        assert_eq!(new.open(b"row 1", &changed), Err(Undecipherable));
        assert_eq!(new.open(b"row 1", b"short"), Err(Undecipherable));
    }
}
