//! Objects in an Aliyun OSS bucket.
//!
//! Requests and URLs are signed by the package or, in version 4, by us ([`sign`]); the bodies go
//! over one pooled rustls client of ours, so that they stream, have timeouts and report what the
//! storage said ([`answer`]).
//!
//! * A PUT has one deadline for everything, given by the caller. A GET has a deadline for the head
//!   of the answer and then one for each piece, so a large download may take its time but never
//!   hang. The client's own `read_timeout` is not used: it runs while a body is still being sent.
//! * OSS answers a PUT with the CRC-64 of what it stored; it is compared with what was sent.
//! * Requests go to `OSS_ENDPOINT`. URLs for others name the custom domain, else the public
//!   endpoint: servers use internal endpoints that browsers cannot reach.

mod answer;
mod endpoint;
mod sign;

use std::time::Duration;

use aliyun_oss_rust_sdk::request::RequestType;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RANGE};
use reqwest::{Method, Response};

use self::answer::{content_length, content_range, object_size, text_header};
pub use self::endpoint::Endpoint;
use self::sign::{Signer, Unsigned, http_date};
use super::body::{self, ByteStream, Measured, Sums};
use super::{ByteRange, CorsAnswer, GetObject, ObjectHead, OssSettings, Presigned, StorageError};
use crate::Clock;

/// OSS closes idle connections after a minute.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// For requests without a body of note.
const SMALL_REQUEST: Duration = Duration::from_secs(30);
const FORBID_OVERWRITE: (&str, &str) = ("x-oss-forbid-overwrite", "true");

/// One bucket.
pub struct Oss {
    http: reqwest::Client,
    signer: Signer,
    bucket: String,
    /// Front part of the URLs we call.
    inner: String,
    /// Front part of the URLs we give away.
    outer: String,
    read_timeout: Duration,
}

impl Oss {
    /// # Errors
    /// `Rejected` when the TLS client cannot be built.
    pub fn new(settings: &OssSettings) -> Result<Self, StorageError> {
        let bucket = settings.bucket.as_str();
        let outer = match (&settings.custom_domain, &settings.public_endpoint) {
            (Some(domain), _) => domain.of_domain(),
            (None, Some(public)) => public.of_bucket(bucket),
            (None, None) => settings.endpoint.of_bucket(bucket),
        };
        Ok(Oss {
            http: client(settings.connect_timeout)?,
            signer: Signer::new(settings),
            bucket: bucket.to_owned(),
            inner: settings.endpoint.of_bucket(bucket),
            outer,
            read_timeout: settings.read_timeout,
        })
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Where requests go, for the log and `doctor`.
    pub fn address(&self) -> &str {
        &self.inner
    }

    pub(super) async fn put(
        &self,
        key: &str,
        content_type: &str,
        size: u64,
        body: ByteStream,
        timeout: Duration,
    ) -> Result<Sums, StorageError> {
        if size == 0 {
            // The client would not look at a stream that is declared empty.
            let sums = body::drain(body, size).await?;
            let response = self
                .send_put(key, content_type, size, reqwest::Body::default(), timeout)
                .await?;
            return check_sum(&response, sums);
        }
        let (body, verdict) = Measured::new(body, size);
        let sent = self
            .send_put(key, content_type, size, reqwest::Body::wrap_stream(body), timeout)
            .await;
        match (verdict.take(), sent) {
            // What was wrong with the body is the cause of whatever the client says about it.
            (Some(Err(fault)), _) => Err(fault),
            (_, Err(error)) => Err(error),
            (Some(Ok(sums)), Ok(response)) => check_sum(&response, sums),
            (None, Ok(_)) => Err(StorageError::Unavailable(
                "PUT: answered before the end of the body".to_owned(),
            )),
        }
    }

    async fn send_put(
        &self,
        key: &str,
        content_type: &str,
        size: u64,
        body: reqwest::Body,
        timeout: Duration,
    ) -> Result<Response, StorageError> {
        let unsigned = Unsigned {
            content_type: Some(content_type),
            ..Unsigned::new(RequestType::Put, key)
        };
        let url = self.address_of(&unsigned);
        let mut headers = self.headers(unsigned)?;
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        let request = self.http.put(url).headers(headers).body(body);
        self.send("PUT", request, timeout).await
    }

    pub(super) async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<GetObject, StorageError> {
        let mut unsigned = Unsigned::new(RequestType::Get, key);
        if range.is_some() {
            // Without it OSS answers a range outside of the object with the whole object.
            unsigned
                .headers
                .push(("x-oss-range-behavior", "standard".to_owned()));
        }
        let url = self.address_of(&unsigned);
        let mut headers = self.headers(unsigned)?;
        if let Some(range) = range {
            headers.insert(RANGE, value("range", &range.header())?);
        }
        let request = self.http.get(url).headers(headers);
        let response = self.send("GET", request, self.read_timeout).await?;
        let no_length = || StorageError::Unavailable("GET: answer without a length".to_owned());
        let head = head_of(response.headers()).ok_or_else(no_length)?;
        let size = content_length(response.headers()).ok_or_else(no_length)?;
        let range = content_range(response.headers());
        Ok(GetObject {
            stream: pieces(response, self.read_timeout),
            size,
            range,
            head,
        })
    }

    pub(super) async fn head(&self, key: &str) -> Result<ObjectHead, StorageError> {
        let response = self
            .small("HEAD", Method::HEAD, Unsigned::new(RequestType::Head, key))
            .await?;
        head_of(response.headers())
            .ok_or_else(|| StorageError::Unavailable("HEAD: answer without a length".to_owned()))
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match self
            .small("DELETE", Method::DELETE, Unsigned::new(RequestType::Delete, key))
            .await
        {
            Ok(_) | Err(StorageError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn cors_allows_put(&self, origin: &str) -> CorsAnswer {
        let unsigned = Unsigned {
            sub_resource: Some("cors"),
            ..Unsigned::new(RequestType::Get, "")
        };
        match self.small("GetBucketCors", Method::GET, unsigned).await {
            Ok(response) => match response.text().await {
                Ok(body) if answer::cors_allows_put(&body, origin) => CorsAnswer::Allowed,
                Ok(_) => CorsAnswer::Refused,
                Err(error) => CorsAnswer::Unknown(answer::transport("GetBucketCors", error)),
            },
            Err(StorageError::Rejected { code, .. }) if code == "NoSuchCORSConfiguration" => {
                CorsAnswer::Refused
            }
            Err(error) => CorsAnswer::Unknown(error),
        }
    }

    pub(super) fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.outer)
    }

    /// URL and headers of an upload that creates `key` and cannot replace it.
    pub(super) fn presign_put(
        &self,
        key: &str,
        content_type: &str,
        expires_at: DateTime<Utc>,
    ) -> (String, Vec<(&'static str, String)>) {
        let (name, text) = FORBID_OVERWRITE;
        let unsigned = Unsigned {
            content_type: Some(content_type),
            headers: vec![(name, text.to_owned())],
            ..Unsigned::new(RequestType::Put, key)
        };
        let url = self.presign(unsigned, expires_at);
        (
            url,
            vec![("Content-Type", content_type.to_owned()), (name, text.to_owned())],
        )
    }

    pub(super) fn presign_get(
        &self,
        key: &str,
        disposition: Option<String>,
        expires_at: DateTime<Utc>,
    ) -> String {
        let mut unsigned = Unsigned::new(RequestType::Get, key);
        unsigned
            .parameters
            .extend(disposition.map(|text| ("response-content-disposition", text)));
        self.presign(unsigned, expires_at)
    }

    /// Uses a presigned URL as a client would. Answers the body.
    pub(super) async fn follow(
        &self,
        presigned: &Presigned,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, StorageError> {
        let method = if presigned.method == "PUT" {
            Method::PUT
        } else {
            Method::GET
        };
        let mut request = self.http.request(method, &presigned.url).body(body);
        for (name, text) in &presigned.headers {
            request = request.header(name, text);
        }
        let response = self.send("presigned URL", request, timeout).await?;
        match tokio::time::timeout(timeout, response.bytes()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(answer::transport("presigned URL", error)),
            Err(_) => Err(StorageError::Unavailable(format!("no body within {timeout:?}"))),
        }
    }

    fn presign(&self, unsigned: Unsigned<'_>, expires_at: DateTime<Utc>) -> String {
        let url = self.url(unsigned.key);
        format!("{url}?{}", self.signer.query(unsigned, expires_at, real_time()))
    }

    fn address_of(&self, unsigned: &Unsigned<'_>) -> String {
        format!("{}{}", self.inner, unsigned.path())
    }

    async fn small(
        &self,
        operation: &str,
        method: Method,
        unsigned: Unsigned<'_>,
    ) -> Result<Response, StorageError> {
        let url = self.address_of(&unsigned);
        let headers = self.headers(unsigned)?;
        let request = self.http.request(method, url).headers(headers);
        self.send(operation, request, SMALL_REQUEST).await
    }

    /// `timeout` is for everything up to the head of the answer.
    async fn send(
        &self,
        operation: &str,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<Response, StorageError> {
        let all = async {
            let response = request
                .send()
                .await
                .map_err(|e| answer::transport(operation, e))?;
            if response.status().is_success() {
                Ok(response)
            } else {
                Err(answer::failure(operation, response).await)
            }
        };
        match tokio::time::timeout(timeout, all).await {
            Ok(result) => result,
            Err(_) => Err(StorageError::Unavailable(format!(
                "{operation}: no answer within {timeout:?}"
            ))),
        }
    }

    fn headers(&self, unsigned: Unsigned<'_>) -> Result<HeaderMap, StorageError> {
        let now = real_time();
        let mut headers = HeaderMap::new();
        if let Some(content_type) = unsigned.content_type {
            headers.insert(CONTENT_TYPE, value("content type", content_type)?);
        }
        headers.insert(DATE, value("date", &http_date(now))?);
        for (name, text) in self.signer.headers(unsigned, now) {
            let mut text = value(name, &text)?;
            text.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), text);
        }
        Ok(headers)
    }
}

/// Not the clock of the server, which a test may have moved: OSS compares with its own.
fn real_time() -> DateTime<Utc> {
    Clock::default().now()
}

fn value(name: &str, text: &str) -> Result<HeaderValue, StorageError> {
    HeaderValue::from_str(text)
        .map_err(|_| StorageError::refused("invalid_header", format!("{name} is no header value")))
}

fn check_sum(response: &Response, sums: Sums) -> Result<Sums, StorageError> {
    let stored: Option<u64> =
        text_header(response.headers(), "x-oss-hash-crc64ecma").and_then(|t| t.parse().ok());
    match stored {
        Some(stored) if stored != sums.crc64 => Err(StorageError::Unavailable(
            "PUT: the stored bytes are not the ones that were sent".to_owned(),
        )),
        _ => Ok(sums),
    }
}

fn head_of(headers: &HeaderMap) -> Option<ObjectHead> {
    let modified = text_header(headers, "last-modified").and_then(|t| DateTime::parse_from_rfc2822(&t).ok());
    Some(ObjectHead {
        size: object_size(headers)?,
        content_type: text_header(headers, "content-type").unwrap_or_else(|| super::DEFAULT_TYPE.to_owned()),
        etag: text_header(headers, "etag"),
        last_modified: modified.map(|t| t.with_timezone(&Utc)),
    })
}

/// The body of an answer; a piece that does not come within `idle` ends it with an error.
fn pieces(response: Response, idle: Duration) -> ByteStream {
    let next = move |response: Option<Response>| async move {
        let mut response = response?;
        let failed = |kind, text: String| Some((Err(std::io::Error::new(kind, text)), None));
        match tokio::time::timeout(idle, response.chunk()).await {
            Ok(Ok(Some(piece))) => Some((Ok(piece), Some(response))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => failed(
                std::io::ErrorKind::ConnectionAborted,
                error.without_url().to_string(),
            ),
            Err(_) => failed(std::io::ErrorKind::TimedOut, format!("no data within {idle:?}")),
        }
    };
    futures_util::stream::unfold(Some(response), next).boxed()
}

fn client(connect_timeout: Duration) -> Result<reqwest::Client, StorageError> {
    let failed = |e: &dyn std::fmt::Display| {
        StorageError::refused("tls", format!("cannot build the HTTP client: {e}"))
    };
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // OSS speaks HTTP/1.1 for objects.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_keepalive(Duration::from_secs(30))
        // A signed request must not follow the storage to another host, and settings come from
        // `kernel::config`, not from HTTP_PROXY.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|e| failed(&e))
}
