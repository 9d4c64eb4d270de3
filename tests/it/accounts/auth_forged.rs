//! Tokens that nobody may accept.

use serde_json::{Value, json};

use super::{answered, detailed, is_in, lives};
use crate::support::{TestServer, User, jwt};

/// Presents a token as access and, in a body, as refresh token.
async fn refused(srv: &TestServer, token: &str, what: &str) {
    let shown = format!("{what}: {token:.80}");
    let request = srv.client.request(reqwest::Method::GET, "/user/profile/");
    let value = reqwest::header::HeaderValue::from_bytes(format!("Bearer {token}").as_bytes());
    if let Ok(value) = value {
        let reply = srv.client.send(request.header("authorization", value)).await;
        // One that does not fit into a head is refused before anybody looks at it.
        assert!(matches!(reply.status, 401 | 431), "{} {shown}", reply.status);
        if reply.status == 401 {
            let body = reply.json();
            let code = body["code"].as_str().unwrap_or_default();
            assert!(
                matches!(code, "token_invalid" | "token_expired"),
                "{body} {shown}"
            );
        }
    }
    let reply = srv
        .client
        .post("/user/refresh-token/", json!({ "refresh": token }))
        .await;
    assert!(
        matches!(reply.status, 400 | 401),
        "{} {} {shown}",
        reply.status,
        reply.text()
    );
}

async fn start() -> (TestServer, User, Value, Value) {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let (header, claims) = jwt::parts(&alice.access);
    (srv, alice, header, claims)
}

#[tokio::test]
async fn a_token_signed_with_our_key_passes_so_the_forgeries_below_fail_for_their_own_reason() {
    let (srv, _, header, claims) = start().await;
    let token = jwt::sign(&header, &claims, &jwt::server_key(&srv));
    assert!(lives(&srv.client.with_token(&token).get("/user/profile/").await));
}

#[tokio::test]
async fn no_algorithm_but_ours() {
    let (srv, alice, header, claims) = start().await;
    let key = jwt::server_key(&srv);
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(["HS256"]),
    ] {
        refused(&srv, &jwt::unsigned(&alg, &claims), "unsigned").await;
        refused(
            &srv,
            &jwt::sign(&jwt::with(&header, "alg", Some(alg)), &claims, &key),
            "alg",
        )
        .await;
    }
    for alg in [
        "HS257", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ",
    ] {
        let header = jwt::with(&header, "alg", Some(json!(alg)));
        refused(&srv, &jwt::sign(&header, &claims, &key), alg).await;
        for token in jwt::sign_wider(&header, &claims, &key) {
            refused(&srv, &token, alg).await;
        }
    }
    refused(
        &srv,
        &jwt::sign(&jwt::with(&header, "alg", None), &claims, &key),
        "no alg",
    )
    .await;
    assert!(is_in(&alice).await);
}

#[tokio::test]
async fn no_header_that_asks_for_another_key_or_treatment() {
    let (srv, _, header, claims) = start().await;
    let key = jwt::server_key(&srv);
    let jwk = json!({ "kty": "oct", "k": "AAAA", "alg": "HS256" });
    for (name, value, key) in [
        ("kid", json!("../../dev/null"), &b""[..]),
        ("kid", json!("../../dev/null"), &key[..]),
        ("kid", json!("' UNION SELECT 'k' --"), b"k"),
        ("kid", json!("' UNION SELECT 'k' --"), &key),
        ("kid", json!(""), &key),
        ("kid", json!(1), &key),
        ("kid", json!(null), &key),
        ("jku", json!("https://evil.example/keys"), &key),
        ("x5u", json!("https://evil.example/x"), &key),
        ("jwk", jwk, &[0, 0, 0]),
        ("crit", json!(["b64"]), &key),
        ("b64", json!(false), &key),
        ("zip", json!("DEF"), &key),
        ("typ", json!("JWE"), &key),
        ("cty", json!("JWT"), &key),
    ] {
        refused(
            &srv,
            &jwt::sign(&jwt::with(&header, name, Some(value)), &claims, key),
            name,
        )
        .await;
    }
    refused(
        &srv,
        &jwt::sign(&jwt::with(&header, "kid", None), &claims, &key),
        "no kid",
    )
    .await;
}

#[tokio::test]
async fn no_guessed_or_foreign_key() {
    let (srv, alice, header, claims) = start().await;
    let configured = srv.env.iter().find(|(k, _)| k == "SECRET_KEY").unwrap().1.clone();
    for key in [
        "",
        "secret",
        "changeme",
        "your-256-bit-secret",
        "yunque",
        "HS256",
        &configured,
    ] {
        refused(&srv, &jwt::sign(&header, &claims, key.as_bytes()), key).await;
    }
    let elsewhere = TestServer::with(&[("SECRET_KEY", "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f")]).await;
    let twin = elsewhere.user("alice").await;
    assert_eq!(twin.id, alice.id, "the same account on paper");
    refused(&srv, &twin.access, "another deployment").await;
    refused(&srv, &twin.refresh, "another deployment").await;
    refused(
        &srv,
        &jwt::sign(&header, &claims, &jwt::server_key(&elsewhere)),
        "another deployment's key",
    )
    .await;
}

#[tokio::test]
async fn no_claim_of_a_wrong_type_or_value() {
    let (srv, alice, header, claims) = start().await;
    let bob = srv.user("bob").await;
    let key = jwt::server_key(&srv);
    let now = srv.clock.unix();
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("exp", json!([])),
        ("exp", json!(true)),
        ("exp", json!(1e300)),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("exp", json!(-1)),
        ("exp", json!(0)),
        ("nbf", json!(now + 3600)),
        ("nbf", json!("0")),
        ("iss", json!("someone")),
        ("iss", json!(["yunque"])),
        ("iss", json!(null)),
        ("typ", json!("refresh")),
        ("token_type", json!("refresh")),
        ("typ", json!("challenge")),
        ("user_id", json!(bob.id)),
        ("user_id", json!(alice.id.to_string())),
        ("user_id", json!(-1)),
        ("sub", json!(bob.id.to_string())),
        ("sub", json!(alice.id)),
        ("sid", json!(999_999)),
        ("sid", json!("1")),
        ("sid", json!(0)),
        ("tv", json!(null)),
        ("tv", json!(41)),
        ("tv", json!(-1)),
        ("tv", json!("0")),
    ] {
        let shown = format!("{name} = {value}");
        refused(
            &srv,
            &jwt::sign(&header, &jwt::with(&claims, name, Some(value)), &key),
            &shown,
        )
        .await;
    }
    // Another user's identity in a session of one's own.
    let both = jwt::with(
        &jwt::with(&claims, "user_id", Some(json!(bob.id))),
        "sub",
        Some(json!(bob.id.to_string())),
    );
    refused(
        &srv,
        &jwt::sign(&header, &both, &key),
        "a session of somebody else",
    )
    .await;
    for name in ["exp", "iss", "sub", "user_id", "sid", "tv", "typ", "token_type"] {
        refused(
            &srv,
            &jwt::sign(&header, &jwt::with(&claims, name, None), &key),
            name,
        )
        .await;
    }
    assert!(is_in(&alice).await && is_in(&bob).await);
}

#[tokio::test]
async fn no_damaged_token() {
    let (srv, alice, header, claims) = start().await;
    let key = jwt::server_key(&srv);
    let token = &alice.access;
    let parts: Vec<&str> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(2000), "]".repeat(2000));
    for bad in [
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{other}{}", &signature[1..]),
        format!("{head}.{body}.{}", &signature[..10]),
        format!("{head}.{body}.{signature}="),
        format!("{head}..{signature}"),
        format!(".{body}.{signature}"),
        "..".to_owned(),
        format!("{token}.x.y"),
        format!("{token}.{token}"),
        format!("{body}.{head}.{signature}"),
        "x".repeat(1 << 19),
        format!("{}.{body}.{signature}", "a".repeat(12_000)),
        jwt::sign_text(&header.to_string(), &deep, &key),
        jwt::sign_text(&header.to_string(), "[]", &key),
        jwt::sign_text(&header.to_string(), "null", &key),
        jwt::sign_text(&header.to_string(), "", &key),
        jwt::sign_text("", &claims.to_string(), &key),
        jwt::sign_text("[]", &claims.to_string(), &key),
        jwt::sign_text("\u{0}", "\u{0}", &key),
        "é.é.é".to_owned(),
        "\u{202e}eyJ".to_owned(),
    ] {
        refused(&srv, &bad, "damaged").await;
    }
    let empty = srv.client.with_header("authorization", "Bearer ");
    answered(
        empty.get("/user/profile/").await,
        401,
        detailed("token无效或已过期", "token_invalid"),
    );
    assert!(is_in(&alice).await);
}
