//! Rules that need a database: a temporary SQLite file, or one of its own on `TEST_DATABASE_URL`.
//! HTTP is in `tests/it`.

mod admin;
mod contacts;
mod keys;
mod sessions;
mod throttle;

use std::time::Duration;

use sea_orm_migration::MigratorTrait as _;
use tempfile::TempDir;
use yunque_kernel::auth::{Authenticate as _, Caller, Keys, PasswordCost, Passwords, SessionCaller};
use yunque_kernel::config::{Env, Reader};
use yunque_kernel::db::{Db, DbSettings};
use yunque_kernel::http::{HttpSettings, Idempotency, Limits, idempotency::Claim};
use yunque_kernel::ids::UserId;
use yunque_kernel::image::Images;
use yunque_kernel::mail::{MailSettings, Mailer};
use yunque_kernel::queue::{Carrier, Queue, QueueSettings};
use yunque_kernel::realtime::Hub;
use yunque_kernel::storage::{LocalPlace, Storage, StorageSettings};
use yunque_kernel::telemetry::Metrics;
use yunque_kernel::{ApiError, Clock, Ctx, Lang};

use crate::values::{CurrentPassword, DisplayName, Email, Password, Username};
use crate::{Accounts, AccountsError, AccountsSettings, Client, Login, Registration, Surface};

pub const PASSWORD: &str = "correct horse battery";

pub struct Server {
    pub accounts: Accounts,
    pub ctx: Ctx,
    _dir: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(values: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut values = values.to_vec();
        let url = fresh_database().await;
        values.push(("SQLITE_SYNCHRONOUS", "off"));
        values.push(("DATABASE_URL", &url));
        values.push(("DATABASE_MAX_CONNECTIONS", "8"));
        let env = Env::fixed(values);
        let mut r = Reader::new(&env);
        let db_settings = DbSettings::read(&mut r, dir.path());
        let http = HttpSettings::read(&mut r, false);
        let (storage, queue) = (StorageSettings::read(&mut r), QueueSettings::read(&mut r));
        let settings = AccountsSettings::read(&mut r);
        r.finish(()).expect("valid settings");

        let db = Db::connect(&db_settings).await.expect("database");
        yunque_migrations::Migrator::up(db.writer(), None)
            .await
            .expect("migrated");
        let (clock, metrics, keys) = (Clock::default(), Metrics::new(), Keys::ephemeral());
        let place = LocalPlace {
            data_dir: dir.path(),
            public_base_url: "http://x",
            keys: &Keys::ephemeral(),
        };
        let mail = MailSettings::memory();
        let ctx = Ctx {
            queue: Queue::new(db.clone(), clock.clone(), Carrier::memory(), queue),
            storage: Storage::open(&storage, place).expect("storage"),
            mail: Mailer::new(
                &mail,
                dir.path(),
                db.clone(),
                clock.clone(),
                keys.clone(),
                metrics.clone(),
            )
            .expect("mail"),
            realtime: Hub::local(metrics.clone()),
            passwords: Passwords::new(&PasswordCost::cheapest(), &metrics),
            images: Images::default(),
            limits: Limits::new(http.limits.clone(), clock.clone(), db.clone(), None),
            idempotency: Idempotency::new(db.clone(), clock.clone(), &[2; 32]),
            public_base_url: "http://x".into(),
            db,
            clock,
            keys,
            metrics,
        };
        ctx.mail.register_jobs(&ctx.queue);
        Server {
            accounts: Accounts::new(ctx.clone(), settings),
            ctx,
            _dir: dir,
        }
    }

    pub fn client(&self) -> Client {
        self.client_at("203.0.113.7")
    }

    pub fn client_at(&self, ip: &str) -> Client {
        Client {
            ip: ip.to_owned(),
            network: ip.to_owned(),
            user_agent: "test".to_owned(),
            device_type: "Unknown",
            lang: Lang::Zh,
            request_id: None,
            received_at: self.ctx.clock.now(),
        }
    }

    pub async fn register(&self, name: &str) -> Result<UserId, AccountsError> {
        let new = registration(name, &format!("{name}@example.com"));
        Ok(UserId(
            self.accounts
                .register(new, &self.client(), &Claim::none())
                .await?
                .id,
        ))
    }

    pub async fn user(&self, name: &str) -> UserId {
        self.register(name).await.expect("registered")
    }

    pub async fn try_login(&self, name: &str, password: &str) -> Result<Login, AccountsError> {
        let password = CurrentPassword::parse(password).expect("not empty");
        self.accounts
            .login(Surface::Cloud, name, &password, &self.client())
            .await
    }

    pub async fn login(&self, name: &str) -> Login {
        self.try_login(name, PASSWORD).await.expect("logged in")
    }

    pub async fn who(&self, access: &str) -> Result<Caller, ApiError> {
        self.accounts.jwt(access).await
    }

    pub async fn session(&self, login: &Login) -> SessionCaller {
        let caller = self.who(&login.tokens.access).await.expect("a live token");
        let session = caller.session.expect("a session");
        SessionCaller { caller, session }
    }

    pub async fn admin(&self, name: &str) -> SessionCaller {
        let new = crate::NewSuperuser {
            username: name.to_owned(),
            email: format!("{name}@example.com"),
            password: PASSWORD.into(),
        };
        self.accounts.create_superuser(new).await.expect("an admin");
        self.session(&self.login(name).await).await
    }

    pub async fn refresh(&self, token: &str) -> Result<crate::TokenPair, AccountsError> {
        self.accounts
            .refresh(Surface::Cloud, Some(token), &self.client())
            .await
    }

    pub fn pass(&self, seconds: u64) {
        self.ctx.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn execute(&self, sql: &str) {
        let writer = self.ctx.db.writer();
        yunque_kernel::db::dialect::execute(writer, sql, [])
            .await
            .expect("executed");
    }

    pub async fn count(&self, sql: &str) -> i64 {
        use sea_orm::ConnectionTrait as _;
        let reader = self.ctx.db.reader();
        let statement = sea_orm::Statement::from_string(reader.get_database_backend(), sql.to_owned());
        let row = reader
            .query_one_raw(statement)
            .await
            .expect("query")
            .expect("row");
        row.try_get_by_index(0).expect("a number")
    }
}

pub fn registration(name: &str, email: &str) -> Registration {
    Registration {
        username: Username::parse(name).expect("a valid name"),
        email: Email::parse(email).expect("a valid address"),
        password: Password::parse(PASSWORD).expect("a valid password"),
        display_name: DisplayName::default(),
    }
}

pub fn code(error: impl Into<ApiError>) -> &'static str {
    error.into().code
}

/// The address of an empty database on the test server; nothing (so SQLite) without one.
async fn fresh_database() -> String {
    use sea_orm::ConnectionTrait as _;
    let env = Env::load(None).expect("readable environment");
    let Some((admin, _)) = env.get("TEST_DATABASE_URL") else {
        return String::new();
    };
    let name = format!("yq_accounts_{:016x}", rand::random::<u64>());
    let conn = sea_orm::Database::connect(admin)
        .await
        .expect("TEST_DATABASE_URL");
    conn.execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .expect("created");
    conn.close().await.expect("closed");
    let (base, _) = admin.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{name}")
}
