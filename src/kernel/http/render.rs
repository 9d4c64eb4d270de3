//! The outermost layer: every outcome leaves through here, as one envelope, with one log line.
//!
//! From outside in: gather the [`RequestInfo`], put the body gate and the rate gate in place,
//! answer preflights, refuse malformed heads and paths, then call the router inside a panic catcher
//! and a deadline. On the way out: errors become bodies in the client's language, and every answer
//! gets its request id, CORS, security and rate-limit headers.

use std::any::Any;
use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use poem::http::header::{self, HeaderValue};
use poem::http::{StatusCode, Uri};
use poem::{Endpoint, PathPattern, Request, Response};
use poem_openapi::OperationId;
use tokio::time::Instant;
use tracing::Instrument;

use super::body::{BodyGate, BodyMemory};
use super::cors::Origins;
use super::failure::response_of;
use super::limits::{Limits, RateGate};
use super::observe::RequestObserver;
use super::request_info::{Gatherer, RequestInfo};
use super::{paths, security, translate};
use crate::error::{ApiError, common};
use crate::task::panic_text;

/// A fault of the request head that the connection found; see `accept`.
#[derive(Clone, Debug)]
pub(super) struct HeadFault(pub ApiError);

pub(super) struct Render<E> {
    pub inner: E,
    pub gatherer: Gatherer,
    pub origins: Origins,
    pub limits: Limits,
    pub memory: BodyMemory,
    pub body_idle: Duration,
    pub handler_timeout: Duration,
    pub observer: Arc<dyn RequestObserver>,
}

/// How a request went, before it is written.
struct Outcome {
    result: Result<Response, ApiError>,
    /// Operation id or path pattern.
    route: Option<String>,
}

impl<E: Endpoint<Output = Response>> Endpoint for Render<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let begun = Instant::now();
        let info = self.gatherer.gather(&request);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let gate = BodyGate::install(&mut request, &self.memory, self.body_idle);
        let rate = RateGate::new(self.limits.clone(), info.client_ip);
        request.set_data(info.clone());
        request.set_data(rate.clone());
        let span = tracing::info_span!("request", request.id = %info.request_id);
        let preflight = self.origins.preflight(&request);
        let is_preflight = preflight.is_some();
        let outcome = match preflight {
            Some(response) => Outcome {
                result: Ok(response),
                route: Some("preflight".to_owned()),
            },
            None => self.answer(request, &gate).instrument(span.clone()).await,
        };
        let _entered = span.enter();
        let route = outcome.route.as_deref().unwrap_or("unmatched");
        let mut response = match outcome.result {
            Ok(response) => response,
            Err(error) => {
                log_error(&error, &info, route);
                response_of(&error, info.lang, &info.request_id)
            }
        };
        let took = begun.elapsed();
        finish(&mut response, &info, &rate);
        if gate.is_unread() {
            // hyper closes such a connection; unannounced, the client's next request would be lost.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !is_preflight {
            self.origins.decorate(origin.as_ref(), response.headers_mut());
        }
        log_access(&response, &info, &rate, route, took);
        self.observer
            .observe(route, &info.method, response.status().as_u16(), took);
        Ok(response)
    }
}

impl<E: Endpoint<Output = Response>> Render<E> {
    async fn answer(&self, mut request: Request, gate: &BodyGate) -> Outcome {
        if let Some(HeadFault(error)) = request.data::<HeadFault>() {
            return Outcome {
                result: Err(error.clone().with_header("connection", "close")),
                route: None,
            };
        }
        if !paths::is_plain(request.uri().path()) {
            return Outcome {
                result: Err(common::NOT_FOUND.into()),
                route: None,
            };
        }
        trim_slash(&mut request);
        let call = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        match within(self.handler_timeout, gate, call).await {
            None => Outcome {
                result: Err(timed_out(gate)),
                route: None,
            },
            Some(Err(panic)) => Outcome {
                result: Err(panicked(panic.as_ref())),
                route: None,
            },
            Some(Ok(Ok(response))) => {
                let route = route_of(response.data::<OperationId>(), response.data::<PathPattern>());
                Outcome {
                    result: Ok(response),
                    route,
                }
            }
            Some(Ok(Err(error))) => {
                let route = route_of(error.data::<OperationId>(), error.data::<PathPattern>());
                let result = match error.is_from_response() && is_json(&error) {
                    true => Ok(error.into_response()),
                    false => Err(translate::translate(&error, gate)),
                };
                Outcome { result, route }
            }
        }
    }
}

fn is_json(error: &poem::Error) -> bool {
    // The only responses that travel as errors and are already in our shape have no error status.
    error.status().is_success()
        || error.status().is_redirection()
        || error.status() == StatusCode::SWITCHING_PROTOCOLS
}

fn route_of(operation: Option<&OperationId>, pattern: Option<&PathPattern>) -> Option<String> {
    operation
        .map(|o| o.0.to_owned())
        .or_else(|| pattern.map(|p| p.0.to_string()))
}

/// Routes know only the form without a trailing slash.
fn trim_slash(request: &mut Request) {
    let uri = request.uri();
    let path = paths::trimmed(uri.path());
    if path.len() == uri.path().len() {
        return;
    }
    let trimmed = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if let Ok(uri) = trimmed.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
}

/// Waits for an answer, as long as the last byte of the body is not older than `limit`.
async fn within<T>(limit: Duration, gate: &BodyGate, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    loop {
        let deadline = gate.last_byte() + limit;
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = tokio::time::sleep_until(deadline) => {
                if gate.last_byte() + limit <= Instant::now() {
                    return None;
                }
            }
        }
    }
}

fn timed_out(gate: &BodyGate) -> ApiError {
    gate.verdict()
        .unwrap_or_else(|| ApiError::unavailable("the handler did not answer in time"))
}

fn panicked(panic: &(dyn Any + Send)) -> ApiError {
    ApiError::internal(format!("panic: {}", panic_text(panic)))
}

fn finish(response: &mut Response, info: &RequestInfo, rate: &RateGate) {
    let localized = response
        .content_type()
        .is_some_and(|t| t.starts_with("application/json"));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&info.request_id) {
        headers.insert("x-request-id", id);
    }
    if localized {
        headers
            .entry(header::CONTENT_LANGUAGE)
            .or_insert(HeaderValue::from_static(info.lang.tag()));
        headers.append(header::VARY, HeaderValue::from_static("Accept-Language"));
    }
    security::decorate(headers, info.secure);
    rate.write_headers(headers);
}

/// An error is logged here and nowhere else. Never the body, a header or the query.
fn log_error(error: &ApiError, info: &RequestInfo, route: &str) {
    let cause = error
        .source
        .as_ref()
        .map(|s| chain(s.as_ref()))
        .unwrap_or_default();
    match error.status {
        503 => tracing::warn!(
            error.code = error.code, error.cause = %cause, http.method = %info.method, http.route = route,
            "the service was not available for a request"
        ),
        500.. => tracing::error!(
            error.code = error.code, error.cause = %cause, http.method = %info.method, http.route = route,
            "a request failed"
        ),
        _ => {
            tracing::debug!(error.code = error.code, error.cause = %cause, http.route = route, "a request was refused")
        }
    }
}

/// A cause and what caused it, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn log_access(response: &Response, info: &RequestInfo, rate: &RateGate, route: &str, took: Duration) {
    let status = response.status().as_u16();
    let user = rate.user().map(|u| u.0);
    let ms = took.as_micros() as f64 / 1000.0;
    tracing::info!(
        http.method = %info.method, http.path = %shown(&info.path), http.route = route, http.status = status,
        duration_ms = ms, client.ip = %info.client_ip, user.id = user,
        "{} {} {status}", info.method, route
    );
}

/// The path for the log. Long segments are left out: they may be tokens.
fn shown(path: &str) -> Cow<'_, str> {
    if path.len() <= 256 && path.split('/').all(|s| s.len() <= 40) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|s| if s.len() > 40 { "…" } else { s });
    let text = segments.collect::<Vec<_>>().join("/");
    Cow::Owned(text.chars().take(256).collect())
}
