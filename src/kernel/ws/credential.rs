//! With what a client opens a socket.
//!
//! First found wins: `?token=`, `Authorization`, `Sec-WebSocket-Protocol: bearer, <token>`,
//! `X-API-Key`. Tokens are access tokens. A key stands in a header, never in an address, which
//! others write into their logs.

use std::net::IpAddr;

use poem::http::HeaderMap;
use poem::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use secrecy::{ExposeSecret, SecretString};

use super::Ws;
use crate::auth::Caller;
use crate::auth::api_key::looks_like_key;
use crate::error::{ApiError, common};

/// The subprotocol that stands before a token.
pub(super) const BEARER: &str = "bearer";

/// Kept for as long as the socket lives, to be looked at again when rights change.
pub(super) enum Credential {
    Token(SecretString),
    Key(SecretString, IpAddr),
}

impl Credential {
    pub fn token(text: &str) -> Self {
        Credential::Token(text.trim().into())
    }

    /// # Errors
    /// 401 when there is none, or none that can be read.
    pub fn of(query_token: Option<&str>, headers: &HeaderMap, ip: IpAddr) -> Result<Self, ApiError> {
        if let Some(token) = query_token {
            return Ok(Self::token(token));
        }
        let text = |value: &poem::http::HeaderValue| -> Result<String, ApiError> {
            let text = value.to_str().map_err(|_| common::TOKEN_INVALID)?;
            Ok(text.trim().to_owned())
        };
        if let Some(value) = headers.get(AUTHORIZATION) {
            let value = text(value)?;
            let (scheme, token) = value.split_once(' ').unwrap_or((&value, ""));
            if !scheme.eq_ignore_ascii_case(BEARER) {
                return Err(common::TOKEN_INVALID.into());
            }
            return Ok(if looks_like_key(token.trim()) {
                Credential::Key(token.trim().into(), ip)
            } else {
                Self::token(token)
            });
        }
        if let Some(token) = protocols(headers).nth(1).filter(|_| offers_bearer(headers)) {
            return Ok(Self::token(&token));
        }
        match headers.get("x-api-key") {
            Some(key) => Ok(Credential::Key(text(key)?.into(), ip)),
            None => Err(common::NOT_AUTHENTICATED.into()),
        }
    }

    /// Whether it can be good at all, as far as that can be said without asking anybody.
    ///
    /// # Errors
    /// 401.
    pub fn look_at(&self, ws: &Ws) -> Result<(), ApiError> {
        match self {
            Credential::Token(token) => ws.0.authenticate.jwt_at_a_glance(token.expose_secret()),
            Credential::Key(key, _) => ws.0.authenticate.api_key_at_a_glance(key.expose_secret()),
        }
    }

    /// Whose it is, and until when (Unix seconds; `i64::MAX` without an end).
    ///
    /// # Errors
    /// 401, or 503 when nobody can tell.
    pub async fn check(&self, ws: &Ws) -> Result<(Caller, i64), ApiError> {
        match self {
            Credential::Token(token) => ws.0.authenticate.jwt_until(token.expose_secret()).await,
            Credential::Key(key, ip) => {
                let caller = ws.0.authenticate.api_key(key.expose_secret(), *ip).await?;
                Ok((caller, i64::MAX))
            }
        }
    }
}

/// The offered subprotocols, in order.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|protocol| protocol.trim().to_owned())
}

/// Whether the answer selects `bearer`, as a browser that offered it demands.
pub(super) fn offers_bearer(headers: &HeaderMap) -> bool {
    protocols(headers).next().as_deref() == Some(BEARER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: Option<&str>, list: &[(&'static str, &str)]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().expect("value"));
        }
        let ip = IpAddr::from([127, 0, 0, 1]);
        match Credential::of(query, &headers, ip) {
            Ok(Credential::Token(t)) => Ok(format!("token {}", t.expose_secret())),
            Ok(Credential::Key(k, _)) => Ok(format!("key {}", k.expose_secret())),
            Err(error) => Err(error.code),
        }
    }

    #[test]
    fn the_first_place_wins() {
        let auth = ("authorization", "bEarer b");
        let protocol = ("sec-websocket-protocol", "bearer, c");
        let key = ("x-api-key", "ak_d");
        assert_eq!(found(Some("a"), &[auth, protocol, key]), Ok("token a".into()));
        assert_eq!(found(None, &[auth, protocol, key]), Ok("token b".into()));
        assert_eq!(found(None, &[protocol, key]), Ok("token c".into()));
        assert_eq!(found(None, &[key]), Ok("key ak_d".into()));
        assert_eq!(found(None, &[]), Err("not_authenticated"));
        assert_eq!(found(Some(""), &[key]), Ok("token ".into()));
    }

    #[test]
    fn forms_that_are_none() {
        assert_eq!(
            found(None, &[("authorization", "Basic dTpw")]),
            Err("token_invalid")
        );
        assert_eq!(
            found(None, &[("authorization", "Bearer ak_1")]),
            Ok("key ak_1".into())
        );
        assert_eq!(found(Some("ak_1"), &[]), Ok("token ak_1".into()));
        for other in ["chat, bearer", "bearer", "x, y"] {
            assert_eq!(
                found(None, &[("sec-websocket-protocol", other)]),
                Err("not_authenticated"),
                "{other}"
            );
        }
        let two = [
            ("sec-websocket-protocol", "bearer"),
            ("sec-websocket-protocol", "c"),
        ];
        assert_eq!(found(None, &two), Ok("token c".into()));
    }
}
