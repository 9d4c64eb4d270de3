//! Puts the layers together. The composition root calls this once.
//!
//! From outside in:
//!
//! 1. `accept`: connection caps, `TCP_NODELAY`, deadlines for heads and idle connections, head
//!    hygiene and size, stalled readers.
//! 2. `render`: request info, body gate, rate gate, preflights, panics, deadline; on the way out
//!    the envelope, request id, CORS and security headers, the log line and the metrics.
//! 3. `router`: query, path, method; the general rate limit; request data for extractors.
//! 4. the operation: its extractors in order of declaration (so `Caller` stands before `Body`),
//!    then the handler.

use std::sync::Arc;

use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response};
use poem_openapi::OpenApi;

use super::body::BodyMemory;
use super::cors::Origins;
use super::limits::Limits;
use super::observe::RequestObserver;
use super::openapi::{Document, docs};
use super::render::Render;
use super::request_info::{Gatherer, TrustedProxies};
use super::router::{Handler, Router, Routes};
use super::settings::HttpSettings;
use crate::clock::Clock;

/// What the layers need from the rest of the process.
#[derive(Clone)]
pub struct HttpDeps {
    pub settings: Arc<HttpSettings>,
    pub clock: Clock,
    pub limits: Limits,
    pub observer: Arc<dyn RequestObserver>,
    /// The budget for buffered bodies; make it from the settings and keep a clone for metrics.
    pub memory: BodyMemory,
}

type Inject = Arc<dyn Fn(&mut Request) + Send + Sync>;

/// Collects the routes and request data of one server.
pub struct AppBuilder {
    deps: HttpDeps,
    routes: Routes,
    inject: Vec<Inject>,
}

impl AppBuilder {
    pub fn new(deps: HttpDeps) -> Self {
        AppBuilder {
            deps,
            routes: Routes::default(),
            inject: Vec::new(),
        }
    }

    /// Every operation of an API; may be called several times.
    pub fn api<T: OpenApi>(mut self, api: T) -> Self {
        self.routes.api(api);
        self
    }

    /// A route that the published document does not list.
    pub fn route<E>(mut self, method: Method, path: &str, endpoint: E) -> Self
    where
        E: IntoEndpoint,
        E::Endpoint: 'static,
    {
        let handler: Handler = endpoint.into_endpoint().map_to_response().boxed();
        self.routes.add(path, method, handler, false);
        self
    }

    /// `/openapi.json`, `/openapi.yaml` and the page `/docs/` that shows them.
    pub fn document(mut self, document: impl Fn() -> Document + Clone + Send + Sync + 'static) -> Self {
        let base = self.deps.settings.base_path();
        for (path, handler) in docs::routes(document, &base) {
            self.routes.add(path, Method::GET, handler, false);
        }
        self
    }

    /// `/asyncapi.json`, the description of the sockets.
    pub fn sockets(mut self, document: impl Fn() -> Document + Send + Sync + 'static) -> Self {
        let (path, handler) = docs::sockets(document);
        self.routes.add(path, Method::GET, handler, false);
        self
    }

    /// Something that extractors find with `request.data::<T>()`.
    pub fn data<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.inject
            .push(Arc::new(move |request| request.set_data(value.clone())));
        self
    }

    /// The finished server, to be given to `serve`.
    pub fn build(self) -> Handler {
        let AppBuilder { deps, routes, inject } = self;
        let settings = &deps.settings;
        let proxies = TrustedProxies::new(settings.trusted_proxies.clone());
        let render = Render {
            inner: WithData {
                inner: routes.into_endpoint(),
                inject,
            },
            gatherer: Gatherer::new(deps.clock, proxies, &settings.public_base_url),
            origins: Origins::new(settings),
            limits: deps.limits,
            memory: deps.memory,
            body_idle: settings.timeouts.body_idle,
            handler_timeout: settings.timeouts.handler,
            observer: deps.observer,
        };
        render.boxed()
    }
}

/// Puts request data in place.
struct WithData {
    inner: Router,
    inject: Vec<Inject>,
}

impl Endpoint for WithData {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        for inject in &self.inject {
            inject(&mut request);
        }
        self.inner.call(request).await
    }
}

impl HttpSettings {
    /// The budget for buffered bodies.
    pub fn body_memory(&self) -> BodyMemory {
        BodyMemory::new(self.body_memory_budget, self.body_memory_wait)
    }
}
