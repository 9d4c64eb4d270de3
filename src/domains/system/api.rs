//! `GET /healthz` and `GET /readyz`, for load balancers and supervisors.

use std::collections::BTreeMap;

use poem_openapi::{Object, OpenApi, Tags};
use serde_json::json;
use yunque_kernel::ApiError;
use yunque_kernel::error::common;
use yunque_kernel::http::Json;

use crate::{Report, System};

/// The tag of this domain's operations.
#[derive(Tags)]
pub enum SystemTags {
    /// Health and readiness of the server.
    #[oai(rename = "core")]
    Core,
}

/// The process is alive.
#[derive(Debug, Object)]
#[oai(example)]
pub struct LivenessOut {
    /// Always `ok`.
    pub status: String,
}

impl poem_openapi::types::Example for LivenessOut {
    fn example() -> Self {
        LivenessOut {
            status: "ok".to_owned(),
        }
    }
}

/// The server takes traffic.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ReadinessOut {
    /// `ready`, or `degraded` when an optional part is missing; every request is still answered.
    pub status: String,
    /// Each part of the server: `ok`, `disabled`, `error` or a word such as `no_worker`.
    pub checks: BTreeMap<String, String>,
}

impl poem_openapi::types::Example for ReadinessOut {
    fn example() -> Self {
        let words = [
            ("database", "ok"),
            ("redis", "disabled"),
            ("storage", "ok"),
            ("worker", "ok"),
        ];
        ReadinessOut {
            status: "ready".to_owned(),
            checks: words
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        }
    }
}

/// The published operations of this domain.
pub struct HealthApi {
    system: System,
}

impl HealthApi {
    pub(crate) fn new(system: System) -> Self {
        HealthApi { system }
    }
}

#[OpenApi(tag = "SystemTags::Core")]
impl HealthApi {
    /// Tells that the process is alive.
    ///
    /// Looks at nothing else, so a supervisor does not restart the server because the database is
    /// away. Anyone may call.
    #[oai(path = "/healthz", method = "get", operation_id = "get_liveness")]
    async fn liveness(&self) -> Json<LivenessOut> {
        Json(LivenessOut {
            status: "ok".to_owned(),
        })
    }

    /// Tells whether traffic should come here.
    ///
    /// 503 has the same `status` (`unavailable`, `starting` or `draining`) and `checks`. Findings
    /// are up to a second old. Anyone may call.
    ///
    /// Errors: 503 `service_unavailable`.
    #[oai(path = "/readyz", method = "get", operation_id = "get_readiness")]
    async fn readiness(&self) -> Result<Json<ReadinessOut>, ApiError> {
        let report = self.system.report().await;
        if report.readiness.takes_traffic() {
            return Ok(Json(ReadinessOut {
                status: report.readiness.as_str().to_owned(),
                checks: report.words(),
            }));
        }
        Err(refusal(&report))
    }
}

/// The 503 of a server that takes no traffic.
pub(crate) fn refusal(report: &Report) -> ApiError {
    ApiError::from(common::SERVICE_UNAVAILABLE)
        .with_extra("status", report.readiness.as_str())
        .with_extra("checks", json!(report.words()))
}
