//! Paths and queries that nobody should send.

use reqwest::Method;

use super::{is_envelope, tells_nothing};
use crate::support::{TestServer, raw};

/// Spellings that are no id.
const BAD_IDS: &[&str] = &[
    "-1",
    "0",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999",
    "abc",
    "1a",
    "1.0",
    "1e1",
    "0x1",
    "+1",
    "%2b1",
    "%00",
    "1%00",
    "%ff",
    "%c0%ae",
    "%0d%0aX:1",
    "%0a",
    "%20",
    "1%20",
    "..%2f",
    "%252e%252e",
    "%EF%BC%91",
    "%F0%9F%98%80",
    "null",
    "undefined",
    "NaN",
    "true",
    "'%20OR%201=1--",
    "%7B%7D",
    "%5B1%5D",
    "1,2",
    "*",
    "%25",
];

#[tokio::test]
async fn ids_that_are_none_are_404_on_every_operation() {
    let srv = TestServer::start().await;
    let admin = srv.admin("boss").await;
    let long = "9".repeat(4000);
    for id in BAD_IDS.iter().copied().chain([long.as_str()]) {
        for (method, path) in [
            (Method::GET, format!("/user/{id}/")),
            (Method::PATCH, format!("/user/{id}/")),
            (Method::PUT, format!("/user/{id}")),
            (Method::DELETE, format!("/user/{id}/")),
            (Method::DELETE, format!("/user/sessions/{id}/")),
            (Method::GET, format!("/file/{id}/")),
            (Method::DELETE, format!("/file/{id}/")),
            (Method::POST, format!("/file/{id}/retry_upload/")),
            (Method::GET, format!("/file/{id}/download/")),
        ] {
            let what = format!("{method} {path:.80}");
            let reply = admin.client.send(admin.client.request(method, &path)).await;
            assert_eq!(reply.status, 404, "{what}: {}", reply.text());
            is_envelope(&reply, &what);
        }
    }
}

#[tokio::test]
async fn paging_parameters_are_bounded() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    for (client, path) in [(&admin.client, "/user/"), (&alice.client, "/file/")] {
        for bad in [
            "page=0",
            "page=-1",
            "page=abc",
            "page=1.0",
            "page=1e2",
            "page=%00",
            "page=%ff",
            "page=%EF%BC%91",
            "page=0x1",
            "page_size=0",
            "page_size=-1",
            "page_size=101",
            "page_size=1000000",
            "page_size=9223372036854775808",
            "page_size=abc",
            "page=-9223372036854775809",
            "page=true",
            "page=null",
        ] {
            let reply = client.get(&format!("{path}?{bad}")).await;
            assert_eq!(reply.status, 400, "{path}?{bad}: {}", reply.text());
            let body = is_envelope(&reply, bad);
            assert!(body["errors"].is_object(), "{bad}: {body}");
        }
        for past in [
            "page=9223372036854775807",
            "page=9223372036854775807&page_size=100",
            "page=4294967296",
        ] {
            let reply = client.get(&format!("{path}?{past}")).await;
            assert_eq!(reply.status, 200, "{past}: {}", reply.text());
            assert_eq!(reply.text(), "[]", "{past}");
        }
        let far = client.get(&format!("{path}?page=9223372036854775808")).await;
        assert!(matches!(far.status, 200 | 400), "{}", far.text());
    }
}

#[tokio::test]
async fn odd_queries_never_break_anything() {
    let srv = TestServer::start().await;
    let (alice, admin) = (srv.user("alice").await, srv.admin("boss").await);
    let long = format!("search={}", "x".repeat(8000));
    for query in [
        "page=1&page=2",
        "page[]=1",
        "page[0]=1",
        "page=",
        "page",
        "=1",
        "&&&",
        "?",
        "%",
        "%zz=1",
        "%00=1",
        "search=%00",
        "search=%ff",
        "search=%0d%0aSet-Cookie:x",
        "search=%F0%9F%98%80",
        "search=%25%25",
        "search=_",
        "search=%5C",
        "search='",
        "search=%22",
        "search=1&search=2",
        "unknown=1",
        "ordering=id;drop",
        "a=1;b=2",
        "search=%E4%B8%AD",
        "constructor=1",
        "__proto__[x]=1",
        long.as_str(),
    ] {
        for (client, path) in [
            (&admin.client, "/user/"),
            (&alice.client, "/file/"),
            (&alice.client, "/user/profile/"),
        ] {
            let what = format!("{path}?{query:.60}");
            let reply = client.get(&format!("{path}?{query}")).await;
            assert!(
                matches!(reply.status, 200 | 400 | 414),
                "{what}: {} {}",
                reply.status,
                reply.text()
            );
            assert!(reply.headers.get("set-cookie").is_none(), "{what}");
            tells_nothing(&reply, &what);
        }
    }
}

#[tokio::test]
async fn id_lists_are_bounded_and_strict() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let path = "/file/upload_status/?file_ids=";
    let hundred_one: Vec<String> = (1..=101).map(|i| i.to_string()).collect();
    let many = vec!["1"; 3000].join(",");
    for bad in [
        "",
        ",",
        ",,",
        "abc",
        "1,abc",
        "1.5",
        "9223372036854775808",
        "%00",
        "1;2",
        "%EF%BC%91",
        "[1]",
        &hundred_one.join(","),
    ] {
        let reply = alice.client.get(&format!("{path}{bad}")).await;
        assert_eq!(reply.status, 400, "{bad:.40}: {}", reply.text());
        let body = is_envelope(&reply, bad);
        // Control characters are refused before anybody reads the list.
        let expected = if bad == "%00" {
            "包含不允许的字符"
        } else {
            "请提供有效的文件ID列表"
        };
        assert_eq!(body["error"], expected, "{bad:.40}");
    }
    for fine in ["1,,2", "1,1,1", "1,%202", "999999999"] {
        let reply = alice.client.get(&format!("{path}{fine}")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "[]"), "{fine}");
    }
    let reply = alice.client.get(&format!("{path}{many}")).await;
    assert!(matches!(reply.status, 200 | 400), "{}", reply.text());
    alice.client.get("/file/upload_status/").await.expect(400);
}

#[tokio::test]
async fn no_path_leads_to_files_of_the_server() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    for path in [
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/docs/../../etc/passwd",
        "/docs/%2e%2e/Cargo.toml",
        "/docs/..%2f..%2fCargo.toml",
        "//etc/passwd",
        "/docs//etc/passwd",
        "/%00",
        "/docs/%00",
        "/.git/config",
        "/media/../.env",
        "/oss/local/../../etc/passwd",
        "/file/../user/profile/",
        "/\\..\\..\\etc",
        "/%5c..%5c",
        "/user/profile/..",
        "/user/profile/.",
        "/user/profile;x=1",
        "/user/profile%2f",
        "/user%2fprofile/",
        "/user/profile%00/",
        "/user/profile/%20",
    ] {
        // As bytes, because a client would tidy them up.
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            alice.access
        );
        let answer = raw::exchange(&srv, head.as_bytes(), 10).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "400" | "403" | "404"), "{path}: {answer}");
        assert!(
            !answer.contains("root:") && !answer.contains("[package]"),
            "{path}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{path}");
    }
}
