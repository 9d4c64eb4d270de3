//! The transaction that accepts one upload, statement by statement, with nothing in front of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use yunque_kernel::Clock;

use super::{begin, insert};
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
        let body: Arc<[u8]> = vec![b'x'; self.body].into();
        let (folder, users) = (self.folder.to_owned(), self.users.to_vec());
        super::per_second(
            self.database,
            self.tasks,
            self.time,
            move |database, task, turn| {
                let (folder, body) = (folder.clone(), body.clone());
                let user = users[task % users.len()];
                async move { one(&database, user, &body, &folder, turn).await }
            },
        )
        .await
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
    let tx = begin(database).await?;
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
    let file = insert(&tx, FILE, file).await?;
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
    insert(&tx, JOB, job).await?;
    Ok(tx.commit().await?)
}
