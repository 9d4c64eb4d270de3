//! What every handler may want to know about a request, gathered once by the outermost layer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use poem::http::{HeaderMap, Method};
use poem::{FromRequest, Request, RequestBody};
use uuid::Uuid;

use crate::clock::Clock;
use crate::error::{ApiError, Faults, Lang, messages};

/// Longest user agent that is kept.
const MAX_USER_AGENT: usize = 512;

/// The circumstances of one request. Not part of the published document.
#[derive(Clone, Debug)]
pub struct RequestInfo(Arc<Inner>);

/// The fields of a [`RequestInfo`].
#[derive(Debug)]
pub struct Inner {
    /// The client's own id when it is well-formed, else a fresh UUIDv7.
    pub request_id: String,
    /// The right-most address that is not a trusted proxy.
    pub client_ip: IpAddr,
    /// At most 512 characters, without control characters; empty when not sent.
    pub user_agent: String,
    pub lang: Lang,
    /// When the head of the request had arrived.
    pub received_at: DateTime<Utc>,
    /// Behind TLS, as far as a trusted proxy says so.
    pub secure: bool,
    pub method: Method,
    /// As routed: without the trailing slash.
    pub path: String,
    query: Vec<(String, String)>,
    key: IdempotencyKey,
    public_base_url: Arc<str>,
}

#[derive(Debug, PartialEq, Eq)]
enum IdempotencyKey {
    Absent,
    Malformed,
    Given(String),
}

impl std::ops::Deref for RequestInfo {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// The first value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The `Idempotency-Key`. Called only by operations that honour it.
    ///
    /// # Errors
    /// 400 unless it is 1 to 255 visible ASCII characters.
    pub fn idempotency_key(&self) -> Result<Option<&str>, ApiError> {
        match &self.key {
            IdempotencyKey::Absent => Ok(None),
            IdempotencyKey::Given(key) => Ok(Some(key)),
            IdempotencyKey::Malformed => Err(Faults::one("Idempotency-Key", messages::BAD_FORMAT)),
        }
    }

    /// This request's address with another page number. The documented form has the slash.
    pub fn page_url(&self, page: u64) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.query.iter().filter(|(name, _)| name != "page"));
        query.append_pair("page", &page.to_string());
        format!(
            "{}{}/?{}",
            self.public_base_url,
            self.path.trim_end_matches('/'),
            query.finish()
        )
    }
}

impl<'a> FromRequest<'a> for RequestInfo {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        request
            .data::<RequestInfo>()
            .cloned()
            .ok_or_else(|| ApiError::internal("the rendering layer is missing around this endpoint").into())
    }
}

/// Builds the [`RequestInfo`] of each request.
pub(super) struct Gatherer {
    clock: Clock,
    proxies: TrustedProxies,
    public_base_url: Arc<str>,
}

impl Gatherer {
    pub(super) fn new(clock: Clock, proxies: TrustedProxies, public_base_url: &str) -> Self {
        Gatherer {
            clock,
            proxies,
            public_base_url: public_base_url.into(),
        }
    }

    pub(super) fn gather(&self, request: &Request) -> RequestInfo {
        let headers = request.headers();
        let peer = request
            .remote_addr()
            .as_socket_addr()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip());
        let peer = peer.to_canonical();
        let query = request.uri().query().unwrap_or("");
        RequestInfo(Arc::new(Inner {
            request_id: request_id(headers),
            client_ip: self.proxies.client_ip(peer, headers),
            user_agent: user_agent(headers),
            lang: headers
                .get("accept-language")
                .and_then(|v| v.to_str().ok())
                .map_or(Lang::Zh, Lang::negotiate),
            received_at: self.clock.now(),
            secure: self.proxies.is_secure(peer, headers),
            method: request.method().clone(),
            path: super::paths::trimmed(request.uri().path()).to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            key: idempotency_key(headers),
            public_base_url: self.public_base_url.clone(),
        }))
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    match given {
        Some(id) if (1..=128).contains(&id.len()) && id.bytes().all(plain) => id.to_owned(),
        _ => Uuid::now_v7().to_string(),
    }
}

fn user_agent(headers: &HeaderMap) -> String {
    let raw = headers
        .get("user-agent")
        .map(|v| String::from_utf8_lossy(v.as_bytes()));
    raw.unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_USER_AGENT)
        .collect()
}

fn idempotency_key(headers: &HeaderMap) -> IdempotencyKey {
    let Some(value) = headers.get("idempotency-key") else {
        return IdempotencyKey::Absent;
    };
    let bytes = value.as_bytes();
    if (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
        IdempotencyKey::Given(String::from_utf8_lossy(bytes).into_owned())
    } else {
        IdempotencyKey::Malformed
    }
}

/// Whose forwarding headers are believed.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    warned: AtomicBool,
}

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        TrustedProxies {
            networks,
            warned: AtomicBool::new(false),
        }
    }

    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|n| n.contains(&ip))
    }

    /// Walks `X-Forwarded-For` from the right, as long as the hops are trusted.
    pub fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !headers.contains_key("x-forwarded-for") {
            return peer;
        }
        if !self.trusts(peer) {
            self.warn_once(peer);
            return peer;
        }
        let lines: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .collect();
        let mut client = peer;
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            // Whatever stands left of something unreadable cannot be trusted either.
            let Some(ip) = hop_ip(hop.trim()) else { break };
            client = ip;
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }

    fn is_secure(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let proto = headers
            .get("x-forwarded-proto")
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        self.trusts(peer)
            && proto
                .split(',')
                .next_back()
                .is_some_and(|p| p.trim().eq_ignore_ascii_case("https"))
    }

    fn warn_once(&self, peer: IpAddr) {
        if is_private(peer) && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                peer.ip = %peer,
                "{peer} sends X-Forwarded-For but is not trusted, so every client behind it counts as one address; \
                 if it is your reverse proxy, set TRUSTED_PROXIES={peer}"
            );
        }
    }
}

/// `1.2.3.4`, `1.2.3.4:5678`, `::1`, `[::1]:5678`.
fn hop_ip(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    let ip = ip.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    ip.map(|ip| ip.to_canonical())
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 client owns whole.
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

/// Loopback, private or link-local: where a reverse proxy stands.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
impl RequestInfo {
    /// As if a GET for `uri` had come in.
    pub(crate) fn for_tests(uri: &str) -> Self {
        let request = Request::builder().uri_str(uri).finish();
        Gatherer::new(
            Clock::default(),
            TrustedProxies::default(),
            "http://127.0.0.1:8000",
        )
        .gather(&request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("header value"));
        }
        map
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn the_client_is_the_right_most_untrusted_hop() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("network")]);
        let client = |peer: &str, xff: &[(&'static str, &str)]| proxies.client_ip(ip(peer), &headers(xff));
        let xff = "x-forwarded-for";
        assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(
            client("10.0.0.1", &[(xff, "1.1.1.1, 2.2.2.2, 10.0.0.9")]),
            ip("2.2.2.2")
        );
        assert_eq!(
            client("10.0.0.1", &[(xff, "1.1.1.1"), (xff, "3.3.3.3:99")]),
            ip("3.3.3.3")
        );
        assert_eq!(
            client("10.0.0.1", &[(xff, "1.1.1.1, junk, 10.0.0.9")]),
            ip("10.0.0.9")
        );
        // Forged by somebody who is no proxy of ours.
        assert_eq!(client("8.8.8.8", &[(xff, "1.1.1.1")]), ip("8.8.8.8"));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        for (client, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(network_of(ip(client)), ip(network), "{client}");
        }
    }

    #[test]
    fn foreign_request_ids_are_kept_only_when_plain() {
        assert_eq!(request_id(&headers(&[("x-request-id", "a.B_9-")])), "a.B_9-");
        for bad in ["", "a b", "é", &"x".repeat(129)] {
            let map = HeaderMap::from_iter([(
                poem::http::HeaderName::from_static("x-request-id"),
                poem::http::HeaderValue::from_bytes(bad.as_bytes()).expect("value"),
            )]);
            assert_eq!(request_id(&map).len(), 36, "{bad:?}");
        }
    }

    #[test]
    fn idempotency_keys_are_visible_ascii() {
        assert_eq!(idempotency_key(&HeaderMap::new()), IdempotencyKey::Absent);
        assert_eq!(
            idempotency_key(&headers(&[("idempotency-key", "k-1")])),
            IdempotencyKey::Given("k-1".into())
        );
        for bad in ["a b", &"k".repeat(256)] {
            assert_eq!(
                idempotency_key(&headers(&[("idempotency-key", bad)])),
                IdempotencyKey::Malformed
            );
        }
    }
}
