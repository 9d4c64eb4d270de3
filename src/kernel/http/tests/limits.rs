//! Rate limits over the wire.

use super::*;

#[tokio::test]
async fn anonymous_requests_count_for_the_address() {
    let server = TestServer::with(&[("RATE_LIMIT_ANONYMOUS", "3/min")]).await;
    for left in ["2", "1", "0"] {
        let answer = server.get("/things").await;
        assert_eq!(
            (answer.status, answer.header("ratelimit-remaining")),
            (200, Some(left))
        );
        assert_eq!(
            (
                answer.header("ratelimit-limit"),
                answer.header("ratelimit-policy")
            ),
            (Some("3"), Some("3;w=60"))
        );
    }
    let refused = server.get("/nowhere").await;
    let body = refused.assert_error(429, "throttled");
    assert_eq!(body["detail"], "请求过于频繁，请稍后再试");
    assert_eq!(refused.header("retry-after"), Some("20"));
    assert_eq!(server.get("/healthz").await.status, 200, "probes are not limited");
    // Guessing tokens is not free, and a forged hop is no other address.
    let guess = [("Authorization", "Bearer bad"), ("X-Forwarded-For", "1.2.3.4")];
    server
        .send("GET", "/secure", &guess, "")
        .await
        .assert_error(429, "throttled");
    let good = server
        .send("GET", "/secure", &[("Authorization", "Bearer good")], "")
        .await;
    assert_eq!(
        (good.status, good.header("ratelimit-limit")),
        (204, Some("12000")),
        "users have their own"
    );
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(server.get("/things").await.status, 200);
}

#[tokio::test]
async fn strict_buckets_are_exact_in_the_database() {
    let server = TestServer::with(&[
        ("RATE_LIMIT_ENABLED", "false"),
        ("RATE_LIMIT_RESET_MAIL", "2/min,3/h"),
    ])
    .await;
    let body = r#"{"username":"a"}"#;
    let sends = futures_util::future::join_all((0..8).map(|_| server.post("/mail", body))).await;
    assert_eq!(sends.iter().filter(|a| a.status == 204).count(), 2);
    assert_eq!(server.post("/mail", r#"{"username":"b"}"#).await.status, 204);
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(server.post("/mail", body).await.status, 204);
    let refused = server.post("/mail", body).await;
    refused.assert_error(429, "throttled");
    assert_eq!(refused.header("ratelimit-policy"), Some("3;w=3600"));
    assert!(
        refused
            .header("retry-after")
            .is_some_and(|s| s.parse::<u64>().is_ok_and(|s| (3500..=3600).contains(&s)))
    );
}

/// Limits over the server of `TEST_REDIS_URL`, with a prefix of their own.
#[expect(
    clippy::disallowed_methods,
    reason = "says where the test's server is; no setting of the product"
)]
async fn on_redis(clock: &Clock, dir: &std::path::Path) -> Option<(Limits, crate::redis_link::RedisLink)> {
    let url = std::env::var("TEST_REDIS_URL").ok()?;
    let prefix = format!("test:{}:", uuid::Uuid::new_v4().simple());
    let link = crate::redis_link::RedisLink::open(&SecretString::from(url), prefix).expect("a valid URL");
    let settings = HttpSettings::for_tests(&[]).limits;
    Some((
        Limits::new(settings, clock.clone(), database(dir).await, Some(link.clone())),
        link,
    ))
}

#[tokio::test]
async fn strict_buckets_are_exact_in_redis() {
    let (clock, dir) = (Clock::default(), tempfile::tempdir().expect("folder"));
    let Some((limits, link)) = on_redis(&clock, dir.path()).await else {
        return;
    };
    let minute = Duration::from_secs(60);
    let rates = vec![Rate::new(3, minute), Rate::new(5, 60 * minute)];
    let rule = StrictRule { name: "test", rates };
    let hits = futures_util::future::join_all((0..20).map(|_| limits.strict_rule(&rule, "a"))).await;
    assert_eq!(hits.iter().filter(|h| h.is_ok()).count(), 3);
    assert!(limits.strict_peek(&rule, "a").await.is_err() && limits.strict_peek(&rule, "b").await.is_ok());
    clock.advance(minute);
    assert!(limits.strict_rule(&rule, "a").await.is_ok() && limits.strict_rule(&rule, "a").await.is_ok());
    let refused = limits.strict_rule(&rule, "a").await.expect_err("five in an hour");
    let wait = refused
        .headers
        .iter()
        .find(|(n, _)| *n == "retry-after")
        .map(|(_, v)| v.parse::<u64>());
    assert!(matches!(wait, Some(Ok(3500..=3540))), "{wait:?}");
    // Nothing was written to the database, the key has an end, and a success may forget it all.
    let mut redis = link.connection().await.expect("connection");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(link.key("rl:*"))
        .query_async(&mut redis)
        .await
        .expect("keys");
    let left: i64 = redis::cmd("PTTL")
        .arg(&keys[0])
        .query_async(&mut redis)
        .await
        .expect("time");
    assert!(keys.len() == 1 && left > 3_500_000, "{keys:?} {left}");
    limits.strict_forget(&rule, "a").await.expect("forgotten");
    assert!(limits.strict_rule(&rule, "a").await.is_ok());
}
