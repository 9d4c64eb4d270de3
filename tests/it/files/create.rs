//! `POST /file/` with one object: the documented upload.

use serde_json::json;
use sha2::Digest as _;

use super::*;

#[tokio::test]
async fn cloud_scenario_05_one_object_is_stored_under_its_key() {
    let (server, alice) = local(&[]).await;
    let bytes = noise(1, 3000);
    let body = json!({
        "name": "photo.jpg", "content_type": "image/jpeg", "size": 3000, "file_content": b64(&bytes),
    });
    let created = alice.client.post("/file/", body).await.expect(201);
    let id = id_of(&created);
    let expected = json!({
        "id": id, "name": "photo.jpg", "content_type": "image/jpeg", "size": 3000, "upload_status": "pending",
    });
    assert_eq!(created, expected);
    has_keys(&created, &F5);

    let done = reaches(&alice.client, id, "completed").await;
    has_keys(&done, &F10);
    is_key(&done["oss_key"], &alice, ".jpg");
    let key = done["oss_key"].as_str().unwrap();
    assert_eq!(stored(&server, key).unwrap(), bytes);
    assert_eq!(
        done["oss_url"],
        format!("{}/oss/local/{key}", server.client.base())
    );
    assert_eq!(
        (&done["upload_error"], &done["attempts"]),
        (&json!(null), &json!(1))
    );
    assert_eq!((&done["path"], &done["size"]), (&json!("/"), &json!(3000)));
    let digest: String = sha2::Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(done["sha256"], digest);
    assert_eq!(used_space(&alice.client).await, 3000);
    // Like a private bucket, the unsigned address shows nothing.
    server
        .client
        .get(done["oss_url"].as_str().unwrap())
        .await
        .refused(403, "permission_denied");
}

#[tokio::test]
async fn keys_and_addresses_are_null_until_completed() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_next(1, 503);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    let waiting = file(&alice.client, id).await;
    has_keys(&waiting, &F10);
    for field in ["oss_key", "oss_url", "sha256"] {
        assert_eq!(waiting[field], json!(null), "{field}");
    }
    seconds_later(&server, 60).await;
    let done = file(&alice.client, id).await;
    let key = done["oss_key"].as_str().unwrap();
    assert!(
        done["oss_url"].as_str().unwrap().ends_with(&format!("/{key}")),
        "{done}"
    );
    assert_eq!(oss.object(key).unwrap(), b"abc");
    assert_eq!(oss.objects()[key].content_type, "image/jpeg");
}

#[tokio::test]
async fn both_slash_forms_and_a_missing_content_type_are_accepted() {
    let (_server, alice) = local(&[]).await;
    alice.client.post("/file", item("a.txt", b"a")).await.expect(201);
    let request = alice
        .client
        .request(reqwest::Method::POST, "/file/")
        .body(item("b.txt", b"b").to_string());
    alice.client.send(request).await.expect(201);
    assert_eq!(
        alice
            .client
            .get("/file")
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn required_fields_and_their_types_are_checked() {
    let (server, alice) = local(&[]).await;
    let body = alice
        .client
        .post("/file/", json!({}))
        .await
        .refused(400, "validation_error");
    let required = json!(["该字段是必填项"]);
    for field in ["name", "content_type", "size"] {
        assert_eq!(body["errors"][field], required, "{body}");
    }
    assert_eq!(body["error"], "该字段是必填项");

    let good = item("a.txt", b"abc");
    let cases = [
        ("name", json!(5), "类型错误"),
        ("name", json!(["a"]), "类型错误"),
        ("name", json!(""), "该字段不能为空"),
        ("name", json!("   "), "该字段不能为空"),
        ("content_type", json!(""), "该字段不能为空"),
        ("content_type", json!(true), "类型错误"),
        ("size", json!("3"), "类型错误"),
        ("size", json!(3.0), "类型错误"),
        ("size", json!(3.5), "类型错误"),
        ("size", json!(true), "类型错误"),
        ("size", json!({}), "类型错误"),
        ("size", json!(-1), "数值超出范围"),
        ("file_content", json!(7), "类型错误"),
        ("file_content", json!({"a": 1}), "类型错误"),
        ("path", json!(1), "类型错误"),
    ];
    for (field, value, text) in cases {
        let mut body = good.clone();
        body[field] = value;
        fault(
            alice.client.post("/file/", body).await,
            "validation_error",
            field,
            text,
        );
    }
    assert_eq!(files_in_table(&server).await, 0);
    assert_eq!(used_space(&alice.client).await, 0);
}

#[tokio::test]
async fn names_and_types_end_at_255_characters() {
    let (_server, alice) = local(&[]).await;
    let with = |field: &str, value: String| {
        let mut body = item("a.txt", b"abc");
        body[field] = value.into();
        body
    };
    for name in ["n".repeat(255), "文".repeat(255)] {
        let created = alice
            .client
            .post("/file/", with("name", name.clone()))
            .await
            .expect(201);
        assert_eq!(created["name"], name);
    }
    let long = "长度不能超过 255 个字符";
    for name in ["n".repeat(256), "文".repeat(256)] {
        fault(
            alice.client.post("/file/", with("name", name)).await,
            "validation_error",
            "name",
            long,
        );
    }
    let content_type = format!("a/{}", "b".repeat(253));
    let created = alice
        .client
        .post("/file/", with("content_type", content_type.clone()))
        .await
        .expect(201);
    assert_eq!(created["content_type"], content_type);
    let too_long = with("content_type", format!("a/{}", "b".repeat(254)));
    fault(
        alice.client.post("/file/", too_long).await,
        "validation_error",
        "content_type",
        long,
    );
}

#[tokio::test]
async fn content_types_need_a_type_and_a_subtype() {
    let (server, alice) = local(&[]).await;
    let with = |content_type: &str| {
        let mut body = item("a.txt", b"abc");
        body["content_type"] = content_type.into();
        body
    };
    for good in [
        "text/html",
        "application/vnd.ms-excel",
        "text/plain; charset=utf-8",
        "x/y+z",
    ] {
        let created = alice.client.post("/file/", with(good)).await.expect(201);
        assert_eq!(created["content_type"], good);
    }
    server.settle().await;
    let before = files_in_table(&server).await;
    for bad in [
        "png",
        "image/",
        "/png",
        "image",
        "a b/c",
        "a/b/c",
        "图/片",
        "text/html\r\nX-Evil: 1",
        "a/b\u{7f}",
        "*",
    ] {
        fault(
            alice.client.post("/file/", with(bad)).await,
            "validation_error",
            "content_type",
            "格式不正确",
        );
    }
    assert_eq!(files_in_table(&server).await, before);
}

#[tokio::test]
async fn an_empty_file_is_valid_and_missing_content_is_not() {
    let (server, alice) = local(&[]).await;
    let empty = json!({ "name": "e.txt", "content_type": "text/plain", "size": 0, "file_content": "" });
    let id = id_of(&alice.client.post("/file/", empty).await.expect(201));
    let done = reaches(&alice.client, id, "completed").await;
    assert_eq!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap(), b"");

    let text = "请提供文件内容";
    for (size, content) in [
        (3, json!("")),
        (3, json!(null)),
        (0, json!(null)),
        (3, json!("  \n ")),
    ] {
        let mut body = item("a.txt", b"abc");
        body["size"] = size.into();
        body["file_content"] = content;
        fault(
            alice.client.post("/file/", body).await,
            "content_required",
            "file_content",
            text,
        );
    }
    for size in [0, 3] {
        let absent = json!({ "name": "a.txt", "content_type": "text/plain", "size": size });
        fault(
            alice.client.post("/file/", absent).await,
            "content_required",
            "file_content",
            text,
        );
    }
    assert_eq!(files_in_table(&server).await, 1);
}

#[tokio::test]
async fn the_declared_size_must_be_the_real_one() {
    let (server, alice) = local(&[]).await;
    for size in [0_i64, 2, 4, 1 << 40, i64::MAX] {
        let mut body = item("a.txt", b"abc");
        body["size"] = size.into();
        let text = format!("文件大小不匹配：声明 {size} 字节，实际 3 字节");
        fault(
            alice.client.post("/file/", body).await,
            "size_mismatch",
            "size",
            &text,
        );
    }
    assert_eq!(files_in_table(&server).await, 0);
    assert_eq!(used_space(&alice.client).await, 0);
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn a_wrong_size_may_be_set_to_fail_later() {
    let (server, alice) = local(&[("UPLOAD_SIZE_MISMATCH", "fail")]).await;
    let mut body = item("a.txt", b"abc");
    body["size"] = json!(5);
    let created = alice.client.post("/file/", body).await.expect(201);
    assert_eq!(
        (&created["upload_status"], &created["size"]),
        (&json!("pending"), &json!(5))
    );
    server.settle().await;
    let failed = file(&alice.client, id_of(&created)).await;
    assert_eq!(failed["upload_status"], "failed");
    assert_eq!(failed["upload_error"], "文件大小不匹配：声明 5 字节，实际 3 字节");
    assert_eq!((used_space(&alice.client).await, objects(&server)), (0, 0));
    // What the setting does not touch.
    let mut bad = item("a.txt", b"abc");
    bad["file_content"] = "***".into();
    alice
        .client
        .post("/file/", bad)
        .await
        .refused(400, "invalid_base64");
}

#[tokio::test]
async fn a_folder_may_be_named_and_unknown_fields_are_ignored() {
    let (_server, alice) = local(&[]).await;
    let mut body = item("a.jpg", b"abc");
    body["path"] = "photos/2024/".into();
    for (field, value) in [
        ("id", json!(999)),
        ("user_id", json!(999)),
        ("upload_status", json!("completed")),
        ("oss_key", json!("files/9/evil")),
        ("object_key", json!("files/9/evil")),
        ("oss_url", json!("https://evil.example/")),
        ("generation", json!(77)),
        ("deleted_at", json!("2020-01-01T00:00:00Z")),
    ] {
        body[field] = value;
    }
    let created = alice.client.post("/file/", body).await.expect(201);
    assert_ne!(created["id"], 999);
    assert_eq!(created["upload_status"], "pending");
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert_eq!(done["path"], "/photos/2024");
    is_key(&done["oss_key"], &alice, ".jpg");
    for bad in ["/a/../b", "..", "a/./b", "a\\b"] {
        let mut body = item("a.jpg", b"abc");
        body["path"] = bad.into();
        fault(
            alice.client.post("/file/", body).await,
            "validation_error",
            "path",
            "格式不正确",
        );
    }
}

#[tokio::test]
async fn faults_are_collected_and_texts_follow_the_language() {
    let (_server, alice) = local(&[]).await;
    let body = json!({ "name": "..", "content_type": "png", "size": 4, "file_content": "a*" });
    let zh = alice
        .client
        .post("/file/", body.clone())
        .await
        .refused(400, "validation_error");
    let fields: Vec<&String> = zh["errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["name", "content_type", "file_content"]);
    let english = alice.client.with_header("accept-language", "en-GB,en;q=0.9");
    let en = english.post("/file/", body).await;
    assert_eq!(en.header("content-language"), "en");
    let en = en.refused(400, "validation_error");
    assert_eq!(
        en["errors"]["file_content"],
        json!(["File content is not valid base64."])
    );
}

#[tokio::test]
async fn updated_at_moves_with_the_worker_and_never_back() {
    let (server, alice) = local(&[]).await;
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    let done = reaches(&alice.client, id, "completed").await;
    let time = |v: &Value| {
        chrono::DateTime::parse_from_rfc3339(v.as_str().unwrap())
            .unwrap()
            .to_utc()
    };
    let (created, updated) = (time(&done["created_at"]), time(&done["updated_at"]));
    assert!(updated > created, "{done}");
    assert!(done["updated_at"].as_str().unwrap().ends_with('Z'), "{done}");

    // A row from a host whose clock is ahead.
    let ahead = created + chrono::TimeDelta::days(2);
    sql(
        &server,
        "UPDATE files SET updated_at = ? WHERE id = ?",
        vec![ahead.into(), id.into()],
    )
    .await;
    let renamed = alice
        .client
        .patch(&format!("/file/{id}/"), json!({ "name": "b.jpg" }))
        .await
        .expect(200);
    assert_eq!(time(&renamed["updated_at"]), ahead);
    assert_eq!(file(&alice.client, id).await, renamed);
}
