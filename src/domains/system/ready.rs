//! From the standing of the parts to one word for the whole (contract "conventions" 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::Phase;
use crate::checks::{Check, Finding, Need, Standing};

/// A flood of probes costs one look per second.
const FRESH: Duration = Duration::from_secs(1);

/// Whether traffic should come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// An optional part is missing; everything is still answered.
    Degraded,
    /// A required part is missing.
    Unavailable,
    Starting,
    Draining,
}

impl Readiness {
    pub fn as_str(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::Degraded => "degraded",
            Readiness::Unavailable => "unavailable",
            Readiness::Starting => "starting",
            Readiness::Draining => "draining",
        }
    }

    /// 200 or 503.
    pub fn takes_traffic(self) -> bool {
        matches!(self, Readiness::Ready | Readiness::Degraded)
    }
}

/// All parts at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    pub readiness: Readiness,
    /// In order of registration.
    pub standings: Vec<Standing>,
    taken: Instant,
}

impl Report {
    pub(crate) fn of_phase(phase: Phase) -> Self {
        let readiness = if phase == Phase::Draining {
            Readiness::Draining
        } else {
            Readiness::Starting
        };
        Report {
            readiness,
            standings: Vec::new(),
            taken: Instant::now(),
        }
    }

    pub(crate) async fn look(checks: &[Arc<Check>]) -> Self {
        let standings = join_all(checks.iter().map(|check| check.run())).await;
        Report {
            readiness: judge(&standings),
            standings,
            taken: Instant::now(),
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.taken.elapsed() < FRESH
    }

    /// Part → word.
    pub fn words(&self) -> BTreeMap<String, String> {
        self.standings
            .iter()
            .map(|s| (s.name.to_owned(), s.word().to_owned()))
            .collect()
    }

    pub fn standing(&self, name: &str) -> Option<&Standing> {
        self.standings.iter().find(|s| s.name == name)
    }
}

fn judge(standings: &[Standing]) -> Readiness {
    let is_missing = |s: &Standing| s.finding.is_none();
    let is_well = |s: &Standing| matches!(s.finding, Some(Finding::Ok | Finding::Disabled));
    if standings
        .iter()
        .any(|s| s.need == Need::Required && is_missing(s))
    {
        Readiness::Unavailable
    } else if standings.iter().all(is_well) {
        Readiness::Ready
    } else {
        Readiness::Degraded
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use yunque_kernel::Clock;
    use yunque_kernel::telemetry::Metrics;

    use super::*;
    use crate::System;

    fn system() -> System {
        let system = System::new(Clock::default(), Metrics::new(), None);
        system.set_running();
        system
    }

    fn add(system: &System, name: &'static str, need: Need, finding: Option<Finding>) {
        system.check(name, need, Duration::from_millis(50), move || async move {
            finding.ok_or_else(|| "connection to 10.0.0.7 refused".into())
        });
    }

    #[tokio::test]
    async fn only_a_required_part_makes_the_server_unavailable() {
        use Finding::{Degraded, Disabled, Ok};
        for (database, redis, worker, expected) in [
            (Some(Ok), Some(Ok), Some(Ok), Readiness::Ready),
            (Some(Ok), Some(Disabled), Some(Ok), Readiness::Ready),
            (Some(Ok), None, Some(Ok), Readiness::Degraded),
            (
                Some(Ok),
                Some(Ok),
                Some(Degraded("no_worker")),
                Readiness::Degraded,
            ),
            (None, Some(Ok), Some(Ok), Readiness::Unavailable),
            (None, None, None, Readiness::Unavailable),
        ] {
            let system = system();
            add(&system, "database", Need::Required, database);
            add(&system, "redis", Need::Optional, redis);
            add(&system, "worker", Need::Optional, worker);
            let report = system.report().await;
            assert_eq!(report.readiness, expected);
            assert_eq!(
                report.readiness.takes_traffic(),
                expected != Readiness::Unavailable
            );
            assert_eq!(
                report.words()["database"],
                if database.is_some() { "ok" } else { "error" }
            );
            if worker == Some(Degraded("no_worker")) {
                assert_eq!(report.words()["worker"], "no_worker");
            }
        }
    }

    #[tokio::test]
    async fn a_storm_of_probes_looks_once_and_a_stuck_part_does_not_hang_it() {
        let system = system();
        let looks = Arc::new(AtomicUsize::new(0));
        let counter = looks.clone();
        system.check("database", Need::Required, Duration::from_millis(20), move || {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        let reports = join_all((0..100).map(|_| system.report())).await;
        assert!(reports.iter().all(|r| r.readiness == Readiness::Unavailable));
        assert_eq!(looks.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn nothing_is_looked_at_before_the_start_and_during_the_stop() {
        let system = System::new(Clock::default(), Metrics::new(), None);
        add(&system, "database", Need::Required, Some(Finding::Ok));
        assert_eq!(system.report().await.readiness, Readiness::Starting);
        system.set_running();
        assert_eq!(system.report().await.readiness, Readiness::Ready);
        system.set_draining();
        let report = system.report().await;
        assert_eq!(report.readiness, Readiness::Draining);
        assert!(report.standings.is_empty() && !report.readiness.takes_traffic());
    }
}
