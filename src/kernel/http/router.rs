//! From a path and a method to an operation.
//!
//! poem-openapi's own assembly answers 405 without `Allow` and knows nothing of rate limits, so the
//! route table that its macros fill is put into endpoints of ours. Extra routes (docs, metrics, the
//! health probes) go through the same ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::error::NotFoundError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response, Route};
use poem_openapi::OpenApi;
// Hidden, but the `Query` extractor panics without it. Its own assembly is what we replace.
use poem_openapi::__private::UrlQuery;

use super::body::{clean, has_forbidden_control};
use super::limits::RateGate;
use crate::error::{ApiError, Faults, common, messages};

/// Reads like one request; writes like one response. What every route is in the end.
pub type Handler = BoxEndpoint<'static, Response>;

/// One method of one path.
struct Operation {
    handler: Handler,
    /// The published document names a security scheme.
    secured: bool,
}

/// All methods of one path.
struct PathEndpoint {
    methods: Vec<(Method, Operation)>,
    allow: HeaderValue,
    /// Outside the rate limits.
    exempt: bool,
}

/// Collects the routes of one server.
#[derive(Default)]
pub(super) struct Routes {
    paths: BTreeMap<String, PathMethods>,
}

#[derive(Default)]
struct PathMethods {
    methods: Vec<(Method, Operation)>,
    exempt: bool,
}

/// Never limited: probes must see the truth, and pages load their assets in a burst.
const EXEMPT: &[&str] = &[
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/openapi.yaml",
    "/asyncapi.json",
    "/api/chat/test",
    "/docs",
    "/media",
];

fn is_exempt(path: &str) -> bool {
    EXEMPT.iter().any(|e| {
        path.strip_prefix(e)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl Routes {
    /// Takes over every operation of an API.
    ///
    /// # Panics
    /// Two operations share an id: a mistake in the source, seen at the first start.
    pub fn api<T: OpenApi>(&mut self, api: T) {
        let mut secured = HashSet::new();
        let mut ids = HashSet::new();
        for path in T::meta().into_iter().flat_map(|api| api.paths) {
            for operation in path.operations {
                if let Some(id) = operation.operation_id {
                    assert!(ids.insert(id), "duplicate operation id: {id}");
                }
                if !operation.security.is_empty() {
                    secured.insert((shape(&path.path), operation.method));
                }
            }
        }
        let mut table = HashMap::new();
        api.add_routes(&mut table);
        for (path, methods) in table {
            for (method, handler) in methods {
                let secured = secured.contains(&(shape(&path), method.clone()));
                self.add(&path, method, handler, secured);
            }
        }
    }

    pub fn add(&mut self, path: &str, method: Method, handler: Handler, secured: bool) {
        let path = super::paths::trimmed(path).to_owned();
        let entry = self.paths.entry(path.clone()).or_default();
        entry.exempt = is_exempt(&path);
        assert!(
            entry.methods.iter().all(|(m, _)| *m != method),
            "two routes for {method} {path}"
        );
        entry.methods.push((method, Operation { handler, secured }));
    }

    pub fn into_endpoint(self) -> Router {
        let mut route = Route::new();
        for (path, PathMethods { methods, exempt }) in self.paths {
            let allow = allow(&methods);
            route = route.at(
                path,
                PathEndpoint {
                    methods,
                    allow,
                    exempt,
                },
            );
        }
        Router {
            route: route.into_endpoint().boxed(),
        }
    }
}

/// `/a/{id}/b` and `/a/:param0/b` alike.
fn shape(path: &str) -> String {
    let segments = super::paths::trimmed(path).split('/');
    segments
        .map(|s| if s.starts_with(['{', ':', '*']) { ":" } else { s })
        .collect::<Vec<_>>()
        .join("/")
}

/// The `Allow` header, in a fixed order.
fn allow(methods: &[(Method, Operation)]) -> HeaderValue {
    let has = |m: &Method| methods.iter().any(|(known, _)| known == m);
    let mut names: Vec<&str> = Vec::new();
    for method in [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ] {
        if has(&method) || (method == Method::HEAD && has(&Method::GET)) {
            names.push(match method {
                Method::GET => "GET",
                Method::HEAD => "HEAD",
                Method::POST => "POST",
                Method::PUT => "PUT",
                Method::PATCH => "PATCH",
                _ => "DELETE",
            });
        }
    }
    names.push("OPTIONS");
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// Whether somebody wants to be recognised. What it is worth shows later.
fn has_credentials(request: &Request) -> bool {
    let headers = request.headers();
    headers.contains_key(header::AUTHORIZATION)
        || headers.contains_key("x-api-key")
        // Handshakes of browsers carry theirs in the query or as a subprotocol.
        || headers.contains_key(header::UPGRADE)
}

impl Endpoint for PathEndpoint {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if *request.method() == Method::HEAD && !self.methods.iter().any(|(m, _)| *m == Method::HEAD) {
            // The connection leaves the body out, but keeps its length.
            request.set_method(Method::GET);
        }
        let Some((_, operation)) = self.methods.iter().find(|(m, _)| m == request.method()) else {
            charge(&request)?;
            return self.no_such_method(request.method());
        };
        if self.exempt {
            return operation.handler.call(request).await;
        }
        let rate = request.data::<Arc<RateGate>>().cloned();
        if !operation.secured || !has_credentials(&request) {
            charge(&request)?;
            return operation.handler.call(request).await;
        }
        let result = operation.handler.call(request).await;
        if let Some(rate) = rate.filter(|r| !r.is_charged()) {
            rate.charge_address()?;
        }
        result
    }
}

impl PathEndpoint {
    fn no_such_method(&self, method: &Method) -> poem::Result<Response> {
        if *method == Method::OPTIONS {
            return Ok(Response::builder()
                .status(StatusCode::NO_CONTENT)
                .header(header::ALLOW, &self.allow)
                .finish());
        }
        let allow = self.allow.to_str().unwrap_or("OPTIONS");
        Err(ApiError::from(common::METHOD_NOT_ALLOWED)
            .with_header("allow", allow)
            .into())
    }
}

fn charge(request: &Request) -> Result<(), ApiError> {
    match request.data::<Arc<RateGate>>() {
        Some(rate) => rate.charge_address(),
        None => Ok(()),
    }
}

/// The whole table, with what comes before any operation.
pub(super) struct Router {
    route: BoxEndpoint<'static, Response>,
}

impl Endpoint for Router {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let rate = request.data::<Arc<RateGate>>().cloned();
        match query_of(&request) {
            Ok(query) => request.extensions_mut().insert(query),
            Err(error) => {
                charge(&request)?;
                return Err(error.into());
            }
        };
        let result = self.route.call(request).await;
        if let (Err(error), Some(rate)) = (&result, rate)
            && error.is::<NotFoundError>()
            && !rate.is_charged()
        {
            rate.charge_address()?;
        }
        result
    }
}

/// The query, cleaned like the strings of a body.
fn query_of(request: &Request) -> Result<UrlQuery, ApiError> {
    let text = request.uri().query().unwrap_or("");
    let mut faults = Faults::new();
    let mut pairs = Vec::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()).into_owned() {
        let mut value = value;
        if has_forbidden_control(&name) {
            faults.add("non_field_errors", messages::BAD_CHARACTER);
        } else if has_forbidden_control(&value) {
            faults.add(name.as_str(), messages::BAD_CHARACTER);
        }
        clean(&mut value);
        pairs.push((name, value));
    }
    faults.into_result(UrlQuery(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_path_have_one_shape() {
        assert_eq!(
            shape("/file/{id}/retry_upload"),
            shape("/file/:param0/retry_upload/")
        );
        assert_ne!(shape("/file/{id}"), shape("/file/upload_status"));
    }

    #[test]
    fn probes_and_documents_are_not_limited() {
        for path in ["/healthz", "/docs", "/docs/init.js", "/media/a"] {
            assert!(is_exempt(path), "{path}");
        }
        for path in ["/", "/healthzz", "/documents", "/user/login"] {
            assert!(!is_exempt(path), "{path}");
        }
    }
}
