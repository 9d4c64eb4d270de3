//! URLs that clients use without the server in between.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use yunque_kernel::storage::{Disposition, PresignGet, PresignPut, Presigned, Storage};

use super::{V4, put, read, storage, storage_with};
use crate::support::oss::{BUCKET, Credentials, KEY_ID, OssEmulator, SECRET, now};

fn in_an_hour() -> DateTime<Utc> {
    now() + TimeDelta::hours(1)
}

fn upload(storage: &Storage, key: &str, content_type: &str, expires_at: DateTime<Utc>) -> Presigned {
    storage
        .presign_put(PresignPut {
            key,
            content_type,
            size: 1,
            expires_at,
            local_path: "",
        })
        .expect("signs")
}

fn download(storage: &Storage, key: &str, expires_at: DateTime<Utc>) -> Presigned {
    let disposition = Disposition::for_content_type("text/plain");
    storage
        .presign_get(PresignGet {
            key,
            file_name: "报告.txt",
            disposition,
            expires_at,
            local_path: "",
        })
        .expect("signs")
}

/// Uses a presigned URL as a client would; answers status and body. The connection goes to the
/// emulator whatever host the URL names.
async fn fetch(oss: &OssEmulator, presigned: &Presigned, body: &str) -> (u16, String) {
    let (status, _, body) = exchange(oss, presigned, body).await;
    (status, body)
}

async fn exchange(oss: &OssEmulator, presigned: &Presigned, body: &str) -> (u16, String, String) {
    let (_, rest) = presigned.url.split_once("://").expect("absolute");
    let (host, path) = rest.split_once('/').expect("has a path");
    let headers: String = presigned
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!(
        "{} /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        presigned.method,
        body.len()
    );
    let mut socket = tokio::net::TcpStream::connect(oss.address())
        .await
        .expect("connects");
    socket.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("complete");
    (
        head[9..12].parse().expect("a status"),
        head.to_owned(),
        body.to_owned(),
    )
}

#[tokio::test]
async fn temporary_credentials_sign_every_kind_of_request() {
    let credentials = Credentials {
        key_id: KEY_ID.into(),
        secret: SECRET.into(),
        token: Some("to/ke+n==".into()),
    };
    let oss = OssEmulator::start_with(BUCKET, credentials).await;
    for storage in both_versions(&oss) {
        uses_every_kind_of_request(&oss, &storage).await;
        assert!(oss.lose("b"));
    }
}

/// The same bucket, with signatures of version 1 and of version 4.
fn both_versions(oss: &OssEmulator) -> [Storage; 2] {
    [storage(oss), storage_with(oss, &[V4])]
}

async fn uses_every_kind_of_request(oss: &OssEmulator, storage: &Storage) {
    put(storage, "a", "hello").await.expect("put");
    // Two `x-oss-*` headers: the token and the range behaviour.
    assert_eq!(read(storage, "a", Some("bytes=1-")).await.expect("get"), "ello");
    assert_eq!(
        fetch(oss, &upload(storage, "b", "text/plain", in_an_hour()), "x")
            .await
            .0,
        200
    );
    assert_eq!(
        fetch(oss, &download(storage, "b", in_an_hour()), "").await,
        (200, "x".into())
    );
    storage.probe().await.expect("works");
}

#[tokio::test]
async fn presigned_uploads_create_once_and_only_what_was_signed() {
    let oss = OssEmulator::start().await;
    for storage in both_versions(&oss) {
        creates_once(&oss, &storage).await;
        assert!(oss.lose("files/1/a.png"));
    }
}

async fn creates_once(oss: &OssEmulator, storage: &Storage) {
    let signed = upload(storage, "files/1/a.png", "image/png", in_an_hour());
    let changed = |change: &dyn Fn(&mut Presigned)| {
        let mut other = signed.clone();
        change(&mut other);
        other
    };
    for other in [
        changed(&|p| drop(p.headers.remove("x-oss-forbid-overwrite"))),
        changed(&|p| drop(p.headers.insert("Content-Type".into(), "text/html".into()))),
        changed(&|p| p.url = p.url.replace("a.png", "b.png")),
        changed(&|p| p.method = "DELETE"),
        changed(&|p| p.url = p.url.replace("xpires=", "xpires=1")),
    ] {
        assert_eq!(fetch(oss, &other, "x").await.0, 403, "{other:?}");
    }
    let expired = upload(
        storage,
        "files/1/a.png",
        "image/png",
        now() - TimeDelta::seconds(2),
    );
    assert_eq!(fetch(oss, &expired, "x").await.0, 403);
    assert_eq!(fetch(oss, &signed, "first").await.0, 200);
    assert_eq!(fetch(oss, &signed, "second").await.0, 409);
    assert_eq!(oss.object("files/1/a.png").as_deref(), Some(b"first".as_slice()));
    assert_eq!(
        storage.head("files/1/a.png").await.expect("head").content_type,
        "image/png"
    );
}

#[tokio::test]
async fn presigned_downloads_carry_the_file_name() {
    let oss = OssEmulator::start().await;
    for storage in both_versions(&oss) {
        names_the_file(&oss, &storage).await;
    }
}

async fn names_the_file(oss: &OssEmulator, storage: &Storage) {
    put(storage, "a", "hello").await.expect("put");
    let signed = download(storage, "a", in_an_hour());
    let (status, head, body) = exchange(oss, &signed, "").await;
    assert_eq!((status, body.as_str()), (200, "hello"));
    assert!(
        head.contains("content-disposition: attachment; filename*=UTF-8''%E6%8A%A5%E5%91%8A.txt\r\n"),
        "{head}"
    );
    let mut renamed = signed.clone();
    renamed.url = renamed.url.replace(".txt", ".exe");
    assert_eq!(fetch(oss, &renamed, "").await.0, 403);
    let mut unsigned = signed;
    unsigned.url = storage.object_url("a");
    assert_eq!(fetch(oss, &unsigned, "").await.0, 403);
}

#[tokio::test]
async fn urls_of_the_public_endpoint_use_the_host_of_the_bucket() {
    let oss = OssEmulator::start().await;
    let storage = storage_with(&oss, &[("OSS_PUBLIC_ENDPOINT", "oss-cn-test.aliyuncs.com")]);
    put(&storage, "a/b", "hello")
        .await
        .expect("through the inner endpoint");
    let signed = download(&storage, "a/b", in_an_hour());
    assert!(
        signed
            .url
            .starts_with("https://test-bucket.oss-cn-test.aliyuncs.com/a/b?"),
        "{}",
        signed.url
    );
    assert_eq!(fetch(&oss, &signed, "").await, (200, "hello".into()));
}
