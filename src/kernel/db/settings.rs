//! Which database, and how many connections to it.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::DbKind;
use crate::config::{Reader, Seconds, Setting};

const DATABASE_URL: Setting = Setting::secret(
    "DATABASE_URL",
    "Database: sqlite://path, mysql://user:password@host/name or postgres://user:password@host/name (default: SQLite in DATA_DIR)",
);
const DB_NAME: Setting = Setting::new(
    "DB_NAME",
    "",
    "Database name; composes DATABASE_URL from the DB_ settings",
);
const DB_ENGINE: Setting = Setting::new(
    "DB_ENGINE",
    "mysql",
    "Database family for DB_NAME: mysql or postgres",
);
const DB_HOST: Setting = Setting::new("DB_HOST", "localhost", "Database host for DB_NAME");
const DB_PORT: Setting = Setting::new("DB_PORT", "", "Database port for DB_NAME (default 3306 or 5432)");
const DB_USER: Setting = Setting::new("DB_USER", "root", "Database user for DB_NAME");
const DB_PASSWORD: Setting = Setting::secret("DB_PASSWORD", "Database password for DB_NAME");
const MOST_CONNECTIONS: u32 = 10_000;
const MAX_CONNECTIONS: Setting = Setting::new(
    "DATABASE_MAX_CONNECTIONS",
    "16",
    "Connections to a database server, or readers of a SQLite file",
);
const ACQUIRE_TIMEOUT: Setting = Setting::new(
    "DATABASE_ACQUIRE_TIMEOUT",
    "5s",
    "Longest wait for a database connection before answering 503",
);
const SQLITE_SYNCHRONOUS: Setting = Setting::new(
    "SQLITE_SYNCHRONOUS",
    "full",
    "full survives a power cut; normal may lose the newest commits then; off is for tests",
);
const DEBUG: Setting = Setting::new("DEBUG", "", "Accepted for old configurations and not used");

/// Durability of a SQLite commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqliteSync {
    Full,
    Normal,
    Off,
}

crate::setting_enum!(SqliteSync { Full = "full", Normal = "normal", Off = "off" });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    MySql,
    Postgres,
}

crate::setting_enum!(Engine { MySql = "mysql", Postgres = "postgres" });

/// Settings of the database section.
#[derive(Clone, Debug)]
pub struct DbSettings {
    pub kind: DbKind,
    pub url: SecretString,
    pub max_connections: u32,
    pub acquire_timeout: Duration,
    pub sqlite_sync: SqliteSync,
}

impl DbSettings {
    pub fn read(r: &mut Reader<'_>, data_dir: &Path) -> Self {
        let _: Option<String> = r.optional(&DEBUG);
        let composed = compose(r);
        let url = match r.secret(&DATABASE_URL).or(composed) {
            Some(url) => url,
            None => SecretString::from(format!("sqlite://{}", data_dir.join("yunque.db").display())),
        };
        let kind = kind_of(url.expose_secret()).unwrap_or_else(|| {
            r.fault(
                &DATABASE_URL,
                "must start with sqlite:, mysql:, mariadb: or postgres:",
                "Example: mysql://yunque:password@127.0.0.1/yunque.",
            );
            DbKind::Sqlite
        });
        let max_connections = r.above_zero(&MAX_CONNECTIONS);
        if max_connections > MOST_CONNECTIONS {
            // The pool reserves room for all of them.
            r.fault(
                &MAX_CONNECTIONS,
                format!("is more than {MOST_CONNECTIONS}"),
                "Example: 16.",
            );
        }
        DbSettings {
            kind,
            url,
            max_connections,
            acquire_timeout: r.above_zero::<Seconds>(&ACQUIRE_TIMEOUT).0,
            sqlite_sync: r.get(&SQLITE_SYNCHRONOUS),
        }
    }

    /// The file behind a SQLite URL.
    pub fn sqlite_path(&self) -> Option<std::path::PathBuf> {
        let url = self.url.expose_secret();
        let rest = url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))?;
        Some(rest.split('?').next().unwrap_or(rest).into())
    }
}

fn kind_of(url: &str) -> Option<DbKind> {
    match url.split(':').next()? {
        "sqlite" => Some(DbKind::Sqlite),
        "mysql" | "mariadb" => Some(DbKind::MySql),
        "postgres" | "postgresql" => Some(DbKind::Postgres),
        _ => None,
    }
}

/// Builds the URL from the seed's `DB_` variables; every part is percent-encoded.
fn compose(r: &mut Reader<'_>) -> Option<SecretString> {
    let engine: Engine = r.get(&DB_ENGINE);
    let host: String = r.get(&DB_HOST);
    let port: Option<u16> = r.optional(&DB_PORT);
    let user: String = r.get(&DB_USER);
    let password = r.secret(&DB_PASSWORD);
    let name: String = r.optional(&DB_NAME)?;
    let (scheme, default_port) = match engine {
        Engine::MySql => ("mysql", 3306),
        Engine::Postgres => ("postgres", 5432),
    };
    let enc = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let password = password
        .map(|p| format!(":{}", enc(p.expose_secret())))
        .unwrap_or_default();
    let port = port.unwrap_or(default_port);
    Some(SecretString::from(format!(
        "{scheme}://{}{password}@{host}:{port}/{}",
        enc(&user),
        enc(&name)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn read(values: &[(&str, &str)]) -> DbSettings {
        let env = Env::fixed(values.iter().copied());
        DbSettings::read(&mut Reader::new(&env), Path::new("/data"))
    }

    #[test]
    fn the_default_is_a_file_in_the_data_folder() {
        let s = read(&[]);
        assert_eq!(s.kind, DbKind::Sqlite);
        assert_eq!(s.sqlite_path().as_deref(), Some(Path::new("/data/yunque.db")));
    }

    #[test]
    fn seed_variables_compose_an_encoded_url() {
        let s = read(&[("DB_NAME", "cloud"), ("DB_PASSWORD", "p@ss/w:rd")]);
        assert_eq!(
            s.url.expose_secret(),
            "mysql://root:p%40ss%2Fw%3Ard@localhost:3306/cloud"
        );
        let s = read(&[("DB_NAME", "cloud"), ("DATABASE_URL", "postgres://u@h/db")]);
        assert_eq!(s.kind, DbKind::Postgres);
    }
}
