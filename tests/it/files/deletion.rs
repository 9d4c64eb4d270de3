//! Deleting files: the row goes at once, the object by job.

use serde_json::json;

use super::*;

#[tokio::test]
async fn deleting_removes_row_object_and_space() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let path = format!("/file/{}/", done["id"]);
    let reply = alice.client.delete(&path).await;
    assert_eq!((reply.status, reply.bytes.len()), (204, 0));
    not_found(alice.client.get(&path).await);
    not_found(alice.client.delete(&path).await);
    assert_eq!(used_space(&alice.client).await, 0);
    assert_eq!(alice.client.get("/file/").await.expect(200), json!([]));
    let shown = alice
        .client
        .get(&format!("/file/upload_status/?file_ids={}", done["id"]))
        .await
        .expect(200);
    assert_eq!(shown, json!([]));
    server.settle().await;
    assert_eq!((objects(&server), files_in_table(&server).await), (0, 0));
}

#[tokio::test]
async fn the_post_form_says_so() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let path = format!("/file/{}/delete/", done["id"]);
    let reply = alice.client.post(&path, json!({})).await.expect(200);
    assert_eq!(reply, json!({ "message": "文件已删除" }));
    not_found(alice.client.post(&path, json!({})).await);
    server.settle().await;
    assert_eq!(objects(&server), 0);
}

#[tokio::test]
async fn batch_delete_tells_what_it_deleted() {
    let (server, alice) = local(&[]).await;
    let bob = server.user("bob").await;
    let foreign = id_of(&completed(&bob.client, "b", b"bob").await);
    let (a, b) = (
        upload(&alice.client, "a", b"1").await,
        upload(&alice.client, "b", b"2").await,
    );
    server.settle().await;
    let folder = id_of(
        &alice
            .client
            .post("/file/new-folder/", json!({ "folder_name": "full" }))
            .await
            .expect(201),
    );
    let mut inside = item("c", b"3");
    inside["path"] = "/full".into();
    let inside = id_of(&alice.client.post("/file/", inside).await.expect(201));
    server.settle().await;
    let ids = json!({ "file_ids": [b, a, foreign, a, 424_242, folder, -1, 0] });
    let mut deleted = alice.client.post("/file/batch_delete/", ids).await.expect(200);
    has_keys(&deleted, &["deleted"]);
    let list = deleted["deleted"].as_array_mut().unwrap();
    list.sort_by_key(Value::as_i64);
    assert_eq!(*list, [json!(a), json!(b)]);
    file(&alice.client, folder).await;
    file(&alice.client, inside).await;
    file(&bob.client, foreign).await;
    assert_eq!(used_space(&alice.client).await, 1);
    server.settle().await;
    assert_eq!(objects(&server), 2);
}

#[tokio::test]
async fn batch_delete_takes_100_ids() {
    let (_server, alice) = local(&[]).await;
    let post = async |body| alice.client.post("/file/batch_delete/", body).await;
    let ids = |n: i64| json!({ "file_ids": (1_000..1_000 + n).collect::<Vec<_>>() });
    assert_eq!(post(ids(100)).await.expect(200), json!({ "deleted": [] }));
    for (body, text) in [
        (ids(101), "不能超过 100 项"),
        (json!({ "file_ids": [] }), "该字段不能为空"),
        (json!({}), "该字段是必填项"),
        (json!({ "file_ids": "1,2" }), "类型错误"),
        (json!({ "file_ids": ["1"] }), "类型错误"),
        (json!({ "file_ids": [1.5] }), "类型错误"),
        (json!({ "file_ids": [null] }), "类型错误"),
    ] {
        fault(post(body).await, "validation_error", "file_ids", text);
    }
}

#[tokio::test]
async fn a_lost_object_does_not_hinder_deleting() {
    let (oss, server, alice) = on_oss(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    assert!(oss.lose(done["oss_key"].as_str().unwrap()));
    alice
        .client
        .delete(&format!("/file/{}/", done["id"]))
        .await
        .expect(204);
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 0);
}

#[tokio::test]
async fn removal_goes_on_until_storage_answers() {
    let (oss, server, alice) = on_oss(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    oss.fail_always(503);
    alice
        .client
        .delete(&format!("/file/{}/", done["id"]))
        .await
        .expect(204);
    assert_eq!(used_space(&alice.client).await, 0);
    server.settle().await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (1, 1));
    oss.recover();
    seconds_later(&server, 60).await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (0, 0));
}

/// The object appears after the row is gone; the worker takes it away again.
#[tokio::test]
async fn deleting_while_uploading_leaves_no_object() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.slow(600_000);
    let id = upload(&alice.client, "a.jpg", &noise(1, MIB)).await;
    let asked = format!("/file/{id}/");
    eventually("it uploads", 20, || async {
        alice.client.get(&asked).await.json()["upload_status"] == "uploading"
    })
    .await;
    alice.client.delete(&asked).await.expect(204);
    assert_eq!(used_space(&alice.client).await, 0);
    not_found(alice.client.get(&asked).await);
    server.settle().await;
    seconds_later(&server, 600).await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (0, 0));
    assert!(staged_files(&server).is_empty());
    assert_eq!(used_space(&alice.client).await, 0);
}

#[tokio::test]
async fn deleting_a_waiting_file_ends_its_job() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    alice.client.delete(&format!("/file/{id}/")).await.expect(204);
    oss.recover();
    seconds_later(&server, 600).await;
    assert!(oss.objects().is_empty());
    assert_eq!(
        (files_in_table(&server).await, staged_rows(&server).await),
        (0, 0)
    );
    assert_eq!(used_space(&alice.client).await, 0);
}

#[tokio::test]
async fn parallel_deletes_free_the_space_once() {
    let (server, alice) = local(&[]).await;
    completed(&alice.client, "keep", &noise(1, 50)).await;
    let id = id_of(&completed(&alice.client, "a.jpg", &noise(2, 100)).await);
    let path = format!("/file/{id}/");
    let replies = futures_util::future::join_all((0..8).map(|_| alice.client.delete(&path))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|r| r.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 404, 404, 404, 404, 404, 404, 404]);
    assert_eq!(used_space(&alice.client).await, 50);
    server.settle().await;
    assert_eq!(objects(&server), 1);
}

/// A purged account takes its files along, those in folders too.
#[tokio::test]
async fn deleting_the_account_removes_every_object() {
    let (oss, server, alice) = on_oss(&[]).await;
    let bob = server.user("bob").await;
    let kept = completed(&bob.client, "b", b"bob").await;
    completed(&alice.client, "a", b"top").await;
    for path in ["/docs", "/docs/deep/er"] {
        let mut body = item("c", b"inside");
        body["path"] = path.into();
        let id = id_of(&alice.client.post("/file/", body).await.expect(201));
        reaches(&alice.client, id, "completed").await;
    }
    alice
        .client
        .post("/file/new-folder/", json!({ "folder_name": "docs" }))
        .await
        .expect(201);
    let gone = alice
        .client
        .delete_with(
            &format!("/user/{}/", alice.id),
            json!({ "password": alice.password }),
        )
        .await;
    gone.expect(204);
    server.settle().await;
    assert_eq!(
        oss.objects().into_keys().collect::<Vec<_>>(),
        [kept["oss_key"].as_str().unwrap()]
    );
    let left = count(
        &server,
        "SELECT COUNT(*) FROM files WHERE user_id = ?",
        vec![alice.id.into()],
    )
    .await;
    assert_eq!(left, 0);
}

/// Without its row nobody would find the object of a worker that dies after storing it.
#[tokio::test]
async fn a_deleted_file_keeps_its_row_until_its_upload_is_over() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.stall(true);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    reaches(&alice.client, id, "uploading").await;
    alice.client.delete(&format!("/file/{id}/")).await.expect(204);
    let tried = "SELECT COUNT(*) FROM jobs WHERE kind = 'purge_object' AND attempts > 0";
    eventually("the purge came too early", 20, || async {
        count(&server, tried, vec![]).await == 1
    })
    .await;
    assert_eq!(files_in_table(&server).await, 1);
    oss.recover();
    seconds_later(&server, 600).await;
    assert_eq!((oss.objects().len(), files_in_table(&server).await), (0, 0));
}
