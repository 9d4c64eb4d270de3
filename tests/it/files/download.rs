//! `GET` and `POST /file/{id}/download/`.

use serde_json::json;

use super::*;

#[tokio::test]
async fn both_methods_give_a_link_that_works_without_credentials() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "照片.jpg", b"abc").await;
    let path = format!("/file/{}/download/", done["id"]);
    for reply in [
        alice.client.get(&path).await,
        alice.client.post(&path, json!({})).await,
    ] {
        let body = reply.expect(200);
        has_keys(&body, &["download_url", "expires_at", "file_name"]);
        assert_eq!(body["file_name"], "照片.jpg");
        assert!(body["expires_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(
            Client::new("")
                .get(body["download_url"].as_str().unwrap())
                .await
                .bytes,
            b"abc"
        );
        let expires = chrono::DateTime::parse_from_rfc3339(body["expires_at"].as_str().unwrap())
            .unwrap()
            .to_utc();
        let left = (expires - server.clock.now()).num_seconds();
        assert!((3590..=3600).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn expires_has_edges() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let path = format!("/file/{}/download/", done["id"]);
    for seconds in [60, 86_400] {
        for reply in [
            alice.client.get(&format!("{path}?expires={seconds}")).await,
            alice
                .client
                .post(&format!("{path}?expires={seconds}"), json!({}))
                .await,
        ] {
            let body = reply.expect(200);
            let expires = chrono::DateTime::parse_from_rfc3339(body["expires_at"].as_str().unwrap())
                .unwrap()
                .to_utc();
            let left = (expires - server.clock.now()).num_seconds();
            assert!((seconds - 10..=seconds).contains(&left), "{left}");
        }
    }
    for bad in ["59", "86401", "0", "-60", "9223372036854775807"] {
        let reply = alice.client.get(&format!("{path}?expires={bad}")).await;
        fault(reply, "validation_error", "expires", "数值超出范围");
    }
    for bad in ["abc", "60.5", "1e3", "99999999999999999999"] {
        let body = alice
            .client
            .get(&format!("{path}?expires={bad}"))
            .await
            .refused(400, "validation_error");
        assert!(body["errors"]["expires"].is_array(), "{bad}: {body}");
    }
}

#[tokio::test]
async fn only_completed_files_have_a_link() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(503);
    let id = upload(&alice.client, "a.jpg", b"abc").await;
    server.settle().await;
    let path = format!("/file/{id}/download/");
    refusal(
        alice.client.get(&path).await,
        409,
        "file_not_ready",
        "文件尚未上传完成",
    );
    alice
        .client
        .post(&format!("/file/{id}/cancel/"), json!({}))
        .await
        .expect(200);
    refusal(
        alice.client.post(&path, json!({})).await,
        409,
        "file_not_ready",
        "文件尚未上传完成",
    );
    oss.recover();
    alice
        .client
        .post(
            &format!("/file/{id}/retry_upload/"),
            json!({ "file_content": "YWJj" }),
        )
        .await
        .expect(200);
    reaches(&alice.client, id, "completed").await;
    alice.client.get(&path).await.expect(200);
}

#[tokio::test]
async fn links_to_object_storage_carry_the_disposition() {
    let (oss, _server, alice) = on_oss(&[]).await;
    for (content_type, attachment) in [
        ("text/html", true),
        ("image/svg+xml", true),
        ("application/zip", true),
        ("image/png", false),
        ("application/pdf", false),
    ] {
        let mut body = item("报告 1.x", b"abc");
        body["content_type"] = content_type.into();
        let id = id_of(&alice.client.post("/file/", body).await.expect(201));
        reaches(&alice.client, id, "completed").await;
        let body = alice
            .client
            .get(&format!("/file/{id}/download/?expires=60"))
            .await
            .expect(200);
        let url = body["download_url"].as_str().unwrap();
        assert!(url.starts_with(&oss.endpoint()), "{url}");
        let reply = Client::new("").get(url).await;
        assert_eq!(
            (reply.status, reply.bytes.as_slice()),
            (200, b"abc".as_slice()),
            "{}",
            reply.text()
        );
        let disposition = reply.header("content-disposition");
        let expected = if attachment {
            "attachment; filename*=UTF-8''%E6%8A%A5%E5%91%8A%201.x"
        } else {
            ""
        };
        assert_eq!(disposition, expected, "{content_type}");
        // What was signed cannot be turned into something a browser runs.
        let bent = url.replace("response-content-disposition", "response-content-type");
        if attachment {
            assert_eq!(Client::new("").get(&bent).await.status, 403);
        }
        assert_eq!(
            Client::new("").get(url.split('?').next().unwrap()).await.status,
            403
        );
    }
}

#[tokio::test]
async fn public_names_of_the_bucket_are_used_in_links() {
    let (oss, server, alice) = on_oss(&[("OSS_CUSTOM_DOMAIN", "https://files.example.com")]).await;
    let done = completed(&alice.client, "a.png", b"abc").await;
    let key = done["oss_key"].as_str().unwrap();
    assert_eq!(done["oss_url"], format!("https://files.example.com/{key}"));
    let body = alice
        .client
        .get(&format!("/file/{}/download/", done["id"]))
        .await
        .expect(200);
    assert!(
        body["download_url"]
            .as_str()
            .unwrap()
            .starts_with("https://files.example.com/"),
        "{body}"
    );
    let presign = json!({ "name": "a", "content_type": "a/b", "size": 1 });
    let made = alice.client.post("/file/presign/", presign).await.expect(201);
    assert!(
        made["upload_url"]
            .as_str()
            .unwrap()
            .starts_with("https://files.example.com/"),
        "{made}"
    );
    assert_eq!(oss.object(key).unwrap(), b"abc");
    server.settle().await;
}
