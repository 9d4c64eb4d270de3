//! All settings of the program, section by section.

use std::path::PathBuf;
use std::sync::Arc;

use yunque_accounts::AccountsSettings;
use yunque_chat::ChatSettings;
use yunque_files::FilesSettings;
use yunque_kernel::auth::AuthSettings;
use yunque_kernel::config::{ConfigFault, ConfigFaults, Env, Reader, Setting, SettingView};
use yunque_kernel::db::DbSettings;
use yunque_kernel::http::HttpSettings;
use yunque_kernel::mail::MailSettings;
use yunque_kernel::queue::QueueSettings;
use yunque_kernel::redis_link::RedisSettings;
use yunque_kernel::storage::StorageSettings;
use yunque_kernel::telemetry::TelemetrySettings;
use yunque_kernel::ws::WsSettings;
use yunque_support::SupportSettings;

const APP_ENV: Setting = Setting::new("APP_ENV", "development", "development or production");
const DATA_DIR: Setting = Setting::new(
    "DATA_DIR",
    "./data",
    "Folder for everything this process keeps on disk",
);
const CELERY_RESULT_BACKEND: Setting = Setting::secret(
    "CELERY_RESULT_BACKEND",
    "Accepted for old configurations and not used",
);

/// Which rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEnv {
    Development,
    Production,
}

yunque_kernel::setting_enum!(AppEnv { Development = "development", Production = "production" });

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Settings {
    pub env: AppEnv,
    pub data_dir: PathBuf,
    pub telemetry: TelemetrySettings,
    pub db: DbSettings,
    pub redis: RedisSettings,
    pub queue: QueueSettings,
    pub storage: StorageSettings,
    pub mail: MailSettings,
    pub auth: AuthSettings,
    pub http: Arc<HttpSettings>,
    pub ws: WsSettings,
    pub accounts: AccountsSettings,
    pub files: FilesSettings,
    pub support: SupportSettings,
    pub chat: ChatSettings,
    /// What was read, for `config show`.
    pub views: Vec<SettingView>,
    /// Risky values that do not stop the start.
    pub warnings: Vec<String>,
}

/// What schema work needs: it does not wait for a mail server or a secret.
#[derive(Clone, Debug)]
pub struct SchemaSettings {
    pub data_dir: PathBuf,
    pub telemetry: TelemetrySettings,
    pub db: DbSettings,
    pub views: Vec<SettingView>,
    pub warnings: Vec<String>,
}

impl SchemaSettings {
    /// # Errors
    /// Every fault of these sections.
    pub fn read(env: &Env) -> Result<Self, ConfigFaults> {
        let mut r = Reader::new(env);
        let data_dir: PathBuf = r.get(&DATA_DIR);
        let telemetry = TelemetrySettings::read(&mut r);
        let db = DbSettings::read(&mut r, &data_dir);
        let ((), views, warnings) = r.finish(())?;
        Ok(SchemaSettings {
            data_dir,
            telemetry,
            db,
            views,
            warnings,
        })
    }
}

/// A configuration as it stands, right or wrong.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Every setting there is, under its heading.
    pub views: Vec<SettingView>,
    pub warnings: Vec<String>,
    pub faults: Vec<ConfigFault>,
}

impl Settings {
    /// # Errors
    /// Every fault there is.
    pub fn read(env: &Env) -> Result<Self, ConfigFaults> {
        let mut r = Reader::new(env);
        let settings = Settings::collect(&mut r);
        let (settings, views, warnings) = r.finish(settings)?;
        Ok(Settings {
            views,
            warnings,
            ..settings
        })
    }

    /// What is set and what is wrong with it, for people who look at a configuration.
    pub fn inspect(env: &Env) -> Inspection {
        let mut r = Reader::new(env);
        Settings::collect(&mut r);
        let (views, warnings) = (r.seen().to_vec(), r.warnings().to_vec());
        let faults = r.finish(()).err().map(|faults| faults.0).unwrap_or_default();
        Inspection {
            views,
            warnings,
            faults,
        }
    }

    fn collect(r: &mut Reader<'_>) -> Self {
        r.section("General");
        let app_env: AppEnv = r.get(&APP_ENV);
        let production = app_env == AppEnv::Production;
        let data_dir: PathBuf = r.get(&DATA_DIR);
        let _: Option<String> = r.optional(&CELERY_RESULT_BACKEND);
        let settings = Settings {
            env: app_env,
            telemetry: TelemetrySettings::read(r.section("Logs and metrics")),
            db: DbSettings::read(r.section("Database"), &data_dir),
            redis: RedisSettings::read(r.section("Redis")),
            queue: QueueSettings::read(r.section("Jobs")),
            storage: StorageSettings::read(r.section("Object storage")),
            mail: MailSettings::read(r.section("Mail")),
            auth: AuthSettings::read(r.section("Secrets and password hashes"), production),
            http: Arc::new(HttpSettings::read(r.section("HTTP"), production)),
            ws: WsSettings::read(r.section("WebSockets"), production),
            accounts: AccountsSettings::read(r.section("Accounts")),
            files: FilesSettings::read(r.section("Files")),
            support: SupportSettings::read(r.section("Support chat")),
            chat: ChatSettings::read(r.section("Chat rooms")),
            data_dir,
            views: Vec::new(),
            warnings: Vec::new(),
        };
        settings.auth.require_key(r, production, settings.db.kind);
        let listen = settings.http.listen;
        if !production && !listen.ip().is_loopback() {
            r.warn(format!(
                "LISTEN {listen} can be reached by others, and APP_ENV is development: weaker rules apply. Set \
                 APP_ENV=production"
            ));
        }
        if production && let Some(warning) = settings.mail.production_warning() {
            r.warn(warning);
        }
        settings
    }

    pub fn is_production(&self) -> bool {
        self.env == AppEnv::Production
    }
}
