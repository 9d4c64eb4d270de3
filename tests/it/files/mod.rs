//! `/file/…`: every way in and out, what may go wrong on the way, and what is left behind.

mod access;
mod base64_input;
mod base64_stream;
mod batch;
mod content;
mod create;
mod deletion;
mod download;
mod durability;
mod folders;
mod idempotency;
mod json_input;
mod limits;
mod listing;
mod memory;
mod multipart;
mod multipart_input;
mod names;
mod one_file;
mod presign;
mod presign_oss;
pub(crate) mod process;
mod quota;
mod retry;
mod staging;
mod storage_faults;
mod sweeps;
mod upload_status;

use std::time::Duration;

use base64::Engine as _;
use sea_orm::{ConnectionTrait as _, Value as Bound};
use serde_json::{Value, json};
use yunque_kernel::Tx;
use yunque_kernel::db::dialect;
use yunque_kernel::queue::NewJob;

use crate::support::oss::OssEmulator;
use crate::support::server::PASSWORD;
use crate::support::{Client, Reply, TestServer, User, eventually};

const F5: [&str; 5] = ["id", "name", "content_type", "size", "upload_status"];
const F7: [&str; 7] = [
    "id",
    "name",
    "upload_status",
    "upload_error",
    "oss_url",
    "created_at",
    "updated_at",
];
const F10: [&str; 13] = [
    "id",
    "name",
    "content_type",
    "size",
    "oss_key",
    "oss_url",
    "upload_status",
    "upload_error",
    "created_at",
    "updated_at",
    "path",
    "sha256",
    "attempts",
];
const UNAVAILABLE: &str = "存储服务不可用";
const REFUSED: &str = "存储服务拒绝写入";
const LOST: &str = "暂存内容丢失";
const MIB: usize = 1 << 20;

fn b64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Bytes that no compression or repetition hides mistakes in.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// One valid object for `POST /file/`.
fn item(name: &str, bytes: &[u8]) -> Value {
    json!({ "name": name, "content_type": "image/jpeg", "size": bytes.len(), "file_content": b64(bytes) })
}

/// The keys of an object, exactly.
#[track_caller]
fn has_keys(object: &Value, keys: &[&str]) {
    let mut have: Vec<&str> = object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let mut want = keys.to_vec();
    have.sort_unstable();
    want.sort_unstable();
    assert_eq!(have, want, "{object}");
}

/// A 400 for one field, with exactly this text.
#[track_caller]
fn fault(reply: Reply, code: &str, field: &str, text: &str) {
    let body = reply.refused(400, code);
    assert_eq!(body["errors"], json!({ field: [text] }), "{body}");
    assert_eq!(body["error"], text, "{body}");
}

/// An error with exactly this text.
#[track_caller]
fn refusal(reply: Reply, status: u16, code: &str, text: &str) {
    let body = reply.refused(status, code);
    assert_eq!(body["error"], text, "{body}");
}

#[track_caller]
fn not_found(reply: Reply) {
    let body = reply.refused(404, "not_found");
    assert_eq!(
        (&body["error"], &body["detail"]),
        (&json!("文件不存在"), &json!("文件不存在"))
    );
}

#[track_caller]
fn id_of(body: &Value) -> i64 {
    body["id"].as_i64().unwrap_or_else(|| panic!("an id: {body}"))
}

async fn upload(client: &Client, name: &str, bytes: &[u8]) -> i64 {
    id_of(&client.post("/file/", item(name, bytes)).await.expect(201))
}

async fn file(client: &Client, id: i64) -> Value {
    client.get(&format!("/file/{id}/")).await.expect(200)
}

/// Waits for a state and hands the file on.
async fn reaches(client: &Client, id: i64, status: &str) -> Value {
    let asked = format!("/file/upload_status/?file_ids={id}");
    eventually(&format!("file {id} becomes {status}"), 30, || async {
        client.get(&asked).await.expect(200)[0]["upload_status"] == status
    })
    .await;
    file(client, id).await
}

async fn completed(client: &Client, name: &str, bytes: &[u8]) -> Value {
    let id = upload(client, name, bytes).await;
    reaches(client, id, "completed").await
}

/// Whole seconds later, settled.
async fn seconds_later(server: &TestServer, seconds: u64) {
    server.later(Duration::from_secs(seconds)).await;
}

/// A server on the emulator, and a user.
async fn on_oss(extra: &[(&str, &str)]) -> (OssEmulator, TestServer, User) {
    let oss = OssEmulator::start().await;
    let env = oss.env();
    let mut all: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    all.extend_from_slice(extra);
    let server = TestServer::with(&all).await;
    let user = server.user("alice").await;
    (oss, server, user)
}

async fn local(extra: &[(&str, &str)]) -> (TestServer, User) {
    let server = TestServer::with(extra).await;
    let user = server.user("alice").await;
    (server, user)
}

/// After the clock went further than a token lives.
async fn again(server: &TestServer, user: &User) -> User {
    server.login(&user.name, PASSWORD).await
}

/// A statement behind the server's back. `?` marks values on every database.
async fn sql(server: &TestServer, statement: &str, values: Vec<Bound>) -> u64 {
    let done = dialect::execute(server.app.ctx.db.writer(), statement, values).await;
    done.unwrap_or_else(|e| panic!("{statement}: {e}"))
}

async fn count(server: &TestServer, statement: &str, values: Vec<Bound>) -> i64 {
    let conn = server.app.ctx.db.writer();
    let statement = dialect::statement(conn.get_database_backend(), statement, values);
    let row = conn
        .query_one_raw(statement)
        .await
        .expect("a count")
        .expect("a row");
    row.try_get_by_index(0).expect("a number")
}

async fn files_in_table(server: &TestServer) -> i64 {
    count(server, "SELECT COUNT(*) FROM files", vec![]).await
}

async fn set_quota(server: &TestServer, user: &User, bytes: i64) {
    let values = vec![bytes.into(), user.id.into()];
    assert_eq!(
        sql(server, "UPDATE users SET quota = ? WHERE id = ?", values).await,
        1
    );
}

async fn used_space(client: &Client) -> i64 {
    client.get("/file/storage-info/").await.expect(200)["used_space"]
        .as_i64()
        .expect("a number")
}

/// Runs one job now.
async fn run_job(server: &TestServer, job: NewJob) {
    let queue = server.app.ctx.queue.clone();
    let enqueue = move |tx: Tx| {
        let (queue, job) = (queue.clone(), job.clone());
        async move { queue.enqueue(&tx, job).await }
    };
    server
        .app
        .ctx
        .db
        .write("test.enqueue", enqueue)
        .await
        .expect("enqueued");
    server.settle().await;
}

async fn sweep(server: &TestServer) {
    run_job(server, NewJob::new(&yunque_files::FilesSweep {})).await;
}

/// The object behind a key of the local backend.
fn stored(server: &TestServer, key: &str) -> Option<Vec<u8>> {
    std::fs::read(server.data.path().join("objects").join(key)).ok()
}

/// Objects of the local backend.
fn objects(server: &TestServer) -> usize {
    fn walk(folder: &std::path::Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return 0;
        };
        let one = |entry: std::fs::DirEntry| {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.path().is_dir() {
                walk(&entry.path())
            } else {
                usize::from(!hidden)
            }
        };
        entries.flatten().map(one).sum()
    }
    walk(&server.data.path().join("objects").join("files"))
}

/// Accepted bodies that wait in the staging folder.
fn staged_files(server: &TestServer) -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(server.data.path().join("staging")).expect("staging folder");
    let paths = folder.flatten().map(|entry| entry.path());
    paths
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| !n.to_string_lossy().starts_with('.'))
        })
        .collect()
}

async fn staged_rows(server: &TestServer) -> i64 {
    count(server, "SELECT COUNT(*) FROM staged_blobs", vec![]).await
}

/// `files/{user}/{32 hex}{extension}`
#[track_caller]
fn is_key(key: &Value, user: &User, extension: &str) {
    let key = key.as_str().unwrap_or_else(|| panic!("a key: {key}"));
    let rest = key
        .strip_prefix(&format!("files/{}/", user.id))
        .unwrap_or_else(|| panic!("{key}"));
    let hex = rest
        .strip_suffix(extension)
        .unwrap_or_else(|| panic!("{key} lacks {extension}"));
    let is_hex = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    assert!(is_hex, "{key}");
}

/// The first bytes of the answer to a request whose rest never comes.
async fn answer_to_a_begun(host: &str, request: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, request)
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let n = tokio::io::AsyncReadExt::read(&mut socket, &mut answer)
        .await
        .unwrap();
    String::from_utf8_lossy(&answer[..n]).into_owned()
}
