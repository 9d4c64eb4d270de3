//! The registry of one server, and how it is read.
//!
//! Modules that know a number at the time it happens touch a field here. Numbers that live in the
//! database or on the disk (jobs by state, free staging space) are read by collectors
//! ([`Metrics::collect`]; those of the kernel are in `sources`). A collector runs when somebody
//! scrapes and its last answer has gone stale, never more than one at a time, and never longer than
//! its deadline: a scrape cannot pile up behind a database that is down.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prometheus::{IntCounterVec, Registry, TextEncoder};

use super::ProcessUsage;
use super::families::{
    AuthMetrics, DbMetrics, HttpMetrics, MailMetrics, Maker, ProcessMetrics, QueueMetrics, RealtimeMetrics,
    StorageMetrics,
};

/// Answers of a collector are used for this long.
const FRESH: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(3);

type Collecting = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The metrics of one server. Clones share their counts.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

/// What [`Metrics`] gives access to.
pub struct Families {
    registry: Registry,
    collectors: Mutex<Vec<Arc<Source>>>,
    collector_errors: IntCounterVec,
    process: ProcessMetrics,
    pub http: HttpMetrics,
    pub db: DbMetrics,
    pub queue: QueueMetrics,
    pub realtime: RealtimeMetrics,
    pub auth: AuthMetrics,
    pub storage: StorageMetrics,
    pub mail: MailMetrics,
}

struct Source {
    name: &'static str,
    read: Box<dyn Fn() -> Collecting + Send + Sync>,
    last: tokio::sync::Mutex<Option<Instant>>,
}

impl Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let r = Maker(Registry::new());
        let build = r.gauges("build_info", "The version that runs.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Metrics(Arc::new(Families {
            collectors: Mutex::new(Vec::new()),
            collector_errors: r.counters(
                "metrics_collector_errors_total",
                "Failed collectors.",
                &["collector"],
            ),
            process: ProcessMetrics::new(&r),
            http: HttpMetrics::new(&r),
            db: DbMetrics::new(&r),
            queue: QueueMetrics::new(&r),
            realtime: RealtimeMetrics::new(&r),
            auth: AuthMetrics::new(&r),
            storage: StorageMetrics::new(&r),
            mail: MailMetrics::new(&r),
            registry: r.0,
        }))
    }

    /// Registers a reader of gauges that nobody sets on the way, such as rows by state. It sets
    /// the fields itself; reset a vector first when labels may disappear.
    pub fn collect<F, Fut, E>(&self, name: &'static str, read: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let read = Box::new(move || -> Collecting {
            let reading = read();
            Box::pin(async move { reading.await.map_err(Into::into) })
        });
        let source = Arc::new(Source {
            name,
            read,
            last: tokio::sync::Mutex::new(None),
        });
        self.collectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(source);
    }

    /// Everything in the Prometheus text format.
    pub async fn render(&self) -> String {
        let sources = self
            .collectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        join_all(sources.iter().map(|source| self.refresh(source, DEADLINE))).await;
        let usage = ProcessUsage::now();
        self.process.resident_bytes.set(clamp(usage.resident_bytes));
        self.process.threads.set(clamp(usage.threads));
        self.process.open_files.set(clamp(usage.open_files));
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|error| {
                tracing::error!(%error, "metrics could not be written");
                String::new()
            })
    }

    async fn refresh(&self, source: &Source, deadline: Duration) {
        let mut last = source.last.lock().await;
        if last.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let failure = match tokio::time::timeout(deadline, (source.read)()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("took too long".to_owned()),
        };
        // A failure counts as an answer, so that a scraper cannot hammer what is down.
        *last = Some(Instant::now());
        if let Some(error) = failure {
            self.collector_errors.with_label_values(&[source.name]).inc();
            tracing::warn!(collector = source.name, error, "a metrics collector failed");
        }
    }
}

/// For gauges, which are signed.
pub(super) fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Families {
    /// Where a domain registers a metric that nobody else has. Names start with `yunque_`.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn two_servers_do_not_share_counts() {
        let (a, b) = (Metrics::new(), Metrics::new());
        a.http
            .requests
            .with_label_values(&["get_health", "GET", "200"])
            .inc();
        let line = "yunque_http_requests_total{method=\"GET\",operation=\"get_health\",status=\"200\"} 1";
        assert!(a.render().await.contains(line));
        assert!(!b.render().await.contains("get_health"));
    }

    #[tokio::test]
    async fn collectors_are_cached_and_their_failures_counted() {
        let metrics = Metrics::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let (counted, gauges) = (runs.clone(), metrics.clone());
        metrics.collect("jobs", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            gauges
                .queue
                .jobs
                .with_label_values(&["upload_file", "dead"])
                .set(3);
            async { Ok::<_, std::io::Error>(()) }
        });
        metrics.collect("broken", || async { Err("no database") });
        let text = metrics.render().await;
        let again = metrics.render().await;
        assert!(
            text.contains("yunque_jobs{kind=\"upload_file\",state=\"dead\"} 3"),
            "{text}"
        );
        assert!(
            again.contains("yunque_metrics_collector_errors_total{collector=\"broken\"} 1"),
            "{again}"
        );
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_collector_that_hangs_does_not_hang_the_scrape() {
        let metrics = Metrics::new();
        metrics.collect("stuck", std::future::pending::<Result<(), std::io::Error>>);
        let source = metrics.collectors.lock().expect("not poisoned")[0].clone();
        metrics.refresh(&source, Duration::from_millis(10)).await;
        let text = metrics.render().await;
        assert!(text.contains("collector=\"stuck\"} 1"), "{text}");
    }
}
