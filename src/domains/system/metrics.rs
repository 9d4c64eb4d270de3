//! `GET /metrics`, on the main listener or on one of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use poem::http::{Method, StatusCode, header};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, IntoResponse, Request, Response, Server};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use yunque_kernel::error::common;
use yunque_kernel::http::reply::JSON;
use yunque_kernel::{ApiError, Lang};

use crate::System;
use crate::api::refusal;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Who may read metrics through an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Everybody's listener: only with the configured token, and not at all without one.
    TokenOnly,
    /// A listener that only operators reach: with the token if one is configured, else openly.
    Private,
}

/// Serves the metrics.
pub struct MetricsEndpoint {
    system: System,
    exposure: Exposure,
}

impl MetricsEndpoint {
    pub(crate) fn new(system: System, exposure: Exposure) -> Self {
        MetricsEndpoint { system, exposure }
    }

    async fn answer(&self, request: &Request) -> Result<Response, ApiError> {
        match (&self.system.inner.metrics_token, self.exposure) {
            (None, Exposure::TokenOnly) => return Err(common::NOT_FOUND.into()),
            (None, Exposure::Private) => {}
            (Some(token), _) => {
                let given = bearer(request).ok_or(common::NOT_AUTHENTICATED)?;
                if !is_same(given.as_bytes(), token.expose_secret().as_bytes()) {
                    return Err(common::TOKEN_INVALID.into());
                }
            }
        }
        let text = self.system.inner.metrics.render().await;
        Ok(Response::builder()
            .content_type(TEXT)
            .header(header::CACHE_CONTROL, "no-store")
            .body(text))
    }
}

impl Endpoint for MetricsEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(&request).await?)
    }
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// In the same time wherever the first difference is.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |differences, (x, y)| differences | (x ^ y))
            == 0
}

/// Health, readiness and metrics on a listener that only operators reach.
struct Admin {
    system: System,
    metrics: MetricsEndpoint,
}

impl Admin {
    fn new(system: &System) -> Self {
        Admin {
            system: system.clone(),
            metrics: MetricsEndpoint::new(system.clone(), Exposure::Private),
        }
    }

    async fn answer(&self, request: &Request) -> Result<Response, ApiError> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(ApiError::from(common::METHOD_NOT_ALLOWED).with_header("allow", "GET, HEAD"));
        }
        match request.uri().path().trim_end_matches('/') {
            "/healthz" => Ok(json_response(json!({"status": "ok"}))),
            "/readyz" => {
                let report = self.system.report().await;
                if !report.readiness.takes_traffic() {
                    return Err(refusal(&report));
                }
                Ok(json_response(
                    json!({"status": report.readiness.as_str(), "checks": report.words()}),
                ))
            }
            "/metrics" => self.metrics.answer(request).await,
            _ => Err(common::NOT_FOUND.into()),
        }
    }
}

impl Endpoint for Admin {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(&request).await.unwrap_or_else(|error| {
            let mut response = json_response(error.body(Lang::Zh, ""));
            response
                .set_status(StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            if error.status == 401 {
                response.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    header::HeaderValue::from_static("Bearer"),
                );
            }
            response
        }))
    }
}

fn json_response(body: serde_json::Value) -> Response {
    Response::builder()
        .content_type(JSON)
        .body(body.to_string())
        .into_response()
}

impl System {
    /// Serves health, readiness and metrics on `listen` until `stop`; for `METRICS_LISTEN` and a
    /// worker's `--listen-admin`. Returns the address that was bound.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve_admin(&self, listen: SocketAddr, stop: CancellationToken) -> io::Result<SocketAddr> {
        let acceptor = TcpListener::bind(listen).into_acceptor().await?;
        let bound = acceptor
            .local_addr()
            .first()
            .and_then(|a| a.as_socket_addr().copied())
            .unwrap_or(listen);
        let admin = Admin::new(self);
        yunque_kernel::task::spawn(async move {
            let server = Server::new_with_acceptor(acceptor).idle_timeout(Duration::from_secs(30));
            let serving =
                server.run_with_graceful_shutdown(admin, stop.cancelled(), Some(Duration::from_secs(1)));
            if let Err(error) = serving.await {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use yunque_kernel::Clock;
    use yunque_kernel::telemetry::Metrics;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn system(token: Option<&str>) -> System {
        System::new(Clock::default(), Metrics::new(), token.map(SecretString::from))
    }

    async fn status(system: &System, exposure: Exposure, authorization: Option<&str>) -> u16 {
        let mut request = Request::builder();
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let endpoint = MetricsEndpoint::new(system.clone(), exposure);
        match endpoint.answer(&request.finish()).await {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.status,
        }
    }

    #[tokio::test]
    async fn metrics_need_the_token_wherever_one_is_set() {
        let (open, closed) = (system(None), system(Some(TOKEN)));
        let good = format!("bearer {TOKEN}");
        assert_eq!(status(&open, Exposure::TokenOnly, None).await, 404);
        assert_eq!(status(&open, Exposure::Private, None).await, 200);
        for exposure in [Exposure::TokenOnly, Exposure::Private] {
            assert_eq!(status(&closed, exposure, None).await, 401);
            assert_eq!(
                status(&closed, exposure, Some("Bearer 0123456789abcdeX")).await,
                401
            );
            assert_eq!(status(&closed, exposure, Some(TOKEN)).await, 401);
            assert_eq!(status(&closed, exposure, Some(&good)).await, 200);
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn the_admin_listener_serves_health_readiness_and_metrics() {
        let system = system(None);
        let stop = CancellationToken::new();
        let address = system
            .serve_admin("127.0.0.1:0".parse().expect("an address"), stop.clone())
            .await
            .expect("bound");
        assert!(get(address, "/healthz").await.contains(r#"{"status":"ok"}"#));
        let starting = get(address, "/readyz/").await;
        assert!(
            starting.starts_with("HTTP/1.1 503") && starting.contains(r#""status":"starting""#),
            "{starting}"
        );
        system.set_running();
        let ready = get(address, "/readyz").await;
        assert!(
            ready.starts_with("HTTP/1.1 200") && ready.contains(r#""checks":{}"#),
            "{ready}"
        );
        assert!(get(address, "/metrics").await.contains("yunque_build_info"));
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        stop.cancel();
    }
}
