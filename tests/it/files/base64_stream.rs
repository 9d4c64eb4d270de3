//! Contents too long to be held: decoded while they arrive, by the same rules as short ones.

use serde_json::json;

use super::*;

const TEXT: &str = "文件内容不是有效的base64编码";

/// Longer than what is read as a whole, so it is decoded while it arrives.
const LONG: usize = 100_000;

/// Sends a document as it is written.
async fn send(client: &Client, path: &str, document: String) -> Reply {
    let request = client.request(reqwest::Method::POST, path);
    let request = request.header("content-type", "application/json");
    client.send(request.body(document)).await
}

/// An object whose content is written like this, quotes apart.
fn written(size: usize, content: &str) -> String {
    format!(r#"{{"name":"a.bin","content_type":"a/b","size":{size},"file_content":"{content}"}}"#)
}

async fn nothing_is_kept(server: &TestServer) {
    let rows = (files_in_table(server).await, staged_rows(server).await);
    assert_eq!((rows, staged_files(server)), ((0, 0), vec![]));
}

#[tokio::test]
async fn long_contents_may_be_spelled_in_every_way() {
    let (server, alice) = local(&[]).await;
    let bytes = noise(3, LONG);
    let plain = b64(&bytes);
    let lines = |end: &str| {
        let lines: Vec<&str> = plain
            .as_bytes()
            .chunks(76)
            .map(|l| std::str::from_utf8(l).unwrap())
            .collect();
        lines.join(end)
    };
    let escaped: String = plain.bytes().map(|b| format!("\\u{b:04x}")).collect();
    let url_safe = plain.replace('+', "-").replace('/', "_");
    for (what, content) in [
        ("plain", plain.clone()),
        ("without padding", plain.trim_end_matches('=').to_owned()),
        ("url-safe", url_safe.clone()),
        ("slashes escaped", plain.replace('/', "\\/")),
        ("escaped throughout", escaped),
        ("lines", lines("\\r\\n")),
        ("indented", lines("\\n\\t  ")),
        (
            "blanks around it",
            format!(" \\n\\u3000{plain}\u{3000}\\t\\u00a0"),
        ),
        ("a data address", format!("data:image/png;base64,{plain}")),
        (
            "a long data address",
            format!("data:{};base64,{url_safe}", "x".repeat(70_000)),
        ),
    ] {
        let created = send(&alice.client, "/file/", written(LONG, &content)).await;
        assert_eq!(created.status, 201, "{what}: {}", created.text());
        let done = reaches(&alice.client, id_of(&created.json()), "completed").await;
        let key = done["oss_key"].as_str().unwrap();
        assert!(stored(&server, key).unwrap() == bytes, "{what}");
    }
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn long_contents_are_refused_as_short_ones_are() {
    let (server, alice) = local(&[]).await;
    let plain = b64(&noise(3, LONG));
    let (start, end) = plain.split_at(plain.len() / 2);
    for (what, content) in [
        ("a stranger at the end", format!("{plain}*")),
        ("a stranger in the middle", format!("{start}*{end}")),
        ("a stranger in front", format!("*{plain}")),
        ("padding in the middle", format!("{start}={end}")),
        ("too much padding", format!("{plain}====")),
        ("both alphabets", format!("+{start}-{end}")),
        ("a wide blank in the middle", format!("{start}\\u3000{end}")),
        (
            "a symbol too many",
            format!("{}A", &plain[..plain.len() / 4 * 4 - 4]),
        ),
        ("half of a data address", format!("data:text/plain,{plain}")),
        ("no data address", format!("data;base64,{plain}")),
        ("letters", "文".repeat(50_000)),
        ("faces", "\\ud83d\\ude00".repeat(10_000)),
    ] {
        let reply = send(&alice.client, "/file/", written(LONG, &content)).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        fault(reply, "invalid_base64", "file_content", TEXT);
    }
    for control in ["\\u0000", "\\u001b", "\\b"] {
        for content in [format!("{start}{control}{end}"), format!("{plain}{control}")] {
            let reply = send(&alice.client, "/file/", written(LONG, &content)).await;
            fault(reply, "validation_error", "file_content", "包含不允许的字符");
        }
    }
    let blank = send(&alice.client, "/file/", written(5, &" \\n".repeat(50_000))).await;
    fault(blank, "content_required", "file_content", "请提供文件内容");
    for (what, document) in [
        ("an open end", format!("{}\"", &written(LONG, &plain)[..100_000])),
        ("a bad escape", written(LONG, &format!("{start}\\x{end}"))),
        ("half a pair", written(LONG, &format!("{start}\\ud83d{end}"))),
        ("a raw line end", written(LONG, &format!("{start}\n{end}"))),
        ("a word after it", written(LONG, &plain) + "x"),
        (
            "a second document",
            written(LONG, &plain) + &written(LONG, &plain),
        ),
    ] {
        let reply = send(&alice.client, "/file/", document).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        refusal(reply, 400, "parse_error", "无效的JSON格式");
    }
    nothing_is_kept(&server).await;
    assert_eq!(used_space(&alice.client).await, 0);
    // An empty file may be written at length.
    let empty = send(&alice.client, "/file/", written(0, &" \\n".repeat(50_000))).await;
    let done = reaches(&alice.client, id_of(&empty.expect(201)), "completed").await;
    assert_eq!(done["size"], 0);
}

#[tokio::test]
async fn a_long_batch_tells_all_its_faults() {
    let (server, alice) = local(&[]).await;
    let mut items: Vec<Value> = (0..5).map(|i| item("a.jpg", &noise(i, LONG))).collect();
    items[0]["size"] = json!(9);
    items[1]["file_content"] = json!(format!("{}*", b64(&noise(1, LONG))));
    items[2]["content_type"] = json!("x");
    items[3]["file_content"] = json!(" ".repeat(LONG));
    let body = alice
        .client
        .post("/file/", json!(items))
        .await
        .refused(400, "size_mismatch");
    let expected = json!({
        "0.size": ["文件大小不匹配：声明 9 字节，实际 100000 字节"],
        "1.file_content": [TEXT],
        "2.content_type": ["格式不正确"],
        "3.file_content": ["请提供文件内容"],
    });
    assert_eq!(body["errors"], expected);
    // Shapes come first, of every item.
    items[2]["content_type"] = json!(5);
    items[3]["file_content"] = json!(5);
    items[4]["file_content"] = json!(format!("{}\u{0}", b64(&noise(1, LONG))));
    let body = alice
        .client
        .post("/file/", json!(items))
        .await
        .refused(400, "validation_error");
    let expected = json!({
        "2.content_type": ["类型错误"],
        "3.file_content": ["类型错误"],
        "4.file_content": ["包含不允许的字符"],
    });
    assert_eq!(body["errors"], expected);
    // Too many items are that, whatever is in them.
    let many: Vec<Value> = (0..21).map(|i| item("a", &noise(i, LONG))).collect();
    let body = alice
        .client
        .post("/file/", json!(many))
        .await
        .refused(400, "validation_error");
    assert!(body["errors"]["non_field_errors"].is_array(), "{body}");
    nothing_is_kept(&server).await;
    // And a good one is taken as a whole, long and short ones together.
    let sizes = [LONG, 10, 30_000, 0, 64 * 1024, LONG + 1];
    let contents: Vec<Vec<u8>> = sizes.iter().map(|n| noise(7, *n)).collect();
    let items: Vec<Value> = contents.iter().map(|bytes| item("a", bytes)).collect();
    let created = alice.client.post("/file/", json!(items)).await.expect(201);
    for (out, bytes) in created.as_array().unwrap().iter().zip(&contents) {
        let done = reaches(&alice.client, id_of(out), "completed").await;
        assert!(&stored(&server, done["oss_key"].as_str().unwrap()).unwrap() == bytes);
    }
    assert!(staged_files(&server).is_empty());
}

#[tokio::test]
async fn of_contents_with_one_name_the_last_counts() {
    let (server, alice) = local(&[("UPLOAD_MAX_BYTES", "150000")]).await;
    let (first, second) = (noise(1, LONG), noise(2, LONG + 5));
    // Together they are over the limit; the first is no part of the upload.
    let document = written(second.len(), &b64(&first));
    let document = document.replace('}', &format!(r#","file\u005fcontent":"{}"}}"#, b64(&second)));
    let created = send(&alice.client, "/file/", document).await.expect(201);
    let done = reaches(&alice.client, id_of(&created), "completed").await;
    assert!(stored(&server, done["oss_key"].as_str().unwrap()).unwrap() == second);
    for (last, code) in [("null", "content_required"), ("\"*\"", "invalid_base64")] {
        let document = written(LONG, &b64(&first)).replace('}', &format!(r#","file_content":{last}}}"#));
        send(&alice.client, "/file/", document).await.refused(400, code);
    }
    // Under other names it is not looked at.
    let document = written(2, "aGk=").replace(
        '}',
        &format!(r#","x":{}}}"#, written(1, &b64(&noise(1, 200_000)))),
    );
    send(&alice.client, "/file/", document).await.expect(201);
    server.settle().await;
    assert!(staged_files(&server).is_empty());
}

/// A client cannot make one item pass for another.
#[tokio::test]
async fn nothing_a_client_writes_stands_for_a_long_content() {
    let (server, alice) = local(&[]).await;
    let long = item("a", &noise(1, LONG));
    for forged in [
        "\u{1}:0",
        "\u{1}0",
        "\u{1}00000000000000000000000000000000:0",
        "\u{1}",
    ] {
        let mut other = item("b", b"x");
        other["file_content"] = json!(forged);
        for (batch, index) in [
            (json!([long, other]), 1),
            (json!([other, long]), 0),
            (json!([other]), 0),
        ] {
            let reply = alice.client.post("/file/", batch).await;
            let field = format!("{index}.file_content");
            fault(reply, "validation_error", &field, "包含不允许的字符");
        }
    }
    nothing_is_kept(&server).await;
}

#[tokio::test]
async fn long_contents_of_a_retry() {
    let (oss, server, alice) = on_oss(&[]).await;
    oss.fail_always(403);
    let bytes = noise(1, LONG);
    let id = upload(&alice.client, "a", &bytes).await;
    reaches(&alice.client, id, "failed").await;
    oss.recover();
    let path = format!("/file/{id}/retry_upload/");
    let with = |text: String| json!({ "file_content": text });
    let bad = alice.client.post(&path, with(b64(&bytes) + "*")).await;
    fault(bad, "invalid_base64", "file_content", TEXT);
    alice
        .client
        .post(&path, with(b64(&noise(2, LONG + 1))))
        .await
        .refused(400, "size_mismatch");
    // Only what was staged first is there.
    assert_eq!(staged_files(&server).len(), 1);
    let other = noise(2, LONG);
    let client = alice.client.with_header("idempotency-key", "again");
    let first = client.post(&path, with(b64(&other))).await.expect(200);
    let done = reaches(&alice.client, id, "completed").await;
    assert!(oss.object(done["oss_key"].as_str().unwrap()).unwrap() == other);
    let replayed = client.post(&path, with(b64(&other))).await;
    assert_eq!(replayed.header("idempotent-replayed"), "true");
    assert_eq!(replayed.expect(200), first);
    client
        .post(&path, with(b64(&bytes)))
        .await
        .refused(422, "idempotency_key_reused");
    server.settle().await;
    assert!(staged_files(&server).is_empty());
}

/// The head and the beginning of an upload of which more is announced.
async fn begun(server: &TestServer, alice: &User, start: &str) -> tokio::net::TcpStream {
    let host = server.client.base().strip_prefix("http://").unwrap();
    let head = format!(
        "POST /file/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        alice.access,
        60 * MIB
    );
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    for part in [&head, start] {
        tokio::io::AsyncWriteExt::write_all(&mut socket, part.as_bytes())
            .await
            .unwrap();
    }
    socket
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let (server, alice) = local(&[]).await;
    let document = written(LONG, &"QUJD".repeat(300_000));
    let batch = format!("[{document},{}", &document[..document.len() - 2]);
    for (start, files) in [
        (&document[..1_000_000], 1),
        (batch.as_str(), 2),
        (document.as_str(), 1),
    ] {
        let socket = begun(&server, &alice, start).await;
        eventually("it is spooled", 20, || async {
            staged_files(&server).len() == files
        })
        .await;
        // The sweep would take it for given up after an hour.
        assert!(
            staged_files(&server)
                .iter()
                .all(|p| p.extension().is_some_and(|e| e == "tmp"))
        );
        drop(socket);
        eventually("it is removed", 20, || async { staged_files(&server).is_empty() }).await;
    }
    nothing_is_kept(&server).await;
}

/// The answer does not wait for the rest of the body.
#[tokio::test]
async fn content_over_the_limit_is_413_while_it_arrives() {
    let (server, alice) = local(&[("UPLOAD_MAX_BYTES", "100000")]).await;
    let single = written(LONG, &"QUJD".repeat(100_000));
    let items = [item("a", &noise(1, 60_000)), item("b", &noise(2, 60_000))];
    let batch = format!("[{},{}{}", items[0], items[1], " ".repeat(MIB));
    for start in [&single[..300_000], batch.as_str()] {
        let mut socket = begun(&server, &alice, start).await;
        let mut answer = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut socket, &mut answer);
        let n = tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .expect("an answer")
            .unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(
            answer.contains("file_too_large") && answer.contains("文件过大"),
            "{answer}"
        );
    }
    nothing_is_kept(&server).await;
    // What will be refused for its text is read to its end, and told all.
    let mut items = [item("a", &noise(1, LONG)), item("b", &noise(2, LONG))];
    items[0]["file_content"] = json!(format!("{}*", b64(&noise(1, LONG))));
    items[1]["size"] = json!(1);
    let reply = alice.client.post("/file/", json!(items)).await;
    let body = reply.refused(400, "invalid_base64");
    assert_eq!(body["errors"].as_object().unwrap().len(), 2, "{body}");
    nothing_is_kept(&server).await;
}
