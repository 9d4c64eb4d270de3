//! `POST /file/` with an array: all of it or nothing.

use serde_json::json;

use super::*;

#[tokio::test]
async fn cloud_scenario_06_three_contents_become_three_objects() {
    let (server, alice) = local(&[]).await;
    let contents: Vec<Vec<u8>> = (0..3).map(|i| noise(i, 100 + usize::from(i))).collect();
    let names = ["a.jpg", "b.PNG", "c"];
    let items: Vec<Value> = names
        .iter()
        .zip(&contents)
        .map(|(name, bytes)| item(name, bytes))
        .collect();
    let created = alice.client.post("/file/", json!(items)).await.expect(201);
    let created = created.as_array().expect("an array");
    assert_eq!(created.len(), 3);
    for ((out, name), (bytes, extension)) in created
        .iter()
        .zip(names)
        .zip(contents.iter().zip([".jpg", ".png", ""]))
    {
        has_keys(out, &F5);
        assert_eq!((&out["name"], &out["size"]), (&json!(name), &json!(bytes.len())));
        assert_eq!(out["upload_status"], "pending");
        let done = reaches(&alice.client, id_of(out), "completed").await;
        is_key(&done["oss_key"], &alice, extension);
        assert_eq!(
            &stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
            bytes
        );
    }
    let ids: Vec<i64> = created.iter().map(id_of).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(used_space(&alice.client).await, 303);
}

#[tokio::test]
async fn cloud_scenario_06_a_bad_second_item_refuses_the_batch() {
    let (server, alice) = local(&[]).await;
    let mut items = [
        item("a.jpg", b"abc"),
        item("b.jpg", b"def"),
        item("c.jpg", b"ghi"),
    ];
    items[1]["file_content"] = "not base64 at all!".into();
    let reply = alice.client.post("/file/", json!(items)).await;
    fault(
        reply,
        "invalid_base64",
        "1.file_content",
        "文件内容不是有效的base64编码",
    );
    assert_eq!(files_in_table(&server).await, 0);
    assert_eq!(used_space(&alice.client).await, 0);
    assert_eq!(
        count(
            &server,
            "SELECT COUNT(*) FROM jobs WHERE kind = 'upload_file'",
            vec![]
        )
        .await,
        0
    );
    assert_eq!(staged_rows(&server).await, 0);
}

#[tokio::test]
async fn an_array_of_one_is_answered_with_an_array() {
    let (server, alice) = local(&[]).await;
    let created = alice
        .client
        .post("/file/", json!([item("a.jpg", b"only me")]))
        .await
        .expect(201);
    assert_eq!(created.as_array().unwrap().len(), 1);
    let done = reaches(&alice.client, id_of(&created[0]), "completed").await;
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        b"only me"
    );
}

#[tokio::test]
async fn all_faults_of_all_items_are_told() {
    let (_server, alice) = local(&[]).await;
    let mut items = vec![
        item("a.jpg", b"abc"),
        item("b.jpg", b"abc"),
        item("c.jpg", b"abc"),
    ];
    items[0]["size"] = json!(9);
    items[1]["file_content"] = json!(null);
    items[2]["content_type"] = json!("x");
    let body = alice
        .client
        .post("/file/", json!(items))
        .await
        .refused(400, "size_mismatch");
    let expected = json!({
        "0.size": ["文件大小不匹配：声明 9 字节，实际 3 字节"],
        "1.file_content": ["请提供文件内容"],
        "2.content_type": ["格式不正确"],
    });
    assert_eq!(body["errors"], expected);
    // Shapes come first, of every item.
    let mixed = json!([{ "name": "a" }, 5, { "name": "", "content_type": "a/b", "size": "1" }]);
    let body = alice
        .client
        .post("/file/", mixed)
        .await
        .refused(400, "validation_error");
    assert_eq!(body["errors"]["0.content_type"], json!(["该字段是必填项"]));
    assert_eq!(body["errors"]["1"], json!(["类型错误"]));
    assert_eq!(body["errors"]["2.name"], json!(["该字段不能为空"]));
    assert_eq!(body["errors"]["2.size"], json!(["类型错误"]));
}

#[tokio::test]
async fn a_batch_has_one_to_twenty_items() {
    let (server, alice) = local(&[]).await;
    let items = |n: usize| -> Vec<Value> { (0..n).map(|i| item(&format!("{i}.txt"), b"x")).collect() };
    let created = alice.client.post("/file/", json!(items(20))).await.expect(201);
    assert_eq!(created.as_array().unwrap().len(), 20);
    for n in [0, 21] {
        let body = alice
            .client
            .post("/file/", json!(items(n)))
            .await
            .refused(400, "validation_error");
        assert!(body["errors"]["non_field_errors"].is_array(), "{body}");
    }
    server.settle().await;
    assert_eq!(files_in_table(&server).await, 20);
    assert_eq!(objects(&server), 20);
}

#[tokio::test]
async fn a_batch_over_the_quota_reserves_nothing() {
    let (server, alice) = local(&[]).await;
    set_quota(&server, &alice, 10).await;
    let three = |n: usize| {
        json!([
            item("a", &noise(1, n)),
            item("b", &noise(2, 4)),
            item("c", &noise(3, 3))
        ])
    };
    refusal(
        alice.client.post("/file/", three(4)).await,
        400,
        "quota_exceeded",
        "存储空间不足",
    );
    assert_eq!(
        (used_space(&alice.client).await, files_in_table(&server).await),
        (0, 0)
    );
    alice.client.post("/file/", three(3)).await.expect(201);
    assert_eq!(used_space(&alice.client).await, 10);
    server.settle().await;
}

#[tokio::test]
async fn items_with_equal_names_stay_apart() {
    let (server, alice) = local(&[]).await;
    let created = alice
        .client
        .post("/file/", json!([item("a.txt", b"one"), item("a.txt", b"two")]))
        .await
        .expect(201);
    let mut keys = Vec::new();
    for (out, bytes) in created.as_array().unwrap().iter().zip([b"one", b"two"]) {
        let done = reaches(&alice.client, id_of(out), "completed").await;
        let key = done["oss_key"].as_str().unwrap().to_owned();
        assert_eq!(stored(&server, &key).unwrap(), bytes);
        keys.push(key);
    }
    assert_ne!(keys[0], keys[1]);
}
