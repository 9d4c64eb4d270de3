//! Who may reach what: nobody without a login, and nobody somebody else's files.

use reqwest::Method;
use serde_json::json;

use super::*;

/// Every operation on files with a body that would do something, `{id}` still in it.
fn operations() -> Vec<(Method, &'static str, Value)> {
    let none = json!(null);
    vec![
        (Method::POST, "/file/", item("a.txt", b"abc")),
        (Method::GET, "/file/", none.clone()),
        (Method::GET, "/file/upload_status/?file_ids=1", none.clone()),
        (Method::GET, "/file/storage-info/", none.clone()),
        (
            Method::POST,
            "/file/new-folder/",
            json!({ "folder_name": "evil" }),
        ),
        (Method::POST, "/file/upload/", none.clone()),
        (
            Method::POST,
            "/file/presign/",
            json!({ "name": "a", "content_type": "a/b", "size": 1 }),
        ),
        (Method::POST, "/file/batch_delete/", json!({ "file_ids": [1] })),
        (Method::GET, "/file/{id}/", none.clone()),
        (Method::PATCH, "/file/{id}/", json!({ "name": "stolen" })),
        (Method::PUT, "/file/{id}/", json!({ "name": "stolen" })),
        (Method::DELETE, "/file/{id}/", none.clone()),
        (Method::DELETE, "/file/{id}/?recursive=true", none.clone()),
        (Method::POST, "/file/{id}/delete/", json!({})),
        (Method::GET, "/file/{id}/download/", none.clone()),
        (Method::POST, "/file/{id}/download/", json!({})),
        (
            Method::POST,
            "/file/{id}/retry_upload/",
            json!({ "file_content": b64(b"evil") }),
        ),
        (Method::POST, "/file/{id}/complete/", json!({})),
        (Method::POST, "/file/{id}/cancel/", json!({})),
    ]
}

async fn call(client: &Client, method: &Method, path: &str, body: &Value) -> Reply {
    let mut request = client.request(method.clone(), path);
    if !body.is_null() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    client.send(request).await
}

#[tokio::test]
async fn cloud_scenario_12_foreign_ids_are_404_everywhere() {
    let (oss, server, alice) = on_oss(&[]).await;
    let bob = server.user("bob").await;
    let done = completed(&alice.client, "a.jpg", b"alice").await;
    oss.fail_always(403);
    let failed = upload(&alice.client, "b.jpg", b"fails").await;
    reaches(&alice.client, failed, "failed").await;
    oss.recover();
    let presign = json!({ "name": "c", "content_type": "a/b", "size": 1 });
    let waiting = id_of(&alice.client.post("/file/presign/", presign).await.expect(201));
    let folder = id_of(
        &alice
            .client
            .post("/file/new-folder/", json!({ "folder_name": "d" }))
            .await
            .expect(201),
    );
    let ids = [id_of(&done), failed, waiting, folder];
    let mut before = Vec::new();
    for id in ids {
        before.push(file(&alice.client, id).await);
    }

    for id in ids {
        for (method, path, body) in operations()
            .into_iter()
            .filter(|(_, path, _)| path.contains("{id}"))
        {
            let path = path.replace("{id}", &id.to_string());
            let reply = call(&bob.client, &method, &path, &body).await;
            assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text());
            not_found(reply);
        }
    }
    let list = ids.map(|id| id.to_string()).join(",");
    let shown = bob
        .client
        .get(&format!("/file/upload_status/?file_ids={list}"))
        .await
        .expect(200);
    assert_eq!(shown, json!([]));
    let deleted = bob
        .client
        .post("/file/batch_delete/", json!({ "file_ids": ids }))
        .await
        .expect(200);
    assert_eq!(deleted, json!({ "deleted": [] }));
    assert_eq!(bob.client.get("/file/").await.expect(200), json!([]));

    for (id, before) in ids.iter().zip(before) {
        assert_eq!(file(&alice.client, *id).await, before);
    }
    assert_eq!(oss.object(done["oss_key"].as_str().unwrap()).unwrap(), b"alice");
    assert_eq!(used_space(&bob.client).await, 0);
}

/// An administrator owns no more than anybody else here.
#[tokio::test]
async fn administrators_do_not_see_the_files_of_others() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"alice").await;
    let root = server.admin("root1").await;
    not_found(root.client.get(&format!("/file/{}/", done["id"])).await);
    not_found(root.client.delete(&format!("/file/{}/", done["id"])).await);
    assert_eq!(root.client.get("/file/").await.expect(200), json!([]));
}

#[tokio::test]
async fn ids_that_cannot_exist_are_404() {
    let (_server, alice) = local(&[]).await;
    let strange = [
        "0",
        "-1",
        "+1",
        "abc",
        "1e3",
        "1.0",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        "%EF%BC%91",
        "%00",
        "%ff",
        "1%20",
        "..%2f1",
        "0x1",
        "null",
    ];
    for id in strange {
        for (method, path, body) in operations()
            .into_iter()
            .filter(|(_, path, _)| path.contains("{id}"))
        {
            let path = path.replace("{id}", id);
            let reply = call(&alice.client, &method, &path, &body).await;
            assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text());
            assert_eq!(reply.json()["code"], "not_found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn nothing_works_without_a_login() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"alice").await;
    let garbage = server.client.with_token("garbage");
    for (method, path, body) in operations() {
        let path = path.replace("{id}", &done["id"].to_string());
        let reply = call(&server.client, &method, &path, &body).await;
        assert_eq!(
            reply.header("www-authenticate"),
            "Bearer realm=\"api\"",
            "{method} {path}"
        );
        refusal(reply, 401, "not_authenticated", "未提供认证信息");
        let reply = call(&garbage, &method, &path, &body).await;
        refusal(reply, 401, "token_invalid", "token无效或已过期");
    }
    assert_eq!(file(&alice.client, id_of(&done)).await, done);
    assert_eq!(files_in_table(&server).await, 1);
}

#[tokio::test]
async fn both_slash_forms_are_one_operation_and_wrong_methods_are_405() {
    let (_server, alice) = local(&[]).await;
    let id = id_of(&completed(&alice.client, "a.jpg", b"abc").await);
    for path in [
        "/file".to_owned(),
        "/file/storage-info".to_owned(),
        format!("/file/upload_status?file_ids={id}"),
        format!("/file/{id}"),
        format!("/file/{id}/download"),
    ] {
        let (plain, query) = path.split_once('?').map_or((path.as_str(), ""), |(p, q)| (p, q));
        let slashed = if query.is_empty() {
            format!("{plain}/")
        } else {
            format!("{plain}/?{query}")
        };
        let (a, b) = (alice.client.get(&path).await, alice.client.get(&slashed).await);
        assert_eq!((a.status, b.status), (200, 200), "{path}");
        if !path.ends_with("download") {
            assert_eq!(a.json(), b.json(), "{path}");
        }
    }
    for (method, path) in [
        (Method::DELETE, "/file/".to_owned()),
        (Method::POST, "/file/storage-info/".to_owned()),
        (Method::GET, "/file/upload/".to_owned()),
        (Method::POST, format!("/file/{id}/")),
        (Method::GET, format!("/file/{id}/cancel/")),
    ] {
        let reply = call(&alice.client, &method, &path, &json!(null)).await;
        assert!(!reply.header("allow").is_empty(), "{method} {path}");
        refusal(reply, 405, "method_not_allowed", "不支持的请求方法");
    }
}
