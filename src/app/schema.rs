//! Applying the schema: under a lock, a step at a time, with a copy of a SQLite file first.
//!
//! Two processes that migrate at once: one wins, the other waits and finds nothing left to do. A
//! database that knows migrations which this binary does not is newer than the binary, and refused.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};
use yunque_kernel::db::{Db, DbKind, DbSettings};
use yunque_kernel::{Clock, DbError};
use yunque_migrations::Migrator;

const LOCK_NAME: &str = "yunque_migrate";
const LOCK_KEY: i64 = 0x79_75_6e_71_75_65;
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// Where the library keeps which steps were applied.
const APPLIED: &str = "seaql_migrations";

/// Applies nothing, so that to start afresh with it is to drop every table.
struct NoSteps;

impl MigratorTrait for NoSteps {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Vec::new()
    }
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database is newer than this program: it has {0}. Install the newer version again")]
    Newer(String),
    #[error("another process has been migrating for five minutes")]
    Locked,
    #[error("backup before the migration: {0}")]
    Backup(String),
    #[error("{}: {}", .0.display(), .1)]
    LockFile(PathBuf, std::io::Error),
    #[error("{} cannot be used: {}. {}", .0.as_str(), .1, .2)]
    Unusable(DbKind, DbError, &'static str),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What to do about a database that cannot be opened.
pub fn remedy(settings: &DbSettings, error: &DbError) -> &'static str {
    let text = error.to_string();
    if settings.kind == DbKind::Sqlite {
        "Check the path in DATABASE_URL, and that the user of this process owns it."
    } else if text.contains("denied") || text.contains("authentication") {
        "Check user and password in DATABASE_URL (or DB_USER and DB_PASSWORD), and the user's rights."
    } else {
        "Check DATABASE_URL (or DB_HOST, DB_PORT, DB_NAME), and that the server runs and can be reached."
    }
}

impl From<sea_orm::DbErr> for SchemaError {
    fn from(error: sea_orm::DbErr) -> Self {
        SchemaError::Db(error.into())
    }
}

/// One migration and whether it was applied.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Step {
    pub name: String,
    pub applied: bool,
}

/// A connection of its own for schema work: locks and pragmas belong to a connection, so there
/// must be exactly one.
pub struct Schema {
    db: Db,
    kind: DbKind,
    /// SQLite only: beside the database file.
    lock_file: Option<PathBuf>,
}

/// Held while the schema changes. On the servers the lock belongs to the connection, on SQLite to
/// this file; either goes with the process, however that ends.
struct Locked {
    _file: Option<File>,
}

impl Schema {
    /// # Errors
    /// The database cannot be reached.
    pub async fn open(settings: &DbSettings) -> Result<Self, SchemaError> {
        let alone = DbSettings {
            max_connections: 1,
            ..settings.clone()
        };
        let db = Db::connect(&alone)
            .await
            .map_err(|e| SchemaError::Unusable(settings.kind, e.clone(), remedy(settings, &e)))?;
        // A database in memory has no other process to keep out.
        let on_disk = settings
            .sqlite_path()
            .filter(|path| !path.starts_with(":memory:"));
        let lock_file = on_disk.map(|mut path| {
            path.as_mut_os_string().push(".migrating");
            path
        });
        Ok(Schema {
            kind: db.kind(),
            db,
            lock_file,
        })
    }

    fn conn(&self) -> &DatabaseConnection {
        self.db.writer()
    }

    /// Every known migration, in order.
    ///
    /// # Errors
    /// `Newer` when the database has others.
    pub async fn steps(&self) -> Result<Vec<Step>, SchemaError> {
        let mut applied = Vec::new();
        if SchemaManager::new(self.conn()).has_table(APPLIED).await? {
            let sql = format!("SELECT version FROM {APPLIED} ORDER BY version");
            let stmt = Statement::from_string(self.conn().get_database_backend(), sql);
            for row in self.conn().query_all_raw(stmt).await? {
                applied.push(row.try_get_by_index::<String>(0)?);
            }
        }
        let known: Vec<String> = Migrator::migrations()
            .iter()
            .map(|m| m.name().to_owned())
            .collect();
        let newer: Vec<&str> = applied
            .iter()
            .filter(|a| !known.contains(a))
            .map(String::as_str)
            .collect();
        if !newer.is_empty() {
            return Err(SchemaError::Newer(newer.join(", ")));
        }
        Ok(known
            .into_iter()
            .map(|name| Step {
                applied: applied.contains(&name),
                name,
            })
            .collect())
    }

    /// How many steps there are.
    pub fn known() -> usize {
        Migrator::migrations().len()
    }

    /// How many migrations are missing.
    ///
    /// # Errors
    /// As [`Schema::steps`].
    pub async fn pending(&self) -> Result<usize, SchemaError> {
        Ok(self.steps().await?.iter().filter(|s| !s.applied).count())
    }

    /// Applies what is missing. `progress` hears the name of each step before it runs.
    ///
    /// # Errors
    /// A step failed; running again goes on from there.
    pub async fn up(
        &self,
        data_dir: &Path,
        clock: &Clock,
        mut progress: impl FnMut(&str),
    ) -> Result<usize, SchemaError> {
        let lock = self.lock().await?;
        let result = self.up_locked(data_dir, clock, &mut progress).await;
        self.unlock(lock).await;
        result
    }

    async fn up_locked(
        &self,
        data_dir: &Path,
        clock: &Clock,
        progress: &mut impl FnMut(&str),
    ) -> Result<usize, SchemaError> {
        let steps = self.steps().await?;
        let pending: Vec<_> = steps.iter().filter(|s| !s.applied).collect();
        if pending.is_empty() {
            return Ok(0);
        }
        if steps.iter().any(|s| s.applied) {
            self.backup_if_sqlite(data_dir, clock).await?;
        }
        for step in &pending {
            progress(&step.name);
            Migrator::up(self.conn(), Some(1)).await?;
        }
        Ok(pending.len())
    }

    /// Rolls the newest `n` steps back, or as many as there are, and returns how many these were. `progress` hears
    /// the name of each step before it goes.
    ///
    /// # Errors
    /// A step failed; those before it are gone.
    pub async fn down(
        &self,
        n: usize,
        data_dir: &Path,
        clock: &Clock,
        mut progress: impl FnMut(&str),
    ) -> Result<usize, SchemaError> {
        let lock = self.lock().await?;
        let result = self.down_locked(n, data_dir, clock, &mut progress).await;
        self.unlock(lock).await;
        result
    }

    async fn down_locked(
        &self,
        n: usize,
        data_dir: &Path,
        clock: &Clock,
        progress: &mut impl FnMut(&str),
    ) -> Result<usize, SchemaError> {
        let steps = self.steps().await?;
        let newest: Vec<_> = steps.iter().rev().filter(|s| s.applied).take(n).collect();
        if newest.is_empty() {
            return Ok(0);
        }
        self.backup_if_sqlite(data_dir, clock).await?;
        for step in &newest {
            progress(&step.name);
            Migrator::down(self.conn(), Some(1)).await?;
        }
        Ok(newest.len())
    }

    /// Drops every table and applies all steps; returns how many these were. `progress` hears the name of each step
    /// before it runs.
    ///
    /// # Errors
    /// A step failed; [`Schema::up`] goes on from there.
    pub async fn fresh(
        &self,
        data_dir: &Path,
        clock: &Clock,
        mut progress: impl FnMut(&str),
    ) -> Result<usize, SchemaError> {
        let lock = self.lock().await?;
        let result = self.fresh_locked(data_dir, clock, &mut progress).await;
        self.unlock(lock).await;
        result
    }

    async fn fresh_locked(
        &self,
        data_dir: &Path,
        clock: &Clock,
        progress: &mut impl FnMut(&str),
    ) -> Result<usize, SchemaError> {
        if SchemaManager::new(self.conn()).has_table(APPLIED).await? {
            self.backup_if_sqlite(data_dir, clock).await?;
        }
        NoSteps::fresh(self.conn()).await?;
        let steps = self.steps().await?;
        for step in &steps {
            progress(&step.name);
            Migrator::up(self.conn(), Some(1)).await?;
        }
        Ok(steps.len())
    }

    async fn backup_if_sqlite(&self, data_dir: &Path, clock: &Clock) -> Result<(), SchemaError> {
        match self.kind {
            DbKind::Sqlite => self.backup(data_dir, clock).await,
            DbKind::MySql | DbKind::Postgres => Ok(()),
        }
    }

    async fn backup(&self, data_dir: &Path, clock: &Clock) -> Result<(), SchemaError> {
        let folder = data_dir.join("backups");
        std::fs::create_dir_all(&folder).map_err(|e| SchemaError::Backup(e.to_string()))?;
        let file = folder.join(format!(
            "before-migration-{}.db",
            clock.now().format("%Y%m%dT%H%M%S%.6fZ")
        ));
        let stmt = Statement::from_sql_and_values(
            DbBackend::Sqlite,
            "VACUUM INTO ?",
            [file.to_string_lossy().into_owned().into()],
        );
        self.conn()
            .execute_raw(stmt)
            .await
            .map_err(|e| SchemaError::Backup(e.to_string()))?;
        tracing::info!(file = %file.display(), "database copied before its migration");
        Ok(())
    }

    async fn lock(&self) -> Result<Locked, SchemaError> {
        let backend = self.conn().get_database_backend();
        let deadline = Instant::now() + LOCK_WAIT;
        match self.kind {
            DbKind::Sqlite => {
                let Some(path) = &self.lock_file else {
                    return Ok(Locked { _file: None });
                };
                let failed = |e| SchemaError::LockFile(path.clone(), e);
                let file = File::options()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(path)
                    .map_err(failed)?;
                loop {
                    match file.try_lock() {
                        Ok(()) => return Ok(Locked { _file: Some(file) }),
                        Err(TryLockError::Error(e)) => return Err(failed(e)),
                        Err(TryLockError::WouldBlock) => pause(deadline).await?,
                    }
                }
            }
            DbKind::MySql => {
                let sql = format!("SELECT GET_LOCK('{LOCK_NAME}', {})", LOCK_WAIT.as_secs());
                let row = self
                    .conn()
                    .query_one_raw(Statement::from_string(backend, sql))
                    .await?;
                let got: Option<i64> = row.map(|r| r.try_get_by_index(0)).transpose()?.flatten();
                if got == Some(1) {
                    Ok(Locked { _file: None })
                } else {
                    Err(SchemaError::Locked)
                }
            }
            DbKind::Postgres => loop {
                let sql = format!("SELECT pg_try_advisory_lock({LOCK_KEY})");
                let row = self
                    .conn()
                    .query_one_raw(Statement::from_string(backend, sql))
                    .await?;
                if row.map_or(Ok(false), |r| r.try_get_by_index::<bool>(0))? {
                    return Ok(Locked { _file: None });
                }
                pause(deadline).await?;
            },
        }
    }

    async fn unlock(&self, lock: Locked) {
        drop(lock);
        let sql = match self.kind {
            DbKind::Sqlite => return,
            DbKind::MySql => format!("SELECT RELEASE_LOCK('{LOCK_NAME}')"),
            DbKind::Postgres => format!("SELECT pg_advisory_unlock({LOCK_KEY})"),
        };
        let stmt = Statement::from_string(self.conn().get_database_backend(), sql);
        if let Err(e) = self.conn().query_one_raw(stmt).await {
            tracing::debug!(error = %e, "the migration lock goes with its connection");
        }
    }
}

/// Between two tries for the lock.
async fn pause(deadline: Instant) -> Result<(), SchemaError> {
    if Instant::now() > deadline {
        return Err(SchemaError::Locked);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}
