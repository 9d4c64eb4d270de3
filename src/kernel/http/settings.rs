//! Settings of the HTTP side: where to listen, who is trusted, how much and how long.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::limits::LimitSettings;
use crate::config::{FromSetting, List, Reader, Seconds, Setting, Size};

const LISTEN: Setting = Setting::new(
    "LISTEN",
    "127.0.0.1:8000",
    "Address and port the server listens on",
);
const PUBLIC_BASE_URL: Setting = Setting::new(
    "PUBLIC_BASE_URL",
    "",
    "Address under which clients reach this server; every link in an answer or mail starts with it (default: from LISTEN)",
);
const CORS_ALLOWED_ORIGINS: Setting = Setting::new(
    "CORS_ALLOWED_ORIGINS",
    "",
    "Origins of browser pages that may call the API, separated by commas; * allows any, without credentials",
);
const TRUSTED_PROXIES: Setting = Setting::new(
    "TRUSTED_PROXIES",
    "",
    "Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
);
const BODY_MEMORY_BUDGET: Setting = Setting::new(
    "BODY_MEMORY_BUDGET",
    "256MiB",
    "Memory for request bodies over 256 KiB, all requests together",
);
const BODY_WAIT: Setting = Setting::new(
    "HTTP_BODY_MEMORY_WAIT",
    "5s",
    "Longest wait for that memory before answering 503",
);
const HEAD_TIMEOUT: Setting = Setting::new(
    "HTTP_HEAD_TIMEOUT",
    "10s",
    "Time a client has to send a whole request head",
);
const BODY_IDLE_TIMEOUT: Setting = Setting::new(
    "HTTP_BODY_IDLE_TIMEOUT",
    "30s",
    "Longest pause inside a request body; a body slower than 1 KiB/s is ended as well",
);
const KEEP_ALIVE: Setting = Setting::new(
    "HTTP_KEEP_ALIVE",
    "75s",
    "How long an idle connection is kept for the next request",
);
const WRITE_TIMEOUT: Setting = Setting::new(
    "HTTP_WRITE_TIMEOUT",
    "30s",
    "Longest time a client may take no byte of a response",
);
const HANDLER_TIMEOUT: Setting = Setting::new(
    "HTTP_HANDLER_TIMEOUT",
    "120s",
    "Longest time until a response begins, counted from the last byte of the request body",
);
const MAX_CONNECTIONS: Setting = Setting::new(
    "HTTP_MAX_CONNECTIONS",
    "20000",
    "Connections open at once; fewer where the limit of open files (ulimit -n) leaves no room for them",
);
const MAX_PER_IP: Setting = Setting::new(
    "HTTP_MAX_CONNECTIONS_PER_IP",
    "2000",
    "Connections open at once from one address or IPv6 /64; loopback and trusted proxies are not counted",
);
const SHUTDOWN_GRACE: Setting = Setting::new(
    "HTTP_SHUTDOWN_GRACE",
    "8s",
    "Time that running requests have to finish at shutdown",
);

/// Everything that `http` needs to know. Cheap enough to clone at start, then shared in an `Arc`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    /// Without a trailing slash.
    pub public_base_url: String,
    pub production: bool,
    pub cors_allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: LimitSettings,
    pub body_memory_budget: u64,
    pub body_memory_wait: Duration,
    pub timeouts: Timeouts,
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    pub shutdown_grace: Duration,
}

/// How long a client may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub head: Duration,
    pub body_idle: Duration,
    pub keep_alive: Duration,
    pub write: Duration,
    pub handler: Duration,
}

/// One address or network: `10.0.0.0/8`, `192.168.1.7`, `::1`.
#[derive(Clone, Copy, Debug)]
struct Network(IpNet);

impl FromSetting for Network {
    const EXAMPLE: &'static str = "10.0.0.0/8, 192.168.1.7";

    fn from_setting(text: &str) -> Result<Self, String> {
        let single = || text.parse::<IpAddr>().map(IpNet::from).ok();
        text.parse()
            .ok()
            .or_else(single)
            .map(Network)
            .ok_or_else(|| "is neither an address nor a network".to_owned())
    }
}

/// `*` or an origin as browsers send it: scheme, host, port, nothing else.
#[derive(Clone, Debug)]
struct Origin(String);

impl FromSetting for Origin {
    const EXAMPLE: &'static str = "https://app.example.com";

    fn from_setting(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Origin("*".to_owned()));
        }
        let url = Url::parse(text).map_err(|_| "is not an origin".to_owned())?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || url.host().is_none() || !matches!(url.scheme(), "http" | "https") {
            return Err("is not an origin: only scheme, host and port".to_owned());
        }
        Ok(Origin(url.origin().ascii_serialization()))
    }
}

impl HttpSettings {
    /// `production` is `APP_ENV=production`.
    pub fn read(r: &mut Reader<'_>, production: bool) -> Self {
        let listen: SocketAddr = r.get(&LISTEN);
        let public_base_url = match r.optional::<Url>(&PUBLIC_BASE_URL) {
            Some(url) => base_url(r, &url),
            None => format!("http://{}", reachable(listen)),
        };
        let cors: List<Origin> = r
            .optional(&CORS_ALLOWED_ORIGINS)
            .unwrap_or_else(|| List(Vec::new()));
        let proxies: List<Network> = r.optional(&TRUSTED_PROXIES).unwrap_or_else(|| List(Vec::new()));
        let limits = LimitSettings::read(r, production);
        let timeouts = Timeouts {
            head: r.above_zero::<Seconds>(&HEAD_TIMEOUT).0,
            body_idle: r.above_zero::<Seconds>(&BODY_IDLE_TIMEOUT).0,
            keep_alive: r.above_zero::<Seconds>(&KEEP_ALIVE).0,
            write: r.above_zero::<Seconds>(&WRITE_TIMEOUT).0,
            handler: r.above_zero::<Seconds>(&HANDLER_TIMEOUT).0,
        };
        let body_memory_budget = r.get::<Size>(&BODY_MEMORY_BUDGET).0;
        if body_memory_budget < super::body::LARGEST_BUFFERED_BODY {
            r.fault(
                &BODY_MEMORY_BUDGET,
                "is smaller than one upload of the largest size",
                "Example: 256MiB.",
            );
        }
        HttpSettings {
            listen,
            public_base_url,
            production,
            cors_allowed_origins: cors.0.into_iter().map(|o| o.0).collect(),
            trusted_proxies: proxies.0.into_iter().map(|n| n.0).collect(),
            limits,
            body_memory_budget,
            body_memory_wait: r.get::<Seconds>(&BODY_WAIT).0,
            timeouts,
            max_connections: r.above_zero(&MAX_CONNECTIONS),
            max_connections_per_ip: r.above_zero(&MAX_PER_IP),
            shutdown_grace: r.get::<Seconds>(&SHUTDOWN_GRACE).0,
        }
    }

    /// `/`, or the path under which a proxy publishes this server, with both slashes.
    pub fn base_path(&self) -> String {
        let path = Url::parse(&self.public_base_url).map(|u| u.path().trim_end_matches('/').to_owned());
        format!("{}/", path.unwrap_or_default())
    }
}

/// An address that a client on this machine can use for a listening address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn base_url(r: &mut Reader<'_>, url: &Url) -> String {
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        r.fault(
            &PUBLIC_BASE_URL,
            "must be an http or https address without query",
            "Example: https://api.example.com.",
        );
    }
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
impl HttpSettings {
    /// Defaults, with the given variables.
    pub(crate) fn for_tests(values: &[(&str, &str)]) -> Self {
        let env = crate::config::Env::fixed(values.iter().copied());
        let mut reader = Reader::new(&env);
        let settings = Self::read(&mut reader, false);
        reader.finish(settings).expect("valid settings").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    #[test]
    fn the_base_url_follows_the_listening_address() {
        assert_eq!(
            HttpSettings::for_tests(&[]).public_base_url,
            "http://127.0.0.1:8000"
        );
        let any = HttpSettings::for_tests(&[("LISTEN", "0.0.0.0:80")]);
        assert_eq!(any.public_base_url, "http://127.0.0.1:80");
        let set = HttpSettings::for_tests(&[("PUBLIC_BASE_URL", "https://x.example/api/")]);
        assert_eq!(
            (set.public_base_url.as_str(), set.base_path().as_str()),
            ("https://x.example/api", "/api/")
        );
    }

    #[test]
    fn wrong_values_name_their_variable() {
        let env = Env::fixed([
            ("CORS_ALLOWED_ORIGINS", "https://a.example/path"),
            ("TRUSTED_PROXIES", "everyone"),
            ("HTTP_HEAD_TIMEOUT", "0"),
            ("BODY_MEMORY_BUDGET", "1MiB"),
        ]);
        let mut reader = Reader::new(&env);
        let settings = HttpSettings::read(&mut reader, true);
        let faults = reader.finish(settings).expect_err("four faults").0;
        let names: Vec<&str> = faults.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "CORS_ALLOWED_ORIGINS",
                "TRUSTED_PROXIES",
                "HTTP_HEAD_TIMEOUT",
                "BODY_MEMORY_BUDGET"
            ]
        );
    }
}
