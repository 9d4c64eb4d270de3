//! Bodies made to break a parser: always 400 or 413 in the envelope, quickly, with nothing of the
//! inside, and the server goes on.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{is_envelope, registration, tells_nothing};
use crate::support::{Reply, TestServer, sql};

async fn register(srv: &TestServer, body: Vec<u8>) -> Reply {
    let begun = Instant::now();
    let request = srv
        .client
        .request(Method::POST, "/user/register/")
        .header("content-type", "application/json");
    let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
    let reply = srv.client.send(request.body(body)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{shown}: {:?}",
        begun.elapsed()
    );
    tells_nothing(&reply, &shown);
    reply
}

fn utf16(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error() {
    let srv = TestServer::start().await;
    let good = registration("alice").to_string();
    let cases: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"}".to_vec(),
        b"[".to_vec(),
        b"not json".to_vec(),
        b"{\"username\":}".to_vec(),
        b"{'username':'a'}".to_vec(),
        b"{username:\"a\"}".to_vec(),
        good.replace('}', ",}").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good} x").into_bytes(),
        format!("/* c */{good}").into_bytes(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        b"{\"a\":NaN}".to_vec(),
        b"{\"a\":Infinity}".to_vec(),
        b"{\"a\":-Infinity}".to_vec(),
        b"{\"a\":01}".to_vec(),
        b"{\"a\":+1}".to_vec(),
        b"{\"a\":.5}".to_vec(),
        b"{\"a\":0x10}".to_vec(),
        b"{\"username\":\"\xff\"}".to_vec(),
        b"{\"username\":\"\xc0\xaf\"}".to_vec(),
        b"{\"username\":\"\xed\xa0\x80\"}".to_vec(),
        br#"{"username":"\ud800"}"#.to_vec(),
        br#"{"username":"\udc00\ud800"}"#.to_vec(),
        br#"{"username":"\x41"}"#.to_vec(),
        b"{\"username\":\"a\nb\"}".to_vec(),
        b"{\"username\":\"a\0b\"}".to_vec(),
        utf16(&good),
        vec![0; 100],
        b"\xff\xfe\x00\x00".to_vec(),
        b"<xml/>".to_vec(),
        b"username=a&password=b".to_vec(),
    ];
    for body in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let reply = register(&srv, body).await;
        assert_eq!(reply.status, 400, "{shown}: {}", reply.text());
        let answer = is_envelope(&reply, &shown);
        assert_eq!(
            (&answer["code"], &answer["error"]),
            (&json!("parse_error"), &json!("无效的JSON格式")),
            "{shown}"
        );
    }
    let english = srv.client.with_header("accept-language", "en");
    let request = english
        .request(Method::POST, "/user/register/")
        .header("content-type", "application/json");
    assert_eq!(
        english.send(request.body("{")).await.refused(400, "parse_error")["error"],
        "Invalid JSON."
    );
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test]
async fn json_of_the_wrong_shape_is_400() {
    let srv = TestServer::start().await;
    let digits = "9".repeat(400);
    let mut cases: Vec<String> = [
        "null", "true", "0", "\"text\"", "[]", "[{}]", "[[[]]]", "-0", "{}",
    ]
    .map(str::to_owned)
    .into();
    for value in [
        "null",
        "true",
        "0",
        "-0",
        "1.0",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "1e308",
        "1e400",
        digits.as_str(),
        "[]",
        "{}",
        "[\"a\"]",
        "{\"$gt\":\"\"}",
        "\"\"",
        "\" \"",
        "\"\\u0000\"",
        "\"a\\u0000b\"",
        "\"\\u0008\"",
        "\"\\u001b[2J\"",
    ] {
        cases.push(format!(
            r#"{{"username":{value},"email":"a@example.com","password":"long-enough-1"}}"#
        ));
        cases.push(format!(
            r#"{{"username":"alice","email":{value},"password":"long-enough-1"}}"#
        ));
        cases.push(format!(
            r#"{{"username":"alice","email":"a@example.com","password":{value}}}"#
        ));
    }
    for body in cases {
        let reply = register(&srv, body.clone().into_bytes()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        is_envelope(&reply, &body);
    }
    for value in ["0", "[]", "{}", "false", "\"\\u0000\"", digits.as_str()] {
        let body = format!(
            r#"{{"username":"alice","email":"a@example.com","password":"long-enough-1","display_name":{value}}}"#
        );
        let reply = register(&srv, body.clone().into_bytes()).await;
        let answer = reply.expect(400);
        assert!(answer["errors"]["display_name"].is_array(), "{body}: {answer}");
    }
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test]
async fn depth_is_limited_to_thirty_two() {
    let srv = TestServer::start().await;
    let arrays = |n: usize| format!(r#"{{"x":{}1{}}}"#, "[".repeat(n), "]".repeat(n));
    let objects = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
    // The outer object is one level.
    for allowed in [arrays(31), objects(32)] {
        register(&srv, allowed.into_bytes())
            .await
            .refused(400, "validation_error");
    }
    for deep in [
        arrays(32),
        objects(33),
        arrays(130),
        arrays(100_000),
        objects(100_000),
    ] {
        let reply = register(&srv, deep.into_bytes()).await;
        assert_eq!(reply.status, 400, "{:.100}", reply.text());
        is_envelope(&reply, "deep");
    }
    for open in ["[", r#"{"a":"#] {
        let reply = register(&srv, open.repeat(100_000).into_bytes()).await;
        assert_eq!(reply.status, 400);
        is_envelope(&reply, "open");
    }
}

#[tokio::test]
async fn many_and_long_things_are_400_413_or_ignored() {
    let srv = TestServer::start().await;
    let extra = |n: usize| {
        let keys: String = (0..n).map(|i| format!(r#""k{i}":{i},"#)).collect();
        format!(r#"{{{keys}"username":"keys{n}","email":"keys{n}@example.com","password":"long-enough-1"}}"#)
    };
    assert_eq!(
        register(&srv, extra(50_000).into_bytes()).await.status,
        201,
        "unknown fields are ignored"
    );
    let text = "x".repeat(1 << 20);
    for (body, statuses) in [
        (extra(100_000), &[413][..]),
        (json!({ "username": text }).to_string(), &[413]),
        (json!({ "username": &text[..1_000_000] }).to_string(), &[400]),
        (
            json!({ "username": "a", "email": "a@example.com", "password": &text[..1_000_000] }).to_string(),
            &[400],
        ),
        (format!("{{\"{}\":1}}", &text[..1_000_000]), &[400]),
        (format!("[{}]", vec!["{}"; 10_000].join(",")), &[400]),
        (format!("[{}1]", "1,".repeat(400_000)), &[400]),
        (format!("{{\"username\":[{}1]}}", "1,".repeat(400_000)), &[400]),
        (
            format!("{{\"username\":{{{}\"z\":1}}}}", "\"a\":1,".repeat(100_000)),
            &[400],
        ),
    ] {
        let reply = register(&srv, body.clone().into_bytes()).await;
        assert!(
            statuses.contains(&reply.status),
            "{body:.60}: {} {:.200}",
            reply.status,
            reply.text()
        );
        is_envelope(&reply, &body[..body.len().min(60)]);
        assert!(
            reply.bytes.len() < 10_000,
            "the answer does not repeat what was sent"
        );
    }
    srv.client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn doubled_keys_and_a_byte_order_mark_never_confuse() {
    let srv = TestServer::start().await;
    let doubled =
        br#"{"username":"one","username":"two","email":"d@example.com","password":"long-enough-1"}"#;
    let reply = register(&srv, doubled.to_vec()).await;
    match reply.status {
        400 => drop(is_envelope(&reply, "doubled")),
        201 => assert_eq!(reply.json()["username"], "two"),
        other => panic!("{other}"),
    }
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend_from_slice(registration("marked").to_string().as_bytes());
    let reply = register(&srv, marked).await;
    assert!(matches!(reply.status, 201 | 400), "{}", reply.status);
}

#[tokio::test]
async fn forms_are_parsed_as_strictly() {
    let srv = TestServer::start().await;
    srv.user("alice").await;
    for body in [
        "username=alice",
        "username=alice&password=",
        "username[]=alice&password[]=x",
        "username=alice&username=bob&password=x",
        "username=%00&password=x",
        "username=%ff%fe&password=x",
        "username=%ZZ&password=x",
        "&&&&",
        "=",
        "username",
        "username=alice&password=%00%00%00%00",
        "%75sername=alice&password=wrong",
    ] {
        let request = srv.client.request(Method::POST, "/user/login/");
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let reply = srv.client.send(request).await;
        assert!(
            matches!(reply.status, 400 | 401),
            "{body}: {} {}",
            reply.status,
            reply.text()
        );
        is_envelope(&reply, body);
    }
    let many: String = (0..50_000).map(|i| format!("k{i}=1&")).collect();
    let request = srv.client.request(Method::POST, "/user/login/");
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(many);
    assert!(matches!(srv.client.send(request).await.status, 400 | 413));
}

#[tokio::test]
async fn every_writing_endpoint_survives_every_broken_body() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let own = format!("/user/{}/", alice.id);
    let endpoints = [
        (Method::POST, "/user/login/"),
        (Method::POST, "/user/refresh-token/"),
        (Method::POST, "/user/change-password/"),
        (Method::POST, "/user/update-display-name/"),
        (Method::POST, "/user/update-email/"),
        (Method::PATCH, &own),
        (Method::PUT, &own),
        (Method::DELETE, &own),
    ];
    let bodies: [&[u8]; 8] = [
        b"{",
        b"null",
        b"[]",
        b"1",
        b"\"x\"",
        b"\xff",
        b"{\"a\":\"\\ud800\"}",
        b"{\"display_name\":{\"a\":1},\"email\":1,\"refresh\":[],\"old_password\":1,\"new_password\":{},\
          \"username\":[],\"password\":1,\"quota\":1e999}",
    ];
    for (method, path) in endpoints {
        for body in bodies {
            let request = alice
                .client
                .request(method.clone(), path)
                .header("content-type", "application/json");
            let reply = alice.client.send(request.body(body.to_vec())).await;
            let what = format!("{method} {path} {}", String::from_utf8_lossy(body));
            assert_eq!(reply.status, 400, "{what}: {}", reply.text());
            is_envelope(&reply, &what);
        }
    }
    alice.client.get("/user/profile/").await.expect(200);
}

/// The same where long texts are taken out of the document while it arrives.
#[tokio::test]
async fn large_bodies_made_to_break_the_reader_are_refused() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let send = async |body: Vec<u8>| {
        let begun = Instant::now();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = alice
            .client
            .request(Method::POST, "/file/")
            .header("content-type", "application/json");
        let reply = alice.client.send(request.body(body)).await;
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{shown}: {:?}",
            begun.elapsed()
        );
        tells_nothing(&reply, &shown);
        is_envelope(&reply, &shown);
        reply
    };
    let text = "QUJD".repeat(50_000);
    let good = json!({ "name": "a", "content_type": "a/b", "size": 1, "file_content": text }).to_string();
    let content = |inside: &[u8]| {
        let (start, end) = good.split_at(good.find("QUJD").unwrap() + 100_000);
        [start.as_bytes(), inside, end.as_bytes()].concat()
    };
    let broken: Vec<Vec<u8>> = vec![
        content(b"\xff"),
        content(b"\xc0\xaf"),
        content(b"\xed\xa0\x80"),
        content(b"\xe6\x96"),
        content(b"\n"),
        content(b"\0"),
        content(br"\x"),
        content(br"\ud800"),
        content(br"\udc00\ud800"),
        content(br"\u12"),
        content(b"\""),
        good.replace('}', "").into_bytes(),
        good.replace('}', "\\").into_bytes(),
        good.replace("\":\"", "\"\"").into_bytes(),
        good.replace('{', "[").into_bytes(),
        good.replace("\"size\":1", "\"size\":01").into_bytes(),
        good.replace("\"size\":1", "\"size\":tr ue").into_bytes(),
        format!("{}{good}", "[".repeat(40)).into_bytes(),
        format!("{}{good}", "[".repeat(100_000)).into_bytes(),
        format!("{}{good}", "]".repeat(100_000)).into_bytes(),
        format!("{}{good}", "\"".repeat(100_000)).into_bytes(),
        format!("{}{good}", "\\".repeat(100_000)).into_bytes(),
        [&[0; 100_000][..], good.as_bytes()].concat(),
        utf16(&good),
    ];
    for body in broken {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let reply = send(body).await;
        assert_eq!(reply.status, 400, "{shown}: {}", reply.text());
        assert_eq!(reply.json()["code"], "parse_error", "{shown}");
    }
    let key = format!("{{\"{}\":\"{text}\"}}", "k".repeat(1 << 20));
    let key_of_escapes = format!("{{\"{}\":\"{text}\"}}", "\\u0066".repeat(100_000));
    let nested = format!("{}\"{text}\"{}", "{\"file_content\":".repeat(32), "}".repeat(32));
    let repeated = format!(
        "{{{}\"size\":1}}",
        format!("\"file_content\":\"{text}\",").repeat(20)
    );
    let batch = format!("[{}]", vec![good.as_str(); 30].join(","));
    for body in [key, key_of_escapes, nested, repeated, batch] {
        let shown: String = body.chars().take(60).collect();
        let reply = send(body.into_bytes()).await;
        assert_eq!(
            reply.json()["code"],
            "validation_error",
            "{shown}: {}",
            reply.text()
        );
    }
    assert_eq!(sql::number(&srv, "SELECT COUNT(*) FROM files").await, 0);
    let staged = std::fs::read_dir(srv.data.path().join("staging"))
        .unwrap()
        .flatten();
    let left: Vec<_> = staged
        .map(|e| e.file_name())
        .filter(|n| !n.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
