//! From an HTTP request to a socket.
//!
//! Everything is checked before the upgrade is answered, in the order room, origin, credential,
//! scope, membership, number of sockets. What fails is told over the socket (see `parting`);
//! only what has nothing to do with the client's rights is an HTTP answer: no WebSocket request at
//! all (426), no place (503), too many requests (429).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{IntoResponse, OnUpgrade, Request, RequestBody, Response};
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use rand::Rng;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument;

use super::conn::{Conn, Input, Replay};
use super::credential::{BEARER, Credential, offers_bearer};
use super::endpoint::{Endpoint, Opened, Peer};
use super::line::RECHECK;
use super::pace::Pace;
use super::parting::refuse;
use super::registry::{NoPlace, Slot};
use super::room::chunk;
use super::{Ws, codes};
use crate::auth::{Caller, ScopeTable, caller::authenticate_plain};
use crate::error::{ApiError, Faults, Text, common, messages};
use crate::http::limits::RateGate;
use crate::http::{RequestInfo, codes as http_codes};
use crate::ids::parse_id;

const VERSION: &str = "13";
/// A key is 16 bytes in base64.
const KEY_LENGTH: usize = 24;
/// Seconds after which a client that found no place may come back, at least and at most.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=10;

/// What `connection_established` says.
const WELCOME: Text = Text::fixed("连接成功", "Connected.");

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
        let _turn = ws.0.handshakes.try_acquire().map_err(|_| no_place())?;
        let slot = ws.0.registry.reserve().map_err(|_| no_place())?;
        let key = self.headers.get(header::SEC_WEBSOCKET_KEY);
        let upgraded = Upgraded {
            accept: derive_accept_key(key.map_or(b"", |key| key.as_bytes())),
            protocol: offers_bearer(&self.headers).then_some(BEARER),
        };
        let request_id: Arc<str> = self.info.request_id.as_str().into();
        let span = tracing::info_span!(parent: None, "socket", request.id = %request_id, client.ip = %self.info.client_ip);
        match self.checked(ws, endpoint, room, &request_id).await {
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

    /// Everything that may refuse, in order.
    async fn checked<E: Endpoint>(
        &self,
        ws: &Ws,
        endpoint: &Arc<E>,
        room: Option<&str>,
        request_id: &Arc<str>,
    ) -> Result<Checked<E>, Stop> {
        let fault = || Faults::one("id", messages::BAD_FORMAT);
        let room = room.map(|room| parse_id(room).ok_or_else(fault)).transpose()?;
        let since = since(self.info.query("since"))?;
        self.check_origin(ws)?;
        let ip: IpAddr = self.info.client_ip;
        let credential = Credential::of(self.info.query("token"), &self.headers, ip)?;
        let (caller, expires_at) = credential.check(ws).await?;
        if let Some(rate) = &self.rate {
            rate.charge_user(caller.user_id).map_err(Stop::Http)?;
        }
        let room = room.unwrap_or(caller.user_id.0);
        let mut peer = Peer {
            caller: caller.clone(),
            lang: self.info.lang,
            request_id: request_id.clone(),
            connection: ws.0.next_id.fetch_add(1, Ordering::Relaxed),
            scope: self.scope,
            may_write: false,
        };
        peer.set_caller(caller)?;
        let Opened { seat, greeting, last } = endpoint.open(&peer, room).await?;

        let mut visit =
            ws.0.rooms
                .visit(&endpoint.topic(room), room, &endpoint.log())
                .await?;
        let session = peer.caller.session.map_or(0, |session| session.0);
        let line = ws.line(peer.caller.user_id, session);
        line.expires_at.store(expires_at, Ordering::Relaxed);
        let entry = match ws.0.registry.enter(&line, &visit.room.topic) {
            Ok(entry) => entry,
            Err(NoPlace::TooMany) => return Err(ApiError::from(codes::TOO_MANY_SOCKETS).into()),
            Err(NoPlace::Full) => return Err(Stop::Http(no_place())),
        };
        // Whatever was revoked before the registry knew this socket shows here.
        credential.check(ws).await?;
        let position = visit.join(&line, last).await?;
        if position > last {
            // What was said between the check and here may have taken the right away, and this
            // socket was not there to be asked again.
            line.signal(RECHECK);
        }

        let mut frame = serde_json::Map::new();
        frame.insert("type".into(), "connection_established".into());
        frame.insert("message".into(), WELCOME.get(peer.lang).into());
        frame.insert(
            "user".into(),
            serde_json::json!({ "id": peer.caller.user_id, "username": &*peer.caller.username }),
        );
        frame.extend(greeting);
        frame.insert(
            "last_message_id".into(),
            if position > 0 {
                position.into()
            } else {
                serde_json::Value::Null
            },
        );
        frame.insert("heartbeat".into(), ws.0.settings.ping_interval.as_secs().into());
        line.push_replay(chunk(&frame));
        let replay = match since {
            None => {
                line.end_replay();
                None
            }
            Some(since) => {
                let from = since.min(position);
                let tail = endpoint
                    .log()
                    .tail(room, from, position, ws.0.settings.resume_max)
                    .await?;
                Some(Replay {
                    from,
                    after: tail.from,
                    upto: position,
                    truncated: tail.truncated,
                    count: 0,
                })
            }
        };
        Ok(Checked {
            room,
            peer,
            credential,
            seat,
            replay,
            line,
            place: (entry, visit),
        })
    }

    fn check_origin(&self, ws: &Ws) -> Result<(), ApiError> {
        let Some(origin) = self.headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let allowed = origin
            .to_str()
            .is_ok_and(|origin| ws.0.origins.allows_socket(origin, host));
        if allowed {
            Ok(())
        } else {
            Err(codes::ORIGIN_REFUSED.into())
        }
    }
}

/// `?since=`: a message id, or 0 for everything.
fn since(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    match text {
        None => Ok(None),
        Some("0") => Ok(Some(0)),
        Some(text) => match parse_id(text) {
            Some(id) => Ok(Some(id)),
            None => Err(Faults::one("since", messages::BAD_FORMAT)),
        },
    }
}

/// A client that may come in.
struct Checked<E: Endpoint> {
    room: i64,
    peer: Peer,
    credential: Credential,
    seat: E::Seat,
    replay: Option<Replay>,
    line: Arc<super::line::Line>,
    place: (super::registry::Entry, super::rooms::Visit),
}

impl<E: Endpoint> Checked<E> {
    fn into_conn(self, ws: &Ws, endpoint: &Arc<E>, slot: Slot) -> Conn<E> {
        Conn {
            ws: ws.clone(),
            endpoint: endpoint.clone(),
            room: self.room,
            peer: self.peer,
            credential: self.credential,
            seat: Some(self.seat),
            replay: self.replay,
            line: self.line,
            place: Some(self.place),
            slot,
            pace: Pace::new(ws.0.settings.frame_rate),
            input: Input::new(ws.0.settings.max_message),
            received: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_since_is_an_id_or_zero() {
        assert!(matches!(since(None), Ok(None)));
        assert!(matches!(since(Some("0")), Ok(Some(0))));
        assert!(matches!(since(Some("9223372036854775807")), Ok(Some(i64::MAX))));
        for bad in [
            "",
            "-1",
            "x",
            "00000000000000000000",
            "9223372036854775808",
            "1.0",
        ] {
            assert!(since(Some(bad)).is_err(), "{bad}");
        }
    }

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
