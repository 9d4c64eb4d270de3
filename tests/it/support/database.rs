//! Cheap databases: a copied SQLite file, a PostgreSQL template, a fresh MariaDB database.

use std::path::Path;

use sea_orm::{ConnectionTrait, Database};
use tokio::sync::OnceCell;
use yunque::app::SchemaSettings;
use yunque::app::schema::Schema;
use yunque_kernel::Clock;
use yunque_kernel::config::Env;
use yunque_kernel::db::DbSettings;

/// `None`: embedded.
pub fn server_url() -> Option<String> {
    std::env::var("TEST_DATABASE_URL").ok().filter(|u| !u.is_empty())
}

fn settings(url: &str) -> DbSettings {
    let env = Env::fixed([("DATABASE_URL", url), ("SQLITE_SYNCHRONOUS", "off")]);
    let settings = SchemaSettings::read(&env).expect("valid settings");
    settings.db
}

async fn migrate(url: &str) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let schema = Schema::open(&settings(url)).await.expect("database");
    schema
        .up(folder.path(), &Clock::default(), |_| {})
        .await
        .expect("migrations");
}

/// A migrated database that nobody else uses; returns its URL.
pub async fn fresh(data_dir: &Path) -> String {
    match server_url() {
        None => sqlite(data_dir).await,
        Some(admin) => server(&admin).await,
    }
}

/// Migrated once for all tests of this process, then copied.
async fn sqlite(data_dir: &Path) -> String {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    let bytes = TEMPLATE
        .get_or_init(|| async {
            let folder = tempfile::tempdir().expect("temporary folder");
            let file = folder.path().join("template.db");
            let url = format!("sqlite://{}", file.display());
            migrate(&url).await;
            // The write-ahead log is folded in by a copy.
            let copy = folder.path().join("copy.db");
            let conn = Database::connect(&url).await.expect("template");
            conn.execute_unprepared(&format!("VACUUM INTO '{}'", copy.display()))
                .await
                .expect("copy");
            conn.close().await.expect("close");
            std::fs::read(copy).expect("copy")
        })
        .await;
    let file = data_dir.join("yunque.db");
    std::fs::write(&file, bytes).expect("database file");
    format!("sqlite://{}", file.display())
}

async fn server(admin: &str) -> String {
    let name = format!("yq_{}", uuid::Uuid::new_v4().simple());
    let url = with_name(admin, &name);
    if admin.starts_with("postgres") {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = format!("yq_template_{}", uuid::Uuid::new_v4().simple());
                create(admin, &format!("CREATE DATABASE {template}")).await;
                migrate(&with_name(admin, &template)).await;
                template
            })
            .await;
        create(admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    } else {
        create(admin, &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await;
        migrate(&url).await;
    }
    url
}

/// PostgreSQL refuses a template that somebody is connected to; the migration's connection may
/// take a moment to go.
async fn create(admin: &str, sql: &str) {
    let conn = Database::connect(admin).await.expect("TEST_DATABASE_URL");
    for attempt in 0.. {
        match conn.execute_unprepared(sql).await {
            Ok(_) => break,
            Err(e) if attempt == 50 => panic!("{sql}: {e}"),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    conn.close().await.expect("close");
}

/// The same server, another database.
pub fn with_name(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, ""), |(b, q)| (b, q));
    let scheme = base.find("://").map_or(0, |i| i + 3);
    let end = base[scheme..].find('/').map_or(base.len(), |i| scheme + i);
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    format!("{}/{name}{query}", &base[..end])
}
