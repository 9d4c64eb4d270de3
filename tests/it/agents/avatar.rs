//! `POST /api/users/upload_avatar/`.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::support::sql;

const PATH: &str = "/api/users/upload_avatar/";
const MAX: usize = 2 << 20;

/// The smallest GIF: one transparent pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// A GIF of exactly `size` bytes: the surplus is what stands behind its end.
fn gif_of(size: usize) -> Vec<u8> {
    let mut bytes = GIF.to_vec();
    bytes.resize(size, 0);
    bytes
}

async fn upload_as(client: &Client, field: &str, name: &str, bytes: &[u8]) -> Reply {
    let boundary = "----------yunque";
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: image/svg+xml\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let body = [head.as_bytes(), bytes, tail.as_bytes()].concat();
    let request = client
        .request(reqwest::Method::POST, PATH)
        .header(
            "content-type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(body);
    client.send(request).await
}

async fn upload(user: &User, bytes: &[u8]) -> Reply {
    upload_as(&user.client, "avatar", "me.svg", bytes).await
}

#[tokio::test]
async fn a_picture_is_stored_by_what_it_is_and_replaces_the_former() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    let alice = sign_in(&srv, "alice", PASSWORD).await;
    let reply = upload(&alice, GIF).await.expect(200);
    assert_eq!(reply["message"], "头像上传成功");
    let url = reply["url"].as_str().expect("an address").to_owned();
    let prefix = format!("{}/media/avatars/", srv.client.base());
    assert!(url.starts_with(&prefix) && url.ends_with(".gif"), "{url}");
    assert_eq!(reply.as_object().unwrap().len(), 2);
    let shown = alice.client.get("/api/users/profile/").await.expect(200);
    assert_eq!(shown["avatar"], url);
    let stored = object_of(&srv, &url);
    srv.app.ctx.storage.head(&stored).await.expect("an object");

    let second = upload(&alice, GIF).await.expect(200)["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(second, url);
    srv.settle().await;
    assert!(
        srv.app.ctx.storage.head(&stored).await.is_err(),
        "the former picture is gone"
    );
    // The look-out of an hour later leaves the picture in use alone.
    srv.later(Duration::from_secs(3700)).await;
    srv.app
        .ctx
        .storage
        .head(&object_of(&srv, &second))
        .await
        .expect("still there");
    let english = alice.client.with_header("accept-language", "en");
    let reply = upload_as(&english, "avatar", "x", GIF).await.expect(200);
    assert_eq!(reply["message"], "Picture uploaded.");
}

fn object_of(srv: &TestServer, url: &str) -> String {
    url.strip_prefix(&format!("{}/", srv.client.base()))
        .expect("an address of ours")
        .to_owned()
}

#[tokio::test]
async fn what_is_no_small_picture_is_refused_and_leaves_nothing() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    upload(&alice, &gif_of(MAX)).await.expect(200);
    let kept = alice.client.get("/api/users/profile/").await.expect(200)["avatar"].clone();
    for size in [MAX + 1, MAX + 4096, 3 * MAX] {
        let body = upload(&alice, &gif_of(size))
            .await
            .refused(400, "image_too_large");
        assert_eq!(body["error"], "图片大小不能超过2MB");
        assert_eq!(body["errors"], json!({ "avatar": ["图片大小不能超过2MB"] }));
    }
    let unsupported = "不支持的图片格式，仅支持 JPEG、PNG、GIF、WebP";
    for bytes in [
        &b"just text"[..],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"BM\0\0\0\0",
        b"II*\0\x08\0\0\0",
    ] {
        let body = upload(&alice, bytes).await.refused(400, "unsupported_image");
        assert_eq!(body["errors"], json!({ "avatar": [unsupported] }));
    }
    upload(&alice, b"\x89PNG\r\n\x1a\n nothing behind")
        .await
        .expect(400);
    upload(&alice, &GIF[..20]).await.refused(400, "invalid_image");
    upload(&alice, b"").await.refused(400, "image_required");
    upload_as(&alice.client, "file", "a.gif", GIF)
        .await
        .refused(400, "image_required");
    alice
        .client
        .post(PATH, json!({}))
        .await
        .refused(415, "unsupported_media_type");
    let none = upload_as(&srv.client, "avatar", "a.gif", GIF).await;
    none.refused(401, "not_authenticated");
    let shown = alice.client.get("/api/users/profile/").await.expect(200);
    assert_eq!(shown["avatar"], kept);
}

#[tokio::test]
async fn a_deleted_users_picture_goes_too() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let url = upload(&alice, GIF).await.expect(200)["url"]
        .as_str()
        .unwrap()
        .to_owned();
    admin.client.delete(&one(&alice)).await.expect(204);
    srv.settle().await;
    assert!(srv.app.ctx.storage.head(&object_of(&srv, &url)).await.is_err());
    let row = format!(
        "SELECT COUNT(*) FROM users WHERE id = {} AND avatar IS NULL",
        alice.id
    );
    assert_eq!(sql::number(&srv, &row).await, 1);
}

/// Uploads a picture and returns the path of its address.
async fn uploaded(user: &User) -> String {
    let reply = upload(user, GIF).await.expect(200);
    let url = reply["url"].as_str().expect("an address");
    let path = url.strip_prefix(user.client.base()).expect("an address of ours");
    path.to_owned()
}

#[tokio::test]
async fn whoever_has_the_address_sees_the_picture() {
    let (srv, alice, bob) = TestServer::with_users().await;
    let path = uploaded(&alice).await;
    // Credentials are not looked at, good or bad.
    let nobody = &srv.client;
    for client in [nobody, &alice.client, &bob.client, &nobody.with_token("garbage")] {
        for path in [path.clone(), format!("{path}/")] {
            let reply = client.get(&path).await;
            assert_eq!((reply.status, &reply.bytes[..]), (200, GIF), "{path}");
            for (name, value) in [
                // Told from the bytes; the upload called it SVG.
                ("content-type", "image/gif"),
                ("content-length", &GIF.len().to_string()),
                ("cache-control", "public, max-age=31536000, immutable"),
                ("x-content-type-options", "nosniff"),
                ("content-security-policy", "default-src 'none'"),
                ("accept-ranges", "bytes"),
                ("content-disposition", ""),
                ("ratelimit-limit", ""),
                ("set-cookie", ""),
            ] {
                assert_eq!(reply.header(name), value, "{name}");
            }
        }
    }
    let part = nobody.with_header("range", "bytes=0-5").get(&path).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &b"GIF89a"[..]));
    let size = GIF.len();
    assert_eq!(part.header("content-range"), format!("bytes 0-5/{size}"));
    let beyond = nobody.with_header("range", &format!("bytes={size}-"));
    let reply = beyond.get(&path).await;
    assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
    reply.refused(416, "range_not_satisfiable");
    let head = nobody.send(nobody.request(reqwest::Method::HEAD, &path)).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), size.to_string());
    for method in [
        reqwest::Method::POST,
        reqwest::Method::PUT,
        reqwest::Method::PATCH,
        reqwest::Method::DELETE,
    ] {
        let reply = alice.client.send(alice.client.request(method, &path)).await;
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
        reply.refused(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn no_other_address_shows_a_picture() {
    let (srv, alice, bob) = TestServer::with_users().await;
    let path = uploaded(&alice).await;
    let name = path.strip_prefix("/media/avatars/").expect("an avatar");
    let stem = name.strip_suffix(".gif").expect("a GIF");
    for path in [
        "/media/avatars/",
        "/media/avatars/0123456789abcdef0123456789abcdef.gif",
        &format!("/media/avatars/{stem}"),
        &format!("/media/avatars/{stem}.png"),
        &format!("/media/avatars/{}", name.to_uppercase()),
        &format!("/media/avatars/.{name}.type"),
        &format!("/media/avatars/../avatars/{name}x"),
        &format!("/media/avatars/%2e%2e%2favatars%2f{name}"),
        &format!("/media/chat_images/{name}"),
        &format!("/media/{name}"),
        &format!("/media/avatars/{}.gif", alice.id),
    ] {
        for client in [&srv.client, &bob.client, &alice.client] {
            client.get(path).await.refused(404, "not_found");
        }
    }
    // An address ends with its picture.
    let second = uploaded(&alice).await;
    srv.settle().await;
    srv.client.get(&path).await.refused(404, "not_found");
    assert_eq!(srv.client.get(&second).await.status, 200);
    let admin = srv.admin("boss").await;
    admin.client.delete(&one(&alice)).await.expect(204);
    srv.settle().await;
    srv.client.get(&second).await.refused(404, "not_found");
}
