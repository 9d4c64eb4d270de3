//! What counts as base64 in `file_content`, and what only looks like it.

use serde_json::json;

use super::*;

const TEXT: &str = "文件内容不是有效的base64编码";

fn with(content: &str, size: usize) -> Value {
    json!({ "name": "a.bin", "content_type": "application/octet-stream", "size": size, "file_content": content })
}

#[tokio::test]
async fn every_common_spelling_stores_the_same_bytes() {
    let (server, alice) = local(&[]).await;
    let bytes = [0xfb_u8, 0xef, 0xbe, 0xff, 0x00];
    for content in [
        "++++/wA=",
        "----_wA=",
        "++++/wA",
        "----_wA",
        "++++\r\n/wA=\r\n",
        " ++ ++\t/w A= ",
        "data:image/png;base64,++++/wA=",
        "data:text/plain;charset=utf-8;base64,++++/wA",
        "data:;base64,----_wA=",
    ] {
        let created = alice.client.post("/file/", with(content, 5)).await;
        assert_eq!(created.status, 201, "{content:?}: {}", created.text());
        let done = reaches(&alice.client, id_of(&created.json()), "completed").await;
        assert_eq!(
            stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
            bytes,
            "{content:?}"
        );
    }
}

#[tokio::test]
async fn everything_else_is_refused_and_nothing_is_kept() {
    let (server, alice) = local(&[]).await;
    let long = format!("{}*", "QUJD".repeat(50_000));
    for content in [
        "base64_encoded_file_content_here!",
        "a",
        "aGk=aGk=",
        "aGk=x",
        "aGk===",
        "=",
        "====",
        "aG=k",
        "+_8=",
        "-/8=",
        "aGk*",
        "aGk.",
        "aGk\u{b}",
        "aG\u{a0}k=",
        "aGk\u{200b}",
        "ａＧｋ＝",
        "你好",
        "😀",
        "%61Gk=",
        "aGk%3D",
        "\"aGk=\"",
        "data:text/plain,aGk=",
        "data:text/plain;base64",
        "data:base64,aGk=",
        "http://127.0.0.1/x;base64,aGk=",
        "<svg onload=alert(1)>",
        &long,
    ] {
        let reply = alice.client.post("/file/", with(content, 2)).await;
        // A control character inside is refused before the decoder sees it.
        if content.contains('\u{b}') {
            reply.refused(400, "validation_error");
            continue;
        }
        let shown: String = content.chars().take(40).collect();
        assert_eq!(reply.status, 400, "{shown:?}: {}", reply.text());
        fault(reply, "invalid_base64", "file_content", TEXT);
    }
    assert_eq!(
        (files_in_table(&server).await, staged_rows(&server).await),
        (0, 0)
    );
    assert!(staged_files(&server).is_empty());
    assert_eq!(used_space(&alice.client).await, 0);
}

/// The example of the documentation, which a lenient decoder turns into 21 bytes of junk.
#[tokio::test]
async fn the_placeholder_of_the_documentation_is_not_a_file() {
    let (server, alice) = local(&[]).await;
    for size in [21, 1024] {
        let reply = alice
            .client
            .post("/file/", with("base64编码的文件内容", size))
            .await;
        fault(reply, "invalid_base64", "file_content", TEXT);
    }
    assert_eq!(files_in_table(&server).await, 0);
}

#[tokio::test]
async fn sizes_that_lie_are_refused_at_every_distance() {
    let (server, alice) = local(&[]).await;
    let content = b64(&noise(1, 100_000));
    for size in [1_i64, 99_999, 100_001, 1 << 32, 1 << 62] {
        let body = json!({ "name": "a", "content_type": "a/b", "size": size, "file_content": content });
        alice
            .client
            .post("/file/", body)
            .await
            .refused(400, "size_mismatch");
    }
    assert_eq!(files_in_table(&server).await, 0);
    assert!(staged_files(&server).is_empty());
}
