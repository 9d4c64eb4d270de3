//! Who sends a request, as far as accounts record it.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use yunque_kernel::Lang;
use yunque_kernel::http::{RequestInfo, network_of};

/// The sender of one request.
#[derive(Clone, Debug)]
pub struct Client {
    pub ip: String,
    /// What failures are counted by: an IPv6 client owns a whole /64.
    pub network: String,
    pub user_agent: String,
    pub device_type: &'static str,
    pub lang: Lang,
    pub request_id: Option<String>,
    pub received_at: DateTime<Utc>,
}

impl Client {
    pub fn of(info: &RequestInfo) -> Self {
        Client {
            ip: info.client_ip.to_string(),
            network: network_name(info.client_ip),
            user_agent: info.user_agent.clone(),
            device_type: device_type(&info.user_agent),
            lang: info.lang,
            request_id: Some(info.request_id.clone()),
            received_at: info.received_at,
        }
    }
}

fn network_name(ip: IpAddr) -> String {
    match network_of(ip) {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// A rough guess, for people who look at their logins.
fn device_type(user_agent: &str) -> &'static str {
    let has = |word: &str| user_agent.contains(word);
    if has("iPad") || has("Tablet") || (has("Android") && !has("Mobile")) {
        "Tablet"
    } else if has("Mobi") || has("iPhone") || has("Android") {
        "Mobile"
    } else if has("Windows") || has("Macintosh") || has("X11") || has("Linux") || has("CrOS") {
        "Desktop"
    } else {
        "Unknown"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_guessed_from_the_user_agent() {
        assert_eq!(
            device_type("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Mobile/15E"),
            "Mobile"
        );
        assert_eq!(
            device_type("Mozilla/5.0 (Linux; Android 14; Pixel) Mobile Safari"),
            "Mobile"
        );
        assert_eq!(device_type("Mozilla/5.0 (Linux; Android 14; SM-X700)"), "Tablet");
        assert_eq!(device_type("Mozilla/5.0 (Windows NT 10.0; Win64)"), "Desktop");
        assert_eq!(device_type("curl/8.5.0"), "Unknown");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        assert_eq!(
            network_name("203.0.113.7".parse().expect("address")),
            "203.0.113.7"
        );
        assert_eq!(
            network_name("2001:db8:1:2:3:4:5:6".parse().expect("address")),
            "2001:db8:1:2::/64"
        );
        assert!(network_name("ffff:ffff:ffff:ffff::1".parse().expect("address")).len() <= 45);
    }
}
