//! Starting and stopping. The first SIGTERM or SIGINT stops softly: no new work, what runs may
//! finish within its grace; the second one ends the process at once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use yunque_kernel::auth::revocation::follow_changes;
use yunque_kernel::http::serve;
use yunque_kernel::queue::Worker;
use yunque_kernel::task::{spawn, spawn_vital};

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
        for part in self.ws.start() {
            helpers.start("sockets", carried_on(part));
        }
        // Has a worker of its own at times, so it is waited for.
        let tending = (worker.is_none() && !self.is_embedded()).then(|| {
            let (failed, stop) = (helpers.failed.clone(), stop.clone());
            let tend = self.clone().tend_staging(failed, stop);
            spawn_vital("staging folder", &helpers.failed, tend)
        });
        if let Some(at) = self.settings.telemetry.metrics_listen {
            let system = self.system.clone();
            let token = stop.clone();
            helpers.start("METRICS_LISTEN", async move {
                if let Err(e) = system.serve_admin(at, token).await {
                    tracing::error!(error = %e, "METRICS_LISTEN does not work");
                }
            });
        }
        let http = spawn_vital("HTTP server", &helpers.failed, {
            let (endpoint, settings, stop) = (self.endpoint(), self.settings.http.clone(), stop.clone());
            let failed = helpers.failed.clone();
            async move {
                if let Err(e) = serve(endpoint, listener, &settings, stop).await {
                    tracing::error!(error = %e, "HTTP server ended badly");
                    failed.notify_one();
                }
            }
        });
        self.system.set_running();
        ready(address);

        let failed = wait(&stop, worker.as_ref(), &helpers).await;
        self.system.set_draining();
        stop.cancel();
        // All at once: while requests and sockets end, no new jobs begin.
        let sockets = spawn({
            let ws = self.ws.clone();
            async move { ws.drain(SOCKETS_END_WITHIN).await }
        });
        let jobs = spawn(async move {
            if let Some(worker) = worker {
                worker.stop().await;
            }
            if let Some(tending) = tending {
                let _ = tending.await;
            }
        });
        let _ = http.await;
        let _ = sockets.await;
        let _ = jobs.await;
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
        let mut helpers = self.start_helpers();
        if let Some(at) = admin.or(self.settings.telemetry.metrics_listen) {
            let (system, token) = (self.system.clone(), stop.clone());
            helpers.start("admin listener", async move {
                if let Err(e) = system.serve_admin(at, token).await {
                    tracing::error!(error = %e, "the admin listener does not work");
                }
            });
        }
        self.system.set_running();
        let failed = wait(&stop, Some(&worker), &helpers).await;
        self.system.set_draining();
        worker.stop().await;
        drop(helpers);
        self.finish().await;
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    /// Tasks that go on beside the work, and end with it.
    fn start_helpers(&self) -> Helpers {
        let bus = self.accounts.bus().clone();
        let follow = follow_changes(self.ctx.db.clone(), Arc::new(bus.clone()), move |up| {
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
        let mut helpers = Helpers::default();
        helpers.start("changes of accounts", follow);
        helpers.start("write-behind of accounts", self.accounts.clone().write_behind());
        helpers.start("sweep of limits", sweep);
        helpers
    }

    /// Writes what was put off, and says good-bye to the other instances.
    async fn finish(&self) {
        self.accounts.flush().await;
        self.ctx.realtime.stop();
    }
}

/// Tasks beside the work. They end when this is dropped.
#[derive(Default)]
struct Helpers {
    tasks: Vec<AbortOnDropHandle<()>>,
    /// Told when one of them panics.
    failed: Arc<Notify>,
}

impl Helpers {
    fn start(&mut self, name: &'static str, helper: impl Future<Output = ()> + Send + 'static) {
        let task = spawn_vital(name, &self.failed, helper);
        self.tasks.push(AbortOnDropHandle::new(task));
    }
}

/// A task that somebody else started, as a helper: ends with it, and panics when it does.
async fn carried_on(task: AbortOnDropHandle<()>) {
    if let Err(e) = task.await
        && let Ok(panic) = e.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for the signal. True when the worker or a helper died first, which is fatal: a process must
/// not look alive while it does nothing.
async fn wait(stop: &CancellationToken, worker: Option<&Worker>, helpers: &Helpers) -> bool {
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
        () = helpers.failed.notified() => {
            tracing::error!("a part of the server ended without being told to; exiting");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_helper_that_panics_ends_the_process() {
        let stop = CancellationToken::new();
        let mut helpers = Helpers::default();
        helpers.start("goes on", std::future::pending());
        let theirs = AbortOnDropHandle::new(spawn(async { panic!("on purpose") }));
        helpers.start("theirs", carried_on(theirs));
        assert!(wait(&stop, None, &helpers).await);

        let mut helpers = Helpers::default();
        helpers.start("ends", async {});
        stop.cancel();
        assert!(!wait(&stop, None, &helpers).await);
    }
}
