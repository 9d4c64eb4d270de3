//! How the emulator words its answers.

use std::convert::Infallible;
use std::io;

use base64::Engine as _;
use chrono::{DateTime, Utc};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::{Refusal, now};

pub type Body = BoxBody<Bytes, io::Error>;
pub type Answer = Response<Body>;

pub fn error_answer(refusal: &Refusal, is_head: bool) -> Answer {
    let escaped = refusal.message.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{}</Code>\n  <Message>{escaped}</Message>\n\
         <HostId>emulator</HostId>\n</Error>\n",
        refusal.code
    );
    let packed = base64::engine::general_purpose::STANDARD.encode(&body);
    let mut answer = xml(refusal.status, body);
    if is_head {
        // Instead of the body, which an answer to a HEAD has not.
        set(answer.headers_mut(), "x-oss-err", &packed);
    }
    answer
}

pub fn xml(status: u16, body: String) -> Answer {
    let mut answer = empty(status);
    set(answer.headers_mut(), "content-type", "application/xml");
    *answer.body_mut() = full(body);
    answer
}

pub fn empty(status: u16) -> Answer {
    let mut answer = Response::new(full(String::new()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    set(answer.headers_mut(), "server", "AliyunOSS");
    set(answer.headers_mut(), "date", &date(now()));
    answer
}

pub fn full(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never: Infallible| match never {})
        .boxed()
}

pub fn date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
    headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
}
