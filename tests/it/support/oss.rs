//! An Aliyun OSS in a few hundred lines, on a port of this machine.
//!
//! It checks signatures of versions 1 and 4 by itself (`oss/v1.rs`, `oss/v4.rs`), answers path style
//! (`http://127.0.0.1:port/bucket/key`) and virtual-host style (`Host: bucket.…`), and keeps objects
//! until it is dropped. On command it fails, stalls, cuts connections or is slow, so that the
//! reactions of the server can be tested:
//!
//! ```ignore
//! let oss = OssEmulator::start().await;
//! oss.fail_next(2, 503);
//! // … upload; the third attempt succeeds
//! assert_eq!((oss.put_attempts(&key), oss.put_count(&key)), (3, 1));
//! ```
//!
//! The same commands can be given over HTTP below `/-/`, for scripts that started [`run`]:
//! `curl "$OSS/-/fail_next?count=2&status=503"`, `fail_always?status=500`, `stall?on=true`,
//! `hold_answers?on=true`, `cut_after?bytes=1000`, `slow?bytes_per_second=1000`, `recover`, `allow_origin?origin=*`,
//! `objects`, `puts`.

// Paths are given because the stand-alone program includes this file by its path.
#[path = "oss/answers.rs"]
mod answers;
#[path = "oss/command.rs"]
mod command;
#[path = "oss/cors.rs"]
mod cors;
#[path = "oss/objects.rs"]
mod objects;
#[path = "oss/service.rs"]
mod service;
#[path = "oss/v1.rs"]
mod v1;
#[path = "oss/v4.rs"]
mod v4;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::objects::Object;
pub use self::v1::Credentials;

/// The bucket that exists, unless another was asked for.
pub const BUCKET: &str = "test-bucket";
pub const KEY_ID: &str = "LTAI-emulator";
pub const SECRET: &str = "emulator-secret";

/// An error as OSS words it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: &str) -> Self {
        Refusal {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// One rule of the bucket for browsers. `*` matches everything.
#[derive(Clone, Debug)]
pub struct CorsRule {
    pub origin: String,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
}

/// What goes wrong at the moment.
#[derive(Clone, Debug, Default)]
struct Faults {
    fail_next: u32,
    fail_next_status: u16,
    fail_always: Option<u16>,
    cut_after: Option<u64>,
    bytes_per_second: Option<u64>,
}

struct State {
    bucket: String,
    credentials: Credentials,
    objects: Mutex<BTreeMap<String, Object>>,
    /// Per key: requests with a good signature, and those that stored something.
    puts: Mutex<BTreeMap<String, (u64, u64)>>,
    cors: Mutex<Vec<CorsRule>>,
    faults: Mutex<Faults>,
    stalled: watch::Sender<bool>,
    held: watch::Sender<bool>,
    folder: tempfile::TempDir,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn new(bucket: &str, credentials: Credentials) -> Arc<Self> {
        Arc::new(State {
            bucket: bucket.to_owned(),
            credentials,
            objects: Mutex::default(),
            puts: Mutex::default(),
            cors: Mutex::default(),
            faults: Mutex::default(),
            stalled: watch::Sender::new(false),
            held: watch::Sender::new(false),
            folder: tempfile::tempdir().expect("temp folder"),
        })
    }

    fn recover(&self) {
        *lock(&self.faults) = Faults::default();
        self.stalled.send_replace(false);
        self.held.send_replace(false);
    }
}

/// A running emulator; it stops when dropped.
pub struct OssEmulator {
    pub bucket: String,
    pub key_id: String,
    pub secret: String,
    address: SocketAddr,
    state: Arc<State>,
    /// Ends the server when dropped.
    _server: JoinSet<()>,
}

impl OssEmulator {
    /// On a free port, with the bucket and the keys of the constants.
    pub async fn start() -> Self {
        Self::start_with(
            BUCKET,
            Credentials {
                key_id: KEY_ID.into(),
                secret: SECRET.into(),
                token: None,
            },
        )
        .await
    }

    /// With other credentials, such as temporary ones with a token.
    pub async fn start_with(bucket: &str, credentials: Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (key_id, secret) = (credentials.key_id.clone(), credentials.secret.clone());
        let state = State::new(bucket, credentials);
        let mut server = JoinSet::new();
        server.spawn(serve(listener, state.clone()));
        OssEmulator {
            bucket: bucket.to_owned(),
            key_id,
            secret,
            address,
            state,
            _server: server,
        }
    }

    /// The value of `OSS_ENDPOINT`: plain, with a port, so clients use path style.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings that make a server use this emulator.
    pub fn env(&self) -> Vec<(String, String)> {
        let mut env = vec![
            ("ALIYUN_ACCESS_KEY".to_owned(), self.key_id.clone()),
            ("ALIYUN_ACCESS_KEY_SECRET".to_owned(), self.secret.clone()),
            ("OSS_ENDPOINT".to_owned(), self.endpoint()),
            ("OSS_BUCKET_NAME".to_owned(), self.bucket.clone()),
        ];
        let token = self.state.credentials.token.clone();
        env.extend(token.map(|token| ("ALIYUN_SECURITY_TOKEN".to_owned(), token)));
        env
    }

    /// All objects by key.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        lock(&self.state.objects).clone()
    }

    /// The bytes of one object.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        let object = lock(&self.state.objects).get(key).cloned();
        object.map(|o| o.bytes())
    }

    /// Removes an object behind the server's back.
    pub fn lose(&self, key: &str) -> bool {
        lock(&self.state.objects).remove(key).is_some()
    }

    /// How often `key` was stored.
    pub fn put_count(&self, key: &str) -> u64 {
        lock(&self.state.puts).get(key).map_or(0, |(_, stored)| *stored)
    }

    /// How often somebody tried to store `key`, with a good signature.
    pub fn put_attempts(&self, key: &str) -> u64 {
        lock(&self.state.puts).get(key).map_or(0, |(tried, _)| *tried)
    }

    /// The next `count` requests are answered with `status`.
    pub fn fail_next(&self, count: u32, status: u16) {
        let mut faults = lock(&self.state.faults);
        (faults.fail_next, faults.fail_next_status) = (count, status);
    }

    /// All requests are answered with `status`.
    pub fn fail_always(&self, status: u16) {
        lock(&self.state.faults).fail_always = Some(status);
    }

    /// Requests are accepted and never answered. When it ends, their connections are closed.
    pub fn stall(&self, on: bool) {
        self.state.stalled.send_replace(on);
    }

    /// Requests that arrived and have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.state.stalled.receiver_count()
    }

    /// Requests are carried out, but their answers do not go out. When it ends, their connections
    /// are closed.
    pub fn hold_answers(&self, on: bool) {
        self.state.held.send_replace(on);
    }

    /// Connections break after that many bytes of a body, in either direction.
    pub fn cut_after(&self, bytes: u64) {
        lock(&self.state.faults).cut_after = Some(bytes);
    }

    /// Bodies move at this rate, in either direction.
    pub fn slow(&self, bytes_per_second: u64) {
        lock(&self.state.faults).bytes_per_second = Some(bytes_per_second.max(1));
    }

    /// Ends everything that goes wrong.
    pub fn recover(&self) {
        self.state.recover();
    }

    /// The rules for browser pages. None at first.
    pub fn set_cors(&self, rules: Vec<CorsRule>) {
        *lock(&self.state.cors) = rules;
    }
}

/// The real time: the server under test may have moved its clock, OSS would not know.
pub fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// Serves on `listener` for ever, with the bucket and the keys of the constants. For a stand-alone
/// program.
pub async fn run(listener: TcpListener) {
    let credentials = Credentials {
        key_id: KEY_ID.into(),
        secret: SECRET.into(),
        token: None,
    };
    serve(listener, State::new(BUCKET, credentials)).await;
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Connections end with the server, because the set is dropped with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let _ = socket.set_nodelay(true);
                let state = state.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| service::answer(state.clone(), request));
                    // Broken connections are the purpose of this program.
                    let _ = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        }
    }
}
