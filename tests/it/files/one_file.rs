//! `GET`, `PATCH` and `PUT /file/{id}/`.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_file_is_renamed_and_moved() {
    let (_server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let path = format!("/file/{}/", done["id"]);
    let renamed = alice
        .client
        .patch(&path, json!({ "name": "b.txt" }))
        .await
        .expect(200);
    has_keys(&renamed, &F10);
    assert_eq!(
        (&renamed["name"], &renamed["path"]),
        (&json!("b.txt"), &json!("/"))
    );
    assert_ne!(renamed["updated_at"], done["updated_at"]);
    let moved = alice
        .client
        .put(&path, json!({ "path": "docs/new" }))
        .await
        .expect(200);
    assert_eq!(
        (&moved["name"], &moved["path"]),
        (&json!("b.txt"), &json!("/docs/new"))
    );
    let both = alice
        .client
        .patch(&path, json!({ "name": "c", "path": "/" }))
        .await
        .expect(200);
    assert_eq!((&both["name"], &both["path"]), (&json!("c"), &json!("/")));
    assert_eq!(file(&alice.client, id_of(&done)).await, both);
    for field in [
        "oss_key",
        "oss_url",
        "size",
        "content_type",
        "sha256",
        "created_at",
        "upload_status",
    ] {
        assert_eq!(both[field], done[field], "{field}");
    }
}

#[tokio::test]
async fn only_name_and_path_can_be_written() {
    let (_server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let path = format!("/file/{}/", done["id"]);
    let attempt = json!({
        "id": 1, "user_id": 1, "oss_key": "files/1/x", "object_key": "files/1/x", "oss_url": "https://evil.example/",
        "upload_status": "failed", "upload_error": "x", "size": 1, "content_type": "text/html", "sha256": "0",
        "attempts": 9, "generation": 9, "created_at": "2020-01-01T00:00:00Z", "source": "folder", "deleted_at": null,
    });
    for reply in [
        alice.client.patch(&path, attempt.clone()).await,
        alice.client.put(&path, attempt).await,
    ] {
        let mut after = reply.expect(200);
        after["updated_at"] = done["updated_at"].clone();
        assert_eq!(after, done);
    }
    // Empty bodies change nothing either.
    for body in [json!({}), json!({ "name": null, "path": null })] {
        let mut after = alice.client.patch(&path, body).await.expect(200);
        after["updated_at"] = done["updated_at"].clone();
        assert_eq!(after, done);
    }
}

#[tokio::test]
async fn bad_names_and_paths_are_refused() {
    let (_server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let url = format!("/file/{}/", done["id"]);
    let long = "长度不能超过 255 个字符";
    for (body, field, text) in [
        (json!({ "name": "" }), "name", "该字段不能为空"),
        (json!({ "name": 5 }), "name", "类型错误"),
        (json!({ "name": ".." }), "name", "格式不正确"),
        (json!({ "name": "a/" }), "name", "格式不正确"),
        (json!({ "name": "n".repeat(256) }), "name", long),
        (json!({ "path": "/a/../b" }), "path", "格式不正确"),
        (json!({ "path": "a\\b" }), "path", "格式不正确"),
        (json!({ "path": [] }), "path", "类型错误"),
        (
            json!({ "path": "p".repeat(1025) }),
            "path",
            "长度不能超过 1024 个字符",
        ),
    ] {
        fault(
            alice.client.patch(&url, body.clone()).await,
            "validation_error",
            field,
            text,
        );
        fault(
            alice.client.put(&url, body).await,
            "validation_error",
            field,
            text,
        );
    }
    let both = alice
        .client
        .patch(&url, json!({ "name": "..", "path": ".." }))
        .await
        .refused(400, "validation_error");
    assert_eq!(both["errors"].as_object().unwrap().len(), 2);
    assert_eq!(file(&alice.client, id_of(&done)).await, done);
    let longest = json!({ "name": "文".repeat(255), "path": format!("/{}", "p".repeat(1023)) });
    alice.client.patch(&url, longest).await.expect(200);
    alice
        .client
        .patch(&url, json!({ "path": format!("/{}", "文".repeat(1023)) }))
        .await
        .expect(200);
}

/// Two files may share a name; only folders are unique.
#[tokio::test]
async fn files_may_share_a_name() {
    let (_server, alice) = local(&[]).await;
    let first = completed(&alice.client, "a.jpg", b"one").await;
    let second = completed(&alice.client, "b.jpg", b"two").await;
    let url = format!("/file/{}/", second["id"]);
    alice
        .client
        .patch(&url, json!({ "name": first["name"] }))
        .await
        .expect(200);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let (_server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"one").await;
    for path in ["/file/".to_owned(), format!("/file/{}/", done["id"])] {
        let reply = alice
            .client
            .send(alice.client.request(reqwest::Method::HEAD, &path))
            .await;
        assert_eq!((reply.status, reply.bytes.len()), (200, 0));
    }
}
