//! Objects on their way: content, lengths, error classes, silence and broken connections.

use std::io;
use std::time::{Duration, Instant};

use futures_util::{TryStreamExt as _, stream};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use yunque_kernel::storage::{ByteRange, CorsAnswer, Storage, StorageError};

use super::{V4, body, open, put, read, storage, storage_with};
use crate::support::oss::{BUCKET, CorsRule, KEY_ID, OssEmulator, SECRET, run};

#[tokio::test]
async fn objects_are_stored_read_in_parts_and_removed() {
    for more in [&[][..], &[V4]] {
        let oss = OssEmulator::start().await;
        stores_reads_and_removes(&oss, &storage_with(&oss, more)).await;
    }
}

async fn stores_reads_and_removes(oss: &OssEmulator, storage: &Storage) {
    let outcome = storage
        .put("files/1/a.txt", "text/plain", 5, body("hello"))
        .await
        .expect("put");
    assert_eq!(
        outcome.sha256_hex(),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    assert_eq!(oss.object("files/1/a.txt").as_deref(), Some(b"hello".as_slice()));
    let head = storage.head("files/1/a.txt").await.expect("head");
    assert_eq!((head.size, head.content_type.as_str()), (5, "text/plain"));
    assert!(head.last_modified.is_some());
    assert_eq!(read(storage, "files/1/a.txt", None).await.expect("get"), "hello");
    assert_eq!(
        read(storage, "files/1/a.txt", Some("bytes=1-2"))
            .await
            .expect("get"),
        "el"
    );
    assert_eq!(
        read(storage, "files/1/a.txt", Some("bytes=-2"))
            .await
            .expect("get"),
        "lo"
    );
    let part = storage
        .get("files/1/a.txt", ByteRange::parse("bytes=3-99"))
        .await
        .expect("get");
    assert_eq!((part.range, part.size, part.head.size), (Some((3, 4)), 2, 5));
    let outside = read(storage, "files/1/a.txt", Some("bytes=5-")).await;
    assert!(
        matches!(outside, Err(StorageError::BadRange { .. })),
        "{outside:?}"
    );

    put(storage, "files/1/a.txt", "second")
        .await
        .expect("an attempt may be repeated");
    assert_eq!(oss.put_count("files/1/a.txt"), 2);
    storage.delete("files/1/a.txt").await.expect("delete");
    storage
        .delete("files/1/a.txt")
        .await
        .expect("gone counts as done");
    assert!(matches!(
        storage.head("files/1/a.txt").await,
        Err(StorageError::NotFound)
    ));
    assert!(matches!(
        storage.get("files/1/a.txt", None).await.map(|_| ()),
        Err(StorageError::NotFound)
    ));
    put(storage, "lost", "x").await.expect("put");
    assert!(oss.lose("lost"));
    assert!(matches!(storage.head("lost").await, Err(StorageError::NotFound)));
    put(storage, "empty", "").await.expect("an empty object");
    assert_eq!(read(storage, "empty", None).await.expect("get"), "");
}

#[tokio::test]
async fn a_body_of_another_length_is_never_stored() {
    let oss = OssEmulator::start().await;
    let storage = storage(&oss);
    let short = storage.put("k", "text/plain", 9, body("hello")).await;
    assert!(
        matches!(
            short,
            Err(StorageError::Truncated {
                declared: 9,
                actual: 5
            })
        ),
        "{short:?}"
    );
    let long = storage.put("k", "text/plain", 4, body("hello")).await;
    assert!(
        matches!(long, Err(StorageError::TooLong { declared: 4 })),
        "{long:?}"
    );
    let not_empty = storage.put("k", "text/plain", 0, body("hello")).await;
    assert!(
        matches!(not_empty, Err(StorageError::TooLong { declared: 0 })),
        "{not_empty:?}"
    );
    let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(io::Error::other("gone"))]);
    let broken = storage.put("k", "text/plain", 3, broken).await;
    assert!(matches!(broken, Err(StorageError::Source(_))), "{broken:?}");
    assert!(oss.objects().is_empty());
}

#[tokio::test]
async fn passing_failures_are_told_from_final_ones() {
    let oss = OssEmulator::start().await;
    let storage = storage(&oss);
    oss.fail_next(3, 503);
    for _ in 0..3 {
        let error = put(&storage, "k", "hello").await.expect_err("503");
        assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
    }
    put(&storage, "k", "hello").await.expect("recovered");
    assert_eq!((oss.put_attempts("k"), oss.put_count("k")), (4, 1));
    for (status, retryable) in [
        (500, true),
        (429, true),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
    ] {
        oss.fail_always(status);
        for error in [
            put(&storage, "k", "hello").await.expect_err("fails"),
            storage.head("k").await.expect_err("fails"),
            storage.delete("k").await.expect_err("fails"),
            read(&storage, "k", None).await.expect_err("fails"),
        ] {
            assert_eq!(error.is_retryable(), retryable, "{status}: {error}");
            assert!(
                !matches!(error, StorageError::NotFound),
                "a missing bucket is no missing object"
            );
        }
    }
    oss.recover();
    let wrong = storage_with(&oss, &[("ALIYUN_ACCESS_KEY_SECRET", "wrong")]);
    let fault = wrong.probe().await.expect_err("refused");
    assert_eq!(fault.step, "put");
    assert!(fault.remedy().contains("ALIYUN_ACCESS_KEY_SECRET"), "{fault}");
    let wrong = storage_with(&oss, &[("OSS_BUCKET_NAME", "other-bucket")]);
    assert!(wrong.ping().await.is_err());
    storage.ping().await.expect("works");
}

#[tokio::test]
async fn silence_and_broken_connections_are_worth_a_retry() {
    let oss = OssEmulator::start().await;
    let storage = storage_with(&oss, &[("OSS_READ_TIMEOUT", "300ms")]);
    oss.stall(true);
    let started = Instant::now();
    let short = Duration::from_millis(300);
    let error = storage
        .put_within(short, "k", "text/plain", 5, body("hello"))
        .await
        .expect_err("stalled");
    assert!(error.is_retryable(), "{error}");
    assert!(
        read(&storage, "k", None)
            .await
            .expect_err("stalled")
            .is_retryable()
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    oss.recover();

    oss.cut_after(10);
    let long = "x".repeat(4096);
    assert!(put(&storage, "k", &long).await.expect_err("cut").is_retryable());
    assert!(oss.objects().is_empty());
    oss.recover();
    put(&storage, "k", &long).await.expect("recovered");
    oss.cut_after(1000);
    let object = storage.get("k", None).await.expect("the head comes");
    let body: Result<Vec<Bytes>, _> = object.stream.try_collect().await;
    assert!(body.is_err(), "a torso is no object");
    oss.recover();
    oss.slow(1);
    let object = storage.get("k", None).await.expect("the head comes");
    let body: Result<Vec<Bytes>, _> = object.stream.try_collect().await;
    assert_eq!(body.expect_err("too slow").kind(), io::ErrorKind::TimedOut);

    let nobody = {
        let oss = OssEmulator::start().await;
        storage_with(&oss, &[])
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        put(&nobody, "k", "hello")
            .await
            .expect_err("refused")
            .is_retryable()
    );
}

#[tokio::test]
async fn large_objects_stream() {
    const PIECES: u64 = 256;
    let oss = OssEmulator::start().await;
    let storage = storage(&oss);
    let piece = Bytes::from(vec![7_u8; 64 * 1024]);
    let size = PIECES * piece.len() as u64;
    let body = stream::iter((0..PIECES).map(move |_| Ok(piece.clone())));
    storage
        .put("large", "application/octet-stream", size, body)
        .await
        .expect("put");
    assert_eq!(oss.objects()["large"].size, size);
    let object = storage.get("large", None).await.expect("get");
    let read = object
        .stream
        .try_fold(0, |sum, piece| async move { Ok(sum + piece.len() as u64) })
        .await;
    assert_eq!(read.expect("readable"), size);
}

#[tokio::test]
async fn cors_rules_of_the_bucket_are_read() {
    let oss = OssEmulator::start().await;
    let storage = storage(&oss);
    let origin = "https://app.example.com";
    assert!(matches!(
        storage.cors_allows_put(origin).await,
        CorsAnswer::Refused
    ));
    let rule = CorsRule {
        origin: origin.into(),
        methods: vec!["PUT".into()],
        headers: vec!["*".into()],
    };
    oss.set_cors(vec![rule]);
    assert!(matches!(
        storage.cors_allows_put(origin).await,
        CorsAnswer::Allowed
    ));
    assert!(matches!(
        storage.cors_allows_put("https://other.example.com").await,
        CorsAnswer::Refused
    ));
    let version_4 = storage_with(&oss, &[V4]);
    assert!(matches!(
        version_4.cors_allows_put(origin).await,
        CorsAnswer::Allowed
    ));
    oss.fail_next(1, 403);
    assert!(matches!(
        storage.cors_allows_put(origin).await,
        CorsAnswer::Unknown(_)
    ));
}

#[tokio::test]
async fn scripts_command_the_emulator_over_http() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut server = JoinSet::new();
    server.spawn(run(listener));
    let endpoint = format!("http://{address}");
    let storage = open(&[
        ("ALIYUN_ACCESS_KEY", KEY_ID),
        ("ALIYUN_ACCESS_KEY_SECRET", SECRET),
        ("OSS_ENDPOINT", &endpoint),
        ("OSS_BUCKET_NAME", BUCKET),
    ]);
    let command = async |path: &str| {
        let mut socket = tokio::net::TcpStream::connect(address).await.expect("connects");
        let request = format!("GET /-/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("answers");
        answer
    };
    assert!(
        command("fail_next?count=1&status=500")
            .await
            .starts_with("HTTP/1.1 204")
    );
    assert!(
        put(&storage, "k", "hello")
            .await
            .expect_err("commanded")
            .is_retryable()
    );
    put(&storage, "k", "hello").await.expect("once only");
    command("fail_always?status=403").await;
    assert!(
        !put(&storage, "k", "hello")
            .await
            .expect_err("commanded")
            .is_retryable()
    );
    command("recover").await;
    put(&storage, "k", "hello").await.expect("recovered");
    assert!(command("objects").await.ends_with("{\"k\": 5}\n"));
    assert!(command("puts").await.ends_with("{\"k\": 2}\n"));
}
