//! `Idempotency-Key` over the wire.

use super::*;

const KEY: (&str, &str) = ("Idempotency-Key", "k-1");

#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    let server = TestServer::start().await;
    let body = r#"{"name":"a","size":1}"#;
    let first = server.send("POST", "/once", &[KEY], body).await;
    assert_eq!(
        (first.status, first.header("idempotent-replayed")),
        (201, None),
        "{first:?}"
    );
    let again = server.send("POST", "/once/", &[KEY], body).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (201, Some("true"))
    );
    assert_eq!(again.body, first.body);
    assert_eq!(server.runs.load(Ordering::SeqCst), 1);
    let other = server
        .send("POST", "/once", &[KEY], r#"{"name":"b","size":1}"#)
        .await;
    other.assert_error(422, "idempotency_key_reused");
    server
        .send("POST", "/once", &[("Idempotency-Key", "a b")], body)
        .await
        .assert_error(400, "validation_error");
    let none = server.send("POST", "/once", &[], body).await;
    assert_eq!((none.status, server.runs.load(Ordering::SeqCst)), (201, 2));
    server.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(
        server
            .send("POST", "/once", &[KEY], body)
            .await
            .header("idempotent-replayed"),
        None
    );
}

#[tokio::test]
async fn one_of_many_runs() {
    let server = TestServer::start().await;
    let body = r#"{"name":"slow","size":1}"#;
    let answers =
        futures_util::future::join_all((0..10).map(|_| server.send("POST", "/once", &[KEY], body))).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    for busy in answers.iter().filter(|a| a.status != 201) {
        busy.assert_error(409, "idempotency_in_progress");
        assert_eq!(busy.header("retry-after"), Some("1"));
    }
    assert_eq!(server.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refusals_are_kept_and_failures_are_not() {
    let server = TestServer::start().await;
    for (name, runs) in [("refused", 1), ("down", 3)] {
        let body = format!(r#"{{"name":"{name}","size":1}}"#);
        let key = [("Idempotency-Key", name)];
        let first = server.send("POST", "/once", &key, &body).await;
        let again = server.send("POST", "/once", &key, &body).await;
        assert_eq!(first.status, again.status);
        assert_eq!(server.runs.load(Ordering::SeqCst), runs, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_claim_back() {
    let server = TestServer::start().await;
    let body = r#"{"name":"slow","size":1}"#;
    let mut stream = server.connect().await;
    let text = format!(
        "POST /once HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k-1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop(stream);
    // It might only have closed its sending side; see `accept`.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = server.send("POST", "/once", &[KEY], body).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (201, None),
        "{again:?}"
    );
}
