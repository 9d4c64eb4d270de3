//! What a domain is given.

use std::sync::Arc;

use crate::auth::{Keys, Passwords};
use crate::clock::Clock;
use crate::db::Db;
use crate::http::{Idempotency, Limits};
use crate::image::Images;
use crate::mail::Mailer;
use crate::queue::Queue;
use crate::realtime::Hub;
use crate::storage::Storage;
use crate::telemetry::Metrics;

/// The kernel's services, cheap to clone. Only `app` and tests build one.
#[derive(Clone)]
pub struct Ctx {
    pub db: Db,
    pub clock: Clock,
    pub queue: Queue,
    pub storage: Storage,
    pub mail: Mailer,
    pub realtime: Hub,
    pub keys: Keys,
    pub passwords: Passwords,
    pub images: Images,
    pub limits: Limits,
    pub idempotency: Idempotency,
    pub metrics: Metrics,
    /// Starts every absolute address, without a slash at the end.
    pub public_base_url: Arc<str>,
}
