//! Signed tokens: HS256 only, no leeway, every claim required and typed.
//!
//! Verification trusts nothing but a good signature over a header that we could have written:
//! `alg` is pinned, `kid` must name the key that verified, and any header member that asks for
//! special treatment (`crit`, `jwk`, `jku`, `x5u`, `zip` …) refuses the token. Times are compared
//! with our own clock, because the library reads the system's and would ignore a moved one.
//! The library's own checks of `exp` and `nbf` are therefore off, and the claims are strict
//! integers instead: text, floats, nulls and numbers beyond 64 bits do not parse.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::{KeyUse, Keys};
use crate::ids::{SessionId, UserId};

/// The fixed issuer.
pub const ISSUER: &str = "yunque";

/// Longer tokens are refused unread. Ours have about 400 bytes.
const MAX_TOKEN_BYTES: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    Access,
    Refresh,
}

/// The claims of contract "conventions" 4.1. `token_type`/`typ` and `user_id`/`sub` say the same
/// twice, because clients of both original styles read one or the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub token_type: TokenType,
    pub typ: TokenType,
    pub user_id: i64,
    pub sub: String,
    pub sid: i64,
    pub jti: String,
    /// Rotation counter of the session; refresh tokens only.
    #[serde(rename = "gen", default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    pub tv: i64,
    pub iat: i64,
    pub exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    pub iss: String,
}

impl Claims {
    pub fn user(&self) -> UserId {
        UserId(self.user_id)
    }

    pub fn session(&self) -> SessionId {
        SessionId(self.sid)
    }
}

/// What a new token says.
#[derive(Clone, Copy, Debug)]
pub struct NewToken {
    pub kind: TokenType,
    pub user: UserId,
    pub session: SessionId,
    /// `users.token_version`
    pub token_version: i64,
    pub generation: i64,
    /// Unix seconds.
    pub issued_at: i64,
    pub ttl_seconds: i64,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("token is unusable")]
    Invalid,
    #[error("token is past its expiry")]
    Expired,
}

/// Signs with the current key, verifies with every configured one.
#[derive(Clone)]
pub struct Jwt {
    header: Header,
    signer: EncodingKey,
    verifiers: Vec<(String, DecodingKey)>,
    validation: Validation,
}

impl Jwt {
    pub fn new(keys: &Keys) -> Self {
        let current = keys.current(KeyUse::Jwt);
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(current.id);
        let verifiers = keys.all(KeyUse::Jwt);
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.set_issuer(&[ISSUER]);
        Jwt {
            header,
            signer: EncodingKey::from_secret(&current.bytes),
            verifiers: verifiers.into_iter().map(|k| (k.id, DecodingKey::from_secret(&k.bytes))).collect(),
            validation,
        }
    }

    /// Makes a signed token. Two tokens are never equal, because each has its own `jti`.
    pub fn issue(&self, new: &NewToken) -> String {
        let claims = Claims {
            token_type: new.kind,
            typ: new.kind,
            user_id: new.user.0,
            sub: new.user.to_string(),
            sid: new.session.0,
            jti: uuid::Uuid::new_v4().simple().to_string(),
            generation: (new.kind == TokenType::Refresh).then_some(new.generation),
            tv: new.token_version,
            iat: new.issued_at,
            exp: new.issued_at.saturating_add(new.ttl_seconds),
            nbf: None,
            iss: ISSUER.to_owned(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signer)
            .expect("HMAC over plain claims cannot fail")
    }

    /// Checks signature, header, claims, kind and times; `now` is in Unix seconds.
    ///
    /// # Errors
    /// `Expired` only for a token that is good in every other respect.
    pub fn verify(&self, token: &str, kind: TokenType, now: i64) -> Result<Claims, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES || token.bytes().filter(|b| *b == b'.').count() != 2 {
            return Err(TokenFault::Invalid);
        }
        let (header, claims) = self
            .verifiers
            .iter()
            .find_map(|(id, key)| {
                let data = jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()?;
                (data.header.kid.as_deref() == Some(id)).then_some((data.header, data.claims))
            })
            .ok_or(TokenFault::Invalid)?;
        let sound = plain(&header)
            && claims.iss == ISSUER
            && claims.token_type == kind
            && claims.typ == kind
            && claims.user_id > 0
            && claims.sub == claims.user_id.to_string()
            && claims.sid > 0
            && claims.generation.is_some() == (kind == TokenType::Refresh)
            && claims.nbf.is_none_or(|nbf| nbf <= now);
        match sound {
            false => Err(TokenFault::Invalid),
            true if claims.exp <= now => Err(TokenFault::Expired),
            true => Ok(claims),
        }
    }
}

/// Nothing in the header but what we write ourselves.
fn plain(header: &Header) -> bool {
    let Header { typ, alg, cty, jku, jwk, kid: _, x5u, x5c, x5t, x5t_s256, crit, enc, zip, url, nonce, extras } =
        header;
    *alg == Algorithm::HS256
        && typ.as_deref() == Some("JWT")
        && [cty, jku, x5u, x5t, x5t_s256, url, nonce].iter().all(|member| member.is_none())
        && jwk.is_none()
        && x5c.is_none()
        && crit.is_none()
        && enc.is_none()
        && zip.is_none()
        && extras.inner().is_empty()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
    use secrecy::SecretString;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn keys(current: &str, previous: &[&str]) -> Keys {
        let previous: Vec<_> = previous.iter().map(|s| SecretString::from(*s)).collect();
        Keys::new(&SecretString::from(current), &previous)
    }

    fn jwt() -> Jwt {
        Jwt::new(&keys("one secret of at least thirty-two bytes", &[]))
    }

    fn new(kind: TokenType) -> NewToken {
        NewToken {
            kind,
            user: UserId(7),
            session: SessionId(9),
            token_version: 2,
            generation: 3,
            issued_at: NOW,
            ttl_seconds: 3600,
        }
    }

    /// Signs whatever header and claims a forger who knows the key would like to try.
    fn signed(jwt: &Jwt, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &jwt.signer, Algorithm::HS256)
            .expect("HMAC signs");
        format!("{message}.{signature}")
    }

    fn good_header(jwt: &Jwt) -> Value {
        json!({"typ": "JWT", "alg": "HS256", "kid": jwt.header.kid})
    }

    fn good_claims() -> Value {
        json!({"token_type": "access", "typ": "access", "user_id": 7, "sub": "7", "sid": 9, "jti": "x",
            "tv": 0, "iat": NOW, "exp": NOW + 60, "iss": "yunque"})
    }

    #[test]
    fn a_token_lives_exactly_its_ttl_and_serves_one_purpose() {
        let j = jwt();
        let access = j.issue(&new(TokenType::Access));
        let claims = j.verify(&access, TokenType::Access, NOW).expect("fresh");
        assert_eq!((claims.user_id, claims.sid, claims.tv, claims.generation), (7, 9, 2, None));
        assert_eq!(claims.exp - claims.iat, 3600);
        assert!(j.verify(&access, TokenType::Access, NOW + 3599).is_ok());
        assert_eq!(j.verify(&access, TokenType::Access, NOW + 3600), Err(TokenFault::Expired));
        assert_eq!(j.verify(&access, TokenType::Refresh, NOW), Err(TokenFault::Invalid));
        let refresh = j.issue(&new(TokenType::Refresh));
        assert_eq!(j.verify(&refresh, TokenType::Access, NOW), Err(TokenFault::Invalid));
        assert_eq!(j.verify(&refresh, TokenType::Refresh, NOW).expect("fresh").generation, Some(3));
        assert_ne!(refresh, j.issue(&new(TokenType::Refresh)));
    }

    #[test]
    fn rotation_verifies_old_tokens_and_signs_with_the_new_key() {
        let old = Jwt::new(&keys("the first secret, quite long enough", &[]));
        let both = Jwt::new(&keys("the second secret, also long enough", &["the first secret, quite long enough"]));
        let other = jwt();
        let before = old.issue(&new(TokenType::Access));
        let after = both.issue(&new(TokenType::Access));
        assert!(both.verify(&before, TokenType::Access, NOW).is_ok());
        assert!(both.verify(&after, TokenType::Access, NOW).is_ok());
        assert_eq!(old.verify(&after, TokenType::Access, NOW), Err(TokenFault::Invalid));
        assert_eq!(other.verify(&before, TokenType::Access, NOW), Err(TokenFault::Invalid));
    }

    #[test]
    fn our_own_form_passes_and_every_header_trick_is_refused() {
        let j = jwt();
        let claims = good_claims().to_string();
        assert!(j.verify(&signed(&j, &good_header(&j), &claims), TokenType::Access, NOW).is_ok());
        for (name, value) in [
            ("alg", json!("none")), ("alg", json!("None")), ("alg", json!("nOnE")), ("alg", json!("")),
            ("alg", json!(null)), ("alg", json!("HS257")), ("alg", json!("HS384")), ("alg", json!("HS512")),
            ("alg", json!("RS256")), ("kid", json!("../../dev/null")), ("kid", json!("' OR 1=1 --")),
            ("kid", json!(null)), ("kid", json!("")), ("jku", json!("https://evil.example/keys")),
            ("x5u", json!("https://evil.example/x")), ("crit", json!(["b64"])), ("b64", json!(false)),
            ("typ", json!("JWE")), ("zip", json!("DEF")), ("enc", json!("A128GCM")), ("nonce", json!("1")),
            ("jwk", json!({"kty": "oct", "k": "AAAA", "alg": "HS256"})),
        ] {
            let mut header = good_header(&j);
            header[name] = value.clone();
            let token = signed(&j, &header, &claims);
            assert_eq!(j.verify(&token, TokenType::Access, NOW), Err(TokenFault::Invalid), "{name}={value}");
        }
    }

    #[test]
    fn claims_of_a_wrong_type_or_value_are_refused() {
        let j = jwt();
        for (name, value) in [
            ("exp", json!("9999999999")), ("exp", json!("never")), ("exp", json!(null)), ("exp", json!([])),
            ("exp", json!(9_223_372_036_854_775_808_u64)), ("exp", json!(1e300)), ("exp", json!(true)),
            ("nbf", json!(NOW + 1)), ("nbf", json!("0")), ("iss", json!("someone")), ("iss", json!(null)),
            ("iss", json!(["yunque"])), ("sub", json!("8")), ("user_id", json!("7")), ("user_id", json!(-7)),
            ("sid", json!(0)), ("sid", json!("9")), ("typ", json!("refresh")), ("token_type", json!("refresh")),
            ("token_type", json!("challenge")), ("tv", json!(null)), ("gen", json!(1)),
        ] {
            let mut claims = good_claims();
            claims[name] = value.clone();
            let token = signed(&j, &good_header(&j), &claims.to_string());
            assert_eq!(j.verify(&token, TokenType::Access, NOW), Err(TokenFault::Invalid), "{name}={value}");
        }
        for name in ["token_type", "typ", "user_id", "sub", "sid", "jti", "tv", "iat", "exp", "iss"] {
            let mut claims = good_claims();
            claims.as_object_mut().expect("object").remove(name);
            let token = signed(&j, &good_header(&j), &claims.to_string());
            assert_eq!(j.verify(&token, TokenType::Access, NOW), Err(TokenFault::Invalid), "without {name}");
        }
        let mut claims = good_claims();
        claims["exp"] = json!(-1);
        let token = signed(&j, &good_header(&j), &claims.to_string());
        assert_eq!(j.verify(&token, TokenType::Access, NOW), Err(TokenFault::Expired));
    }

    #[test]
    fn damaged_tokens_are_refused() {
        let j = jwt();
        let token = j.issue(&new(TokenType::Access));
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let (head, body) = message.split_once('.').expect("three parts");
        let flipped = if signature.starts_with('A') { format!("B{}", &signature[1..]) } else { format!("A{}", &signature[1..]) };
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        for bad in [
            String::new(), ".".into(), "..".into(), "a.b.c".into(), message.to_owned(), format!("{message}."),
            format!("{message}.{flipped}"), format!("{message}.{}", &signature[..10]), format!("{token}.x.y"),
            format!("{head}..{signature}"), format!(".{body}.{signature}"), format!("{token} "), format!(" {token}"),
            format!("{message}.{signature}="), "x".repeat(1 << 20), format!("{}.{}", "a".repeat(1 << 20), token),
            signed(&j, &good_header(&j), &deep), signed(&j, &good_header(&j), "[]"),
            signed(&j, &good_header(&j), "null"), signed(&j, &good_header(&j), ""),
        ] {
            assert_eq!(j.verify(&bad, TokenType::Access, NOW), Err(TokenFault::Invalid), "{:.60}", bad);
        }
    }
}
