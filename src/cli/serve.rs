//! `yunque serve`

use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::{TcpListener, TcpSocket};
use yunque_kernel::Clock;

use super::{Global, output};
use crate::app::lifecycle::{ServeOptions, stop_on_signal};
use crate::app::{App, Migrate, StartError, datadir};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque serve --listen 0.0.0.0:8000")]
pub struct Args {
    /// Address and port to listen on (LISTEN)
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Do not run jobs in this process
    #[arg(long)]
    no_worker: bool,
    /// Apply missing migrations on a server database too
    #[arg(long)]
    migrate: bool,
    /// Make the demo account developer / developer123 (not in production, loopback only)
    #[arg(long)]
    demo: bool,
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let mut env = global.env()?;
        if let Some(listen) = self.listen {
            env.set("LISTEN", listen.to_string());
        }
        let settings = global.start_with(env)?;
        let listen = settings.http.listen;
        if self.demo {
            super::create_group::refuse_public_password(&settings)?;
        }
        datadir::prepare(&settings.data_dir)
            .map_err(|e| StartError::Other(format!("DATA_DIR {}: {e}", settings.data_dir.display())))?;
        let _lock = super::worker::lock_if_embedded(settings.db.kind, &settings.data_dir)?;
        // Bound before the rest: a busy port is told at once.
        let listener = listener(listen).map_err(|e| {
            StartError::Refused(format!("LISTEN: {listen}: {e}. Choose another with --listen."))
        })?;
        let migrate = if self.migrate {
            Migrate::Always
        } else {
            Migrate::IfEmbedded
        };
        let app = App::build(settings, Clock::default(), migrate).await?;
        if self.demo {
            super::create_group::make_demo(&app).await?;
        }
        super::create_group::refuse_demo_password(&app).await?;
        let stop = stop_on_signal().map_err(|e| StartError::Other(e.to_string()))?;
        let base = app.settings.http.public_base_url.clone();
        let options = ServeOptions {
            no_worker: self.no_worker,
        };
        app.serve(listener, options, stop, move |address| announce(address, &base))
            .await
    }
}

/// Connections that may wait to be accepted. When a server comes back, thousands of sockets do at once, and a client
/// whose first packet is dropped waits for seconds.
const BACKLOG: u32 = 4096;

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port that was served a moment ago is free again.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The one line that a newcomer needs.
fn announce(address: SocketAddr, base: &str) {
    output::say(format_args!(
        "Yunque listens on http://{address} · docs {base}/docs/ · try: curl -s {base}/healthz"
    ));
}
