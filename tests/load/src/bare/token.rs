//! JWTs of the bare servers: HS256, with as many claims as ours have.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use poem::Request;
use poem::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::Fault;

const SECRET: &[u8] = b"a secret of the bare server only, 32+";

#[derive(Serialize, Deserialize)]
struct Claims {
    token_type: String,
    typ: String,
    user_id: i64,
    sub: String,
    sid: i64,
    jti: String,
    tv: i64,
    iat: i64,
    exp: i64,
    iss: String,
}

/// Knows who asks.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Default for Verifier {
    fn default() -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&["yunque"]);
        Verifier {
            key: DecodingKey::from_secret(SECRET),
            validation,
        }
    }
}

impl Verifier {
    /// # Errors
    /// 401: no good token.
    pub fn user(&self, request: &Request) -> poem::Result<i64> {
        let unauthorized = || poem::Error::from_status(StatusCode::UNAUTHORIZED);
        let token = request
            .header("authorization")
            .and_then(|v| v.strip_prefix("Bearer "))
            .ok_or_else(unauthorized)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        Ok(claims.map_err(|_| unauthorized())?.claims.user_id)
    }
}

/// A token for the bare servers.
///
/// # Errors
/// The library refuses to sign.
pub fn token(user: i64) -> Result<String, Fault> {
    let now = yunque_kernel::Clock::default().unix();
    let claims = Claims {
        token_type: "access".to_owned(),
        typ: "access".to_owned(),
        user_id: user,
        sub: user.to_string(),
        sid: 1,
        jti: uuid::Uuid::new_v4().simple().to_string(),
        tv: 0,
        iat: now,
        exp: now + 3600,
        iss: "yunque".to_owned(),
    };
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(SECRET),
    )?)
}
