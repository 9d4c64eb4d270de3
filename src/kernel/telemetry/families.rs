//! The metrics themselves, by part of the server.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

/// From 0.5 ms to 60 s: requests, storage, mail.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From 0.1 ms to 10 s: waiting for a slot.
const WAIT_SECONDS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Requests, by `operation_id`; unknown paths share the operation `unmatched`.
pub struct HttpMetrics {
    /// Labels: operation, method, status.
    pub requests: IntCounterVec,
    /// Label: operation. Time to the response head.
    pub seconds: HistogramVec,
    /// Free bytes of the budget for buffered bodies.
    pub body_memory_free_bytes: IntGauge,
}

/// The database as this process sees it.
pub struct DbMetrics {
    /// Label: pool (reader, writer).
    pub connections_open: IntGaugeVec,
    /// Label: pool.
    pub connections_idle: IntGaugeVec,
    /// Time of one `SELECT 1`, the wait for a connection included.
    pub ping_seconds: Gauge,
    pub write_transactions: IntCounter,
    /// Sum of what write transactions waited for their turn: on SQLite for the one write lane,
    /// elsewhere for a connection.
    pub write_wait_seconds: Counter,
    /// Write transactions run again after a deadlock or serialization failure.
    pub write_retries: IntCounter,
    /// Writes that run now, and how many may.
    pub writes_running: IntGauge,
    pub writes_limit: IntGauge,
}

/// The job queue.
pub struct QueueMetrics {
    /// Rows by kind and state.
    pub jobs: IntGaugeVec,
    /// Age of the oldest due job: how far the queue lags. Label: queue.
    pub oldest_due_seconds: GaugeVec,
    /// Workers with a live heartbeat, in all processes.
    pub workers_alive: IntGauge,
    /// Runs in this process. Labels: kind, outcome (done, failed, dead).
    pub runs: IntCounterVec,
    /// Sum of the lengths of runs in this process. Label: kind.
    pub run_seconds: CounterVec,
}

/// Sockets and the hub.
pub struct RealtimeMetrics {
    /// Open sockets. Label: endpoint.
    pub sockets: IntGaugeVec,
    /// Sockets closed by the server. Label: code (1013 is a client that was too slow).
    pub closes: IntCounterVec,
    pub topics: IntGauge,
    pub subscribers: IntGauge,
    pub published: IntCounter,
    /// Frames that came from other instances.
    pub received: IntCounter,
    /// Subscribers removed because their buffer was full.
    pub lagged: IntCounter,
    /// Frames not passed on to other instances, because Redis was down or slow.
    pub not_forwarded: IntCounter,
    /// 1 while other instances can be heard, or when there can be none.
    pub bridge_up: IntGauge,
    pub bridge_losses: IntCounter,
    /// Acknowledgements (of revocations) that did not come in time.
    pub unacknowledged: IntCounter,
    /// Holes in a room's sequence that were read back from the database.
    pub gap_repairs: IntCounter,
    /// Typing and presence that clients who had fallen behind did not get.
    pub frames_dropped: IntCounter,
    /// Handshakes that wait for their turn.
    pub handshakes_waiting: IntGauge,
    /// Handshakes for which there was no turn.
    pub handshakes_refused: IntCounter,
}

/// Password hashing and logins.
pub struct AuthMetrics {
    /// Time a password waited for a hashing slot.
    pub hash_wait_seconds: Histogram,
    pub hashes_running: IntGauge,
    /// Label: outcome (ok, refused, blocked).
    pub logins: IntCounterVec,
}

/// Object storage and staging.
pub struct StorageMetrics {
    /// Labels: operation (put, get, head, delete), outcome (ok, unavailable, rejected).
    pub requests: IntCounterVec,
    /// Label: operation.
    pub seconds: HistogramVec,
    /// Free bytes on the disk of the staging folder.
    pub staging_free_bytes: IntGauge,
}

/// Outgoing mail.
pub struct MailMetrics {
    /// Labels: template, outcome (sent, retry, failed, expired).
    pub mails: IntCounterVec,
    pub send_seconds: Histogram,
}

pub(super) struct ProcessMetrics {
    pub resident_bytes: IntGauge,
    pub threads: IntGauge,
    pub open_files: IntGauge,
}

impl HttpMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        HttpMetrics {
            requests: r.counters(
                "http_requests_total",
                "Requests answered.",
                &["operation", "method", "status"],
            ),
            seconds: r.histograms(
                "http_request_seconds",
                "Time to the response head.",
                SECONDS,
                &["operation"],
            ),
            body_memory_free_bytes: r
                .gauge("http_body_memory_free_bytes", "Free budget for buffered bodies."),
        }
    }
}

impl DbMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        DbMetrics {
            connections_open: r.gauges("db_connections_open", "Open connections.", &["pool"]),
            connections_idle: r.gauges("db_connections_idle", "Idle connections.", &["pool"]),
            ping_seconds: r.float_gauge(
                "db_ping_seconds",
                "Time of SELECT 1, the wait for a connection included.",
            ),
            write_transactions: r.counter("db_write_transactions_total", "Write transactions begun."),
            write_wait_seconds: r
                .float_counter("db_write_wait_seconds_total", "Sum of waits for the write lane."),
            write_retries: r.counter(
                "db_write_retries_total",
                "Write transactions run again after a conflict.",
            ),
            writes_running: r.gauge("db_writes_running", "Write transactions that run now."),
            writes_limit: r.gauge("db_writes_limit", "Write transactions that may run at once."),
        }
    }
}

impl QueueMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        QueueMetrics {
            jobs: r.gauges("jobs", "Jobs by kind and state.", &["kind", "state"]),
            oldest_due_seconds: r.float_gauges(
                "jobs_oldest_due_seconds",
                "Age of the oldest due job.",
                &["queue"],
            ),
            workers_alive: r.gauge(
                "job_workers_alive",
                "Workers with a live heartbeat, in all processes.",
            ),
            runs: r.counters("job_runs_total", "Runs in this process.", &["kind", "outcome"]),
            run_seconds: r.float_counters("job_run_seconds_total", "Sum of lengths of runs here.", &["kind"]),
        }
    }
}

impl RealtimeMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        let realtime = RealtimeMetrics {
            sockets: r.gauges("sockets", "Open WebSockets.", &["endpoint"]),
            closes: r.counters(
                "socket_closes_total",
                "WebSockets closed by the server.",
                &["code"],
            ),
            topics: r.gauge("realtime_topics", "Topics with a subscriber here."),
            subscribers: r.gauge("realtime_subscribers", "Subscribers here."),
            published: r.counter("realtime_published_total", "Frames published here."),
            received: r.counter(
                "realtime_received_total",
                "Frames that came from other instances.",
            ),
            lagged: r.counter(
                "realtime_lagged_total",
                "Subscribers removed because they were too slow.",
            ),
            not_forwarded: r.counter(
                "realtime_not_forwarded_total",
                "Frames not passed on to other instances.",
            ),
            bridge_up: r.gauge("realtime_bridge_up", "1 while other instances can be heard."),
            bridge_losses: r.counter("realtime_bridge_losses_total", "Times the bridge was lost."),
            unacknowledged: r.counter(
                "realtime_unacknowledged_total",
                "Acknowledgements that did not come in time.",
            ),
            gap_repairs: r.counter("realtime_gap_repairs_total", "Holes read back from the database."),
            frames_dropped: r.counter(
                "socket_frames_dropped_total",
                "Typing and presence frames left out for slow WebSockets.",
            ),
            handshakes_waiting: r.gauge(
                "socket_handshakes_waiting",
                "WebSocket handshakes that wait for their turn.",
            ),
            handshakes_refused: r.counter(
                "socket_handshakes_refused_total",
                "WebSocket handshakes answered 503 because too many came at once.",
            ),
        };
        realtime.bridge_up.set(1);
        realtime
    }
}

impl AuthMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        AuthMetrics {
            hash_wait_seconds: r.histogram(
                "password_hash_wait_seconds",
                "Wait for a hashing slot.",
                WAIT_SECONDS,
            ),
            hashes_running: r.gauge("password_hashes_running", "Passwords being hashed."),
            logins: r.counters("logins_total", "Logins.", &["outcome"]),
        }
    }
}

impl StorageMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        StorageMetrics {
            requests: r.counters(
                "storage_requests_total",
                "Storage requests.",
                &["operation", "outcome"],
            ),
            seconds: r.histograms(
                "storage_request_seconds",
                "Length of storage requests.",
                SECONDS,
                &["operation"],
            ),
            staging_free_bytes: r.gauge("staging_free_bytes", "Free bytes on the staging disk."),
        }
    }
}

impl MailMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        MailMetrics {
            mails: r.counters("mails_total", "Mails handled.", &["template", "outcome"]),
            send_seconds: r.histogram(
                "mail_send_seconds",
                "Length of one delivery to the mail server.",
                SECONDS,
            ),
        }
    }
}

impl ProcessMetrics {
    pub(super) fn new(r: &Maker) -> Self {
        ProcessMetrics {
            resident_bytes: r.gauge("process_resident_memory_bytes", "Resident memory."),
            threads: r.gauge("process_threads", "Threads."),
            open_files: r.gauge("process_open_fds", "Open file descriptors."),
        }
    }
}

/// Makes metrics with our prefix and registers them.
pub(super) struct Maker(pub Registry);

impl Maker {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("names and labels are constants, and every test of this module makes them");
        self.0
            .register(Box::new(metric.clone()))
            .expect("each name is registered once in a new registry");
        metric
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(opts(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(opts(name, help), labels))
    }

    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::with_opts(opts(name, help)))
    }

    pub fn float_counter(&self, name: &str, help: &str) -> Counter {
        self.add(Counter::with_opts(opts(name, help)))
    }

    pub fn float_counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.add(CounterVec::new(opts(name, help), labels))
    }

    pub fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(opts(name, help), labels))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(
            HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()),
        ))
    }

    pub fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(
            HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()),
            labels,
        ))
    }
}

/// `process_*` names are fixed by convention; the rest carries our prefix.
fn opts(name: &str, help: &str) -> Opts {
    if name.starts_with("process_") {
        Opts::new(name, help)
    } else {
        Opts::new(format!("yunque_{name}"), help)
    }
}
