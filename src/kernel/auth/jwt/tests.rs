//! Tokens that must be refused, and the few that must not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

fn keys(current: &str, previous: &[&str]) -> Keys {
    let previous: Vec<_> = previous.iter().map(|s| SecretString::from(*s)).collect();
    Keys::new(&SecretString::from(current), &previous)
}

fn jwt() -> Jwt {
    Jwt::new(&keys("one secret of at least thirty-two bytes", &[]))
}

fn new(kind: TokenType) -> NewToken {
    NewToken {
        kind,
        user: UserId(7),
        session: SessionId(9),
        token_version: 2,
        generation: 3,
        issued_at: NOW,
        ttl_seconds: 3600,
    }
}

/// Signs whatever header and claims a forger who knows the key would like to try.
fn signed(jwt: &Jwt, header: &Value, claims: &str) -> String {
    let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &jwt.signer, Algorithm::HS256).expect("HMAC signs");
    format!("{message}.{signature}")
}

fn good_header(jwt: &Jwt) -> Value {
    json!({"typ": "JWT", "alg": "HS256", "kid": jwt.header.kid})
}

fn good_claims() -> Value {
    json!({"token_type": "access", "typ": "access", "user_id": 7, "sub": "7", "sid": 9, "jti": "x",
        "tv": 0, "iat": NOW, "exp": NOW + 60, "iss": "yunque"})
}

#[test]
fn a_token_lives_exactly_its_ttl_and_serves_one_purpose() {
    let j = jwt();
    let access = j.issue(&new(TokenType::Access));
    let claims = j.verify(&access, TokenType::Access, NOW).expect("fresh");
    assert_eq!(
        (claims.user_id, claims.sid, claims.tv, claims.generation),
        (7, 9, 2, None)
    );
    assert_eq!(claims.exp - claims.iat, 3600);
    assert!(j.verify(&access, TokenType::Access, NOW + 3599).is_ok());
    assert_eq!(
        j.verify(&access, TokenType::Access, NOW + 3600),
        Err(TokenFault::Expired)
    );
    assert_eq!(
        j.verify(&access, TokenType::Refresh, NOW),
        Err(TokenFault::Invalid)
    );
    let refresh = j.issue(&new(TokenType::Refresh));
    assert_eq!(
        j.verify(&refresh, TokenType::Access, NOW),
        Err(TokenFault::Invalid)
    );
    assert_eq!(
        j.verify(&refresh, TokenType::Refresh, NOW)
            .expect("fresh")
            .generation,
        Some(3)
    );
    assert_ne!(refresh, j.issue(&new(TokenType::Refresh)));
}

#[test]
fn rotation_verifies_old_tokens_and_signs_with_the_new_key() {
    let old = Jwt::new(&keys("the first secret, quite long enough", &[]));
    let both = Jwt::new(&keys(
        "the second secret, also long enough",
        &["the first secret, quite long enough"],
    ));
    let other = jwt();
    let before = old.issue(&new(TokenType::Access));
    let after = both.issue(&new(TokenType::Access));
    assert!(both.verify(&before, TokenType::Access, NOW).is_ok());
    assert!(both.verify(&after, TokenType::Access, NOW).is_ok());
    assert_eq!(
        old.verify(&after, TokenType::Access, NOW),
        Err(TokenFault::Invalid)
    );
    assert_eq!(
        other.verify(&before, TokenType::Access, NOW),
        Err(TokenFault::Invalid)
    );
}

#[test]
fn our_own_form_passes_and_every_header_trick_is_refused() {
    let j = jwt();
    let claims = good_claims().to_string();
    assert!(
        j.verify(&signed(&j, &good_header(&j), &claims), TokenType::Access, NOW)
            .is_ok()
    );
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("nOnE")),
        ("alg", json!("")),
        ("alg", json!(null)),
        ("alg", json!("HS257")),
        ("alg", json!("HS384")),
        ("alg", json!("HS512")),
        ("alg", json!("RS256")),
        ("kid", json!("../../dev/null")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!(null)),
        ("kid", json!("")),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/x")),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("typ", json!("JWE")),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("nonce", json!("1")),
        ("jwk", json!({"kty": "oct", "k": "AAAA", "alg": "HS256"})),
    ] {
        let mut header = good_header(&j);
        header[name] = value.clone();
        let token = signed(&j, &header, &claims);
        assert_eq!(
            j.verify(&token, TokenType::Access, NOW),
            Err(TokenFault::Invalid),
            "{name}={value}"
        );
    }
}

#[test]
fn claims_of_a_wrong_type_or_value_are_refused() {
    let j = jwt();
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("exp", json!([])),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("exp", json!(1e300)),
        ("exp", json!(true)),
        ("nbf", json!(NOW + 1)),
        ("nbf", json!("0")),
        ("iss", json!("someone")),
        ("iss", json!(null)),
        ("iss", json!(["yunque"])),
        ("sub", json!("8")),
        ("user_id", json!("7")),
        ("user_id", json!(-7)),
        ("sid", json!(0)),
        ("sid", json!("9")),
        ("typ", json!("refresh")),
        ("token_type", json!("refresh")),
        ("token_type", json!("challenge")),
        ("tv", json!(null)),
        ("gen", json!(1)),
    ] {
        let mut claims = good_claims();
        claims[name] = value.clone();
        let token = signed(&j, &good_header(&j), &claims.to_string());
        assert_eq!(
            j.verify(&token, TokenType::Access, NOW),
            Err(TokenFault::Invalid),
            "{name}={value}"
        );
    }
    for name in [
        "token_type",
        "typ",
        "user_id",
        "sub",
        "sid",
        "jti",
        "tv",
        "iat",
        "exp",
        "iss",
    ] {
        let mut claims = good_claims();
        claims.as_object_mut().expect("object").remove(name);
        let token = signed(&j, &good_header(&j), &claims.to_string());
        assert_eq!(
            j.verify(&token, TokenType::Access, NOW),
            Err(TokenFault::Invalid),
            "without {name}"
        );
    }
    let mut claims = good_claims();
    claims["exp"] = json!(-1);
    let token = signed(&j, &good_header(&j), &claims.to_string());
    assert_eq!(j.verify(&token, TokenType::Access, NOW), Err(TokenFault::Expired));
}

#[test]
fn damaged_tokens_are_refused() {
    let j = jwt();
    let token = j.issue(&new(TokenType::Access));
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (head, body) = message.split_once('.').expect("three parts");
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let flipped = format!("{other}{}", &signature[1..]);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{flipped}"),
        format!("{message}.{}", &signature[..10]),
        format!("{token}.x.y"),
        format!("{head}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{token} "),
        format!(" {token}"),
        format!("{message}.{signature}="),
        "x".repeat(1 << 20),
        format!("{}.{}", "a".repeat(1 << 20), token),
        signed(&j, &good_header(&j), &deep),
        signed(&j, &good_header(&j), "[]"),
        signed(&j, &good_header(&j), "null"),
        signed(&j, &good_header(&j), ""),
    ] {
        assert_eq!(
            j.verify(&bad, TokenType::Access, NOW),
            Err(TokenFault::Invalid),
            "{:.60}",
            bad
        );
    }
}
