//! Version 1 (HMAC-SHA1), by the package `aliyun-oss-rust-sdk`. Everything that has to work around
//! the package is in this file.
//!
//! Only `AuthAPI::sign` of the package is used. Its request methods make a new client for each
//! call, have no timeout, hold whole objects in memory and need OpenSSL; its URL helpers read the
//! system clock by themselves, so the caller would not know the moment of expiry it must report.
//!
//! Faults of 0.2.2 that are met here:
//! * With two or more `x-oss-*` headers it leaves out the newline after the last one, and the
//!   signature does not match. With exactly one it is right, so all of them are handed over as one
//!   header whose value contains the further lines.
//! * It writes a sub-resource without a value as `cors=`; OSS wants `cors`. Such a sub-resource is
//!   passed as a part of the resource.
//! * `Debug` of its client prints the secret; the client is private here and has none.

use aliyun_oss_rust_sdk::auth::AuthAPI;
use aliyun_oss_rust_sdk::oss::OSS;
use aliyun_oss_rust_sdk::request::RequestBuilder;
use chrono::{DateTime, Utc};
use percent_encoding::utf8_percent_encode;
use secrecy::{ExposeSecret, SecretString};

use super::{QUERY, Unsigned, http_date};

pub struct SignerV1 {
    sdk: OSS,
    key_id: String,
    token: Option<SecretString>,
}

impl SignerV1 {
    pub(super) fn new(
        key_id: &str,
        secret: &SecretString,
        token: Option<SecretString>,
        bucket: &str,
    ) -> Self {
        // The package keeps an endpoint for its own requests; it is not part of a signature.
        let sdk = OSS::new(key_id, secret.expose_secret(), "", bucket);
        SignerV1 {
            sdk,
            key_id: key_id.to_owned(),
            token,
        }
    }

    pub(super) fn headers(
        &self,
        mut request: Unsigned<'_>,
        now: DateTime<Utc>,
    ) -> Vec<(&'static str, String)> {
        if let Some(token) = &self.token {
            request
                .headers
                .push(("x-oss-security-token", token.expose_secret().to_owned()));
        }
        let signature = self.signature(&request, &http_date(now));
        let mut headers = request.headers;
        headers.push(("authorization", format!("OSS {}:{signature}", self.key_id)));
        headers
    }

    pub(super) fn query(&self, mut request: Unsigned<'_>, expires_at: DateTime<Utc>) -> String {
        if let Some(token) = &self.token {
            request
                .parameters
                .push(("security-token", token.expose_secret().to_owned()));
        }
        let expires = expires_at.timestamp().to_string();
        let signature = self.signature(&request, &expires);
        let mut pairs = vec![
            ("Expires", expires),
            ("OSSAccessKeyId", self.key_id.clone()),
            ("Signature", signature),
        ];
        pairs.append(&mut request.parameters);
        let pairs = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
        pairs.collect::<Vec<_>>().join("&")
    }

    fn signature(&self, request: &Unsigned<'_>, date: &str) -> String {
        self.sdk.sign(request.path().as_str(), &prepare(request, date))
    }
}

/// A request as the package wants it. `date` stands in the fourth line of what is signed: a date,
/// or the expiry of a URL.
fn prepare(request: &Unsigned<'_>, date: &str) -> RequestBuilder {
    let mut build = RequestBuilder::new();
    build.method = request.method.clone();
    build.content_type = request.content_type.map(str::to_owned);
    build.headers.insert("date".to_owned(), date.to_owned());
    let mut headers = request.headers.clone();
    headers.sort();
    let mut lines = headers.into_iter();
    if let Some((first, value)) = lines.next() {
        let value = lines.fold(value, |all, (name, value)| format!("{all}\n{name}:{value}"));
        build.oss_headers.insert(first.to_owned(), value);
    }
    build.parameters = request
        .parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    build
}

#[cfg(test)]
mod tests {
    use aliyun_oss_rust_sdk::request::RequestType;

    use super::*;

    fn get(key: &str) -> Unsigned<'_> {
        Unsigned::new(RequestType::Get, key)
    }

    /// The moment of the documented examples.
    fn then() -> DateTime<Utc> {
        DateTime::parse_from_rfc2822("Thu, 17 Nov 2005 18:49:58 GMT")
            .expect("valid")
            .to_utc()
    }

    // The pair that Aliyun's documentation of version 1 signs its examples with.
    fn signer(token: Option<&str>) -> SignerV1 {
        let secret = SecretString::from("OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV");
        SignerV1::new(
            "44CF9590006BF252F707",
            &secret,
            token.map(SecretString::from),
            "oss-example",
        )
    }

    /// "Include a V1 signature in the Authorization header": two `x-oss-*` headers, which the
    /// package alone signs wrongly. The documented request has a Content-MD5, which we never send.
    #[test]
    fn documented_header_signature() {
        let request = Unsigned {
            content_type: Some("text/html"),
            headers: vec![
                ("x-oss-meta-author", "foo@bar.com".into()),
                ("x-oss-magic", "abracadabra".into()),
            ],
            ..Unsigned::new(RequestType::Put, "nelson")
        };
        let mut build = prepare(&request, "Thu, 17 Nov 2005 18:49:58 GMT");
        build.content_md5 = Some("ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=".into());
        assert_eq!(
            signer(None).sdk.sign("/nelson", &build),
            "26NBxoKdsyly4EDv6inkoDft/yA="
        );

        let headers = signer(None).headers(request, then());
        let authorization = &headers.last().expect("three headers").1;
        assert_eq!(
            authorization,
            "OSS 44CF9590006BF252F707:vqsY6+ZQQmL5H9NGFJfVCs66np4="
        );
    }

    #[test]
    fn a_sub_resource_without_value_has_no_equals_sign() {
        let request = Unsigned {
            sub_resource: Some("cors"),
            ..get("")
        };
        let headers = signer(None).headers(request, then());
        assert_eq!(
            headers[0].1,
            "OSS 44CF9590006BF252F707:sQ0V3EIzUadrhSD2iz8s7XY66nE="
        );
    }

    /// "Include a V1 signature in a URL".
    #[test]
    fn documented_url_signature() {
        let expires_at = DateTime::from_timestamp(1_141_889_120, 0).expect("in range");
        let query = signer(None).query(get("oss-api.pdf"), expires_at);
        assert_eq!(
            query,
            "Expires=1141889120&OSSAccessKeyId=44CF9590006BF252F707&Signature=EwaNTn1erJGkimiJ9WmXgwnANLc%3D"
        );
    }

    #[test]
    fn tokens_are_a_header_of_requests_and_a_parameter_of_urls() {
        let headers = signer(Some("tok en+/")).headers(get("a"), then());
        assert_eq!(headers[0], ("x-oss-security-token", "tok en+/".to_owned()));
        let query = signer(Some("tok en+/")).query(get("a"), then());
        assert!(query.ends_with("&security-token=tok%20en%2B%2F"), "{query}");
    }
}
