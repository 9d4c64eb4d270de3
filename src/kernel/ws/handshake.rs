//! From an HTTP request to a socket.
//!
//! Everything is checked before the upgrade is answered, in the order room, origin, credential,
//! scope, membership, number of sockets (see `examine`). What fails is told over the socket (see
//! `parting`); only what has nothing to do with the client's rights is an HTTP answer: no WebSocket
//! request at all (426), no place (503), too many requests (429).
//!
//! Checks that need the database wait for their turn (see `turns`). Those that need nothing come
//! before, so nobody waits, or makes others wait, with a token that is none.

mod examine;

use std::sync::Arc;

use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{IntoResponse, OnUpgrade, Request, RequestBody, Response};
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use rand::Rng;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument;

use self::examine::Checked;
use super::credential::{BEARER, offers_bearer};
use super::endpoint::Endpoint;
use super::parting::refuse;
use super::turns::NoTurn;
use super::{Ws, codes};
use crate::auth::{Caller, ScopeTable, caller::authenticate_plain};
use crate::error::{ApiError, common};
use crate::http::limits::RateGate;
use crate::http::{RequestInfo, codes as http_codes};

const VERSION: &str = "13";
/// A key is 16 bytes in base64.
const KEY_LENGTH: usize = 24;
/// Seconds after which a client that found no place may come back, at least and at most.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=10;

/// A request for a socket; the parameter of an operation that opens one.
///
/// Without an upgrade it behaves like any operation that needs a login, and then answers 426.
pub struct Handshake {
    info: RequestInfo,
    headers: HeaderMap,
    rate: Option<Arc<RateGate>>,
    scope: Option<&'static str>,
    upgrade: OnUpgrade,
}

impl<'a> ApiExtractor<'a> for Handshake {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !is_upgrade(request.headers()) {
            authenticate_plain(request).await?;
            return Err(upgrade_required().into());
        }
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        if key.is_none_or(|key| key.len() != KEY_LENGTH) {
            return Err(ApiError::from(http_codes::BAD_REQUEST).into());
        }
        let path = request.original_uri().path();
        let scopes = request.data::<ScopeTable>();
        Ok(Handshake {
            info: request
                .data::<RequestInfo>()
                .cloned()
                .ok_or_else(|| ApiError::internal("the rendering layer is missing around this endpoint"))?,
            headers: request.headers().clone(),
            rate: request.data::<Arc<RateGate>>().cloned(),
            scope: scopes.and_then(|table| table.module_of(path)),
            upgrade: request.take_upgrade().map_err(|_| upgrade_required())?,
        })
    }
}

fn upgrade_required() -> ApiError {
    ApiError::from(codes::UPGRADE_REQUIRED)
        .with_header("upgrade", "websocket")
        .with_header("sec-websocket-version", VERSION)
}

/// Does the request ask for version 13 of the protocol?
fn is_upgrade(headers: &HeaderMap) -> bool {
    let lists = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        let mut words = values.flat_map(|value| value.split(','));
        words.any(|w| w.trim().eq_ignore_ascii_case(word))
    };
    lists(header::UPGRADE, "websocket")
        && lists(header::CONNECTION, "upgrade")
        && headers
            .get(header::SEC_WEBSOCKET_VERSION)
            .is_some_and(|v| v == VERSION)
}

/// 101. The socket lives on in a task of its own.
pub struct Upgraded {
    accept: String,
    protocol: Option<&'static str>,
}

impl IntoResponse for Upgraded {
    fn into_response(self) -> Response {
        let mut response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, self.accept)
            .finish();
        if let Some(protocol) = self.protocol {
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        response
    }
}

impl ApiResponse for Upgraded {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The socket is open. Its first frame says so, or says why not and is followed by a \
                              close code.",
                status: Some(101),
                status_range: None,
                content: vec![],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// Why there is no socket.
enum Stop {
    /// Told over the socket.
    Refused(ApiError),
    /// Answered over HTTP.
    Http(ApiError),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Stop::Refused(error)
    }
}

fn no_place() -> ApiError {
    let wait = rand::rng().random_range(RETRY_AFTER);
    ApiError::from(common::SERVICE_UNAVAILABLE).retry_after(wait)
}

impl Handshake {
    /// Opens a socket in the room whose id stands in the path.
    ///
    /// # Errors
    /// 503 `service_unavailable` with `Retry-After` when the process has no place, 429 `throttled`.
    /// Everything else is told over the socket.
    pub async fn open<E: Endpoint>(
        self,
        ws: &Ws,
        endpoint: &Arc<E>,
        room: &str,
    ) -> Result<Upgraded, ApiError> {
        self.open_room(ws, endpoint, Some(room)).await
    }

    /// Opens a socket in the room that is the caller's own: its id is that of the user.
    ///
    /// # Errors
    /// As [`Handshake::open`].
    pub async fn open_own<E: Endpoint>(self, ws: &Ws, endpoint: &Arc<E>) -> Result<Upgraded, ApiError> {
        self.open_room(ws, endpoint, None).await
    }

    async fn open_room<E: Endpoint>(
        self,
        ws: &Ws,
        endpoint: &Arc<E>,
        room: Option<&str>,
    ) -> Result<Upgraded, ApiError> {
        let slot = ws.0.registry.reserve().map_err(|_| no_place())?;
        let key = self.headers.get(header::SEC_WEBSOCKET_KEY);
        let upgraded = Upgraded {
            accept: derive_accept_key(key.map_or(b"", |key| key.as_bytes())),
            protocol: offers_bearer(&self.headers).then_some(BEARER),
        };
        let request_id: Arc<str> = self.info.request_id.as_str().into();
        let span = tracing::info_span!(parent: None, "socket", request.id = %request_id, client.ip = %self.info.client_ip);
        match self.judged(ws, endpoint, room, &request_id).await {
            Ok(checked) => {
                let conn = checked.into_conn(ws, endpoint, slot);
                crate::task::spawn(conn.run(self.upgrade).instrument(span));
            }
            Err(Stop::Http(error)) => return Err(error),
            Err(Stop::Refused(error)) => {
                let lang = self.info.lang;
                let refused = refuse(ws.clone(), E::NAME, error, lang, request_id, self.upgrade, slot);
                crate::task::spawn(refused.instrument(span));
            }
        }
        Ok(upgraded)
    }

    async fn judged<E: Endpoint>(
        &self,
        ws: &Ws,
        endpoint: &Arc<E>,
        room: Option<&str>,
        request_id: &Arc<str>,
    ) -> Result<Checked<E>, Stop> {
        let wish = self.looked_at(ws, room)?;
        let _turn = ws.0.turns.take().await.map_err(|NoTurn| Stop::Http(no_place()))?;
        // Boxed, so that who waits has only a pointer of it.
        Box::pin(self.examined(ws, endpoint, wish, request_id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_13_is_an_upgrade() {
        let of = |upgrade: &str, connection: &str, version: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                (header::UPGRADE, upgrade),
                (header::CONNECTION, connection),
                (header::SEC_WEBSOCKET_VERSION, version),
            ] {
                headers.insert(name, value.parse().expect("value"));
            }
            is_upgrade(&headers)
        };
        assert!(of("websocket", "Upgrade", "13"));
        assert!(of("WebSocket", "keep-alive, Upgrade", "13"));
        assert!(!of("h2c", "Upgrade", "13"));
        assert!(!of("websocket", "keep-alive", "13"));
        assert!(!of("websocket", "Upgrade", "12"));
    }
}
