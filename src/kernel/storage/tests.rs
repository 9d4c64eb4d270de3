//! The handle over the local backend, and the URLs of the OSS one. OSS itself is tested against an
//! emulator in the integration tests.

use std::sync::LazyLock;

use futures_util::{TryStreamExt as _, stream};
use secrecy::SecretString;

use super::*;
use crate::config::FromSetting as _;

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::ephemeral);

fn place(dir: &Path) -> LocalPlace<'_> {
    LocalPlace {
        data_dir: dir,
        public_base_url: "http://localhost:8000/",
        keys: &KEYS,
    }
}

fn oss(change: impl FnOnce(&mut OssSettings)) -> Storage {
    let mut settings = OssSettings {
        key_id: "44CF9590006BF252F707".into(),
        key_secret: SecretString::from("OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV"),
        security_token: None,
        bucket: "oss-example".into(),
        endpoint: Endpoint::from_setting("oss-cn-hangzhou-internal.aliyuncs.com").expect("valid"),
        public_endpoint: None,
        custom_domain: None,
        region: None,
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
    };
    change(&mut settings);
    Storage::open(
        &StorageSettings::Oss(Box::new(settings)),
        place(Path::new("/nowhere")),
    )
    .expect("opens")
}

fn endpoint(text: &str) -> Option<Endpoint> {
    Some(Endpoint::from_setting(text).expect("valid"))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 500_000_000).expect("in range")
}

#[tokio::test]
async fn the_local_backend_stores_and_passes_its_probe() {
    let dir = tempfile::tempdir().expect("temp folder");
    let storage = Storage::open(&StorageSettings::Local, place(dir.path())).expect("opens");
    let body = stream::iter([Ok(Bytes::from_static(b"hello"))]);
    let outcome = storage
        .put("files/1/a.txt", "text/plain", 5, body)
        .await
        .expect("put");
    assert_eq!(
        outcome.sha256_hex(),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    let object = storage
        .get("files/1/a.txt", ByteRange::parse("bytes=1-2"))
        .await
        .expect("get");
    assert_eq!(
        (object.size, object.range, object.head.size),
        (2, Some((1, 2)), 5)
    );
    storage.probe().await.expect("works");
    storage.ping().await.expect("works");
    assert_eq!(
        storage.object_url("files/1/a.txt"),
        "http://localhost:8000/oss/local/files/1/a.txt"
    );
    for key in ["../x", "/etc/passwd", "a b"] {
        assert!(
            matches!(storage.head(key).await, Err(StorageError::Rejected { .. })),
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_local_presigned_upload_works_once_with_its_exact_length() {
    let dir = tempfile::tempdir().expect("temp folder");
    let storage = Storage::open(&StorageSettings::Local, place(dir.path())).expect("opens");
    let put = PresignPut {
        key: "files/1/a.txt",
        content_type: "text/plain",
        size: 5,
        expires_at: at(1000),
        local_path: "/file/7/content/",
    };
    let presigned = storage.presign_put(put).expect("signs");
    assert_eq!(
        (presigned.method, presigned.expires_at.timestamp_subsec_nanos()),
        ("PUT", 0)
    );
    assert_eq!(presigned.headers["Content-Type"], "text/plain");
    let (front, query) = presigned.url.split_once('?').expect("has a query");
    assert_eq!(front, "http://localhost:8000/file/7/content/");

    let local = storage.local().expect("local");
    let grant = local
        .verify("PUT", "/file/7/content/", query, at(999))
        .expect("valid");
    assert!(grant.allows_type(Some("text/plain")) && !grant.allows_type(Some("text/html")));
    assert!(!grant.allows_type(None));
    let body = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    assert!(matches!(
        local.receive(&grant, body("hell")).await,
        Err(StorageError::Truncated { .. })
    ));
    assert!(matches!(
        local.receive(&grant, body("hello!")).await,
        Err(StorageError::TooLong { .. })
    ));
    local.receive(&grant, body("hello")).await.expect("stored");
    assert!(matches!(
        local.receive(&grant, body("other")).await,
        Err(StorageError::AlreadyExists)
    ));
    let read: Vec<Bytes> = storage
        .get("files/1/a.txt", None)
        .await
        .expect("get")
        .stream
        .try_collect()
        .await
        .expect("read");
    assert_eq!(read.concat(), b"hello");
}

#[test]
fn urls_name_the_public_side_of_the_bucket() {
    let key = "files/1/a.png";
    let url = |change: fn(&mut OssSettings)| oss(change).object_url(key);
    assert_eq!(
        url(|_| ()),
        "https://oss-example.oss-cn-hangzhou-internal.aliyuncs.com/files/1/a.png"
    );
    assert_eq!(
        url(|s| s.public_endpoint = endpoint("oss-cn-hangzhou.aliyuncs.com")),
        "https://oss-example.oss-cn-hangzhou.aliyuncs.com/files/1/a.png"
    );
    assert_eq!(
        url(|s| s.custom_domain = endpoint("files.example.com")),
        "https://files.example.com/files/1/a.png"
    );
    assert_eq!(
        url(|s| s.public_endpoint = endpoint("http://127.0.0.1:9000")),
        "http://127.0.0.1:9000/oss-example/files/1/a.png"
    );
    let storage = oss(|s| s.custom_domain = endpoint("files.example.com"));
    assert_eq!(
        storage.place(),
        "bucket oss-example at https://oss-example.oss-cn-hangzhou-internal.aliyuncs.com"
    );
}

#[test]
fn presigned_downloads_are_attachments_unless_harmless() {
    let storage = oss(|s| s.custom_domain = endpoint("files.example.com"));
    let get = |disposition| PresignGet {
        key: "oss-api.pdf",
        file_name: "报告.pdf",
        disposition,
        expires_at: at(1_141_889_120),
        local_path: "",
    };
    // The signature of Aliyun's own example for a URL with these values.
    let inline = storage.presign_get(get(Disposition::Inline)).expect("signs");
    assert_eq!(
        inline.url,
        "https://files.example.com/oss-api.pdf?Expires=1141889120&OSSAccessKeyId=44CF9590006BF252F707\
         &Signature=EwaNTn1erJGkimiJ9WmXgwnANLc%3D"
    );
    assert_eq!(inline.expires_at.timestamp(), 1_141_889_120);
    let saved = storage
        .presign_get(get(Disposition::Attachment))
        .expect("signs")
        .url;
    let parameter = "&response-content-disposition=attachment%3B%20filename%2A%3DUTF-8%27%27%25E6%258A%25A5%25E5%2591%258A.pdf";
    assert!(saved.ends_with(parameter), "{saved}");
}

#[test]
fn presigned_uploads_cannot_replace() {
    let put = PresignPut {
        key: "a",
        content_type: "image/png",
        size: 1,
        expires_at: at(0),
        local_path: "",
    };
    let presigned = oss(|_| ()).presign_put(put).expect("signs");
    let headers: Vec<_> = presigned
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        headers,
        [("Content-Type", "image/png"), ("x-oss-forbid-overwrite", "true")]
    );
    assert!(oss(|_| ()).presign_put(PresignPut { key: "a?b", ..put }).is_err());
}

#[test]
fn attempts_get_time_by_size() {
    assert_eq!(attempt_timeout(0), Duration::from_secs(30));
    assert_eq!(attempt_timeout(256 * 1024), Duration::from_secs(31));
    assert_eq!(attempt_timeout(1 << 30), Duration::from_secs(30 + 4096));
    assert!(attempt_timeout(u64::MAX) > Duration::from_secs(3600));
}
