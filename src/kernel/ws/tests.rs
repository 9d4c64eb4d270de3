//! The layer with a small endpoint of its own, behind the real HTTP stack and real sockets.

mod changes;
mod client;
mod notes;

mod crowds;
mod ends;
mod entry;
mod hostile;
mod overlap;
mod rooms;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::auth::{ApiKeyRef, AuthChange, Caller, LocalBus, ScopeTable, Scopes, UserType};
use crate::error::{ApiError, common};
use crate::http::{AppBuilder, Handler, HttpDeps, HttpSettings, Limits, serve};
use crate::ids::SessionId;
use notes::{Notes, NotesApi};

const SOON: Duration = Duration::from_secs(10);

/// Knows tokens of the form `<user>:<session>`, unless somebody took them away, and keys.
#[derive(Clone)]
pub struct Tokens {
    clock: Clock,
    gone: Arc<Mutex<Vec<String>>>,
    lives: Arc<Mutex<HashMap<String, i64>>>,
}

impl Tokens {
    pub fn revoke(&self, token: &str) {
        self.gone.lock().unwrap().push(token.to_owned());
    }

    /// A token that ends so many seconds from now.
    pub fn ends_in(&self, token: &str, seconds: i64) {
        let at = self.clock.unix() + seconds;
        self.lives.lock().unwrap().insert(token.to_owned(), at);
    }

    fn caller(&self, token: &str) -> Result<Caller, ApiError> {
        let parts = token.split_once(':').map(|(u, s)| (u.parse(), s.parse()));
        let Some((Ok(user), Ok(session))) = parts else {
            return Err(common::TOKEN_INVALID.into());
        };
        if self.gone.lock().unwrap().iter().any(|t| t == token) {
            return Err(common::TOKEN_INVALID.into());
        }
        Ok(Caller {
            user_id: UserId(user),
            username: format!("user{user}").into(),
            is_staff: false,
            user_type: UserType::Customer,
            session: Some(SessionId(session)),
            key: None,
        })
    }
}

#[async_trait]
impl Authenticate for Tokens {
    async fn jwt(&self, token: &str) -> Result<Caller, ApiError> {
        self.jwt_until(token).await.map(|(caller, _)| caller)
    }

    async fn jwt_until(&self, token: &str) -> Result<(Caller, i64), ApiError> {
        let caller = self.caller(token)?;
        let at = self.lives.lock().unwrap().get(token).copied().unwrap_or(i64::MAX);
        if at <= self.clock.unix() {
            return Err(common::TOKEN_EXPIRED.into());
        }
        Ok((caller, at))
    }

    async fn api_key(&self, key: &str, _: IpAddr) -> Result<Caller, ApiError> {
        if self.gone.lock().unwrap().iter().any(|t| t == key) {
            return Err(common::TOKEN_INVALID.into());
        }
        let scope = key.strip_prefix("ak_").ok_or(common::TOKEN_INVALID)?;
        let scopes = Scopes::parse(&[scope]).map_err(|_| common::TOKEN_INVALID)?;
        Ok(Caller {
            session: None,
            key: Some(ApiKeyRef {
                id: 1,
                scopes: Arc::new(scopes),
            }),
            ..self.caller("9:1")?
        })
    }

    /// A signature is what has this form.
    fn jwt_at_a_glance(&self, token: &str) -> Result<(), ApiError> {
        match token.split_once(':') {
            Some(_) => Ok(()),
            None => Err(common::TOKEN_INVALID.into()),
        }
    }

    fn api_key_at_a_glance(&self, key: &str) -> Result<(), ApiError> {
        match key.starts_with("ak_") {
            true => Ok(()),
            false => Err(common::TOKEN_INVALID.into()),
        }
    }
}

/// One process: HTTP, the layer, and the notes.
pub struct Process {
    pub addr: SocketAddr,
    pub clock: Clock,
    pub ws: Ws,
    pub hub: Hub,
    pub notes: Arc<Notes>,
    pub tokens: Tokens,
    pub bus: Arc<LocalBus>,
    pub metrics: Metrics,
    _helpers: Vec<AbortOnDropHandle<()>>,
    _serving: AbortOnDropHandle<()>,
    _dir: tempfile::TempDir,
}

impl Process {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(values: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let metrics = Metrics::new();
        let hub = Hub::local(metrics.clone());
        let clock = Clock::default();
        let http = Arc::new(HttpSettings::for_tests(values));
        let tokens = Tokens {
            clock: clock.clone(),
            gone: Arc::default(),
            lives: Arc::default(),
        };
        let bus = Arc::new(LocalBus::new());
        let mut origins = (*http).clone();
        origins.production = true;
        let ws = Ws::new(WsDeps {
            settings: WsSettings::for_tests(values),
            origins: Origins::new(&origins),
            clock: clock.clone(),
            hub: hub.clone(),
            metrics: metrics.clone(),
            authenticate: Arc::new(tokens.clone()),
            bus: bus.clone(),
        });
        let notes = Arc::new(Notes::new(hub.clone()));
        let db = crate::http::test_database(dir.path()).await;
        let limits = Limits::new(http.limits.clone(), clock.clone(), db, None);
        let deps = HttpDeps {
            settings: http.clone(),
            clock: clock.clone(),
            limits,
            observer: Arc::new(()),
            memory: http.body_memory(),
        };
        let authenticate: Arc<dyn Authenticate> = Arc::new(tokens.clone());
        let app: Handler = AppBuilder::new(deps)
            .api(NotesApi {
                ws: ws.clone(),
                notes: notes.clone(),
            })
            .data(authenticate)
            .data(ScopeTable::new(&[("/ws", "chat")]))
            .build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let addr = listener.local_addr().expect("address");
        let serving = {
            let http = http.clone();
            crate::task::spawn(async move {
                serve(app, listener, &http, CancellationToken::new())
                    .await
                    .expect("served");
            })
        };
        Process {
            addr,
            clock,
            _helpers: ws.start(),
            ws,
            hub,
            notes,
            tokens,
            bus,
            metrics,
            _serving: AbortOnDropHandle::new(serving),
            _dir: dir,
        }
    }

    pub fn revoke_session(&self, user: i64, session: i64) {
        self.bus.deliver(AuthChange::Session {
            user: UserId(user),
            session: SessionId(session),
        });
    }

    pub fn user_changed(&self, user: i64) {
        self.bus.deliver(AuthChange::User { user: UserId(user) });
    }
}

/// Waits until `done` says so.
async fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + SOON;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
