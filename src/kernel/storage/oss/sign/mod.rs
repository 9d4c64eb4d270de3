//! Signatures of requests and of URLs.
//!
//! Version 4 ([`v4`]) where the region of the bucket is known, because Aliyun refuses version 1 to
//! new accounts and for new buckets. Version 1 ([`v1`]) elsewhere: gateways, test servers and old
//! private installations, which often know nothing newer.

mod v1;
mod v4;

use aliyun_oss_rust_sdk::request::RequestType;
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use self::v1::SignerV1;
use self::v4::SignerV4;
use crate::storage::OssSettings;

/// RFC 3986 "unreserved".
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parts of a request that its signature covers.
pub(super) struct Unsigned<'a> {
    pub method: RequestType,
    /// Empty for the bucket itself.
    pub key: &'a str,
    /// Such as `cors`; has no value.
    pub sub_resource: Option<&'static str>,
    pub content_type: Option<&'a str>,
    /// `x-oss-*` headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Parameters with a value, unescaped.
    pub parameters: Vec<(&'static str, String)>,
}

impl<'a> Unsigned<'a> {
    pub(super) fn new(method: RequestType, key: &'a str) -> Self {
        let (headers, parameters) = (Vec::new(), Vec::new());
        Unsigned {
            method,
            key,
            sub_resource: None,
            content_type: None,
            headers,
            parameters,
        }
    }

    /// What follows the front part of the URL, without parameters: `/{key}`, or `/?cors`. Keys need
    /// no escaping.
    pub(super) fn path(&self) -> String {
        match self.sub_resource {
            Some(name) => format!("/{}?{name}", self.key),
            None => format!("/{}", self.key),
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.parameters.clone();
        pairs.extend(self.sub_resource.map(|name| (name, String::new())));
        pairs
    }
}

/// One access key and one bucket.
pub(super) enum Signer {
    V1(SignerV1),
    V4(SignerV4),
}

impl Signer {
    pub(super) fn new(settings: &OssSettings) -> Self {
        let OssSettings {
            key_id,
            key_secret,
            security_token,
            bucket,
            ..
        } = settings;
        let token = security_token.clone();
        match &settings.region {
            Some(region) => Signer::V4(SignerV4::new(key_id, key_secret, token, bucket, region)),
            None => Signer::V1(SignerV1::new(key_id, key_secret, token, bucket)),
        }
    }

    /// The headers to send with `Date: now`: `Authorization` and all `x-oss-*` ones.
    pub(super) fn headers(&self, request: Unsigned<'_>, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
        match self {
            Signer::V1(signer) => signer.headers(request, now),
            Signer::V4(signer) => signer.headers(request, now),
        }
    }

    /// The query of a URL that may be used until `expires_at`. The user of the URL must send the
    /// content type and the `x-oss-*` headers that were signed.
    pub(super) fn query(
        &self,
        request: Unsigned<'_>,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> String {
        match self {
            Signer::V1(signer) => signer.query(request, expires_at),
            Signer::V4(signer) => signer.query(request, expires_at, now),
        }
    }
}

/// The form of a `Date` header.
pub(super) fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
