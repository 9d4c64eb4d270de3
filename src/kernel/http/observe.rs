//! Where the metrics of the request path come from. Telemetry implements it.

use std::time::Duration;

use poem::http::Method;

/// Told about every request that got an answer.
pub trait RequestObserver: Send + Sync + 'static {
    /// `route` is the operation id, else the path pattern, else `unmatched`: never the raw path, so
    /// it is safe as a label.
    fn observe(&self, route: &str, method: &Method, status: u16, duration: Duration);
}

/// Observes nothing.
impl RequestObserver for () {
    fn observe(&self, _: &str, _: &Method, _: u16, _: Duration) {}
}
