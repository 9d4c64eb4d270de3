//! Memory of the server while large bodies pass through it.

use futures_util::{future, stream};
use reqwest::Method;

use super::process::Site;
use super::*;

const PIECE: usize = 64 * 1024;

const HEAD: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big.bin\"\r\n\r\n";
const END: &str = "\r\n--b--\r\n";

/// A multipart body that is made while it is sent: `size` bytes of noise between two texts.
fn multipart_of(head: &str, size: usize, end: &'static str) -> (&'static str, reqwest::Body) {
    let piece = bytes::Bytes::from(vec![b'n'; PIECE]);
    let pieces = std::iter::once(bytes::Bytes::from(head.to_owned()))
        .chain(std::iter::repeat_n(piece, size / PIECE))
        .chain(std::iter::once(bytes::Bytes::from(end)));
    let body = reqwest::Body::wrap_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>)));
    ("multipart/form-data; boundary=b", body)
}

/// Wherever the bytes are put in a multipart body, they are not held in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_in_odd_places_need_little_memory() {
    let site = Site::new(None).await;
    let running = site.start(true).await;
    let client = running.client.with_token(&running.account().await);
    completed(&client, "warm", &noise(1, 200_000)).await;
    let before = running.memory_kib("VmRSS");
    let field = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    let pad = "--b\r\nX-Pad: ".to_owned();
    let after = format!("{HEAD}abc\r\n{}", field("more"));
    for (what, head) in [
        ("in front of everything", String::new()),
        ("in a head", pad),
        ("in a plain field", field("path")),
        ("in an unknown field", field("unknown")),
        ("after the file", after),
    ] {
        let (media, body) = multipart_of(&head, 200 * MIB, END);
        let request = client
            .request(Method::POST, "/file/upload/")
            .header("content-type", media)
            .body(body);
        // Refused, taken, or cut off; the answer is not the point.
        if let Ok(response) = request.send().await {
            assert!(response.status().as_u16() < 500, "{what}: {}", response.status());
        }
        let grown = running.memory_kib("VmHWM").saturating_sub(before);
        assert!(grown < 100 * 1024, "{what}: resident memory grew by {grown} KiB");
    }
    running.kill().await;
}

/// The contract's figure is for 1 GiB; what is held in memory does not depend on the size, so a
/// smaller file shows the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud_scenario_11_a_large_multipart_upload_needs_little_memory() {
    let size = 256 * MIB;
    let site = Site::new(None).await;
    let running = site.start(true).await;
    let access = running.account().await;
    let client = running.client.with_token(&access);
    // A small one first, so that everything is warm.
    completed(&client, "warm", &noise(1, 200_000)).await;
    let before = running.memory_kib("VmRSS");
    let (media, body) = multipart_of(HEAD, size, END);
    let request = client
        .request(Method::POST, "/file/upload/")
        .header("content-type", media)
        .body(body);
    let created = client.send(request).await.expect(201);
    assert_eq!(created["size"], size);
    let id = id_of(&created);
    let asked = format!("/file/{id}/");
    eventually("the upload ends", 120, || async {
        client.get(&asked).await.json()["upload_status"] == "completed"
    })
    .await;
    let grown = running.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "resident memory grew by {grown} KiB");
    // And on the way out.
    let link = client.get(&format!("/file/{id}/download/")).await.expect(200);
    let path = link["download_url"]
        .as_str()
        .unwrap()
        .splitn(4, '/')
        .nth(3)
        .unwrap()
        .to_owned();
    let mut response = running
        .client
        .request(Method::GET, &format!("/{path}"))
        .send()
        .await
        .unwrap();
    let mut read = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        read += chunk.len();
    }
    assert_eq!(read, size);
    let grown = running.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "resident memory grew by {grown} KiB");
    running.kill().await;
}

/// What a client sends as `POST /file/`, as it stands.
async fn post(client: &Client, document: bytes::Bytes) -> Option<u16> {
    let request = client
        .request(Method::POST, "/file/")
        .header("content-type", "application/json");
    let sent = request.body(document).send().await;
    sent.ok().map(|response| response.status().as_u16())
}

/// The promise is 400 MB for sixteen; contents that are decoded while they arrive need far less, and
/// nobody waits for memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_parallel_base64_uploads_need_little_memory() {
    let site = Site::new(None).await;
    let running = site.start(true).await;
    let client = running.client.with_token(&running.account().await);
    completed(&client, "warm", &noise(1, 200_000)).await;
    let before = running.memory_kib("VmRSS");
    let document = bytes::Bytes::from(item("a.bin", &noise(1, 10_000_000)).to_string());
    let uploads = (0..16).map(|_| post(&client, document.clone()));
    assert_eq!(future::join_all(uploads).await, [Some(201); 16]);
    let grown = running.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 100 * 1024, "resident memory grew by {grown} KiB");
    running.kill().await;
}

/// Parsed, a small value takes many times the room it takes as text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_countless_values_need_little_memory() {
    let site = Site::new(None).await;
    let running = site.start(true).await;
    let client = running.client.with_token(&running.account().await);
    completed(&client, "warm", &noise(1, 200_000)).await;
    let before = running.memory_kib("VmRSS");
    for piece in ["1,", "{},", "[[]],", "{\"file_content\":\"QUJD\"},"] {
        let document = format!("[{}", piece.repeat(60 * MIB / piece.len()));
        // The answer may be lost, because it does not wait for the rest.
        let status = post(&client, document.into()).await;
        assert!(matches!(status, None | Some(413)), "{piece}: {status:?}");
        let grown = running.memory_kib("VmHWM").saturating_sub(before);
        assert!(grown < 100 * 1024, "{piece}: resident memory grew by {grown} KiB");
    }
    running.kill().await;
}
