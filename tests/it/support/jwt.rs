//! Reads tokens without trusting them, and makes ones that should not be trusted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use hmac::{Hmac, KeyInit as _, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};
use yunque_kernel::auth::KeyUse;

use super::TestServer;

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a token.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&B64.decode(part).expect("base64url")).expect("JSON")
}

/// The key that the server signs tokens with: what a thief of the key, or a careless key server,
/// would have.
pub fn server_key(srv: &TestServer) -> [u8; 32] {
    srv.app.ctx.keys.current(KeyUse::Jwt).bytes
}

/// Signs header and claims with HMAC-SHA-256.
pub fn sign(header: &Value, claims: &Value, key: &[u8]) -> String {
    sign_text(&header.to_string(), &claims.to_string(), key)
}

/// The same for texts that need not be JSON.
pub fn sign_text(header: &str, claims: &str, key: &[u8]) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", B64.encode(mac.finalize().into_bytes()))
}

/// HS384 and HS512 with the right key, whatever the header says.
pub fn sign_wider(header: &Value, claims: &Value, key: &[u8]) -> [String; 2] {
    let message = format!(
        "{}.{}",
        B64.encode(header.to_string()),
        B64.encode(claims.to_string())
    );
    let mut mac = Hmac::<Sha384>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    let hs384 = format!("{message}.{}", B64.encode(mac.finalize().into_bytes()));
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    [
        hs384,
        format!("{message}.{}", B64.encode(mac.finalize().into_bytes())),
    ]
}

/// `value` with one member replaced, or removed when `to` is `None`.
pub fn with(value: &Value, name: &str, to: Option<Value>) -> Value {
    let mut changed = value.clone();
    match to {
        Some(to) => changed[name] = to,
        None => drop(changed.as_object_mut().expect("object").remove(name)),
    }
    changed
}

/// Header and claims of a good token, to be spoilt.
pub fn parts(token: &str) -> (Value, Value) {
    (header(token), claims(token))
}

/// A header that asks for no signature.
pub fn unsigned(alg: &Value, claims: &Value) -> String {
    let header = json!({ "alg": alg, "typ": "JWT" });
    format!(
        "{}.{}.",
        B64.encode(header.to_string()),
        B64.encode(claims.to_string())
    )
}
