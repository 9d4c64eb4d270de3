//! `GET /file/` and `GET /file/storage-info/`.

use serde_json::json;

use super::*;

async fn names(client: &Client, query: &str) -> Vec<String> {
    let shown = client.get(&format!("/file/?{query}")).await.expect(200);
    shown
        .as_array()
        .expect("a bare array")
        .iter()
        .map(|f| f["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn files_are_listed_newest_first_as_a_bare_array() {
    let (server, alice) = local(&[]).await;
    assert_eq!(alice.client.get("/file/").await.expect(200), json!([]));
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        completed(&alice.client, name, name.as_bytes()).await;
    }
    server
        .user("bob")
        .await
        .client
        .post("/file/", item("z", b"z"))
        .await
        .expect(201);
    let reply = alice.client.get("/file/").await;
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(
        (reply.header("x-total-count"), reply.header("x-page")),
        ("3", "1")
    );
    assert_eq!((reply.header("x-page-size"), reply.header("link")), ("100", ""));
    let shown = reply.expect(200);
    let ids: Vec<i64> = shown.as_array().unwrap().iter().map(id_of).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    for one in shown.as_array().unwrap() {
        has_keys(one, &F10);
        assert_eq!(file(&alice.client, id_of(one)).await, *one);
    }
    server.settle().await;
}

#[tokio::test]
async fn pages_are_bounded_and_linked() {
    let (server, alice) = local(&[]).await;
    let mut left = 101;
    while left > 0 {
        let n = left.min(20);
        let items: Vec<Value> = (0..n).map(|i| item(&format!("{i}"), b"x")).collect();
        alice.client.post("/file/", json!(items)).await.expect(201);
        left -= n;
    }
    server.settle().await;
    let first = alice.client.get("/file/").await;
    assert_eq!(
        (first.header("x-total-count"), first.header("x-page-size")),
        ("101", "100")
    );
    let base = server.client.base();
    assert_eq!(
        first.header("link"),
        format!("<{base}/file/?page=2>; rel=\"next\"")
    );
    assert_eq!(first.expect(200).as_array().unwrap().len(), 100);
    let second = alice.client.get("/file/?page=2").await;
    assert_eq!(
        (second.header("x-page"), second.header("link")),
        ("2", &*format!("<{base}/file/?page=1>; rel=\"prev\""))
    );
    assert_eq!(second.expect(200).as_array().unwrap().len(), 1);
    let middle = alice.client.get("/file/?page=2&page_size=10").await;
    assert!(middle.header("link").contains("rel=\"next\"") && middle.header("link").contains("rel=\"prev\""));
    assert!(
        middle.header("link").contains("page_size=10"),
        "{}",
        middle.header("link")
    );
    let past = alice
        .client
        .get("/file/?page=9223372036854775807&page_size=100")
        .await;
    assert_eq!(past.expect(200), json!([]));

    let mut seen = Vec::new();
    for page in 1..=11 {
        let shown = alice
            .client
            .get(&format!("/file/?page={page}&page_size=10&ordering=size"))
            .await
            .expect(200);
        seen.extend(shown.as_array().unwrap().iter().map(id_of));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 101, "every order ends with the id");
}

#[tokio::test]
async fn bad_pages_and_choices_are_refused() {
    let (_server, alice) = local(&[]).await;
    for (query, field) in [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=abc", "page"),
        ("page=1.5", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=1000000", "page_size"),
        ("page_size=x", "page_size"),
        ("status=done", "status"),
        ("status=COMPLETED", "status"),
        ("ordering=password", "ordering"),
        ("ordering=--id", "ordering"),
        ("ordering=id;drop", "ordering"),
        ("path=/a/../b", "path"),
    ] {
        let body = alice
            .client
            .get(&format!("/file/?{query}"))
            .await
            .refused(400, "validation_error");
        assert!(body["errors"][field].is_array(), "{query}: {body}");
    }
}

#[tokio::test]
async fn filters_and_orders() {
    let (oss, server, alice) = on_oss(&[]).await;
    let put = |name: &'static str, kind: &'static str, path: &'static str, bytes: &'static [u8]| {
        let mut body = item(name, bytes);
        body["content_type"] = kind.into();
        body["path"] = path.into();
        body
    };
    for body in [
        put("Report.pdf", "application/pdf", "/work", b"1"),
        put("photo 100%.png", "image/png", "/", b"22"),
        put("photo_1.png", "image/png", "/Work", b"333"),
        put("报告.pdf", "application/pdf", "/work/old", b"4444"),
    ] {
        alice.client.post("/file/", body).await.expect(201);
    }
    server.settle().await;
    oss.fail_always(403);
    alice
        .client
        .post("/file/", put("broken", "text/plain", "/", b"x"))
        .await
        .expect(201);
    server.settle().await;

    let client = &alice.client;
    assert_eq!(names(client, "status=failed").await, ["broken"]);
    assert_eq!(names(client, "status=completed").await.len(), 4);
    assert!(names(client, "status=pending").await.is_empty());
    assert_eq!(names(client, "path=/work").await, ["Report.pdf"]);
    assert_eq!(names(client, "path=work/").await, ["Report.pdf"]);
    assert_eq!(names(client, "path=/").await, ["broken", "photo 100%.png"]);
    assert!(names(client, "path=/nowhere").await.is_empty());
    assert_eq!(names(client, "content_type=image/png").await.len(), 2);
    assert!(names(client, "content_type=image").await.is_empty());
    assert_eq!(names(client, "search=report").await, ["Report.pdf"]);
    assert_eq!(names(client, "search=EPOR").await, ["Report.pdf"]);
    assert_eq!(names(client, "search=%E6%8A%A5").await, ["报告.pdf"]);
    assert_eq!(names(client, "search=%25").await, ["photo 100%.png"]);
    assert_eq!(names(client, "search=_").await, ["photo_1.png"]);
    assert!(names(client, "search=!").await.is_empty());
    assert!(names(client, "search=%27%20OR%201=1").await.is_empty());
    assert_eq!(
        names(client, "search=photo&path=/&status=completed").await,
        ["photo 100%.png"]
    );
    let by_id = [
        "Report.pdf",
        "photo 100%.png",
        "photo_1.png",
        "报告.pdf",
        "broken",
    ];
    assert_eq!(names(client, "ordering=id").await, by_id);
    assert_eq!(names(client, "ordering=created_at").await, by_id);
    assert_eq!(
        names(client, "ordering=size").await,
        [
            "Report.pdf",
            "broken",
            "photo 100%.png",
            "photo_1.png",
            "报告.pdf"
        ]
    );
    assert_eq!(
        names(client, "ordering=-size").await[..2],
        ["报告.pdf", "photo_1.png"]
    );
    assert_eq!(
        names(client, "ordering=name").await,
        [
            "Report.pdf",
            "broken",
            "photo 100%.png",
            "photo_1.png",
            "报告.pdf"
        ]
    );
    let total = client.get("/file/?search=photo&page_size=1").await;
    assert_eq!(total.header("x-total-count"), "2");
}

#[tokio::test]
async fn storage_info_counts_bytes() {
    let (server, alice) = local(&[]).await;
    let quota = 10_i64 << 30;
    let fresh = json!({ "quota": quota, "used_space": 0, "available_space": quota, "usage_percentage": 0.0 });
    assert_eq!(alice.client.get("/file/storage-info/").await.expect(200), fresh);
    set_quota(&server, &alice, 3000).await;
    completed(&alice.client, "a.jpg", &noise(1, 1000)).await;
    let third =
        json!({ "quota": 3000, "used_space": 1000, "available_space": 2000, "usage_percentage": 33.33 });
    assert_eq!(alice.client.get("/file/storage-info/").await.expect(200), third);
    // A quota that was lowered below what is used.
    set_quota(&server, &alice, 500).await;
    let over = json!({ "quota": 500, "used_space": 1000, "available_space": 0, "usage_percentage": 200.0 });
    assert_eq!(alice.client.get("/file/storage-info/").await.expect(200), over);
}
