//! Accepting uploads against bare transactions, and uploads from the first request to the last
//! `completed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{in_turns, number, own, served, sizes};
use crate::Fault;
use crate::client::request;
use crate::drive::{Drive, Until};
use crate::server::{Account, Peers, Place, Size, sql};
use crate::table::{Row, Table};

/// As many users as connections: the row of one user is locked while his upload is accepted.
const USERS: usize = 64;
const SMALL: usize = 10 * 1024;
/// Over 64 KiB: staged as a file.
const LARGE: usize = 100 * 1024;
const END_TO_END: usize = 10_000;
const WORKERS: usize = 2;

/// Acceptance alone.
pub async fn accept(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        accepted(peers, size, time, table).await?;
    }
    Ok(())
}

/// From the first request to the last `completed`.
pub async fn complete(peers: &Peers, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        end_to_end(peers, size, table).await?;
    }
    Ok(())
}

fn requests(accounts: &[Account], bytes: usize) -> Vec<Arc<[u8]>> {
    let content = STANDARD.encode(vec![b'x'; bytes]);
    let file = json!({
        "name": "load.bin", "content_type": "application/octet-stream", "size": bytes, "file_content": content,
    });
    let body = file.to_string();
    accounts
        .iter()
        .map(|a| request("POST", "/file/", Some(&a.token), Some(&body)).into())
        .collect()
}

async fn accepted(peers: &Peers, size: Size, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, size).await?;
    let server = place.serve(&["--no-worker"]).await?;
    let accounts = server.accounts(USERS).await?;
    let users = accounts
        .iter()
        .map(|a| a.id.to_string())
        .collect::<Vec<_>>()
        .join(",");
    server.stop().await?;
    let folder = place.folder().join("bare");
    std::fs::create_dir(&folder)?;
    for (bytes, what) in [
        (SMALL, "10 KB, staged in the database"),
        (LARGE, "100 KB, staged in a synced file"),
    ] {
        let requests = requests(&accounts, bytes);
        let (bytes, seconds) = (bytes.to_string(), time.as_secs().to_string());
        let arguments = [
            "bare-accept",
            "--database",
            &place.database,
            "--folder",
            &folder.to_string_lossy(),
            "--users",
            &users,
            "--body",
            &bytes,
            "--seconds",
            &seconds,
        ];
        let label = format!("{what}, {}", size.name());
        let (ours, bare) = in_turns(
            async || served(&place, &["--no-worker"], &requests, time, &label).await,
            async || number(&mut own(&arguments)?).await,
        )
        .await?;
        let figure = format!(
            "POST /file/ accepted / bare transactions, {}, {what}",
            size.name()
        );
        table.add(Row::ratio(figure, ours, bare, 60.0, "/s"));
    }
    Ok(())
}

async fn end_to_end(peers: &Peers, size: Size, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, size).await?;
    let server = place.serve(&[]).await?;
    let mut workers = Vec::new();
    if size == Size::Servers {
        for i in 0..WORKERS {
            workers.push(place.worker(i).await?);
        }
    }
    let accounts = server.accounts(USERS).await?;
    let requests = requests(&accounts, SMALL);
    let database = place.connect().await?;
    let backend = database.get_database_backend();
    let count = sql(
        backend,
        "SELECT COUNT(*) FROM files WHERE upload_status = 'completed'",
        [],
    );
    let completed = async || -> Result<u64, Fault> {
        let row = database.query_one_raw(count.clone()).await?;
        Ok(u64::try_from(row.map_or(Ok(0_i64), |r| r.try_get_by_index(0))?)?)
    };
    let begun = Instant::now();
    let report = Drive::new(server.address, 64, Until::Count(END_TO_END))
        .run(&requests)
        .await?;
    if report.good != END_TO_END {
        return Err(format!("not all uploads were accepted: {}", report.line()).into());
    }
    while completed().await? < END_TO_END as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    let workers_note = if size == Size::Servers {
        " + Redis, 2 workers"
    } else {
        ""
    };
    println!(
        "    accepting took {:.1} s of {:.1} s: {}",
        report.took.as_secs_f64(),
        took.as_secs_f64(),
        report.line()
    );
    let figure = format!(
        "10 KB uploads accepted to completed, {}{workers_note}",
        size.name()
    );
    table.add(Row::at_least(
        figure,
        END_TO_END as f64 / took.as_secs_f64(),
        1000.0,
        " files/s",
    ));
    database.close().await?;
    for worker in workers {
        worker.stop().await?;
    }
    server.stop().await
}
