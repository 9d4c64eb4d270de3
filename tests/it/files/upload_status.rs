//! `GET /file/upload_status/`.

use serde_json::json;

use super::*;

const BAD_LIST: &str = "请提供有效的文件ID列表";

async fn ask(client: &Client, ids: &str) -> Reply {
    client.get(&format!("/file/upload_status/?file_ids={ids}")).await
}

#[tokio::test]
async fn states_are_shown_by_id_without_strangers() {
    let (oss, server, alice) = on_oss(&[]).await;
    let bob = server.user("bob").await;
    let foreign = id_of(&completed(&bob.client, "b.jpg", b"bob").await);
    let done = completed(&alice.client, "a.jpg", b"abc").await;
    oss.fail_always(403);
    let failed = upload(&alice.client, "c.jpg", b"abc").await;
    reaches(&alice.client, failed, "failed").await;

    let first = id_of(&done);
    let list = format!("{failed},%20{first},,{foreign},{first},999999,-3,99999999999999999999999");
    let shown = ask(&alice.client, &list).await.expect(200);
    let shown = shown.as_array().unwrap();
    assert_eq!(shown.iter().map(id_of).collect::<Vec<_>>(), [first, failed]);
    for one in shown {
        has_keys(one, &F7);
    }
    let expected = json!({
        "id": first, "name": "a.jpg", "upload_status": "completed", "upload_error": null, "oss_url": done["oss_url"],
        "created_at": done["created_at"], "updated_at": done["updated_at"],
    });
    assert_eq!(shown[0], expected);
    assert_eq!(shown[1]["upload_error"], REFUSED);
    assert_eq!(shown[1]["oss_url"], json!(null));
    assert_eq!(ask(&alice.client, "424242").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_list_without_a_valid_id_is_refused() {
    let (_server, alice) = local(&[]).await;
    for bad in [
        "",
        ",",
        "%20",
        "abc",
        "1,abc",
        "1;2",
        "1%202",
        "1.0",
        "1e3",
        "0x1",
        "%EF%BC%91",
        "null",
        "[1]",
        "0",
        "-1",
    ] {
        let reply = ask(&alice.client, bad).await;
        assert_eq!(reply.status, 400, "{bad}: {}", reply.text());
        assert_eq!(reply.json()["error"], BAD_LIST, "{bad}");
    }
    ask(&alice.client, "1,%00").await.refused(400, "validation_error");
    refusal(
        alice.client.get("/file/upload_status/").await,
        400,
        "validation_error",
        BAD_LIST,
    );
}

#[tokio::test]
async fn at_most_100_ids_are_asked_for_at_once() {
    let (_server, alice) = local(&[]).await;
    let id = id_of(&completed(&alice.client, "a.jpg", b"abc").await);
    let list = |n: i64| (id..id + n).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(
        ask(&alice.client, &list(100))
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    refusal(
        ask(&alice.client, &list(101)).await,
        400,
        "validation_error",
        BAD_LIST,
    );
    // Repeats are one id.
    let repeated = vec![id.to_string(); 500].join(",");
    assert_eq!(
        ask(&alice.client, &repeated)
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let many = ask(&alice.client, &list(1100)).await;
    assert!(matches!(many.status, 400 | 414), "{}", many.text());
}
