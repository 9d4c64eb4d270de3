//! Folders: rows of their own whose contents are found by path.

use futures_util::future::join_all;
use serde_json::json;

use super::*;

async fn folder(client: &Client, path: &str, name: &str) -> Value {
    client
        .post("/file/new-folder/", json!({ "folder_name": name, "path": path }))
        .await
        .expect(201)
}

async fn put(client: &Client, path: &str, name: &str) -> i64 {
    let mut body = item(name, name.as_bytes());
    body["path"] = path.into();
    let id = id_of(&client.post("/file/", body).await.expect(201));
    reaches(client, id, "completed").await;
    id
}

async fn path_of(client: &Client, id: i64) -> Value {
    file(client, id).await["path"].clone()
}

#[tokio::test]
async fn a_folder_is_a_completed_file_without_bytes() {
    let (_server, alice) = local(&[]).await;
    let made = alice
        .client
        .post("/file/new-folder/", json!({ "folder_name": "文档" }))
        .await
        .expect(201);
    has_keys(&made, &F10);
    for (field, value) in [
        ("name", json!("文档")),
        ("content_type", json!("folder")),
        ("size", json!(0)),
        ("upload_status", json!("completed")),
        ("path", json!("/")),
        ("oss_key", json!(null)),
        ("oss_url", json!(null)),
        ("upload_error", json!(null)),
        ("sha256", json!(null)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(file(&alice.client, id_of(&made)).await, made);
    assert_eq!(folder(&alice.client, "文档", "里").await["path"], "/文档");
    assert_eq!(used_space(&alice.client).await, 0);
}

#[tokio::test]
async fn names_of_folders_have_rules() {
    let (_server, alice) = local(&[]).await;
    let post = async |body| alice.client.post("/file/new-folder/", body).await;
    for (body, field, text) in [
        (json!({}), "folder_name", "该字段是必填项"),
        (json!({ "folder_name": "" }), "folder_name", "该字段不能为空"),
        (json!({ "folder_name": 1 }), "folder_name", "类型错误"),
        (json!({ "folder_name": "a/b" }), "folder_name", "格式不正确"),
        (json!({ "folder_name": "a\\b" }), "folder_name", "格式不正确"),
        (json!({ "folder_name": "." }), "folder_name", "格式不正确"),
        (json!({ "folder_name": ".." }), "folder_name", "格式不正确"),
        (
            json!({ "folder_name": "n".repeat(256) }),
            "folder_name",
            "长度不能超过 255 个字符",
        ),
        (
            json!({ "folder_name": "a", "path": "/x/../y" }),
            "path",
            "格式不正确",
        ),
        (
            json!({ "folder_name": "a", "path": "p".repeat(1025) }),
            "path",
            "长度不能超过 1024 个字符",
        ),
    ] {
        fault(post(body).await, "validation_error", field, text);
    }
    post(json!({ "folder_name": "文".repeat(255) })).await.expect(201);
}

#[tokio::test]
async fn a_folder_exists_once() {
    let (server, alice) = local(&[]).await;
    let bob = server.user("bob").await;
    let made = folder(&alice.client, "/", "docs").await;
    let twice = alice
        .client
        .post("/file/new-folder/", json!({ "folder_name": "docs", "path": "" }))
        .await;
    refusal(twice, 409, "name_exists", "名称已存在");
    folder(&alice.client, "/docs", "docs").await;
    folder(&alice.client, "/", "Docs").await;
    folder(&bob.client, "/", "docs").await;
    let inner = alice.client.get("/file/?path=/docs").await.expect(200);
    alice
        .client
        .delete(&format!("/file/{}/", inner[0]["id"]))
        .await
        .expect(204);
    alice
        .client
        .delete(&format!("/file/{}/", made["id"]))
        .await
        .expect(204);
    folder(&alice.client, "/", "docs").await;
}

#[tokio::test]
async fn of_parallel_creations_one_wins() {
    let (server, alice) = local(&[]).await;
    let body = json!({ "folder_name": "race", "path": "/" });
    let replies = join_all((0..12).map(|_| alice.client.post("/file/new-folder/", body.clone()))).await;
    let won = replies.iter().filter(|r| r.status == 201).count();
    assert_eq!(won, 1);
    for lost in replies.into_iter().filter(|r| r.status != 201) {
        refusal(lost, 409, "name_exists", "名称已存在");
    }
    assert_eq!(files_in_table(&server).await, 1);
}

#[tokio::test]
async fn renaming_and_moving_takes_the_contents_along() {
    let (_server, alice) = local(&[]).await;
    let client = &alice.client;
    let docs = folder(client, "/", "docs").await;
    let sub = id_of(&folder(client, "/docs", "sub").await);
    let (top, deep) = (
        put(client, "/docs", "a.txt").await,
        put(client, "/docs/sub/deeper", "b.txt").await,
    );
    // Neighbours whose paths only look alike.
    let near = put(client, "/docs2", "c.txt").await;
    let upper = put(client, "/Docs/sub", "d.txt").await;
    let wild = put(client, "/doc_", "e.txt").await;

    let url = format!("/file/{}/", docs["id"]);
    let renamed = client.patch(&url, json!({ "name": "papers" })).await.expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["path"]),
        (&json!("papers"), &json!("/"))
    );
    assert_eq!(path_of(client, top).await, "/papers");
    assert_eq!(path_of(client, sub).await, "/papers");
    assert_eq!(path_of(client, deep).await, "/papers/sub/deeper");
    for (id, path) in [(near, "/docs2"), (upper, "/Docs/sub"), (wild, "/doc_")] {
        assert_eq!(path_of(client, id).await, path);
    }

    folder(client, "/", "archive").await;
    client
        .patch(&url, json!({ "path": "/archive" }))
        .await
        .expect(200);
    assert_eq!(path_of(client, top).await, "/archive/papers");
    assert_eq!(path_of(client, deep).await, "/archive/papers/sub/deeper");
    // The old places are free, the new ones are taken.
    folder(client, "/", "papers").await;
    let taken = client
        .post(
            "/file/new-folder/",
            json!({ "folder_name": "sub", "path": "/archive/papers" }),
        )
        .await;
    refusal(taken, 409, "name_exists", "名称已存在");
}

#[tokio::test]
async fn a_folder_cannot_take_a_place_that_is_taken_or_inside_itself() {
    let (_server, alice) = local(&[]).await;
    let client = &alice.client;
    let (a, b) = (
        id_of(&folder(client, "/", "a").await),
        id_of(&folder(client, "/", "b").await),
    );
    let inner = put(client, "/a", "x.txt").await;
    let rename = client.patch(&format!("/file/{a}/"), json!({ "name": "b" })).await;
    refusal(rename, 409, "name_exists", "名称已存在");
    for path in ["/a", "/a/sub", "/a/a"] {
        client
            .patch(&format!("/file/{a}/"), json!({ "path": path }))
            .await
            .refused(409, "name_exists");
    }
    assert_eq!(path_of(client, inner).await, "/a");
    // Its own name is no conflict, nor is a longer one with the same beginning.
    client
        .patch(&format!("/file/{a}/"), json!({ "name": "a" }))
        .await
        .expect(200);
    client
        .patch(&format!("/file/{b}/"), json!({ "name": "a2", "path": "/a" }))
        .await
        .expect(200);
    let separator = client
        .patch(&format!("/file/{b}/"), json!({ "name": "x/y" }))
        .await;
    assert!(matches!(separator.status, 200 | 400), "{}", separator.text());
    assert_eq!(path_of(client, b).await, "/a");
}

#[tokio::test]
async fn a_folder_with_contents_is_deleted_only_on_demand() {
    let (server, alice) = local(&[]).await;
    let client = &alice.client;
    let docs = id_of(&folder(client, "/", "docs").await);
    folder(client, "/docs", "sub").await;
    put(client, "/docs/sub", "a.txt").await;
    put(client, "/docs", "b.txt").await;
    let near = put(client, "/docs2", "c.txt").await;
    // The same letters in another case are another folder.
    folder(client, "/", "Docs").await;
    let upper = put(client, "/Docs/sub", "d.txt").await;

    refusal(
        client.delete(&format!("/file/{docs}/")).await,
        409,
        "folder_not_empty",
        "文件夹不为空",
    );
    refusal(
        client.delete(&format!("/file/{docs}/?recursive=false")).await,
        409,
        "folder_not_empty",
        "文件夹不为空",
    );
    refusal(
        client.post(&format!("/file/{docs}/delete/"), json!({})).await,
        409,
        "folder_not_empty",
        "文件夹不为空",
    );
    assert_eq!(objects(&server), 4);
    client
        .delete(&format!("/file/{docs}/?recursive=true"))
        .await
        .expect(204);
    assert_eq!(used_space(client).await, 10);
    server.settle().await;
    assert_eq!(objects(&server), 2);
    file(client, near).await;
    assert_eq!(path_of(client, upper).await, "/Docs/sub");
    assert_eq!(client.get("/file/?path=/docs").await.expect(200), json!([]));
}

#[tokio::test]
async fn an_empty_folder_beside_full_ones_is_empty() {
    let (_server, alice) = local(&[]).await;
    let client = &alice.client;
    for (name, neighbour) in [
        ("docs", "/Docs/sub"),
        ("a_b", "/aXb/sub"),
        ("50%", "/50x/sub"),
        ("x", "/xy"),
        ("é", "/e/sub"),
    ] {
        let id = id_of(&folder(client, "/", name).await);
        put(client, neighbour, "f").await;
        client.delete(&format!("/file/{id}/")).await.expect(204);
    }
}

#[tokio::test]
async fn the_post_form_deletes_recursively_too() {
    let (server, alice) = local(&[]).await;
    let docs = id_of(&folder(&alice.client, "/", "docs").await);
    put(&alice.client, "/docs", "a.txt").await;
    let reply = alice
        .client
        .post(&format!("/file/{docs}/delete/?recursive=true"), json!({}))
        .await
        .expect(200);
    assert_eq!(reply, json!({ "message": "文件已删除" }));
    server.settle().await;
    assert_eq!((objects(&server), files_in_table(&server).await), (0, 0));
}

#[tokio::test]
async fn what_is_for_files_refuses_folders() {
    let (_server, alice) = local(&[]).await;
    let id = id_of(&folder(&alice.client, "/", "docs").await);
    alice
        .client
        .get(&format!("/file/{id}/download/"))
        .await
        .expect(400);
    alice
        .client
        .post(&format!("/file/{id}/download/"), json!({}))
        .await
        .expect(400);
    alice
        .client
        .post(
            &format!("/file/{id}/retry_upload/"),
            json!({ "file_content": "" }),
        )
        .await
        .expect(400);
    alice
        .client
        .post(&format!("/file/{id}/complete/"), json!({}))
        .await
        .expect(400);
    alice
        .client
        .post(&format!("/file/{id}/cancel/"), json!({}))
        .await
        .refused(409, "not_pending");
    assert_eq!(file(&alice.client, id).await["upload_status"], "completed");
}

/// Paths have 1024 characters at most, those of what is inside as well.
#[tokio::test]
async fn a_move_that_makes_a_path_too_long_changes_nothing() {
    let (_server, alice) = local(&[]).await;
    let client = &alice.client;
    let docs = id_of(&folder(client, "/", "docs").await);
    let deep = format!("/docs/{}", "深".repeat(1000));
    let inside = put(client, &deep, "a.txt").await;
    let near = put(client, "/docs", "b.txt").await;
    let before = file(client, docs).await;
    let url = format!("/file/{docs}/");
    let text = "长度不能超过 1024 个字符";
    for change in [
        json!({ "name": "n".repeat(24) }),
        json!({ "path": format!("/{}", "p".repeat(19)) }),
        // The folder itself.
        json!({ "path": format!("/{}", "p".repeat(1020)) }),
    ] {
        fault(client.patch(&url, change).await, "validation_error", "path", text);
    }
    assert_eq!(file(client, docs).await, before);
    assert_eq!(path_of(client, inside).await, deep);
    assert_eq!(path_of(client, near).await, "/docs");
    let longest = "n".repeat(22);
    client.patch(&url, json!({ "name": longest })).await.expect(200);
    let moved = path_of(client, inside).await;
    assert_eq!(moved.as_str().unwrap().chars().count(), 1024);
}
