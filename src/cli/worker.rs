//! `yunque worker`

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use yunque_kernel::Clock;
use yunque_kernel::db::DbKind;

use super::Global;
use crate::app::datadir::{self, DataDirLock};
use crate::app::lifecycle::stop_on_signal;
use crate::app::{App, Migrate, StartError};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque worker --concurrency 32 --queues default,mail,upload")]
pub struct Args {
    /// Jobs to run at once in each queue (default: WORKER_CONCURRENCY, UPLOAD_WORKERS)
    #[arg(long, value_name = "N")]
    concurrency: Option<std::num::NonZeroU16>,
    /// Only these queues: default, mail, upload
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    queues: Option<Vec<String>>,
    /// Serve health and metrics here (METRICS_LISTEN)
    #[arg(long, value_name = "ADDR")]
    listen_admin: Option<SocketAddr>,
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let settings = global.start()?;
        if settings.db.kind == DbKind::Sqlite {
            return Err(StartError::Refused(
                "on SQLite the worker runs inside `yunque serve`. Separate workers need a server database: set \
                 DATABASE_URL to mysql://… or postgres://…, and REDIS_URL"
                    .to_owned(),
            ));
        }
        let app = App::build(settings, Clock::default(), Migrate::IfEmbedded).await?;
        let stop = stop_on_signal().map_err(|e| StartError::Other(e.to_string()))?;
        let concurrency = self.concurrency.map(|n| usize::from(n.get()));
        app.work(self.queues.as_deref(), concurrency, self.listen_admin, stop)
            .await
    }
}

/// With SQLite one process owns the data folder. Hold the lock for as long as it runs.
pub(super) fn lock_if_embedded(db: DbKind, data_dir: &Path) -> Result<Option<DataDirLock>, StartError> {
    if db != DbKind::Sqlite {
        return Ok(None);
    }
    let shown = data_dir.display();
    match datadir::lock(data_dir) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(StartError::Refused(format!(
            "DATA_DIR {shown} is in use by another yunque. Stop it, or choose another folder with --data-dir"
        ))),
        Err(e) => Err(StartError::Other(format!("DATA_DIR {shown}: {e}"))),
    }
}
