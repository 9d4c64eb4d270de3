//! One part of the server that can be well or not.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a check failed; for the log only.
pub type CheckError = Box<dyn std::error::Error + Send + Sync>;

type Looking = Pin<Box<dyn Future<Output = Result<Finding, CheckError>> + Send>>;

/// Whether the server can do its work without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the server is `unavailable`.
    Required,
    /// Without it the server is `degraded`.
    Optional,
}

/// What a check found when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Ok,
    /// Not configured here, and not missed.
    Disabled,
    /// There, but not as it should be; a word such as `no_worker`.
    Degraded(&'static str),
}

/// How a part stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub name: &'static str,
    pub need: Need,
    /// `None`: the check failed or took too long.
    pub finding: Option<Finding>,
    pub latency: Duration,
}

impl Standing {
    /// `ok`, `disabled`, `error` or the word of a degraded part.
    pub fn word(&self) -> &'static str {
        match self.finding {
            Some(Finding::Ok) => "ok",
            Some(Finding::Disabled) => "disabled",
            Some(Finding::Degraded(word)) => word,
            None => "error",
        }
    }
}

pub(crate) struct Check {
    name: &'static str,
    need: Need,
    limit: Duration,
    look: Box<dyn Fn() -> Looking + Send + Sync>,
    /// The last word, so that only changes are logged.
    last: Mutex<&'static str>,
}

impl Check {
    pub fn new<F, Fut>(name: &'static str, need: Need, limit: Duration, look: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Finding, CheckError>> + Send + 'static,
    {
        let look = Box::new(move || -> Looking { Box::pin(look()) });
        Check {
            name,
            need,
            limit,
            look,
            last: Mutex::new("ok"),
        }
    }

    pub async fn run(&self) -> Standing {
        let begun = Instant::now();
        let (finding, cause) = match tokio::time::timeout(self.limit, (self.look)()).await {
            Ok(Ok(finding)) => (Some(finding), String::new()),
            Ok(Err(error)) => (None, error.to_string()),
            Err(_) => (None, "took too long".to_owned()),
        };
        let standing = Standing {
            name: self.name,
            need: self.need,
            finding,
            latency: begun.elapsed(),
        };
        self.log_change(&standing, &cause);
        standing
    }

    fn log_change(&self, standing: &Standing, cause: &str) {
        let word = standing.word();
        let before = std::mem::replace(
            &mut *self.last.lock().unwrap_or_else(PoisonError::into_inner),
            word,
        );
        if before == word {
            return;
        }
        match standing.finding {
            Some(Finding::Ok) => tracing::info!(check.name = self.name, "a part of the server is well again"),
            Some(Finding::Disabled) => {}
            Some(Finding::Degraded(_)) | None => {
                tracing::warn!(
                    check.name = self.name,
                    check.state = word,
                    cause,
                    "a part of the server is not well"
                );
            }
        }
    }
}
