//! Boots the real application on `127.0.0.1:0`, with its own database, Redis prefix, folder and
//! clock.

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yunque::app::lifecycle::ServeOptions;
use yunque::app::{App, Migrate, Settings};
use yunque_kernel::Clock;
use yunque_kernel::config::{Env, FromSetting};
use yunque_kernel::db::{Db, DbKind, dialect};
use yunque_kernel::mail::MailSettings;
use yunque_kernel::queue::Worker;
use yunque_kernel::telemetry::{LogFormat, LogLevel};

use super::{Client, database};

/// One running server.
pub struct TestServer {
    pub app: App,
    pub clock: Clock,
    pub client: Client,
    pub data: TempDir,
    /// What it was started with; start another on the same data with [`TestServer::sibling`].
    pub env: Vec<(String, String)>,
    worker: Option<Worker>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _connections: Connections,
}

/// Closes the database connections of a server that a test leaves behind. The parts of an
/// application know each other in circles, so dropping it frees nothing, and with hundreds of tests
/// in one process a database server runs out of connections.
struct Connections(Db);

impl Drop for Connections {
    fn drop(&mut self) {
        // Without good-byes: the test's runtime is standing still, so nothing can be waited for.
        macro_rules! cut {
            ($pool:expr) => {{
                while let Some(idle) = $pool.try_acquire() {
                    drop(idle.detach());
                }
                // Marks it as closed at once; what is in use ends with the runtime.
                drop($pool.close());
            }};
        }
        for conn in [self.0.reader(), self.0.writer()] {
            match self.0.kind() {
                DbKind::Sqlite => cut!(conn.get_sqlite_connection_pool()),
                DbKind::MySql => cut!(conn.get_mysql_connection_pool()),
                DbKind::Postgres => cut!(conn.get_postgres_connection_pool()),
            }
        }
    }
}

/// A registered user who is logged in.
#[derive(Clone)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub password: String,
    pub access: String,
    pub refresh: String,
    pub client: Client,
}

/// Good enough for every policy.
pub const PASSWORD: &str = "correct-horse-7";

impl TestServer {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further settings.
    pub async fn with(extra: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("temporary folder");
        let url = database::fresh(data.path()).await;
        let mut env: Vec<(String, String)> = vec![
            ("DATABASE_URL".into(), url),
            ("DATA_DIR".into(), data.path().display().to_string()),
            (
                "SECRET_KEY".into(),
                "f3a91c5e7d2b4860918273645fedcba9f3a91c5e".into(),
            ),
            ("SQLITE_SYNCHRONOUS".into(), "off".into()),
            ("DATABASE_MAX_CONNECTIONS".into(), "8".into()),
            // A busy machine opens connections slowly; that is not what is tested.
            ("DATABASE_ACQUIRE_TIMEOUT".into(), "30s".into()),
            ("ARGON2_MEMORY_KIB".into(), "8".into()),
            ("ARGON2_ITERATIONS".into(), "1".into()),
            ("UPLOAD_RETRY_JITTER".into(), "0".into()),
            ("WORKER_HEARTBEAT".into(), "1s".into()),
            ("WORKER_EXPIRY".into(), "4s".into()),
            ("WORKER_STOP_TIMEOUT".into(), "5s".into()),
            ("JOBS_POLL_INTERVAL".into(), "200ms".into()),
        ];
        if let Ok(redis) = std::env::var("TEST_REDIS_URL")
            && !redis.is_empty()
        {
            env.push(("REDIS_URL".into(), redis));
            env.push((
                "REDIS_PREFIX".into(),
                format!("t:{}:", uuid::Uuid::new_v4().simple()),
            ));
        }
        env.extend(extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Self::boot(env, data, Clock::default()).await
    }

    async fn boot(env: Vec<(String, String)>, data: TempDir, clock: Clock) -> Self {
        if let Some(level) = std::env::var("TEST_LOG")
            .ok()
            .and_then(|l| LogLevel::from_setting(&l).ok())
        {
            yunque_kernel::telemetry::init(LogFormat::Text, &level);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        let mut all = env.clone();
        if !all.iter().any(|(k, _)| k == "PUBLIC_BASE_URL") {
            all.push(("PUBLIC_BASE_URL".into(), base.clone()));
        }
        let mut settings = Settings::read(&Env::fixed(all)).unwrap_or_else(|e| panic!("{e}"));
        settings.mail = MailSettings::memory();
        let app = App::build(settings, clock.clone(), Migrate::Always)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let stop = CancellationToken::new();
        // On a server database with Redis, `serve` leaves the jobs to workers; here one runs beside it.
        let worker = if app.redis.is_some() && !app.is_embedded() {
            Some(app.start_worker(None, None).await.expect("worker"))
        } else {
            None
        };
        let (ready, up) = tokio::sync::oneshot::channel();
        let serving = tokio::spawn({
            let (app, stop) = (app.clone(), stop.clone());
            async move {
                let announce = move |_| ready.send(()).unwrap_or_default();
                app.serve(listener, ServeOptions::default(), stop, announce)
                    .await
                    .expect("serve");
            }
        });
        up.await.expect("the server starts");
        let connections = Connections(app.ctx.db.clone());
        TestServer {
            client: Client::new(&base),
            app,
            clock,
            data,
            env,
            worker,
            stop,
            serving,
            _connections: connections,
        }
    }

    /// Waits until other instances are heard: before that callers are not remembered between requests.
    pub async fn hears_others(&self) {
        let hub = &self.app.ctx.realtime;
        super::eventually("other instances are heard", 30, || async { hub.bridge_up() }).await;
    }

    /// Another instance on the same database and Redis; with SQLite there can be none.
    pub async fn sibling(&self) -> TestServer {
        let data = tempfile::tempdir().expect("temporary folder");
        Self::boot(self.env.clone(), data, self.clock.clone()).await
    }

    pub async fn stop(self) -> (Vec<(String, String)>, TempDir) {
        self.stop.cancel();
        self.serving.await.expect("a clean end");
        if let Some(worker) = self.worker {
            worker.stop().await;
        }
        (self.env, self.data)
    }

    /// Stops and starts again on the same data.
    pub async fn restart(self) -> TestServer {
        self.restart_with(&[]).await
    }

    /// The same with changed settings.
    pub async fn restart_with(self, changes: &[(&str, &str)]) -> TestServer {
        let clock = self.clock.clone();
        let (mut env, data) = self.stop().await;
        env.extend(changes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Self::boot(env, data, clock).await
    }

    /// Registers and logs in through the API.
    pub async fn user(&self, name: &str) -> User {
        self.register(name).await;
        self.login(name, PASSWORD).await
    }

    /// Makes an account and leaves it at that.
    pub async fn register(&self, name: &str) {
        let email = format!("{name}@example.com");
        let body = json!({ "username": name, "email": email, "password": PASSWORD });
        self.client.post("/user/register/", body).await.expect(201);
    }

    pub async fn login(&self, name: &str, password: &str) -> User {
        let body = json!({ "username": name, "password": password });
        let reply = self.client.post("/user/login/", body).await.expect(200);
        self.signed_in(&reply, name, password)
    }

    /// Who a login answered; on every surface with the same fields.
    pub fn signed_in(&self, reply: &Value, name: &str, password: &str) -> User {
        let access = reply["access"].as_str().expect("access").to_owned();
        User {
            id: reply["user"]["id"].as_i64().expect("id"),
            name: name.to_owned(),
            password: password.to_owned(),
            refresh: reply["refresh"].as_str().expect("refresh").to_owned(),
            client: self.client.with_token(&access),
            access,
        }
    }

    pub async fn with_users() -> (TestServer, User, User) {
        let server = Self::start().await;
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        (server, alice, bob)
    }

    /// An administrator, made as `createsuperuser` does.
    pub async fn admin(&self, name: &str) -> User {
        let new = yunque_accounts::NewSuperuser {
            username: name.to_owned(),
            email: format!("{name}@example.com"),
            password: PASSWORD.to_owned().into(),
        };
        self.app
            .accounts
            .create_superuser(new)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        self.login(name, PASSWORD).await
    }

    /// Waits until nothing is running or due.
    pub async fn settle(&self) {
        super::eventually("the queue is idle", 30, || async {
            // One statement, or a job could change its state between two looks.
            let sql =
                "SELECT COUNT(*) FROM jobs WHERE state = 'running' OR (state = 'ready' AND run_at <= ?)";
            let conn = self.app.ctx.db.reader();
            let statement = dialect::statement(conn.get_database_backend(), sql, [self.clock.now().into()]);
            let row = conn.query_one_raw(statement).await.expect("jobs").expect("a row");
            row.try_get_by_index::<i64>(0).expect("a number") == 0
        })
        .await;
    }

    /// Lets what is due finish, moves the clock and waits for what fell due.
    pub async fn later(&self, by: Duration) {
        self.settle().await;
        self.clock.advance(by);
        self.settle().await;
    }
}
