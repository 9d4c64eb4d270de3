//! What was found, for people and for programs.

use serde::Serialize;
use serde_json::json;

use crate::cli::output::{self, Progress};

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Could not be found out.
    Unknown,
    /// It works, and somebody should look at it.
    Warn,
    Failed,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Unknown => "unknown",
            Status::Warn => "warn",
            Status::Failed => "failed",
        }
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub status: Status,
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

pub struct Report {
    findings: Vec<Finding>,
    progress: Progress,
}

impl Report {
    /// * `steps`: how often [`Report::step`] will be called.
    pub fn new(steps: u64) -> Self {
        Report {
            findings: Vec::new(),
            progress: Progress::new(steps, "doctor"),
        }
    }

    /// The next part is looked at.
    pub fn step(&self, name: &str) {
        self.progress.step(name);
    }

    pub fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.add(check, Status::Ok, detail, "");
    }

    pub fn warn(&mut self, check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Status::Warn, detail, remedy);
    }

    pub fn failed(&mut self, check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Status::Failed, detail, remedy);
    }

    pub fn unknown(&mut self, check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Status::Unknown, detail, remedy);
    }

    /// `Ok` or `Warn`, as it turned out.
    pub fn good_if(&mut self, good: bool, check: &'static str, detail: impl Into<String>, remedy: &str) {
        if good {
            self.ok(check, detail);
        } else {
            self.warn(check, detail, remedy);
        }
    }

    fn add(
        &mut self,
        check: &'static str,
        status: Status,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into()).filter(|text: &String| !text.is_empty() && status != Status::Ok);
        self.findings.push(Finding {
            check,
            status,
            detail: detail.into(),
            remedy,
        });
    }

    pub fn has_failed(&self) -> bool {
        self.worst() == Status::Failed
    }

    fn worst(&self) -> Status {
        self.findings.iter().map(|f| f.status).max().unwrap_or(Status::Ok)
    }

    pub fn print(&self, json: bool) {
        self.progress.finish();
        if json {
            output::print_json(&json!({ "status": self.worst(), "checks": self.findings }));
            return;
        }
        let width = self.findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
        for finding in &self.findings {
            let Finding {
                check,
                status,
                detail,
                remedy,
            } = finding;
            output::say(format_args!(
                "{:<8} {check:<width$}  {}",
                status.word(),
                output::plain(detail)
            ));
            for line in remedy.iter().flat_map(|text| text.lines()) {
                output::say(format_args!(
                    "{:<8} {:<width$}  → {}",
                    "",
                    "",
                    output::plain(line)
                ));
            }
        }
        let count = |status| self.findings.iter().filter(|f| f.status == status).count();
        output::say(format_args!(
            "\n{} ok, {} warn, {} failed, {} unknown",
            count(Status::Ok),
            count(Status::Warn),
            count(Status::Failed),
            count(Status::Unknown)
        ));
    }
}

/// A duration as people read it: `3 ms`, `1.2 s`.
pub fn spent(time: std::time::Duration) -> String {
    if time.as_millis() < 1 {
        format!("{} µs", time.as_micros())
    } else if time.as_secs() < 1 {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_report_and_what_is_unknown_does_not() {
        let mut report = Report::new(1);
        report.ok("a", "good");
        report.unknown("b", "not told", "");
        report.warn("c", "odd", "look");
        assert!(!report.has_failed());
        assert_eq!(report.worst(), Status::Warn);
        report.failed("d", "bad", "mend");
        assert!(report.has_failed());
        assert_eq!(report.findings[3].remedy.as_deref(), Some("mend"));
        assert_eq!(report.findings[1].remedy, None);
    }
}
