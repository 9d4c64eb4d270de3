//! The schema: one definition for SQLite, MySQL/MariaDB and PostgreSQL.
//!
//! * Schema only: no entity is imported, so an old migration never changes its meaning.
//! * MySQL commits every DDL statement by itself. A migration may therefore be cut off anywhere,
//!   and each one is written so that running it again finishes it: `IF NOT EXISTS` on tables and,
//!   on MySQL, all indexes inside the `CREATE TABLE`. SQLite and PostgreSQL run a migration in one
//!   transaction.
//! * A unique index is named `<table>_<columns>_key`: that is how a violation is recognised on
//!   SQLite, which only tells the columns. Other indexes end in `_idx`, foreign keys in `_fk`.
//! * A migration that was shipped is never edited.

use sea_orm_migration::prelude::{MigrationTrait, MigratorTrait};

mod m0001_kernel;
mod m0002_accounts;
mod m0003_credentials;
mod m0004_mail;
mod m0005_files;
mod m0006_password_reset;
mod m0007_support;
mod m0008_login_attempts;
mod m0009_chat;
mod m0010_chat_notices;
mod m0011_chat_search;
mod m0012_chat_changes;
mod schema;

/// Applies and rolls back the migrations below, in this order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_kernel::Migration),
            Box::new(m0002_accounts::Migration),
            Box::new(m0003_credentials::Migration),
            Box::new(m0004_mail::Migration),
            Box::new(m0005_files::Migration),
            Box::new(m0006_password_reset::Migration),
            Box::new(m0007_support::Migration),
            Box::new(m0008_login_attempts::Migration),
            Box::new(m0009_chat::Migration),
            Box::new(m0010_chat_notices::Migration),
            Box::new(m0011_chat_search::Migration),
            Box::new(m0012_chat_changes::Migration),
        ]
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Expr, ExprTrait, Query};
    use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
    use sea_orm_migration::SchemaManager;

    use super::*;

    /// A database in memory, or an empty one of its own on `TEST_DATABASE_URL`.
    async fn empty_database() -> DatabaseConnection {
        let env = yunque_kernel::config::Env::load(None).expect("readable environment");
        let Some((admin, _)) = env.get("TEST_DATABASE_URL") else {
            return Database::connect("sqlite::memory:")
                .await
                .expect("memory database");
        };
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos();
        let name = format!("yq_migrations_{nanos}");
        let conn = Database::connect(admin).await.expect("TEST_DATABASE_URL");
        conn.execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .expect("created");
        let (base, _) = admin.rsplit_once('/').expect("a URL with a database");
        Database::connect(format!("{base}/{name}"))
            .await
            .expect("connected")
    }

    #[tokio::test]
    async fn every_migration_may_be_run_again_and_taken_back() {
        let db = empty_database().await;
        for _ in 0..2 {
            Migrator::up(&db, None).await.expect("first run");
            let manager = SchemaManager::new(&db);
            for migration in Migrator::migrations() {
                migration.up(&manager).await.expect("second run changes nothing");
            }
            let seeded = Query::select()
                .column("id")
                .from("groups")
                .and_where(Expr::col("name").eq("developer"))
                .take();
            assert_eq!(db.query_all(&seeded).await.expect("query").len(), 1);
            assert!(
                manager
                    .has_index("users", "users_username_key_key")
                    .await
                    .expect("looked")
            );
            Migrator::down(&db, None).await.expect("all down");
            for table in [
                "users",
                "auth_sessions",
                "jobs",
                "files",
                "yunque_meta",
                "outgoing_mails",
            ] {
                assert!(!manager.has_table(table).await.expect("looked"), "{table}");
            }
        }
    }

    /// Unique violations are recognised by this naming rule.
    #[tokio::test]
    async fn unique_indexes_are_named_after_table_and_columns() {
        let db = Database::connect("sqlite::memory:")
            .await
            .expect("memory database");
        Migrator::up(&db, None).await.expect("migrated");
        let all = "SELECT m.name, m.tbl_name, (SELECT group_concat(i.name, '_') FROM pragma_index_info(m.name) i) \
                   FROM sqlite_master m WHERE m.type = 'index' AND m.name LIKE '%_key'";
        let rows = db
            .query_all_raw(Statement::from_string(DbBackend::Sqlite, all.to_owned()))
            .await
            .expect("query");
        assert!(rows.len() > 10);
        for row in rows {
            let text = |i| row.try_get_by_index::<String>(i).expect("text");
            assert_eq!(text(0), format!("{}_{}_key", text(1), text(2)));
        }
    }
}
