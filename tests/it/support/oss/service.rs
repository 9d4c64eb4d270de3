//! The requests that the emulator answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};

use super::answers::{Answer, Body, date, empty, error_answer, set};
use super::command::command_answer;
use super::cors::{allow_origin, cors_answer, preflight};
use super::objects::{Object, Sink};
use super::{Faults, Refusal, State, lock, now, v1, v4};

/// How an operation ends: an answer, a refusal, or a connection that breaks.
enum End {
    Refused(Refusal),
    Broken(io::Error),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        End::Refused(refusal)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Broken(error)
    }
}

/// An error breaks the connection without an answer.
pub(super) async fn answer(state: Arc<State>, request: Request<Incoming>) -> io::Result<Answer> {
    let (parts, mut body) = request.into_parts();
    if let Some(command) = parts.uri.path().strip_prefix("/-/") {
        let query = parts.uri.query().unwrap_or_default();
        return Ok(command_answer(&state, command, &v1::parameters(query)));
    }
    let mut stalled = state.stalled.subscribe();
    if *stalled.borrow() {
        let _ = stalled.wait_for(|on| !on).await;
        return Err(io::Error::other("stalled until now"));
    }
    let rules = lock(&state.cors).clone();
    let mut answer = match operate(&state, &parts, &mut body).await {
        Ok(answer) => answer,
        Err(End::Broken(error)) => return Err(error),
        Err(End::Refused(refusal)) => {
            // Read what is left, so that the client gets to see the answer.
            while let Some(Ok(_)) = body.frame().await {}
            error_answer(&refusal, parts.method == Method::HEAD)
        }
    };
    let mut held = state.held.subscribe();
    if *held.borrow() {
        let _ = held.wait_for(|on| !on).await;
        return Err(io::Error::other("answered by nobody"));
    }
    allow_origin(&parts, &rules, answer.headers_mut());
    let id = HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string()).expect("hex");
    answer.headers_mut().insert("x-oss-request-id", id);
    Ok(answer)
}

async fn operate(state: &State, parts: &Parts, body: &mut Incoming) -> Result<Answer, End> {
    if parts.method == Method::OPTIONS {
        return Ok(preflight(parts, &lock(&state.cors))?);
    }
    let (bucket, key) = target(state, parts);
    if bucket != state.bucket {
        return Err(Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist.").into());
    }
    let verify = if v4::is_used(parts) {
        v4::verify
    } else {
        v1::verify
    };
    verify(parts, &bucket, &key, &state.credentials, now())?;
    if parts.method == Method::PUT && !key.is_empty() {
        lock(&state.puts).entry(key.clone()).or_default().0 += 1;
    }
    if let Some(status) = next_failure(&mut lock(&state.faults)) {
        return Err(commanded(status).into());
    }
    let query = v1::parameters(parts.uri.query().unwrap_or_default());
    let asks = |name: &str| query.iter().any(|(n, _)| n == name);
    match (&parts.method, key.as_str()) {
        (&Method::GET, "") if asks("cors") => Ok(cors_answer(&lock(&state.cors))?),
        (_, "") => Err(Refusal::new(501, "NotImplemented", "not part of the emulator").into()),
        (&Method::PUT, _) => put(state, parts, &key, body).await,
        (&Method::GET | &Method::HEAD, _) => Ok(read(state, parts, &key, &query)?),
        (&Method::DELETE, _) => {
            lock(&state.objects).remove(&key);
            Ok(empty(204))
        }
        _ => Err(Refusal::new(405, "MethodNotAllowed", "not allowed against this resource").into()),
    }
}

/// Bucket and key: from the host when it starts with the bucket, else from the path.
fn target(state: &State, parts: &Parts) -> (String, String) {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let path = parts.uri.path().trim_start_matches('/');
    let host = parts
        .headers
        .get("host")
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    if host
        .strip_prefix(&state.bucket)
        .is_some_and(|rest| rest.starts_with('.'))
    {
        return (state.bucket.clone(), decode(path));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (decode(bucket), decode(key))
}

fn next_failure(faults: &mut Faults) -> Option<u16> {
    if faults.fail_next > 0 {
        faults.fail_next -= 1;
        return Some(faults.fail_next_status);
    }
    faults.fail_always
}

fn commanded(status: u16) -> Refusal {
    let code = match status {
        400 => "InvalidArgument",
        403 => "AccessDenied",
        404 => "NoSuchBucket",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "Commanded",
    };
    Refusal::new(status, code, "vendor text of a commanded failure")
}

async fn put(state: &State, parts: &Parts, key: &str, body: &mut Incoming) -> Result<Answer, End> {
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let declared = body.size_hint().exact();
    let faults = lock(&state.faults).clone();
    let keep = header("x-oss-forbid-overwrite").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let exists = || {
        Refusal::new(
            409,
            "FileAlreadyExists",
            "The object you specified already exists.",
        )
    };
    if keep && lock(&state.objects).contains_key(key) {
        return Err(exists().into());
    }
    let mut sink = Sink::new(state.folder.path());
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        let Ok(piece) = frame.into_data() else { continue };
        seen += piece.len() as u64;
        if faults.cut_after.is_some_and(|limit| seen > limit) {
            return Err(io::Error::other("cut").into());
        }
        drag(&faults, piece.len()).await;
        sink.write(&piece).await?;
    }
    if declared.is_some_and(|declared| declared != seen) {
        return Err(io::Error::other("body ended early").into());
    }
    let content_type = header("content-type")
        .unwrap_or("application/octet-stream")
        .to_owned();
    let object = sink.finish(content_type).await?;
    let mut answer = empty(200);
    describe(&object, answer.headers_mut());
    {
        // Again under the lock, because two uploads may have run side by side.
        let mut objects = lock(&state.objects);
        if keep && objects.contains_key(key) {
            return Err(exists().into());
        }
        objects.insert(key.to_owned(), object);
    }
    lock(&state.puts).entry(key.to_owned()).or_default().1 += 1;
    Ok(answer)
}

fn read(
    state: &State,
    parts: &Parts,
    key: &str,
    query: &[(String, Option<String>)],
) -> Result<Answer, Refusal> {
    let object = lock(&state.objects).get(key).cloned();
    let object = object.ok_or_else(|| Refusal::new(404, "NoSuchKey", "The specified key does not exist."))?;
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let standard = header("x-oss-range-behavior") == Some("standard");
    let (status, first, end) = match header("range").map(|r| range(r, object.size)) {
        Some(Some((first, last))) => (206, first, last + 1),
        // OSS sends everything for a range that makes no sense, unless told to be standard.
        Some(None) if standard => {
            return Err(Refusal::new(416, "InvalidRange", "The range is not satisfiable."));
        }
        _ => (200, 0, object.size),
    };
    let mut answer = empty(status);
    let headers = answer.headers_mut();
    describe(&object, headers);
    set(headers, "content-type", &object.content_type);
    set(headers, "content-length", &(end - first).to_string());
    set(headers, "accept-ranges", "bytes");
    set(headers, "last-modified", &date(object.modified));
    if status == 206 {
        set(
            headers,
            "content-range",
            &format!("bytes {first}-{}/{}", end - 1, object.size),
        );
    }
    for (name, value) in query {
        if let (Some(name), Some(value)) = (name.strip_prefix("response-"), value) {
            set(headers, name, value);
        }
    }
    if parts.method == Method::GET {
        *answer.body_mut() = pieces(object, first, end, lock(&state.faults).clone());
    }
    Ok(answer)
}

/// First and last byte of a `Range` header.
fn range(header: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return None,
    };
    (first <= last && first < size).then_some((first, last))
}

fn pieces(object: Object, first: u64, end: u64, faults: Faults) -> Body {
    let next = move |at: u64| {
        let (object, faults) = (object.clone(), faults.clone());
        async move {
            if at == end {
                return Ok(None);
            }
            let mut piece = object.piece(at, end).await?;
            if let Some(limit) = faults.cut_after {
                let left = limit.saturating_sub(at - first);
                if left == 0 {
                    // While this waits, what came before goes out.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    return Err(io::Error::other("cut"));
                }
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            drag(&faults, piece.len()).await;
            let at = at + piece.len() as u64;
            Ok(Some((Frame::data(piece), at)))
        }
    };
    BoxBody::new(StreamBody::new(stream::try_unfold(first, next)))
}

async fn drag(faults: &Faults, bytes: usize) {
    if let Some(rate) = faults.bytes_per_second {
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
    }
}

fn describe(object: &Object, headers: &mut HeaderMap) {
    set(headers, "etag", &format!("\"{:016X}\"", object.crc64));
    set(headers, "x-oss-hash-crc64ecma", &object.crc64.to_string());
}
