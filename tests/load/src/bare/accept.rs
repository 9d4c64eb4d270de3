//! The transaction that accepts one upload, statement by statement, with nothing in front of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::task::JoinSet;
use yunque_kernel::Clock;

use crate::Fault;
use crate::server::sql;

const RESERVE: &str = "UPDATE users SET used_space = used_space + ? WHERE id = ? AND used_space + ? <= quota";
const FILE: &str = "INSERT INTO files (user_id, name, content_type, size, path, object_key, upload_status, attempts, \
     generation, staged_ref, source, folder_key, created_at, updated_at) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const BLOB: &str = "INSERT INTO staged_blobs (staged_ref, chunk, bytes, created_at) VALUES (?, ?, ?, ?)";
const JOB: &str = "INSERT INTO jobs (queue, kind, payload, subject, dedupe_key, state, priority, attempts, \
     max_attempts, run_at, fair_key, fair_round, request_id, created_at) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// Bodies over this are a file instead of a row.
const INLINE_MAX: usize = 64 * 1024;

/// One measurement.
pub struct Bare<'a> {
    pub database: &'a str,
    /// For staged files; on the disk of the data folder.
    pub folder: &'a Path,
    pub users: &'a [i64],
    pub tasks: usize,
    pub body: usize,
    pub time: Duration,
}

impl Bare<'_> {
    /// Transactions per second.
    ///
    /// # Errors
    /// The database refuses one.
    pub async fn per_second(&self) -> Result<f64, Fault> {
        // One connection is what SQLite writes with; 16 is the product's default for servers.
        let pool = if self.database.starts_with("sqlite") {
            1
        } else {
            16
        };
        let database = crate::server::connect(self.database, pool).await?;
        let body: Arc<[u8]> = vec![b'x'; self.body].into();
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for i in 0..self.tasks {
            let (database, body) = (database.clone(), body.clone());
            let user = self.users[i % self.users.len()];
            let (folder, time) = (self.folder.to_owned(), self.time);
            tasks.spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < time {
                    // As in the product: a deadlock is worth another run.
                    let mut runs = 1;
                    while let Err(e) = one(&database, user, &body, &folder, done).await {
                        if runs == 3 {
                            return Err(e);
                        }
                        runs += 1;
                    }
                    done += 1;
                }
                Ok::<_, Fault>(done)
            });
        }
        let mut done = 0;
        while let Some(task) = tasks.join_next().await {
            done += task??;
        }
        let took = begun.elapsed();
        database.close().await?;
        Ok(done as f64 / took.as_secs_f64())
    }
}

async fn one(
    database: &DatabaseConnection,
    user: i64,
    body: &Arc<[u8]>,
    folder: &Path,
    n: u64,
) -> Result<(), Fault> {
    let backend = database.get_database_backend();
    let name = uuid::Uuid::new_v4().simple().to_string();
    let inline = body.len() <= INLINE_MAX;
    if !inline {
        let (path, body) = (folder.join(&name), body.clone());
        tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::create_new(path)?;
            std::io::Write::write_all(&mut file, &body)?;
            file.sync_all()
        })
        .await??;
    }
    let reference = format!("{}/{name}", if inline { "db" } else { "bare" });
    let size = i64::try_from(body.len())?;
    let now = Clock::default().now();
    let options = TransactionOptions {
        sqlite_transaction_mode: (backend == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let tx = database.begin_with_options(options).await?;
    tx.execute_raw(sql(backend, RESERVE, [size.into(), user.into(), size.into()]))
        .await?;
    let file = [
        user.into(),
        "bare.bin".into(),
        "application/octet-stream".into(),
        size.into(),
        "/".into(),
        format!("files/{user}/{name}.bin").into(),
        "pending".into(),
        0.into(),
        1.into(),
        reference.clone().into(),
        "base64".into(),
        None::<String>.into(),
        now.into(),
        now.into(),
    ];
    let file = insert(&tx, backend, FILE, file).await?;
    if inline {
        let blob = [reference.into(), 0.into(), body.to_vec().into(), now.into()];
        tx.execute_raw(sql(backend, BLOB, blob)).await?;
    }
    let job = [
        "upload".into(),
        "upload_file".into(),
        format!("{{\"file_id\":{file},\"generation\":1,\"size\":{size}}}").into(),
        format!("file:{file}:1").into(),
        None::<String>.into(),
        // Done, so that the server that is measured next finds no backlog.
        "done".into(),
        1.into(),
        0.into(),
        4.into(),
        now.into(),
        user.into(),
        i64::try_from(n)?.into(),
        name.into(),
        now.into(),
    ];
    insert(&tx, backend, JOB, job).await?;
    Ok(tx.commit().await?)
}

/// Inserts one row and returns its id.
async fn insert(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    text: &str,
    values: impl IntoIterator<Item = sea_orm::Value>,
) -> Result<i64, DbErr> {
    if backend == DbBackend::MySql {
        let done = tx.execute_raw(sql(backend, text, values)).await?;
        return Ok(i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX));
    }
    let row = tx
        .query_one_raw(sql(backend, &format!("{text} RETURNING id"), values))
        .await?;
    row.ok_or(DbErr::RecordNotInserted)?.try_get_by_index(0)
}
