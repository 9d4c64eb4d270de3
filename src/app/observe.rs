//! What the server watches about itself: metrics of every part, and the checks behind `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use yunque_system::{Finding, Need};

use super::App;

/// Workers may restart; only after this long their absence is worth a word.
const NO_WORKER_AFTER: Duration = Duration::from_secs(60);

impl App {
    pub(super) fn observe(&self) {
        let metrics = &self.ctx.metrics;
        metrics.follow_db(&self.ctx.db);
        metrics.follow_queue(&self.ctx.queue, &self.ctx.clock);
        metrics.follow_staging(self.files.staging().folder().root());
        metrics.follow_body_memory(&self.body_memory);

        self.system.watch_database(&self.ctx.db);
        self.system.watch_redis(self.redis.as_ref());
        let storage = self.ctx.storage.clone();
        self.system
            .check("storage", Need::Optional, Duration::from_secs(2), move || {
                let storage = storage.clone();
                async move {
                    storage.ping().await?;
                    Ok(Finding::Ok)
                }
            });
        let queue = self.ctx.queue.clone();
        let seen = Arc::new(Mutex::new(Instant::now()));
        self.system
            .check("worker", Need::Optional, Duration::from_secs(2), move || {
                let (queue, seen) = (queue.clone(), seen.clone());
                async move {
                    let alive = !queue.live_workers().await?.is_empty();
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    if alive {
                        *seen = Instant::now();
                    }
                    let missing = seen.elapsed() > NO_WORKER_AFTER;
                    Ok(if missing {
                        Finding::Degraded("no_worker")
                    } else {
                        Finding::Ok
                    })
                }
            });
    }
}
