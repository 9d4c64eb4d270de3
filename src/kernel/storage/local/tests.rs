//! The local backend against a real folder.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::*;

fn store() -> (tempfile::TempDir, LocalStore) {
    let dir = tempfile::tempdir().expect("temp folder");
    let store = LocalStore::open(dir.path()).expect("opens");
    (dir, store)
}

fn body(text: &'static str) -> ByteStream {
    let (front, back) = text.as_bytes().split_at(text.len() / 2);
    stream::iter([Ok(Bytes::from_static(front)), Ok(Bytes::from_static(back))]).boxed()
}

async fn read(store: &LocalStore, key: &str, range: Option<&str>) -> Result<(String, u64), StorageError> {
    let range = range.map(|r| ByteRange::parse(r).expect("valid"));
    let object = store.get(key, range).await?;
    let pieces: Vec<Bytes> = object.stream.try_collect().await.expect("readable");
    Ok((String::from_utf8(pieces.concat()).expect("text"), object.size))
}

fn leftovers(store: &LocalStore) -> usize {
    fs::read_dir(store.root().join(TEMP)).expect("exists").count()
}

#[tokio::test]
async fn objects_are_written_read_in_parts_and_removed() {
    let (_dir, store) = store();
    let sums = store
        .put(
            "files/1/a.txt",
            "text/plain",
            10,
            body("0123456789"),
            Existing::Replace,
        )
        .await
        .expect("put");
    assert_eq!(sums.sha256[..3], [0x84, 0xd8, 0x98]);
    let head = store.head("files/1/a.txt").await.expect("head");
    assert_eq!((head.size, head.content_type.as_str()), (10, "text/plain"));
    assert_eq!(
        read(&store, "files/1/a.txt", None).await.expect("get"),
        ("0123456789".to_owned(), 10)
    );
    assert_eq!(
        read(&store, "files/1/a.txt", Some("bytes=2-4"))
            .await
            .expect("get"),
        ("234".to_owned(), 3)
    );
    assert_eq!(
        read(&store, "files/1/a.txt", Some("bytes=-3"))
            .await
            .expect("get"),
        ("789".to_owned(), 3)
    );
    let outside = read(&store, "files/1/a.txt", Some("bytes=10-")).await;
    assert!(matches!(outside, Err(StorageError::BadRange { size: 10 })));

    store.delete("files/1/a.txt").await.expect("delete");
    store.delete("files/1/a.txt").await.expect("delete again");
    assert!(matches!(
        store.head("files/1/a.txt").await,
        Err(StorageError::NotFound)
    ));
    assert_eq!(
        fs::read_dir(store.root().join("files/1"))
            .expect("exists")
            .count(),
        0
    );
    assert_eq!(leftovers(&store), 0);
}

#[tokio::test]
async fn a_second_write_replaces_or_is_refused() {
    let (_dir, store) = store();
    store
        .put("k", "text/plain", 2, body("v1"), Existing::Keep)
        .await
        .expect("put");
    let second = store.put("k", "text/html", 2, body("v2"), Existing::Keep).await;
    assert!(matches!(second, Err(StorageError::AlreadyExists)));
    assert_eq!(store.head("k").await.expect("head").content_type, "text/plain");
    store
        .put("k", "text/html", 2, body("v3"), Existing::Replace)
        .await
        .expect("put");
    assert_eq!(read(&store, "k", None).await.expect("get").0, "v3");
    assert_eq!(store.head("k").await.expect("head").content_type, "text/html");
    assert_eq!(leftovers(&store), 0);
}

#[tokio::test]
async fn of_two_creators_in_a_race_one_wins() {
    let (_dir, store) = store();
    let tries = (0..16).map(|_| store.put("k", "text/plain", 4, body("once"), Existing::Keep));
    let ends = futures_util::future::join_all(tries).await;
    assert_eq!(ends.iter().filter(|e| e.is_ok()).count(), 1);
    assert!(
        ends.iter()
            .all(|e| matches!(e, Ok(_) | Err(StorageError::AlreadyExists)))
    );
    assert_eq!(leftovers(&store), 0);
}

#[tokio::test]
async fn many_small_objects_at_once_are_each_stored_or_refused() {
    let (_dir, store) = store();
    let names: Vec<String> = (0..200).map(|n| format!("many/{}/{n}.txt", n % 3)).collect();
    // One of them cannot be stored: its folder is a file.
    store
        .put("many/file", "text/plain", 1, body("x"), Existing::Keep)
        .await
        .expect("put");
    let puts = names
        .iter()
        .map(|key| store.put(key, "text/plain", 4, body("many"), Existing::Replace));
    let refused = store.put("many/file/x", "text/plain", 4, body("many"), Existing::Replace);
    let (stored, refused) = tokio::join!(futures_util::future::join_all(puts), refused);
    assert!(stored.iter().all(Result::is_ok) && refused.is_err());
    for key in &names {
        assert_eq!(read(&store, key, None).await.expect("get").0, "many");
    }
    assert_eq!(leftovers(&store), 0);
}

#[tokio::test]
async fn the_type_that_was_given_is_the_type_whatever_the_name_says() {
    let (_dir, store) = store();
    let given = [
        ("a.txt", "text/plain"),
        ("a.txt", "image/png"),
        ("a.txt", "application/octet-stream"),
        ("a.txt", "text/plain"),
        ("plain", "application/octet-stream"),
        ("plain", "text/html"),
        ("plain", "application/octet-stream"),
        ("page.html", "image/png"),
    ];
    for (key, content_type) in given {
        store
            .put(key, content_type, 1, body("x"), Existing::Replace)
            .await
            .expect("put");
        assert_eq!(store.head(key).await.expect("head").content_type, content_type);
    }
    store.delete("page.html").await.expect("delete");
    store
        .put("page.html", "text/html", 1, body("x"), Existing::Keep)
        .await
        .expect("put");
    assert_eq!(
        store.head("page.html").await.expect("head").content_type,
        "text/html"
    );
}

#[test]
fn starts_at_the_same_time_agree_on_who_the_folder_is() {
    let dir = tempfile::tempdir().expect("temp folder");
    let ids: Vec<Uuid> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| folder_identity(dir.path(), ".id").expect("an id")))
            .collect();
        starts.into_iter().map(|s| s.join().expect("ends")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test]
async fn a_body_of_another_length_leaves_nothing() {
    let (_dir, store) = store();
    let short = store
        .put("k", "text/plain", 9, body("abc"), Existing::Replace)
        .await;
    assert!(matches!(
        short,
        Err(StorageError::Truncated {
            declared: 9,
            actual: 3
        })
    ));
    let long = store
        .put("k", "text/plain", 2, body("abc"), Existing::Replace)
        .await;
    assert!(matches!(long, Err(StorageError::TooLong { declared: 2 })));
    let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(io::Error::other("gone"))]).boxed();
    let broken = store.put("k", "text/plain", 3, broken, Existing::Replace).await;
    assert!(matches!(broken, Err(StorageError::Source(_))));
    assert!(matches!(store.head("k").await, Err(StorageError::NotFound)));
    assert_eq!(leftovers(&store), 0);
}

#[tokio::test]
async fn empty_objects_exist() {
    let (_dir, store) = store();
    store
        .put("empty", "text/plain", 0, stream::empty().boxed(), Existing::Keep)
        .await
        .expect("put");
    assert_eq!(
        read(&store, "empty", None).await.expect("get"),
        (String::new(), 0)
    );
    assert!(matches!(
        read(&store, "empty", Some("bytes=0-")).await,
        Err(StorageError::BadRange { size: 0 })
    ));
}

#[tokio::test]
async fn only_files_are_objects() {
    let (dir, store) = store();
    store
        .put("a/b", "text/plain", 1, body("x"), Existing::Replace)
        .await
        .expect("put");
    assert!(matches!(store.head("a").await, Err(StorageError::NotFound)));
    assert!(matches!(store.head("a/b/c").await, Err(StorageError::NotFound)));
    store.delete("a/b/c").await.expect("nothing to do");
    let under_a_file = store
        .put("a/b/c", "text/plain", 1, body("x"), Existing::Replace)
        .await;
    assert!(under_a_file.is_err());
    fs::write(dir.path().join("secret"), "x").expect("writes");
    std::os::unix::fs::symlink(dir.path().join("secret"), store.root().join("link")).expect("links");
    assert!(matches!(
        store.get("link", None).await,
        Err(StorageError::NotFound)
    ));
}

#[test]
fn the_identity_is_made_once_and_shared() {
    let (dir, store) = store();
    assert_eq!(
        LocalStore::open(dir.path()).expect("opens").identity(),
        store.identity()
    );
    let (_other, other) = self::store();
    assert_ne!(other.identity(), store.identity());
    fs::write(store.root().join(IDENTITY), "junk").expect("writes");
    assert!(LocalStore::open(dir.path()).is_err());
}

#[test]
fn full_and_forbidden_disks_are_worth_a_retry() {
    for kind in [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
    ] {
        assert!(
            io_error("write", Path::new("/x"), kind.into()).is_retryable(),
            "{kind}"
        );
    }
    assert!(matches!(
        io_error("read", Path::new("/x"), ErrorKind::NotFound.into()),
        StorageError::NotFound
    ));
    assert!(io_error("write", Path::new("/x"), ErrorKind::NotFound.into()).is_retryable());
}

#[test]
fn times_outside_the_calendar_are_unknown() {
    let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(moment(after(1)), DateTime::from_timestamp(1, 0));
    assert_eq!(moment(after(1 << 43)), None, "the year 280697");
    assert_eq!(moment(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
}

#[tokio::test]
async fn a_panic_on_the_blocking_pool_is_named() {
    let ended = blocking(|| -> io::Result<()> { panic!("on purpose") }).await;
    assert_eq!(ended.expect_err("panicked").to_string(), "panic: on purpose");
}

#[tokio::test]
async fn only_what_a_dead_writer_left_is_swept() {
    let (_dir, store) = store();
    let made = |name: &str, age| {
        let file = File::create(store.root().join(TEMP).join(name)).expect("made");
        file.set_modified(SystemTime::now() - age).expect("an old time");
    };
    made("old", TEMP_MAX_AGE + Duration::from_secs(60));
    made("young", TEMP_MAX_AGE / 2);
    store.sweep().await.expect("swept");
    assert_eq!(leftovers(&store), 1);
    assert!(store.root().join(TEMP).join("young").exists());
}
