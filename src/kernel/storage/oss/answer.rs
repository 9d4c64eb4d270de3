//! What the answers of OSS mean: error classes from the status and the `<Code>` of the XML body,
//! and the few values we read out of other bodies.
//!
//! The bodies are small, flat and come from the storage we are configured for, so the elements are
//! cut out of the text; an XML parser would be the larger risk.

use base64::Engine as _;
use reqwest::Response;
use reqwest::header::HeaderMap;

use crate::storage::StorageError;

/// Longer error bodies are cut; the interesting part comes first.
const MAX_ERROR_BODY: usize = 16 * 1024;

/// Turns an answer that is no success into an error. `operation` is for the log.
pub(super) async fn failure(operation: &str, mut response: Response) -> StorageError {
    let status = response.status().as_u16();
    let request_id = text_header(response.headers(), "x-oss-request-id").unwrap_or_default();
    let size = object_size(response.headers());
    let body = match text_header(response.headers(), "x-oss-err") {
        // The answer to a HEAD has no body, so OSS puts it into this header.
        Some(packed) => base64::engine::general_purpose::STANDARD
            .decode(packed)
            .unwrap_or_default(),
        None => head_of(&mut response).await,
    };
    let body = String::from_utf8_lossy(&body);
    let code = element(&body, "Code").unwrap_or_default();
    let message = element(&body, "Message").unwrap_or_default();
    classify(operation, status, code, &one_line(message), &request_id, size)
}

async fn head_of(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_BODY {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) | Err(_) => break,
        }
    }
    body
}

fn classify(
    operation: &str,
    status: u16,
    code: &str,
    message: &str,
    request_id: &str,
    size: Option<u64>,
) -> StorageError {
    match (status, code) {
        (404, code) if code != "NoSuchBucket" && code != "NoSuchCORSConfiguration" => StorageError::NotFound,
        (409, "FileAlreadyExists" | "ObjectAlreadyExists") => StorageError::AlreadyExists,
        (416, _) => StorageError::BadRange {
            size: size.unwrap_or(0),
        },
        // OSS says 400 `RequestTimeout` when a connection was idle for too long: a timeout.
        (408 | 429 | 500.., _) | (400, "RequestTimeout") => {
            StorageError::Unavailable(format!("{operation}: {status} {code} (request {request_id})"))
        }
        _ => StorageError::Rejected {
            status,
            code: code.to_owned(),
            message: format!("{operation}: {message} (request {request_id})"),
        },
    }
}

/// Errors before an answer: no connection, a timeout, a connection that broke.
pub(super) fn transport(operation: &str, error: reqwest::Error) -> StorageError {
    let error = error.without_url();
    let is_ours = error.is_builder();
    let mut text = format!("{operation}: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    if is_ours {
        StorageError::refused("invalid_request", text)
    } else {
        StorageError::Unavailable(text)
    }
}

/// Whether one of the rules of a GetBucketCors body lets a browser page of `origin` send the PUT of
/// a presigned upload.
pub(super) fn cors_allows_put(body: &str, origin: &str) -> bool {
    let needed = ["content-type", "x-oss-forbid-overwrite"];
    blocks(body, "CORSRule").any(|rule| {
        let any = |name: &'static str, value: &str| {
            blocks(rule, name).any(|pattern| matches(pattern.trim(), value))
        };
        any("AllowedOrigin", origin)
            && any("AllowedMethod", "PUT")
            && needed.iter().all(|header| any("AllowedHeader", header))
    })
}

/// `*` stands for any text, once; the rest is compared without case.
fn matches(pattern: &str, value: &str) -> bool {
    let (pattern, value) = (pattern.to_ascii_lowercase(), value.to_ascii_lowercase());
    match pattern.split_once('*') {
        Some((front, back)) => {
            value.len() >= front.len() + back.len() && value.starts_with(front) && value.ends_with(back)
        }
        None => pattern == value,
    }
}

fn element<'a>(body: &'a str, name: &'static str) -> Option<&'a str> {
    blocks(body, name).next().map(str::trim)
}

fn blocks<'a>(body: &'a str, name: &'static str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = body;
    std::iter::from_fn(move || {
        let from = rest.find(&open)? + open.len();
        let len = rest[from..].find(&close)?;
        let block = &rest[from..from + len];
        rest = &rest[from + len..];
        Some(block)
    })
}

/// Vendor text for one log line.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect()
}

pub(super) fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text_header(headers, "content-length")?.parse().ok()
}

/// First and last byte of `Content-Range: bytes 0-4/10`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = text_header(headers, "content-range")?;
    let (first, last) = text.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The size of the whole object, from `Content-Range` when there is one.
pub(super) fn object_size(headers: &HeaderMap) -> Option<u64> {
    match text_header(headers, "content-range") {
        Some(text) => text.rsplit_once('/')?.1.parse().ok(),
        None => content_length(headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, code: &str) -> StorageError {
        classify("PUT", status, code, "text", "R1", None)
    }

    #[test]
    fn classes_follow_status_and_code() {
        for (status, code) in [
            (500, "InternalError"),
            (503, "ServiceUnavailable"),
            (503, ""),
            (429, ""),
            (400, "RequestTimeout"),
        ] {
            assert!(class(status, code).is_retryable(), "{status} {code}");
        }
        for (status, code) in [
            (400, "InvalidArgument"),
            (401, ""),
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (404, "NoSuchBucket"),
            (301, ""),
        ] {
            assert!(
                matches!(class(status, code), StorageError::Rejected { status: s, .. } if s == status),
                "{status} {code}"
            );
        }
        assert!(matches!(class(404, "NoSuchKey"), StorageError::NotFound));
        assert!(matches!(class(404, ""), StorageError::NotFound));
        assert!(matches!(
            class(409, "FileAlreadyExists"),
            StorageError::AlreadyExists
        ));
    }

    #[test]
    fn the_code_is_read_out_of_the_body() {
        let body = "<?xml version=\"1.0\"?>\n<Error>\n  <Code>\n AccessDenied </Code>\n<Message>no\nway</Message></Error>";
        assert_eq!(element(body, "Code"), Some("AccessDenied"));
        assert_eq!(element(body, "RequestId"), None);
        assert_eq!(one_line("no\nway\u{1b}[2J"), "no way [2J");
        assert_eq!(element("<Code>cut off", "Code"), None);
    }

    #[test]
    fn cors_rules_must_name_origin_method_and_headers_in_one_rule() {
        let rule = |origin: &str, method: &str, header: &str| {
            format!(
                "<CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
                 <AllowedMethod>{method}</AllowedMethod><AllowedHeader>{header}</AllowedHeader></CORSRule>"
            )
        };
        let wrap = |rules: String| format!("<CORSConfiguration>{rules}</CORSConfiguration>");
        let origin = "https://app.example.com";
        assert!(cors_allows_put(&wrap(rule("*", "PUT", "*")), origin));
        assert!(cors_allows_put(
            &wrap(rule("https://*.example.com", "PUT", "*")),
            origin
        ));
        assert!(!cors_allows_put(
            &wrap(rule("https://other.com", "PUT", "*")),
            origin
        ));
        assert!(!cors_allows_put(&wrap(rule("*", "POST", "*")), origin));
        assert!(!cors_allows_put(&wrap(rule("*", "PUT", "content-type")), origin));
        let two = rule("*", "POST", "*") + &rule("https://other.com", "PUT", "*");
        assert!(!cors_allows_put(&wrap(two), origin));
        assert!(!cors_allows_put("", origin));
    }
}
