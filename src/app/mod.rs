//! The composition root: the only place that knows all domains.
//!
//! [`App::build`] reads as the dependency graph. `http` turns the domains into one server,
//! `workers` into one worker, `lifecycle` runs both until a signal.

pub mod datadir;
mod http;
pub mod lifecycle;
mod observe;
pub mod schema;
pub mod settings;
mod workers;

use std::sync::Arc;

use yunque_accounts::Accounts;
use yunque_chat::Chat;
use yunque_files::{Files, Staging};
use yunque_kernel::auth::{KeyUse, Keys, Passwords, SecretKeyMismatch, SecretKeyState, check_secret_key};
use yunque_kernel::config::ConfigFault;
use yunque_kernel::db::{Db, DbKind, Meta};
use yunque_kernel::http::{BodyMemory, Idempotency, Limits, Origins};
use yunque_kernel::image::Images;
use yunque_kernel::mail::Mailer;
use yunque_kernel::queue::{Carrier, Queue};
use yunque_kernel::realtime::Hub;
use yunque_kernel::redis_link::RedisLink;
use yunque_kernel::storage::{LocalPlace, Storage};
use yunque_kernel::telemetry::Metrics;
use yunque_kernel::ws::{Ws, WsDeps};
use yunque_kernel::{Clock, Ctx, DbError};
use yunque_support::Support;
use yunque_system::System;

pub use http::{document, error_codes, socket_document};
use schema::{Schema, SchemaError};
pub use settings::{AppEnv, SchemaSettings, Settings};

/// Why the program does not start. Faults of the configuration exit with 2, others with 1.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}: {}. {}", .0.name, .0.problem, .0.remedy)]
    Config(ConfigFault),
    /// Wrong usage or a refused configuration, with the remedy in the text.
    #[error("{0}")]
    Refused(String),
    #[error("database: {0}")]
    Db(#[from] DbError),
    #[error("{0}")]
    Schema(#[from] SchemaError),
    #[error("{0}")]
    Other(String),
}

impl StartError {
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_) | StartError::Refused(_) | StartError::Schema(SchemaError::Newer(_)) => 2,
            _ => 1,
        }
    }

    fn other(what: &str, error: impl std::fmt::Display) -> Self {
        StartError::Other(format!("{what}: {error}"))
    }
}

/// What to do about migrations that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// SQLite migrates; a server database is refused with the command to run.
    IfEmbedded,
    /// Always.
    Always,
}

/// Everything that runs in one process, built but not started.
#[derive(Clone)]
pub struct App {
    pub settings: Arc<Settings>,
    pub ctx: Ctx,
    pub redis: Option<RedisLink>,
    pub accounts: Accounts,
    pub files: Files,
    pub support: Support,
    pub chat: Chat,
    pub ws: Ws,
    pub system: System,
    body_memory: BodyMemory,
}

impl App {
    /// Opens the database (migrating it if allowed), then builds every domain in order.
    ///
    /// # Errors
    /// Whatever keeps this configuration from running.
    pub async fn build(settings: Settings, clock: Clock, migrate: Migrate) -> Result<Self, StartError> {
        let settings = Arc::new(settings);
        datadir::prepare(&settings.data_dir)
            .map_err(|e| StartError::other(&format!("DATA_DIR {}", settings.data_dir.display()), e))?;
        let db = open_database(&settings, &clock, migrate).await?;
        let keys = open_keys(&settings, &db).await?;
        let install_id =
            Meta::get_or_insert(&db, "install_id", &uuid::Uuid::new_v4().simple().to_string()).await?;

        let redis = match &settings.redis.url {
            Some(url) => {
                let prefix = settings.redis.prefix_for(&install_id);
                Some(RedisLink::open(url, prefix).map_err(|e| StartError::other("REDIS_URL", e))?)
            }
            None => None,
        };
        let metrics = Metrics::new();
        let carrier = redis.clone().map_or_else(Carrier::memory, Carrier::redis);
        let queue = Queue::new(db.clone(), clock.clone(), carrier, settings.queue.clone());
        let storage = open_storage(&settings, &keys, &db)
            .await?
            .with_metrics(metrics.clone());
        let mail = Mailer::new(
            &settings.mail,
            &settings.data_dir,
            db.clone(),
            clock.clone(),
            keys.clone(),
            metrics.clone(),
        )
        .map_err(|e| StartError::other("mail", e))?;
        let realtime = match &redis {
            Some(link) => Hub::bridged(metrics.clone(), link.clone()),
            None => Hub::local(metrics.clone()),
        };
        let limits = Limits::new(
            settings.http.limits.clone(),
            clock.clone(),
            db.clone(),
            redis.clone(),
        );
        let ctx = Ctx {
            idempotency: Idempotency::new(
                db.clone(),
                clock.clone(),
                &keys.current(KeyUse::Idempotency).bytes,
            ),
            passwords: Passwords::new(&settings.auth.passwords, &metrics),
            images: Images::default(),
            public_base_url: settings.http.public_base_url.as_str().into(),
            db,
            clock: clock.clone(),
            queue,
            storage,
            mail,
            realtime,
            keys,
            limits,
            metrics: metrics.clone(),
        };

        let accounts = Accounts::new(ctx.clone(), settings.accounts.clone());
        let staging = Staging::open(&settings.data_dir, settings.files.staging, ctx.db.clone())
            .map_err(|e| StartError::other("staging folder", e))?;
        let files = Files::new(ctx.clone(), accounts.clone(), staging, settings.files.clone());
        accounts.on_purge(Arc::new(files.clone()));
        let support = Support::new(ctx.clone(), accounts.clone(), settings.support);
        let chat = Chat::new(ctx.clone(), accounts.clone(), settings.chat.clone());
        accounts.on_purge(Arc::new(chat.clone()));
        accounts.on_recount(Arc::new(chat.clone()));
        let ws = Ws::new(WsDeps {
            settings: settings.ws.clone(),
            origins: Origins::new(&settings.http),
            clock: clock.clone(),
            hub: ctx.realtime.clone(),
            metrics: metrics.clone(),
            authenticate: Arc::new(accounts.clone()),
            bus: Arc::new(accounts.bus().clone()),
        });
        let system = System::new(clock, metrics, settings.telemetry.metrics_token.clone());

        let app = App {
            body_memory: settings.http.body_memory(),
            settings,
            ctx,
            redis,
            accounts,
            files,
            support,
            chat,
            ws,
            system,
        };
        app.register_jobs();
        app.observe();
        Ok(app)
    }

    /// One process owns everything: SQLite, jobs in memory.
    pub fn is_embedded(&self) -> bool {
        self.ctx.db.kind() == DbKind::Sqlite
    }
}

async fn open_database(settings: &Settings, clock: &Clock, migrate: Migrate) -> Result<Db, StartError> {
    let schema = Schema::open(&settings.db).await?;
    let pending = schema.pending().await?;
    if pending > 0 {
        if settings.db.kind != DbKind::Sqlite && migrate == Migrate::IfEmbedded {
            return Err(StartError::Refused(format!(
                "migrations that the database lacks: {pending}. Run: yunque migrate up (or start with --migrate)"
            )));
        }
        let applied = schema
            .up(&settings.data_dir, clock, |name| {
                tracing::debug!(migration = name, "applying")
            })
            .await?;
        tracing::info!(migrations = applied, "database schema is up to date");
    }
    Ok(Db::connect(&settings.db).await?)
}

async fn open_keys(settings: &Settings, db: &Db) -> Result<Keys, StartError> {
    let keys = settings
        .auth
        .keys(settings.is_production(), db.kind(), &settings.data_dir)
        .map_err(StartError::Config)?;
    match check_secret_key(db, &keys).await {
        Ok(SecretKeyState::Rotated) => {
            tracing::info!("SECRET_KEY was changed; the former one still verifies")
        }
        Ok(SecretKeyState::Recorded | SecretKeyState::Same) => {}
        Err(e @ SecretKeyMismatch::Different) => return Err(StartError::Refused(e.to_string())),
        Err(SecretKeyMismatch::Db(e)) => return Err(e.into()),
    }
    Ok(keys)
}

/// Opens storage and makes sure that all hosts of this installation see the same local folder.
async fn open_storage(settings: &Settings, keys: &Keys, db: &Db) -> Result<Storage, StartError> {
    let place = LocalPlace {
        data_dir: &settings.data_dir,
        public_base_url: &settings.http.public_base_url,
        keys,
    };
    let storage = Storage::open(&settings.storage, place).map_err(|e| StartError::other("storage", e))?;
    if let Some(local) = storage.local() {
        let own = local.identity().to_string();
        let known = Meta::get_or_insert(db, "storage_identity", &own).await?;
        if own != known {
            return Err(StartError::Refused(format!(
                "DATA_DIR {} is not the folder that this database keeps its objects in. Local storage needs one \
                 folder that all hosts share; otherwise configure object storage (OSS_ENDPOINT, OSS_BUCKET_NAME, \
                 ALIYUN_ACCESS_KEY, ALIYUN_ACCESS_KEY_SECRET)",
                settings.data_dir.display()
            )));
        }
    }
    Ok(storage)
}
