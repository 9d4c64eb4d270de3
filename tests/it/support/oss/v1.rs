//! Version 1 signatures as OSS checks them, written from its public documentation and independent
//! of the package that the server signs with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::http::request::Parts;
use sha1::Sha1;

use super::Refusal;

/// Parameters that are part of the resource; all others are not signed.
const SUB_RESOURCES: &str = "acl append bucketInfo callback callback-var cname comp continuation-token cors delete \
    encryption endTime img inventory lifecycle live location logging objectMeta partNumber policy position qos \
    referer replication requestPayment response-cache-control response-content-disposition \
    response-content-encoding response-content-language response-content-type response-expires restore \
    security-token sequential startTime stat status style styleName symlink tagging uploadId uploads versionId \
    versioning versions vod website worm x-oss-process x-oss-request-payer x-oss-traffic-limit";

/// How far the clocks may be apart.
pub const MAX_SKEW_SECONDS: i64 = 15 * 60;

/// Who may do something here.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub key_id: String,
    pub secret: String,
    pub token: Option<String>,
}

/// The query of a request, decoded; `None` for a name without `=`.
pub fn parameters(query: &str) -> Vec<(String, Option<String>)> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (decode(name), Some(decode(value))),
            None => (decode(pair), None),
        })
        .collect()
}

/// Checks the signature of a request, in its head or in its URL.
pub fn verify(
    parts: &Parts,
    bucket: &str,
    key: &str,
    who: &Credentials,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let query = parameters(parts.uri.query().unwrap_or_default());
    let parameter = |name: &str| {
        query
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, value)| value.clone())
    };
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let (key_id, signature, date, token) = match (header("authorization"), parameter("Signature")) {
        (Some(_), Some(_)) => return Err(Refusal::new(400, "InvalidArgument", "signed twice")),
        (None, None) => return Err(Refusal::new(403, "AccessDenied", "anonymous access is forbidden")),
        (Some(authorization), None) => {
            let pair = authorization
                .strip_prefix("OSS ")
                .and_then(|rest| rest.split_once(':'));
            let Some((key_id, signature)) = pair else {
                return Err(Refusal::new(
                    400,
                    "InvalidArgument",
                    "Authorization header is invalid",
                ));
            };
            let date = checked_date(header("x-oss-date").or_else(|| header("date")), now)?;
            (
                key_id.to_owned(),
                signature.to_owned(),
                date,
                header("x-oss-security-token"),
            )
        }
        (None, Some(signature)) => {
            let expires = parameter("Expires").unwrap_or_default();
            match expires.parse::<i64>() {
                Ok(at) if at >= now.timestamp() => {}
                Ok(_) => return Err(Refusal::new(403, "AccessDenied", "Request has expired.")),
                Err(_) => return Err(Refusal::new(403, "AccessDenied", "Expires is no time")),
            }
            (
                parameter("OSSAccessKeyId").unwrap_or_default(),
                signature,
                expires,
                parameter("security-token"),
            )
        }
    };
    if key_id != who.key_id {
        return Err(Refusal::new(
            403,
            "InvalidAccessKeyId",
            "The OSS Access Key Id you provided does not exist.",
        ));
    }
    if token != who.token {
        return Err(Refusal::new(
            403,
            "InvalidSecurityToken",
            "The security token you provided is invalid.",
        ));
    }
    let lines = [
        parts.method.to_string(),
        header("content-md5").unwrap_or_default(),
        header("content-type").unwrap_or_default(),
        date,
        oss_headers(parts) + &resource(bucket, key, &query),
    ];
    let text = lines.join("\n");
    if sign(&who.secret, &text) == signature {
        return Ok(());
    }
    let message = format!("The request signature we calculated does not match. StringToSign: {text:?}");
    Err(Refusal::new(403, "SignatureDoesNotMatch", &message))
}

fn checked_date(date: Option<String>, now: DateTime<Utc>) -> Result<String, Refusal> {
    let date = date.ok_or_else(|| Refusal::new(403, "AccessDenied", "a date is required"))?;
    let time =
        DateTime::parse_from_rfc2822(&date).map_err(|_| Refusal::new(403, "AccessDenied", "bad date"))?;
    if (now - time.to_utc()).num_seconds().abs() > MAX_SKEW_SECONDS {
        return Err(Refusal::new(
            403,
            "RequestTimeTooSkewed",
            "The difference between the times is too large.",
        ));
    }
    Ok(date)
}

/// Each `x-oss-*` header on a line of its own, names in lower case and in order.
fn oss_headers(parts: &Parts) -> String {
    let mut lines: Vec<String> = parts
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-oss-"))
        .map(|(name, value)| format!("{name}:{}\n", String::from_utf8_lossy(value.as_bytes()).trim()))
        .collect();
    lines.sort();
    lines.concat()
}

fn resource(bucket: &str, key: &str, query: &[(String, Option<String>)]) -> String {
    let mut signed: Vec<&(String, Option<String>)> = query
        .iter()
        .filter(|(name, _)| SUB_RESOURCES.split_whitespace().any(|n| n == name))
        .collect();
    signed.sort();
    let signed: Vec<String> = signed
        .into_iter()
        .map(|(name, value)| match value.as_deref() {
            None | Some("") => name.clone(),
            Some(value) => format!("{name}={value}"),
        })
        .collect();
    let question = if signed.is_empty() { "" } else { "?" };
    format!("/{bucket}/{key}{question}{}", signed.join("&"))
}

fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn who() -> Credentials {
        Credentials {
            key_id: "44CF9590006BF252F707".into(),
            secret: "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV".into(),
            token: None,
        }
    }

    #[test]
    fn the_documented_requests_are_accepted() {
        let head = |magic: &str| {
            let request = Request::put("/nelson")
                .header("Content-Md5", "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=")
                .header("Content-Type", "text/html")
                .header("Date", "Thu, 17 Nov 2005 18:49:58 GMT")
                .header("X-OSS-Meta-Author", "foo@bar.com")
                .header("X-OSS-Magic", magic)
                .header(
                    "Authorization",
                    "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=",
                );
            request.body(()).expect("valid").into_parts().0
        };
        let then = DateTime::parse_from_rfc2822("Thu, 17 Nov 2005 18:50:00 GMT")
            .expect("valid")
            .to_utc();
        assert!(verify(&head("abracadabra"), "oss-example", "nelson", &who(), then).is_ok());
        let refused = verify(&head("hocus"), "oss-example", "nelson", &who(), then).expect_err("changed");
        assert_eq!(refused.code, "SignatureDoesNotMatch");
        let late = then + chrono::TimeDelta::minutes(16);
        let refused =
            verify(&head("abracadabra"), "oss-example", "nelson", &who(), late).expect_err("skewed");
        assert_eq!(refused.code, "RequestTimeTooSkewed");

        let url = "/oss-api.pdf?OSSAccessKeyId=44CF9590006BF252F707&Expires=1141889120&Signature=EwaNTn1erJGkimiJ9WmXgwnANLc%3D";
        let parts = Request::get(url).body(()).expect("valid").into_parts().0;
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("in range");
        assert!(verify(&parts, "oss-example", "oss-api.pdf", &who(), at(1_141_889_120)).is_ok());
        assert!(verify(&parts, "oss-example", "oss-api.pdf", &who(), at(1_141_889_121)).is_err());
    }
}
