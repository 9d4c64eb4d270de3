//! Messages of support chat against bare transactions, and the memory that a picture takes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{in_turns, number, own, served, sizes};
use crate::Fault;
use crate::client::{Conn, request};
use crate::server::{Account, Peers, Place, Server, Size};
use crate::table::{Row, Table};

/// As many customers as connections, each with a session of his own.
const CUSTOMERS: usize = 64;
const TEXT: &str = "你好，我的订单三天前就显示已发货，可是一直没有收到，能帮我查一下吗？";
/// Just below the largest picture: noise does not get smaller.
const PICTURE: (u32, u32) = (1860, 1860);
const PICTURES_AT_ONCE: usize = 8;
const MIB: f64 = (1 << 20) as f64;

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        messages(peers, size, time, table).await?;
    }
    pictures(peers, table).await
}

async fn messages(peers: &Peers, size: Size, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, size).await?;
    let server = place.serve(&[]).await?;
    let accounts = server.accounts(CUSTOMERS).await?;
    let mut sessions = Vec::new();
    for account in &accounts {
        sessions.push(open(&server, account).await?);
    }
    server.stop().await?;
    let body = json!({ "content": TEXT }).to_string();
    let requests: Vec<Arc<[u8]>> = accounts
        .iter()
        .zip(&sessions)
        .map(|(a, id)| request("POST", &messages_of(*id), Some(&a.token), Some(&body)).into())
        .collect();
    let list = sessions.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let seconds = time.as_secs().to_string();
    let arguments = [
        "bare-message",
        "--database",
        &place.database,
        "--sessions",
        &list,
        "--text",
        TEXT,
        "--seconds",
        &seconds,
    ];
    let (ours, bare) = in_turns(
        async || served(&place, &[], &requests, time, size.name()).await,
        async || number(&mut own(&arguments)?).await,
    )
    .await?;
    let figure = format!(
        "POST /api/chat/sessions/{{id}}/messages/ / bare transactions, {}",
        size.name()
    );
    table.add(Row::ratio(figure, ours, bare, 50.0, "/s"));
    Ok(())
}

async fn pictures(peers: &Peers, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, Size::Embedded).await?;
    let server = place.serve(&[]).await?;
    let accounts = server.accounts(PICTURES_AT_ONCE).await?;
    let picture = png(PICTURE)?;
    let mut requests = Vec::new();
    for account in &accounts {
        let path = messages_of(open(&server, account).await?);
        requests.push(with_picture(&path, &account.token, &picture)?);
    }
    for at_once in [1, PICTURES_AT_ONCE] {
        let before = server.memory("VmRSS")? as f64;
        server.reset_peak()?;
        let posts = requests.iter().take(at_once).map(|r| post(&server, r));
        futures_util::future::try_join_all(posts).await?;
        let more = (server.memory("VmHWM")? as f64 - before) / MIB;
        table.add(Row::at_most(
            format!(
                "POST of a {:.1} MB picture, {at_once} at once: more memory for each",
                picture.len() as f64 / 1e6
            ),
            more / at_once as f64,
            40.0,
            " MiB",
        ));
    }
    server.stop().await
}

fn messages_of(session: i64) -> String {
    format!("/api/chat/sessions/{session}/messages/")
}

/// Opens the support session of a customer.
async fn open(server: &Server, account: &Account) -> Result<i64, Fault> {
    let mut conn = Conn::open(server.address, 0).await?;
    let status = conn
        .exchange(&request(
            "POST",
            "/api/chat/sessions/",
            Some(&account.token),
            None,
        ))
        .await?;
    let body: Value = serde_json::from_slice(conn.body())?;
    match (status, body["id"].as_i64()) {
        (200 | 201, Some(id)) => Ok(id),
        _ => Err(format!("no session: {status} {body}").into()),
    }
}

async fn post(server: &Server, request: &[u8]) -> Result<(), Fault> {
    let mut conn = Conn::open(server.address, 0).await?;
    match conn.exchange(request).await? {
        201 => Ok(()),
        status => Err(format!("picture: {status} {}", String::from_utf8_lossy(conn.body())).into()),
    }
}

fn with_picture(path: &str, token: &str, picture: &[u8]) -> Result<Vec<u8>, Fault> {
    let boundary = "load-boundary";
    let front = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"content_type\"\r\n\r\nimage\r\n--{boundary}\r\n\
         content-disposition: form-data; name=\"image\"; filename=\"large.png\"\r\ncontent-type: image/png\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let start = String::from_utf8(request("POST", path, Some(token), None))?;
    let start = format!(
        "{}\r\ncontent-type: multipart/form-data; boundary={boundary}\r\ncontent-length: {}\r\n\r\n",
        start.trim_end_matches("\r\n"),
        front.len() + picture.len() + tail.len()
    );
    Ok([start.as_bytes(), front.as_bytes(), picture, tail.as_bytes()].concat())
}

/// A picture of noise.
fn png((width, height): (u32, u32)) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::NoCompression);
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let pixels: Vec<u8> = (0..width as usize * height as usize * 3)
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        })
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(out)
}
