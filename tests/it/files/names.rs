//! Names that clients choose never become more than a label.

use serde_json::json;

use super::*;

/// Uploads under a name and says what was made of it: the name and the end of the key.
async fn named(client: &Client, name: &str) -> (Value, Value) {
    let created = client.post("/file/", item(name, name.as_bytes())).await;
    assert_eq!(created.status, 201, "{name:?}: {}", created.text());
    let created = created.json();
    let done = reaches(client, id_of(&created), "completed").await;
    assert_eq!(created["name"], done["name"]);
    (done["name"].clone(), done)
}

#[tokio::test]
async fn cloud_scenario_10_hostile_names_give_safe_keys() {
    let (server, alice) = local(&[]).await;
    let cjk = "文".repeat(255);
    for (name, kept, extension) in [
        ("../../etc/passwd", "passwd", ""),
        ("a.PHP", "a.PHP", ".php"),
        ("x", "x", ""),
        ("a.b/c.tar.gz", "c.tar.gz", ".gz"),
        (cjk.as_str(), cjk.as_str(), ""),
    ] {
        let (shown, done) = named(&alice.client, name).await;
        assert_eq!(shown, kept);
        is_key(&done["oss_key"], &alice, extension);
        assert_eq!(
            stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
            name.as_bytes()
        );
    }
}

#[tokio::test]
async fn every_strange_name_is_a_label_and_nothing_else() {
    let (oss, _server, alice) = on_oss(&[]).await;
    for (name, kept, extension) in [
        ("..\\..\\boot.ini", "boot.ini", ".ini"),
        ("/etc/x", "x", ""),
        ("C:\\Users\\a.TXT", "a.TXT", ".txt"),
        (".htaccess", ".htaccess", ".htaccess"),
        ("a.png::$DATA", "a.png::$DATA", ""),
        ("a.abcdefghij", "a.abcdefghij", ".abcdefghij"),
        ("a.abcdefghijk", "a.abcdefghijk", ""),
        ("a.", "a.", ""),
        ("a..jpg", "a..jpg", ".jpg"),
        ("...", "...", ""),
        ("a.中文", "a.中文", ""),
        ("a.j pg", "a.j pg", ""),
        ("a.é", "a.é", ""),
        (
            "name with 空格 and ? # + & = %2e %00.png",
            "name with 空格 and ? # + & = %2e %00.png",
            ".png",
        ),
        (
            "<img src=x onerror=alert(1)>.svg",
            "<img src=x onerror=alert(1)>.svg",
            ".svg",
        ),
        (
            "\"quoted\" 'single' `back`.txt",
            "\"quoted\" 'single' `back`.txt",
            ".txt",
        ),
        (
            "'; DROP TABLE files; --.sql",
            "'; DROP TABLE files; --.sql",
            ".sql",
        ),
        ("{{7*7}}${jndi:ldap://x}.txt", "x}.txt", ".txt"),
        ("\u{202e}gpj.exe", "\u{202e}gpj.exe", ".exe"),
        ("😀👩‍👩‍👧.gif", "😀👩‍👩‍👧.gif", ".gif"),
        ("CON", "CON", ""),
        ("-rf", "-rf", ""),
        ("  padded.txt  ", "padded.txt", ".txt"),
        ("a.jpg\n", "a.jpg", ".jpg"),
        ("a/b\\c/d.jpg", "d.jpg", ".jpg"),
    ] {
        let (shown, done) = named(&alice.client, name).await;
        assert_eq!(shown, kept, "{name:?}");
        is_key(&done["oss_key"], &alice, extension);
        let key = done["oss_key"].as_str().unwrap();
        assert_eq!(oss.object(key).unwrap(), name.as_bytes(), "{name:?}");
        // The link carries the name without being broken by it.
        let link = alice
            .client
            .get(&format!("/file/{}/download/", done["id"]))
            .await
            .expect(200);
        assert_eq!(link["file_name"], kept);
        let fetched = alice.client.clone();
        let bytes = fetched
            .send(reqwest::Client::new().get(link["download_url"].as_str().unwrap()))
            .await;
        assert_eq!(
            (bytes.status, bytes.bytes.as_slice()),
            (200, name.as_bytes()),
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn names_of_which_nothing_is_left_are_refused() {
    let (server, alice) = local(&[]).await;
    for bad in [
        ".",
        "..",
        "/",
        "a/",
        "a/..",
        "..\\",
        "\u{7f}",
        "\u{85}",
        "a/ ",
        "dir/\u{9f}",
    ] {
        let mut body = item("x", b"abc");
        body["name"] = bad.into();
        let reply = alice.client.post("/file/", body).await;
        assert_eq!(reply.status, 400, "{bad:?}: {}", reply.text());
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"]["name"].is_array(), "{bad:?}: {body}");
    }
    let mut long = item("x", b"abc");
    long["name"] = "n".repeat(5000).into();
    fault(
        alice.client.post("/file/", long).await,
        "validation_error",
        "name",
        "长度不能超过 255 个字符",
    );
    assert_eq!(files_in_table(&server).await, 0);
}

/// Renaming changes the label; the key stays what it was.
#[tokio::test]
async fn a_new_name_does_not_touch_the_key() {
    let (server, alice) = local(&[]).await;
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    let path = format!("/file/{}/", done["id"]);
    let renamed = alice
        .client
        .patch(&path, json!({ "name": "../../b.php" }))
        .await
        .expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["oss_key"]),
        (&json!("b.php"), &done["oss_key"])
    );
    assert_eq!(
        stored(&server, done["oss_key"].as_str().unwrap()).unwrap(),
        b"abc"
    );
}
