//! Version 4 signatures as OSS checks them, written from its public documentation.

use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::Refusal;
use super::v1::{Credentials, MAX_SKEW_SECONDS, parameters};

pub const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const MAX_EXPIRES_SECONDS: i64 = 7 * 24 * 3600;

/// What a request says about its signature.
struct Claim {
    /// `key/day/region/oss/aliyun_v4_request`
    credential: String,
    additional: String,
    signature: String,
    time_stamp: String,
    token: Option<String>,
}

/// Whether a request is signed in this version.
pub fn is_used(parts: &Parts) -> bool {
    let authorization = header(parts, "authorization").is_some_and(|text| text.starts_with(ALGORITHM));
    authorization
        || parts
            .uri
            .query()
            .is_some_and(|query| query.contains("x-oss-signature-version="))
}

/// Checks the signature of a request, in its head or in its URL.
pub fn verify(
    parts: &Parts,
    bucket: &str,
    key: &str,
    who: &Credentials,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let invalid = |message: &str| Refusal::new(400, "InvalidArgument", message);
    let claim = match header(parts, "authorization") {
        Some(text) => from_head(parts, &text).ok_or_else(|| invalid("Authorization header is invalid"))?,
        None => from_url(parts, now)?,
    };
    let time = NaiveDateTime::parse_from_str(&claim.time_stamp, "%Y%m%dT%H%M%SZ");
    let time = time.map_err(|_| invalid("x-oss-date is invalid"))?.and_utc();
    let skew = (now - time).num_seconds();
    if header(parts, "authorization").is_some() && skew.abs() > MAX_SKEW_SECONDS {
        return Err(Refusal::new(
            403,
            "RequestTimeTooSkewed",
            "The difference between the times is too large.",
        ));
    }
    let scope: Vec<&str> = claim.credential.split('/').collect();
    let &[key_id, day, region, "oss", "aliyun_v4_request"] = scope.as_slice() else {
        return Err(invalid("the credential is invalid"));
    };
    if day != time.format("%Y%m%d").to_string() {
        return Err(invalid("the day of the credential is not the one of the request"));
    }
    if key_id != who.key_id {
        return Err(Refusal::new(
            403,
            "InvalidAccessKeyId",
            "The OSS Access Key Id you provided does not exist.",
        ));
    }
    if claim.token != who.token {
        return Err(Refusal::new(
            403,
            "InvalidSecurityToken",
            "The security token you provided is invalid.",
        ));
    }
    let request = canonical(parts, bucket, key, &claim.additional);
    let hash = hex(&Sha256::digest(request.as_bytes()));
    let text = format!(
        "{ALGORITHM}\n{}\n{day}/{region}/oss/aliyun_v4_request\n{hash}",
        claim.time_stamp
    );
    let mut secret = format!("aliyun_v4{}", who.secret).into_bytes();
    for part in [day, region, "oss", "aliyun_v4_request", &text] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any length");
        mac.update(part.as_bytes());
        secret = mac.finalize().into_bytes().to_vec();
    }
    if hex(&secret) == claim.signature {
        return Ok(());
    }
    let message =
        format!("The request signature we calculated does not match. CanonicalRequest: {request:?}");
    Err(Refusal::new(403, "SignatureDoesNotMatch", &message))
}

fn from_head(parts: &Parts, authorization: &str) -> Option<Claim> {
    let fields = authorization.strip_prefix(ALGORITHM)?.trim();
    let field = |name: &str| {
        let mut found = fields.split(',').filter_map(|field| field.trim().split_once('='));
        found.find(|(n, _)| *n == name).map(|(_, value)| value.to_owned())
    };
    header(parts, "x-oss-content-sha256").filter(|sum| sum == "UNSIGNED-PAYLOAD")?;
    Some(Claim {
        credential: field("Credential")?,
        additional: field("AdditionalHeaders").unwrap_or_default(),
        signature: field("Signature")?,
        time_stamp: header(parts, "x-oss-date")?,
        token: header(parts, "x-oss-security-token"),
    })
}

fn from_url(parts: &Parts, now: DateTime<Utc>) -> Result<Claim, Refusal> {
    let query = parameters(parts.uri.query().unwrap_or_default());
    let optional = |name: &str| {
        query
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, value)| value.clone())
    };
    let required = |name: &str| {
        optional(name).ok_or_else(|| Refusal::new(400, "InvalidArgument", &format!("{name} is missing")))
    };
    let claim = Claim {
        credential: required("x-oss-credential")?,
        additional: optional("x-oss-additional-headers").unwrap_or_default(),
        signature: required("x-oss-signature")?,
        time_stamp: required("x-oss-date")?,
        token: optional("x-oss-security-token"),
    };
    let seconds = required("x-oss-expires")?.parse::<i64>().unwrap_or(0);
    if !(1..=MAX_EXPIRES_SECONDS).contains(&seconds) {
        return Err(Refusal::new(
            400,
            "InvalidArgument",
            "x-oss-expires is out of range",
        ));
    }
    let start = NaiveDateTime::parse_from_str(&claim.time_stamp, "%Y%m%dT%H%M%SZ")
        .unwrap_or_default()
        .and_utc();
    let age = (now - start).num_seconds();
    if age > seconds || age < -MAX_SKEW_SECONDS {
        return Err(Refusal::new(403, "AccessDenied", "Request has expired."));
    }
    Ok(claim)
}

fn canonical(parts: &Parts, bucket: &str, key: &str, additional: &str) -> String {
    let escape = |text: &str| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        text.bytes()
            .map(|b| {
                if plain(b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect()
    };
    let mut query: Vec<(String, String)> = parameters(parts.uri.query().unwrap_or_default())
        .into_iter()
        .filter(|(name, _)| name != "x-oss-signature")
        .map(|(name, value)| (escape(&name), escape(&value.unwrap_or_default())))
        .collect();
    query.sort();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| {
            if value.is_empty() {
                name
            } else {
                format!("{name}={value}")
            }
        })
        .collect();
    let signed = |name: &str| {
        matches!(name, "content-type" | "content-md5")
            || name.starts_with("x-oss-")
            || additional.split(';').any(|extra| extra == name)
    };
    let mut headers: Vec<String> = parts
        .headers
        .iter()
        .filter(|(name, _)| signed(name.as_str()))
        .map(|(name, value)| format!("{name}:{}\n", String::from_utf8_lossy(value.as_bytes()).trim()))
        .collect();
    headers.sort();
    let path: Vec<String> = format!("/{bucket}/{key}").split('/').map(escape).collect();
    let lines = [
        parts.method.as_str(),
        &path.join("/"),
        &query.join("&"),
        &headers.concat(),
        additional,
        "UNSIGNED-PAYLOAD",
    ];
    lines.join("\n")
}

fn header(parts: &Parts, name: &str) -> Option<String> {
    parts
        .headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
