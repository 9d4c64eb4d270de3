//! The one place that makes Redis connections.
//!
//! Redis only carries wake-ups here (job ids, realtime frames, shared counters with a database
//! fallback), so everything is built to fail fast and to come back by itself:
//!
//! - [`RedisLink::connection`] hands out clones of one multiplexed connection. Take one for each
//!   piece of work instead of keeping it: after an error that the client library does not recover
//!   from (a server that was still loading its data set answers `LOADING` to the handshake, and the
//!   library keeps that answer for ever) the link replaces the connection behind it.
//! - [`RedisLink::dedicated`] is a connection of its own for blocking commands, which would stall
//!   everybody else on the shared one.
//! - The library's defaults (500 ms to answer, Nagle on, no keep-alive) turn one slow moment of the
//!   server into an error and a dead peer into a hang; both are replaced.
//!
//! A pinger keeps [`RedisLink::is_up`] honest within about four seconds, also when nobody uses
//! Redis. It ends with the last handle.

mod facts;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, RedisResult};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

pub use self::facts::RedisFacts;
use crate::config::{Reader, Setting};

const REDIS_URL: Setting = Setting::secret(
    "REDIS_URL",
    "Redis for jobs and realtime, such as redis://:password@host:6379/0; unset = in process.",
);
const CELERY_BROKER_URL: Setting = Setting::secret(
    "CELERY_BROKER_URL",
    "Used when REDIS_URL is unset and this names a Redis.",
);
const REDIS_PREFIX: Setting = Setting::new(
    "REDIS_PREFIX",
    "",
    "Put before every Redis key and channel; default yq: and 8 hex digits of the database's install id.",
);

/// Longest time to connect, handshake included.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time to wait for the answer to one command or pipeline.
const RESPOND: Duration = Duration::from_secs(5);
/// The same on a dedicated connection, whose commands block at the server. Block for at most
/// [`MAX_BLOCK`].
const RESPOND_BLOCKING: Duration = Duration::from_secs(30);
/// Longest block time to ask for on a [`RedisLink::dedicated`] connection.
pub const MAX_BLOCK: Duration = Duration::from_secs(20);
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_WAIT: Duration = Duration::from_secs(2);

/// Where Redis is. `url` is `None` in the embedded size.
#[derive(Clone, Debug, Default)]
pub struct RedisSettings {
    pub url: Option<SecretString>,
    pub prefix: Option<String>,
}

impl RedisSettings {
    pub fn read(r: &mut Reader) -> Self {
        let own = r.secret(&REDIS_URL);
        let broker = r.secret(&CELERY_BROKER_URL);
        let prefix = r.optional::<String>(&REDIS_PREFIX);
        if let Some(prefix) = &prefix
            && !is_prefix(prefix)
        {
            r.fault(
                &REDIS_PREFIX,
                "may hold 1 to 64 of A-Z a-z 0-9 : _ . -",
                "Example: yq:production:",
            );
        }
        if let Some(url) = &own
            && let Err(problem) = parse(url)
        {
            r.fault(
                &REDIS_URL,
                problem,
                "Example: redis://:password@127.0.0.1:6379/0 (rediss:// for TLS).",
            );
        }
        // A broker that is no Redis is legal in the seed's world, where Celery may use RabbitMQ.
        let broker = broker.filter(|url| {
            let usable = parse(url).is_ok();
            if !usable && own.is_none() {
                r.warn("CELERY_BROKER_URL does not name a Redis and is ignored; set REDIS_URL to use one.");
            }
            usable
        });
        RedisSettings {
            url: own.or(broker),
            prefix,
        }
    }

    /// The prefix in force. `install_id` is the database's.
    pub fn prefix_for(&self, install_id: &str) -> String {
        self.prefix.clone().unwrap_or_else(|| {
            let hex = install_id.chars().filter(char::is_ascii_hexdigit).take(8);
            format!("yq:{}:", hex.collect::<String>().to_ascii_lowercase())
        })
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":_.-".contains(&b))
}

/// The library's own message can repeat the URL, password included, so it is not shown.
fn parse(url: &SecretString) -> Result<redis::ConnectionInfo, &'static str> {
    url.expose_secret()
        .into_connection_info()
        .map_err(|_| "is not a Redis URL")
}

/// A cheap handle to one Redis server.
#[derive(Clone)]
pub struct RedisLink {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    prefix: String,
    shared: Mutex<Option<ConnectionManager>>,
    up: watch::Sender<bool>,
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLink")
            .field("prefix", &self.inner.prefix)
            .field("up", &self.is_up())
            .finish()
    }
}

impl RedisLink {
    /// Makes a link; nothing is connected yet, so this also works while Redis is down. Must be
    /// called inside a Tokio runtime.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn open(url: &SecretString, prefix: impl Into<String>) -> RedisResult<Self> {
        // Nagle would hold back small pipelined commands for up to 40 ms. The keep-alive and the
        // user timeout end a connection whose peer vanished without a word.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(3));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(Duration::from_secs(10));
        let info =
            parse(url).map_err(|problem| RedisError::from((ErrorKind::InvalidClientConfig, problem)))?;
        let client = Client::open(info.set_tcp_settings(tcp))?;
        // Assumed up until shown otherwise, so that the first frames after a start are not dropped.
        let (up, _) = watch::channel(true);
        let inner = Arc::new(Inner {
            client,
            prefix: prefix.into(),
            shared: Mutex::new(None),
            up,
        });
        crate::task::spawn(keep_pinging(Arc::downgrade(&inner)));
        Ok(RedisLink { inner })
    }

    /// What stands before every key and channel of this installation.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// A full key or channel name.
    pub fn key(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.inner.prefix)
    }

    /// The shared connection. Never send a blocking command on it. It connects with its first
    /// command and reconnects by itself; a command fails within [`CONNECT`] or [`RESPOND`].
    ///
    /// # Errors
    /// Only a client that cannot be configured; a server that is down shows on the first command.
    pub async fn connection(&self) -> RedisResult<ConnectionManager> {
        let mut shared = self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*shared {
            return Ok(connection.clone());
        }
        // One quick retry only: callers have a fallback and must not wait for a long backoff. Every
        // later command starts the next attempt.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPOND))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200));
        let connection = self.inner.client.get_connection_manager_lazy(config)?;
        *shared = Some(connection.clone());
        Ok(connection)
    }

    /// A new connection of its own for blocking commands (at most [`MAX_BLOCK`] each). It does not
    /// reconnect: on an error drop it and ask for another.
    ///
    /// # Errors
    /// The server cannot be reached within [`CONNECT`].
    pub async fn dedicated(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPOND_BLOCKING));
        self.inner
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// A new connection for subscriptions.
    ///
    /// # Errors
    /// The server cannot be reached within [`CONNECT`].
    pub async fn pubsub(&self) -> RedisResult<PubSub> {
        match tokio::time::timeout(CONNECT, self.inner.client.get_async_pubsub()).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        }
    }

    /// Asks the server; returns the round trip and updates [`RedisLink::is_up`].
    ///
    /// # Errors
    /// No answer within two seconds, or a refusal.
    pub async fn ping(&self) -> RedisResult<Duration> {
        let begun = Instant::now();
        let asked = async {
            let mut connection = self.connection().await?;
            redis::cmd("PING").query_async::<()>(&mut connection).await
        };
        let result = match tokio::time::timeout(PING_WAIT, asked).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        };
        self.observe(&result);
        result.map(|()| begun.elapsed())
    }

    /// Whether the last thing heard of Redis was good.
    pub fn is_up(&self) -> bool {
        *self.inner.up.borrow()
    }

    /// Follows [`RedisLink::is_up`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.inner.up.subscribe()
    }

    /// Tells the link how a command went, so that an outage is known before the next ping.
    pub fn observe<T>(&self, result: &RedisResult<T>) {
        match result {
            Ok(_) => self.set_up(true),
            // The server answered; it is the command that was refused.
            Err(e) if matches!(e.kind(), ErrorKind::Server(_)) && !is_connection_refusal(e) => {}
            Err(e) => {
                if !e.is_io_error() && !e.is_connection_dropped() {
                    // The library reconnects after I/O errors only; everything else that fails a
                    // handshake would stay. See the module documentation.
                    *self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                self.set_up(false);
            }
        }
    }

    fn set_up(&self, up: bool) {
        let changed = self
            .inner
            .up
            .send_if_modified(|state| std::mem::replace(state, up) != up);
        match (changed, up) {
            (true, true) => tracing::info!("Redis is back"),
            (true, false) => tracing::warn!("Redis does not answer; jobs and realtime go on without it"),
            (false, _) => {}
        }
    }
}

fn timed_out() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

/// Answers of a server that is there but of no use: loading, out of connections, wrong password.
fn is_connection_refusal(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("LOADING" | "MASTERDOWN" | "NOAUTH" | "WRONGPASS" | "NOPERM")
    ) || error
        .detail()
        .is_some_and(|d| d.contains("max number of clients"))
}

async fn keep_pinging(inner: Weak<Inner>) {
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let link = RedisLink { inner };
        if let Err(error) = link.ping().await {
            tracing::debug!(%error, "Redis ping failed");
        }
        drop(link);
        tokio::time::sleep(PING_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn read(values: &[(&str, &str)]) -> (RedisSettings, Option<String>, usize) {
        let env = Env::fixed(values.iter().copied());
        let mut r = Reader::new(&env);
        let settings = RedisSettings::read(&mut r);
        let warnings = r.warnings().len();
        let fault = r.finish(()).err().map(|f| f.to_string());
        (settings, fault, warnings)
    }

    #[test]
    fn the_broker_of_the_seed_is_used_when_redis_url_is_unset() {
        let (settings, fault, _) = read(&[("CELERY_BROKER_URL", "redis://127.0.0.1:6379/1")]);
        assert_eq!(
            settings.url.expect("taken over").expose_secret(),
            "redis://127.0.0.1:6379/1"
        );
        assert_eq!(fault, None);
        let (settings, fault, warnings) = read(&[("CELERY_BROKER_URL", "amqp://guest@localhost//")]);
        assert!(settings.url.is_none() && fault.is_none());
        assert_eq!(warnings, 1);
    }

    #[test]
    fn a_bad_url_is_named_without_its_password() {
        let (_, fault, _) = read(&[("REDIS_URL", "http://:hunter2@host")]);
        let fault = fault.expect("refused");
        assert!(
            fault.contains("REDIS_URL") && !fault.contains("hunter2"),
            "{fault}"
        );
    }

    #[test]
    fn the_prefix_comes_from_the_install_id_unless_set() {
        let (settings, _, _) = read(&[]);
        assert_eq!(settings.prefix_for("0198F3A2-77aa-7000"), "yq:0198f3a2:");
        let (settings, _, _) = read(&[("REDIS_PREFIX", "app:")]);
        assert_eq!(settings.prefix_for("0198f3a2"), "app:");
        assert!(read(&[("REDIS_PREFIX", "a b")]).1.is_some());
    }
}
