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

use crate::auth::keys::{KeyUse, Keys};
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
            verifiers: verifiers
                .into_iter()
                .map(|k| (k.id, DecodingKey::from_secret(&k.bytes)))
                .collect(),
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
        jsonwebtoken::encode(&self.header, &claims, &self.signer).expect("HMAC over plain claims cannot fail")
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
    let Header {
        typ,
        alg,
        cty,
        jku,
        jwk,
        kid: _,
        x5u,
        x5c,
        x5t,
        x5t_s256,
        crit,
        enc,
        zip,
        url,
        nonce,
        extras,
    } = header;
    *alg == Algorithm::HS256
        && typ.as_deref() == Some("JWT")
        && [cty, jku, x5u, x5t, x5t_s256, url, nonce]
            .iter()
            .all(|member| member.is_none())
        && jwk.is_none()
        && x5c.is_none()
        && crit.is_none()
        && enc.is_none()
        && zip.is_none()
        && extras.inner().is_empty()
}

#[cfg(test)]
mod tests;
