//! What the server says about itself: alive, ready, and in which parts; and its metrics.
//!
//! Owns no table. The composition root registers [`Checks`](System::check), moves the [`Phase`]
//! along, and mounts [`System::api`] (published operations), [`System::metrics_endpoint`] on the
//! main listener, and [`System::serve_admin`] for a listener of its own.
//!
//! Anonymous callers learn names of parts and words for their state, never an error text, a host
//! or a version; causes go to the log, once for each change.

mod api;
mod checks;
mod metrics;
mod ready;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem_openapi::OpenApi;
use secrecy::SecretString;
use tokio::sync::watch;
use yunque_kernel::redis_link::RedisLink;
use yunque_kernel::telemetry::Metrics;
use yunque_kernel::{Clock, Db};

pub use api::{HealthApi, LivenessOut, ReadinessOut, SystemTags};
pub use checks::{CheckError, Finding, Need, Standing};
pub use metrics::{Exposure, MetricsEndpoint};
pub use ready::{Readiness, Report};

use checks::Check;

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    /// Told to stop: requests in flight are finished, new ones should go elsewhere.
    Draining,
}

/// A cheap handle.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    started_at: DateTime<Utc>,
    phase: watch::Sender<Phase>,
    checks: Mutex<Vec<Arc<Check>>>,
    last: tokio::sync::Mutex<Option<Arc<Report>>>,
    metrics: Metrics,
    metrics_token: Option<SecretString>,
}

impl System {
    /// Starts in [`Phase::Starting`].
    ///
    /// * `metrics_token`: asked for wherever `/metrics` is served.
    pub fn new(clock: Clock, metrics: Metrics, metrics_token: Option<SecretString>) -> Self {
        System {
            inner: Arc::new(Inner {
                started_at: clock.now(),
                clock,
                phase: watch::channel(Phase::Starting).0,
                checks: Mutex::default(),
                last: tokio::sync::Mutex::default(),
                metrics,
                metrics_token,
            }),
        }
    }

    /// Registers a part to look at. Checks run side by side, each for at most `limit`, and their
    /// findings are used for a second.
    pub fn check<F, Fut>(&self, name: &'static str, need: Need, limit: Duration, look: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Finding, CheckError>> + Send + 'static,
    {
        let check = Check::new(name, need, limit, look);
        self.inner
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(check));
    }

    /// Registers `database`: without it nothing can be answered.
    pub fn watch_database(&self, db: &Db) {
        let db = db.clone();
        self.check("database", Need::Required, Duration::from_secs(2), move || {
            let db = db.clone();
            async move {
                db.ping().await?;
                Ok(Finding::Ok)
            }
        });
    }

    /// Registers `redis`; `None` is the embedded size, where it is disabled.
    pub fn watch_redis(&self, link: Option<&RedisLink>) {
        let link = link.cloned();
        self.check("redis", Need::Optional, Duration::from_secs(1), move || {
            let link = link.clone();
            async move {
                let Some(link) = link else {
                    return Ok(Finding::Disabled);
                };
                link.ping().await?;
                Ok(Finding::Ok)
            }
        });
    }

    /// Everything is up; traffic may come.
    pub fn set_running(&self) {
        self.inner.phase.send_replace(Phase::Running);
    }

    /// Stopping has begun.
    pub fn set_draining(&self) {
        self.inner.phase.send_replace(Phase::Draining);
    }

    pub fn phase(&self) -> Phase {
        *self.inner.phase.borrow()
    }

    pub fn started_at(&self) -> DateTime<Utc> {
        self.inner.started_at
    }

    pub fn uptime(&self) -> Duration {
        (self.inner.clock.now() - self.inner.started_at)
            .to_std()
            .unwrap_or_default()
    }

    /// The state of all parts, at most a second old; empty before [`System::set_running`] and after
    /// [`System::set_draining`].
    pub async fn report(&self) -> Arc<Report> {
        let phase = self.phase();
        if phase != Phase::Running {
            return Arc::new(Report::of_phase(phase));
        }
        // Held while the checks run: whoever comes meanwhile waits for their findings.
        let mut last = self.inner.last.lock().await;
        if let Some(report) = last.as_ref().filter(|report| report.is_fresh()) {
            return report.clone();
        }
        let checks = self
            .inner
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let report = Arc::new(Report::look(&checks).await);
        *last = Some(report.clone());
        report
    }

    /// The published operations.
    pub fn api(&self) -> impl OpenApi + use<> {
        HealthApi::new(self.clone())
    }

    /// `/metrics` for the main listener: 404 unless a token is configured.
    pub fn metrics_endpoint(&self) -> MetricsEndpoint {
        MetricsEndpoint::new(self.clone(), Exposure::TokenOnly)
    }
}
