//! Starting and stopping. The first SIGTERM or SIGINT stops softly: no new work, what runs may
//! finish within its grace; the second one ends the process at once.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use yunque_kernel::auth::revocation::follow_changes;
use yunque_kernel::http::serve;
use yunque_kernel::queue::Worker;
use yunque_kernel::task::spawn;

use super::{App, StartError};

/// Limits are counted in every process, so every process forgets its own.
const SWEEP_LIMITS_EVERY: Duration = Duration::from_secs(60);

/// Every socket was told by then, and had time to answer.
const SOCKETS_END_WITHIN: Duration = Duration::from_secs(9);

/// What one `serve` process runs besides HTTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// No worker of its own, whatever the size.
    pub no_worker: bool,
}

/// Linux sends it to who writes past the limit of file sizes.
const SIGXFSZ: i32 = 25;

/// Cancelled by the first signal. The second one exits with 130 without waiting for anything.
///
/// # Errors
/// Signal handlers cannot be installed.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Handled once it is for good: such a write is an error then, like one to a full disk, and not the end.
    drop(signal(SignalKind::from_raw(SIGXFSZ))?);
    let token = stop.clone();
    spawn(async move {
        for time in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if time == 0 {
                tracing::info!("stopping; a second signal stops at once");
                token.cancel();
            }
        }
        std::process::exit(130);
    });
    Ok(stop)
}

impl App {
    /// Does this `serve` run a worker? Always in the embedded size; on a server database unless
    /// Redis says that workers are separate processes.
    fn wants_worker(&self, options: ServeOptions) -> bool {
        !options.no_worker && (self.is_embedded() || self.redis.is_none())
    }

    /// Serves until `stop`. `ready` hears the address once requests are answered.
    ///
    /// # Errors
    /// The worker cannot start, or dies.
    pub async fn serve(
        self,
        listener: TcpListener,
        options: ServeOptions,
        stop: CancellationToken,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<ExitCode, StartError> {
        let address = listener
            .local_addr()
            .map_err(|e| StartError::other("listener", e))?;
        let worker = if self.wants_worker(options) {
            Some(self.start_worker(None, None).await?)
        } else {
            None
        };
        if worker.is_none() && self.is_embedded() {
            tracing::warn!(
                "started with --no-worker on SQLite: nothing drains the queue, uploads stay pending"
            );
        }
        let mut helpers = self.start_helpers();
        helpers.extend(self.ws.start());
        if worker.is_none() && !self.is_embedded() {
            helpers.push(AbortOnDropHandle::new(spawn(self.clone().tend_staging())));
        }
        if let Some(at) = self.settings.telemetry.metrics_listen {
            let system = self.system.clone();
            let token = stop.clone();
            helpers.push(AbortOnDropHandle::new(spawn(async move {
                if let Err(e) = system.serve_admin(at, token).await {
                    tracing::error!(error = %e, "METRICS_LISTEN does not work");
                }
            })));
        }
        let http = spawn({
            let (endpoint, settings, stop) = (self.endpoint(), self.settings.http.clone(), stop.clone());
            async move { serve(endpoint, listener, &settings, stop).await }
        });
        self.system.set_running();
        ready(address);

        let failed = wait(&stop, worker.as_ref()).await;
        self.system.set_draining();
        stop.cancel();
        let sockets = spawn({
            let ws = self.ws.clone();
            async move { ws.drain(SOCKETS_END_WITHIN).await }
        });
        if let Ok(Err(e)) = http.await {
            tracing::error!(error = %e, "HTTP server ended badly");
        }
        let _ = sockets.await;
        if let Some(worker) = worker {
            worker.stop().await;
        }
        drop(helpers);
        self.finish().await;
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    /// Drains the queue until `stop`.
    ///
    /// # Errors
    /// The worker cannot start.
    pub async fn work(
        self,
        only: Option<&[String]>,
        concurrency: Option<usize>,
        admin: Option<SocketAddr>,
        stop: CancellationToken,
    ) -> Result<ExitCode, StartError> {
        let worker = self.start_worker(only, concurrency).await?;
        let helpers = self.start_helpers();
        let admin = admin.or(self.settings.telemetry.metrics_listen).map(|at| {
            let (system, token) = (self.system.clone(), stop.clone());
            AbortOnDropHandle::new(spawn(async move {
                if let Err(e) = system.serve_admin(at, token).await {
                    tracing::error!(error = %e, "the admin listener does not work");
                }
            }))
        });
        self.system.set_running();
        let failed = wait(&stop, Some(&worker)).await;
        self.system.set_draining();
        worker.stop().await;
        drop(helpers);
        drop(admin);
        self.finish().await;
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    /// Tasks that go on beside the work, and end with it.
    fn start_helpers(&self) -> Vec<AbortOnDropHandle<()>> {
        let bus = self.accounts.bus().clone();
        let follow = follow_changes(self.ctx.db.clone(), std::sync::Arc::new(bus.clone()), move |up| {
            bus.set_up(up)
        });
        let limits = self.ctx.limits.clone();
        let sweep = async move {
            loop {
                tokio::time::sleep(SWEEP_LIMITS_EVERY).await;
                if let Err(e) = limits.sweep().await {
                    tracing::debug!(error = %e, "spent limits stay for another minute");
                }
            }
        };
        vec![
            AbortOnDropHandle::new(spawn(follow)),
            AbortOnDropHandle::new(spawn(self.accounts.clone().write_behind())),
            AbortOnDropHandle::new(spawn(sweep)),
        ]
    }

    /// Writes what was put off, and says good-bye to the other instances.
    async fn finish(&self) {
        self.accounts.flush().await;
        self.ctx.realtime.stop();
    }
}

/// Waits for the signal. True when the worker died first, which is fatal: a process must not look
/// alive while it does nothing.
async fn wait(stop: &CancellationToken, worker: Option<&Worker>) -> bool {
    let died = async {
        match worker {
            Some(worker) => worker.failed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => false,
        () = died => {
            tracing::error!("the worker ended without being told to; exiting");
            true
        }
    }
}
