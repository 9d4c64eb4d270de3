//! An empty folder, an idle server, and one very large upload.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend};

use crate::Fault;
use crate::client::{Conn, request};
use crate::server::{Peers, Place, Server, Size, sql};
use crate::table::{Row, Table};

const STARTS: usize = 5;
const IDLE_FOR: Duration = Duration::from_secs(5);
const LARGE: u64 = 1 << 30;
const PIECE: usize = 256 * 1024;
const MIB: f64 = (1 << 20) as f64;

pub async fn run(peers: &Peers, table: &mut Table) -> Result<(), Fault> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let place = Place::fresh(peers, Size::Embedded).await?;
        let server = place.serve(&[]).await?;
        starts.push(server.started_in.as_secs_f64() * 1000.0);
        server.stop().await?;
    }
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    table.add(Row::at_most(
        format!("empty folder to first answer, slowest of {STARTS}"),
        slowest,
        1000.0,
        " ms",
    ));

    let place = Place::fresh(peers, Size::Embedded).await?;
    let server = place.serve(&[]).await?;
    tokio::time::sleep(IDLE_FOR).await;
    let idle = server.memory("VmRSS")? as f64 / MIB;
    table.add(Row::at_most("idle memory (VmRSS)", idle, 40.0, " MiB"));

    let account = server.accounts(1).await?.pop().ok_or("no account")?;
    let before = server.memory("VmRSS")? as f64 / MIB;
    server.reset_peak()?;
    upload(&server, &account.token).await?;
    let accepted = server.memory("VmHWM")? as f64 / MIB;
    let database = place.connect().await?;
    let stored = sql(
        DbBackend::Sqlite,
        "SELECT id FROM files WHERE upload_status = 'completed'",
        [],
    );
    while database.query_one_raw(stored.clone()).await?.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let completed = server.memory("VmHWM")? as f64 / MIB;
    table.add(Row::at_most(
        "1 GiB multipart upload: more memory until accepted",
        accepted - before,
        64.0,
        " MiB",
    ));
    table.add(Row::at_most(
        "1 GiB multipart upload: more memory until completed",
        completed - before,
        64.0,
        " MiB",
    ));
    database.close().await?;
    server.stop().await
}

async fn upload(server: &Server, token: &str) -> Result<(), Fault> {
    let boundary = "load-boundary";
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"large.bin\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let length = head.len() as u64 + LARGE + tail.len() as u64;
    let start = String::from_utf8(request("POST", "/file/upload/", Some(token), None))?;
    let start = format!(
        "{}content-type: multipart/form-data; boundary={boundary}\r\ncontent-length: {length}\r\n\r\n{head}",
        start.trim_end_matches("\r\n").to_owned() + "\r\n"
    );
    let mut conn = Conn::open(server.address, 0).await?;
    conn.send(start.as_bytes()).await?;
    let piece: Vec<u8> = (0..PIECE).map(|i| (i % 251) as u8).collect();
    for _ in 0..LARGE / PIECE as u64 {
        conn.send(&piece).await?;
    }
    conn.send(tail.as_bytes()).await?;
    match conn.receive().await? {
        201 => Ok(()),
        status => Err(format!("upload: {status} {}", String::from_utf8_lossy(conn.body())).into()),
    }
}
