//! `/api/chat/upload/`: files first, then messages that name them.

use std::time::Duration;

use super::*;
use crate::support::server::PASSWORD;
use crate::support::{eventually, sql};

const UPLOAD: &str = "/api/chat/upload/";
const LIMIT: usize = 20 * 1024 * 1024;
/// One transparent pixel.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01D\0;";

async fn upload(user: &User, name: &str, bytes: &[u8]) -> Reply {
    user.client.multipart(UPLOAD, &[], name, bytes).await
}

async fn used(user: &User) -> i64 {
    let shown = user.client.get("/file/storage-info/").await.expect(200);
    shown["used_space"].as_i64().expect("a number")
}

async fn is_there(srv: &TestServer, url: &str) -> bool {
    srv.client.get(url).await.status == 200
}

#[track_caller]
fn url_of(uploaded: &Value) -> String {
    uploaded["file_url"].as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn a_file_is_stored_under_a_name_of_the_servers() {
    let s = Stage::set().await;
    let bytes = b"%PDF-1.7 of the year".as_slice();
    let done = upload(&s.bob, "../../年报.pdf", bytes).await.expect(201);
    covers(
        &done,
        &json!({ "file_name": "年报.pdf", "file_size": bytes.len(), "message_type": "file" }),
    );
    let url = url_of(&done);
    let folder = format!("{}/media/chat_files/", s.srv.client.base());
    let name = url.strip_prefix(&folder).unwrap_or_else(|| panic!("{url}"));
    assert!(!name.contains('/') && name.ends_with(".pdf"), "{name}");
    let shown = s.srv.client.get(&url).await;
    assert_eq!((shown.status, shown.bytes.as_slice()), (200, bytes));
    assert!(shown.header("content-disposition").starts_with("attachment"));
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    assert_eq!(used(&s.bob).await, i64::try_from(bytes.len()).unwrap());

    let body = json!({
        "content": "", "message_type": done["message_type"], "file_url": done["file_url"],
        "file_name": done["file_name"], "file_size": done["file_size"],
    });
    let sent = send(&s.bob, s.room, body).await.expect(201);
    assert_eq!(sent["file_url"], done["file_url"]);
}

#[tokio::test]
async fn pictures_are_known_by_their_bytes() {
    let s = Stage::set().await;
    for (name, bytes, kind) in [
        ("a.gif", GIF, "image"),
        ("a.txt", GIF, "image"),
        ("a.png", b"I am a picture".as_slice(), "file"),
        (
            "a.svg",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>",
            "file",
        ),
        ("a.html", b"<html><script>alert(1)</script>", "file"),
    ] {
        let done = upload(&s.bob, name, bytes).await.expect(201);
        assert_eq!(done["message_type"], kind, "{name}");
        let shown = s.srv.client.get(&url_of(&done)).await;
        assert_eq!(shown.status, 200, "{name}");
        let attached = shown.header("content-disposition").starts_with("attachment");
        assert_eq!(attached, kind == "file", "{name}");
        if kind == "image" {
            assert_eq!(shown.header("content-type"), "image/gif");
        }
        assert_eq!(shown.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn uploads_are_checked() {
    let s = Stage::set().await;
    let missing = s.bob.client.post(UPLOAD, json!({})).await;
    assert!(matches!(missing.status, 400 | 415), "{}", missing.text());
    let anonymous = s.srv.client.multipart(UPLOAD, &[], "a.txt", b"x").await;
    anonymous.refused_with(401, "not_authenticated", "未提供认证信息");
    let largest = vec![b'x'; LIMIT];
    let done = upload(&s.bob, "largest.bin", &largest).await.expect(201);
    assert_eq!(done["file_size"], LIMIT);
    let larger = vec![b'x'; LIMIT + 1];
    upload(&s.bob, "larger.bin", &larger).await.expect(413);
    assert_eq!(used(&s.bob).await, i64::try_from(LIMIT).unwrap());
}

#[tokio::test]
async fn uploads_fit_into_the_quota() {
    let s = Stage::set().await;
    let set = format!("UPDATE users SET quota = 100 WHERE id = {}", s.bob.id);
    sql::execute(&s.srv, &set).await;
    upload(&s.bob, "a.bin", &[1; 60]).await.expect(201);
    upload(&s.bob, "b.bin", &[1; 41])
        .await
        .refused_with(400, "quota_exceeded", "存储空间不足");
    upload(&s.bob, "c.bin", &[1; 40]).await.expect(201);
    assert_eq!(used(&s.bob).await, 100);
}

#[tokio::test]
async fn uploads_have_the_rate_of_files() {
    let s = Stage::with(&[("RATE_LIMIT_FILE_CREATE", "2/h")]).await;
    for _ in 0..2 {
        upload(&s.bob, "a.txt", b"x").await.expect(201);
    }
    upload(&s.bob, "a.txt", b"x").await.refused(429, "throttled");
    upload(&s.alice, "a.txt", b"x").await.expect(201);
}

#[tokio::test]
async fn a_file_goes_with_its_last_message() {
    let s = Stage::set().await;
    let done = upload(&s.bob, "a.txt", b"shared").await.expect(201);
    let url = url_of(&done);
    let body = json!({ "content": "", "message_type": "file", "file_url": url, "file_name": "a.txt" });
    let one = send(&s.bob, s.room, body.clone()).await.expect(201);
    let two = send(&s.bob, s.room, body).await.expect(201);
    delete(&s.bob, &one).await.expect(200);
    s.srv.settle().await;
    assert!(is_there(&s.srv, &url).await, "another message names it");
    delete(&s.bob, &two).await.expect(200);
    eventually("the file is gone", 20, || async { !is_there(&s.srv, &url).await }).await;
    eventually("so is its weight", 20, || async { used(&s.bob).await == 0 }).await;
}

#[tokio::test]
async fn a_file_that_no_message_names_is_swept_after_a_day() {
    let s = Stage::set().await;
    let named = url_of(&upload(&s.bob, "a.txt", b"named").await.expect(201));
    let forgotten = url_of(&upload(&s.bob, "b.txt", b"forgotten").await.expect(201));
    let body = json!({ "content": "", "message_type": "file", "file_url": named, "file_name": "a.txt" });
    send(&s.bob, s.room, body).await.expect(201);
    s.srv.later(Duration::from_secs(23 * 3600)).await;
    assert!(is_there(&s.srv, &forgotten).await);
    s.srv.later(Duration::from_secs(3 * 3600)).await;
    eventually("it is swept", 20, || async {
        !is_there(&s.srv, &forgotten).await
    })
    .await;
    assert!(is_there(&s.srv, &named).await);
    let bob = s.srv.login("bob", PASSWORD).await;
    eventually("its place is free", 20, || async { used(&bob).await == 5 }).await;
}
