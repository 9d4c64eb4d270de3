//! Logs and metrics.
//!
//! - [`init`] installs the log output of the process: text for people or JSON lines, to stderr.
//!   One event is always one line, whatever a client put into it, and nothing that looks like a
//!   credential gets through (`scrub`).
//! - [`Metrics`] holds every metric of one server in a registry of its own, so that two servers in
//!   one test process do not share counts.

mod families;
mod format;
mod lines;
mod logs;
mod metrics;
mod process;
mod scrub;
mod settings;
mod sources;

pub use families::{
    AuthMetrics, DbMetrics, HttpMetrics, MailMetrics, QueueMetrics, RealtimeMetrics, StorageMetrics,
};
pub use logs::{LogLayer, flush, init};
pub use metrics::{Families, Metrics};
pub use process::ProcessUsage;
pub use settings::{LogFormat, LogLevel, TelemetrySettings};
