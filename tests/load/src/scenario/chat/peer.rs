//! Broadcast servers that others have written.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::talk::{Form, blast, steady};
use crate::Fault;
use crate::crowd::{Crowd, GENTLE, Look};
use crate::socket::Door;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Node.js with ws.
    Ws,
    /// Bun with its own sockets, which are uWebSockets.
    Bun,
}

/// One that runs. It ends with this value.
pub struct Peer {
    _child: Child,
    address: SocketAddr,
}

impl Peer {
    pub async fn start(folder: &Path, kind: Kind) -> Result<Self, Fault> {
        let mut command = match kind {
            Kind::Ws => Command::new("node"),
            Kind::Bun => Command::new(bun(folder)?),
        };
        command.arg(folder.join(match kind {
            Kind::Ws => "ws.mjs",
            Kind::Bun => "bun.mjs",
        }));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let port = BufReader::new(output).lines().next_line().await?;
        let port: u16 = port.ok_or("the peer did not start")?.trim().parse()?;
        Ok(Peer {
            _child: child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        })
    }

    /// So many sockets.
    pub async fn crowd(&self, sockets: usize, look: Look) -> Result<Crowd, Fault> {
        let doors = vec![Door::new(self.address, "/", None); sockets];
        Crowd::open(doors, GENTLE, look).await
    }
}

/// Measures the peers by themselves, with frames of `length` bytes.
///
/// # Errors
/// A peer does not work.
pub async fn alone(folder: &Path, receivers: usize, length: u64, time: Duration) -> Result<(), Fault> {
    for kind in [Kind::Ws, Kind::Bun] {
        let peer = Peer::start(folder, kind).await?;
        let form = Form::Passed { length };
        let crowd = peer.crowd(1 + receivers, Look::Count).await?;
        println!("{kind:?}: {}", blast(&crowd, form, time).await?.line());
        drop(crowd);
        // It is no match for so many, and nothing is measured against it.
        if kind == Kind::Ws {
            continue;
        }
        let crowd = peer.crowd(1 + receivers, Look::Follow).await?;
        println!("{kind:?}: {}", steady(&crowd, form, 200, time).await?.line());
    }
    Ok(())
}

/// npm installs the build for this machine beside its wrapper, which would have to be run once to find it.
fn bun(folder: &Path) -> Result<std::path::PathBuf, Fault> {
    let builds = std::fs::read_dir(folder.join("node_modules/@oven"))?;
    let mut found = builds.filter_map(|build| Some(build.ok()?.path().join("bin/bun")));
    found
        .find(|path| path.exists())
        .ok_or_else(|| "no build of bun".into())
}
