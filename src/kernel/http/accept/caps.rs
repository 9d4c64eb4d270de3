//! How many connections may be open, in all and from one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::http::request_info::{TrustedProxies, network_of};
use crate::http::settings::HttpSettings;

/// Files that connections leave to databases, staged bodies and objects, where there are that many.
const FILES_FOR_OTHERS: usize = 256;

#[derive(Debug)]
pub(super) struct Caps {
    total: usize,
    per_ip: usize,
    proxies: TrustedProxies,
    open: Mutex<Open>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// By network, see [`network_of`].
    by_ip: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when the connection ends, also after an upgrade.
#[derive(Debug)]
pub(super) struct Place {
    caps: Arc<Caps>,
    ip: Option<IpAddr>,
}

impl Caps {
    pub fn new(settings: &HttpSettings) -> Arc<Self> {
        Arc::new(Caps {
            total: most(settings.max_connections, open_files()),
            per_ip: settings.max_connections_per_ip,
            proxies: TrustedProxies::new(settings.trusted_proxies.clone()),
            open: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// `None` when there is no place left.
    pub fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        // Whole sites come through a proxy; on this machine only its own people are.
        let counted = (!ip.is_loopback() && !self.proxies.trusts(ip)).then(|| network_of(ip));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.total {
            return None;
        }
        if let Some(ip) = counted {
            let count = open.by_ip.entry(ip).or_insert(0);
            if *count >= self.per_ip {
                return None;
            }
            *count += 1;
        }
        open.total += 1;
        Some(Place {
            caps: self.clone(),
            ip: counted,
        })
    }

    /// Returns when a connection has ended, perhaps just before the call.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

/// How many connections may be open when the process may open so many files. Connections that took the last of them
/// would not only keep others out, but stop the work of those who are in.
fn most(wanted: usize, files: Option<usize>) -> usize {
    let Some(files) = files else { return wanted };
    let room = files - (files / 2).min(FILES_FOR_OTHERS);
    if room < wanted {
        tracing::info!(
            http.connections = room,
            process.open_files = files,
            "HTTP_MAX_CONNECTIONS is lowered to what the limit of open files allows"
        );
    }
    wanted.min(room)
}

/// The limit of open files of this process, where the system tells it.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    // "unlimited" is no number.
    line.split_whitespace().next()?.parse().ok()
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.freed.notify_one();
        let mut open = self.caps.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(ip) = self.ip
            && let Some(count) = open.by_ip.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_work() {
        assert_eq!(most(20_000, None), 20_000);
        assert_eq!(most(20_000, Some(1024)), 768);
        assert_eq!(most(20_000, Some(64)), 32);
        assert_eq!(most(100, Some(1024)), 100);
        assert!(open_files().is_none_or(|files| files > 0));
    }

    #[test]
    fn the_addresses_of_one_ipv6_client_count_together() {
        let settings = HttpSettings::for_tests(&[
            ("HTTP_MAX_CONNECTIONS_PER_IP", "2"),
            ("TRUSTED_PROXIES", "2001:db8:5:5::1"),
        ]);
        let caps = Caps::new(&settings);
        let take = |ip: &str| caps.take(ip.parse().expect("address"));
        let (first, second) = (take("2001:db8:1:2::1"), take("2001:db8:1:2:3:4:5:6"));
        assert!(first.is_some() && second.is_some() && take("2001:db8:1:2::7").is_none());
        let (other, proxy) = (take("2001:db8:1:3::1"), take("2001:db8:5:5::1"));
        assert!(other.is_some() && proxy.is_some());
        drop(first);
        assert!(take("2001:db8:1:2::7").is_some());
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let settings = HttpSettings::for_tests(&[
            ("HTTP_MAX_CONNECTIONS", "4"),
            ("HTTP_MAX_CONNECTIONS_PER_IP", "2"),
            ("TRUSTED_PROXIES", "10.0.0.1"),
        ]);
        let caps = Caps::new(&settings);
        let take = |ip: &str| caps.take(ip.parse().expect("address"));
        let first = take("8.8.8.8");
        let second = take("::ffff:8.8.8.8");
        assert!(first.is_some() && second.is_some() && take("8.8.8.8").is_none());
        let proxies: Vec<_> = (0..2).map(|_| take("10.0.0.1")).collect();
        assert!(proxies.iter().all(Option::is_some) && take("9.9.9.9").is_none());
        drop(first);
        assert_eq!(caps.open(), 3);
        assert!(take("8.8.8.8").is_some());
    }
}
