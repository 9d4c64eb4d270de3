//! Which pages in a browser may call this server.
//!
//! The allow-list is exact. Outside production any page on localhost or in a private network is
//! allowed as well. `null` is refused. `*` allows any origin, but then without credentials. The
//! same rule decides about WebSocket handshakes, where the server's own origin is always fine.

use std::net::IpAddr;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};
use url::{Host, Url};

use super::request_info::is_private;
use super::settings::HttpSettings;

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD";
const HEADERS: &str =
    "authorization, content-type, accept, accept-language, x-api-key, x-request-id, idempotency-key";
const EXPOSED: &str = "x-request-id, ratelimit-limit, ratelimit-remaining, ratelimit-reset, ratelimit-policy, \
                       retry-after, x-total-count, x-page, x-page-size, link, x-has-more, idempotent-replayed, \
                       content-disposition";
const MAX_AGE: &str = "600";

/// Decides about origins.
#[derive(Clone, Debug)]
pub struct Origins {
    listed: Vec<String>,
    any: bool,
    private: bool,
    own: String,
}

/// What an origin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    /// Named in the answer, with credentials.
    Named,
    /// `*`, without credentials.
    Anyone,
    Refused,
}

impl Origins {
    pub fn new(settings: &HttpSettings) -> Self {
        let own = Url::parse(&settings.public_base_url).map(|u| u.origin().ascii_serialization());
        Origins {
            any: settings.cors_allowed_origins.iter().any(|o| o == "*"),
            listed: settings.cors_allowed_origins.clone(),
            private: !settings.production,
            own: own.unwrap_or_default(),
        }
    }

    /// May a page of this origin open a WebSocket here? `host` is the handshake's `Host`.
    pub fn allows_socket(&self, origin: &str, host: Option<&str>) -> bool {
        let same_host = || {
            let authority = origin.split_once("://").map(|(_, a)| a);
            authority.is_some() && authority == host
        };
        self.grant(origin) != Grant::Refused || (origin != "null" && same_host())
    }

    fn grant(&self, origin: &str) -> Grant {
        if origin == "null" {
            return Grant::Refused;
        }
        if origin == self.own
            || self.listed.iter().any(|o| o == origin)
            || (self.private && is_nearby(origin))
        {
            return Grant::Named;
        }
        if self.any { Grant::Anyone } else { Grant::Refused }
    }

    /// Answers a preflight; `None` when the request is not one.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        if request.method() != Method::OPTIONS
            || !request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = Response::from(StatusCode::NO_CONTENT);
        if self.write(request.headers().get(header::ORIGIN), response.headers_mut()) != Grant::Refused {
            let headers = response.headers_mut();
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static(METHODS),
            );
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(HEADERS),
            );
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        }
        Some(response)
    }

    /// Puts the headers of an ordinary answer.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.write(origin, headers) != Grant::Refused {
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
        }
    }

    fn write(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> Grant {
        // Also without an origin: a cache must not give this answer to a page.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else {
            return Grant::Refused;
        };
        let grant = origin.to_str().map_or(Grant::Refused, |text| self.grant(text));
        match grant {
            Grant::Named => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(
                    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
            Grant::Anyone => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Grant::Refused => {}
        }
        grant
    }
}

/// On this machine or in a private network.
fn is_nearby(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    if !matches!(url.scheme(), "http" | "https") || url.origin().ascii_serialization() != origin {
        return false;
    }
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => is_private(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_private(IpAddr::V6(ip)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(listed: &str, production: bool) -> Origins {
        let mut settings = HttpSettings::for_tests(&[
            ("CORS_ALLOWED_ORIGINS", listed),
            ("PUBLIC_BASE_URL", "https://api.example.com"),
        ]);
        settings.production = production;
        Origins::new(&settings)
    }

    #[test]
    fn the_list_is_exact() {
        let prod = origins("https://app.example.com", true);
        assert_eq!(prod.grant("https://app.example.com"), Grant::Named);
        assert_eq!(prod.grant("https://api.example.com"), Grant::Named);
        for bad in [
            "null",
            "https://app.example.com.evil.org",
            "http://app.example.com",
            "https://app.example.com:444",
            "https://evil.org",
            "http://localhost:3000",
            "http://192.168.1.9",
            "",
        ] {
            assert_eq!(prod.grant(bad), Grant::Refused, "{bad}");
        }
        let dev = origins("", false);
        for good in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://192.168.1.9:5173",
            "http://[::1]:8080",
        ] {
            assert_eq!(dev.grant(good), Grant::Named, "{good}");
        }
        for bad in [
            "null",
            "http://localhost.evil.org",
            "http://localhost:3000/",
            "http://8.8.8.8",
            "file://",
        ] {
            assert_eq!(dev.grant(bad), Grant::Refused, "{bad}");
        }
        assert_eq!(origins("*", true).grant("https://evil.org"), Grant::Anyone);
    }

    #[test]
    fn sockets_may_come_from_their_own_host() {
        let prod = origins("", true);
        assert!(prod.allows_socket("https://inner.example.com", Some("inner.example.com")));
        assert!(!prod.allows_socket("https://evil.org", Some("inner.example.com")));
        assert!(!prod.allows_socket("null", Some("null")));
    }
}
