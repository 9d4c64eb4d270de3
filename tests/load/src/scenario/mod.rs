//! What is measured, one file for each group of figures.

mod chat;
mod jobs;
mod login;
mod profile;
mod startup;
mod support;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

pub use chat::peers_alone;

use crate::Fault;
use crate::client::{Conn, request};
use crate::drive::{Drive, Until};
use crate::server::{Peers, Place, Size};
use crate::table::Table;

/// Turns that both sides of a ratio take.
const ROUNDS: u32 = 2;

/// A group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    Startup,
    Login,
    Profile,
    Accept,
    Complete,
    Support,
    Jobs,
    ChatFanout,
    ChatSteady,
    ChatIdle,
    ChatPost,
    ChatPages,
    ChatSearch,
}

const ALL: [Scenario; 13] = [
    Scenario::Startup,
    Scenario::Login,
    Scenario::Profile,
    Scenario::Accept,
    Scenario::Complete,
    Scenario::Support,
    Scenario::Jobs,
    Scenario::ChatFanout,
    Scenario::ChatSteady,
    Scenario::ChatIdle,
    Scenario::ChatPost,
    Scenario::ChatPages,
    Scenario::ChatSearch,
];

/// Runs what was asked for and prints the table.
///
/// # Errors
/// Something did not work, as opposed to being slow.
pub async fn run(peers: &Peers, time: Duration, wanted: &[Scenario]) -> Result<(), Fault> {
    let wanted = if wanted.is_empty() { &ALL[..] } else { wanted };
    let mut table = Table::default();
    for scenario in wanted {
        println!("{scenario:?}");
        match scenario {
            Scenario::Startup => startup::run(peers, &mut table).await?,
            Scenario::Login => login::run(peers, time, &mut table).await?,
            Scenario::Profile => profile::run(peers, time, &mut table).await?,
            Scenario::Accept => upload::accept(peers, time, &mut table).await?,
            Scenario::Complete => upload::complete(peers, &mut table).await?,
            Scenario::Support => support::run(peers, time, &mut table).await?,
            Scenario::Jobs => jobs::run(peers, &mut table).await?,
            Scenario::ChatFanout => chat::fanout(peers, time, &mut table).await?,
            Scenario::ChatSteady => chat::steady(peers, time, &mut table).await?,
            Scenario::ChatIdle => chat::idle(peers, &mut table).await?,
            Scenario::ChatPost => chat::post(peers, time, &mut table).await?,
            Scenario::ChatPages => chat::pages(peers, time, &mut table).await?,
            Scenario::ChatSearch => chat::search(peers, &mut table).await?,
        }
    }
    print!("\n{table}");
    Ok(())
}

/// The databases that there are.
fn sizes(peers: &Peers) -> impl Iterator<Item = Size> {
    [
        Some(Size::Embedded),
        peers.mariadb.as_ref().map(|_| Size::Servers),
    ]
    .into_iter()
    .flatten()
}

/// Another process of this program.
fn own(arguments: &[&str]) -> Result<Command, Fault> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).kill_on_drop(true);
    Ok(command)
}

/// Runs a process to its end and reads the number it prints.
async fn number(command: &mut Command) -> Result<f64, Fault> {
    let done = command.output().await?;
    let text = String::from_utf8(done.stdout)?;
    let complaint = || format!("no number: {text:?} {}", String::from_utf8_lossy(&done.stderr));
    text.trim().parse().map_err(|_| complaint().into())
}

/// The means of two rates that are measured in turns, so that both have the same machine.
async fn in_turns(
    mut ours: impl AsyncFnMut() -> Result<f64, Fault>,
    mut bare: impl AsyncFnMut() -> Result<f64, Fault>,
) -> Result<(f64, f64), Fault> {
    let (mut ours_sum, mut bare_sum) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        bare_sum += bare().await?;
        ours_sum += ours().await?;
    }
    let rounds = f64::from(ROUNDS);
    Ok((ours_sum / rounds, bare_sum / rounds))
}

/// The mean of as many turns.
async fn mean(ours: impl AsyncFnMut() -> Result<f64, Fault>) -> Result<f64, Fault> {
    Ok(in_turns(ours, async || Ok(0.0)).await?.0)
}

/// Starts the server, drives it with 64 connections, and stops it; returns its rate.
async fn served(
    place: &Place,
    arguments: &[&str],
    requests: &[Arc<[u8]>],
    time: Duration,
    what: &str,
) -> Result<f64, Fault> {
    let server = place.serve(arguments).await?;
    let drive = Drive {
        warm_up: Duration::from_secs(1),
        ..Drive::new(server.address, 64, Until::Time(time))
    };
    let report = drive.run(requests).await?;
    println!("    {what}: {}", report.line());
    server.stop().await?;
    Ok(report.rate())
}

/// A bare server of this program. It ends with this value.
struct BareServer {
    _child: Child,
    address: SocketAddr,
}

impl BareServer {
    async fn start(command: &str, database: &str) -> Result<Self, Fault> {
        let address = crate::server::free_address()?;
        let listen = address.to_string();
        let child = own(&[command, "--listen", &listen, "--database", database])?.spawn()?;
        let mut server = BareServer {
            _child: child,
            address,
        };
        let probe = request("GET", "/", None, None);
        // Whatever it answers.
        loop {
            if let Ok(mut conn) = Conn::open(address, 0).await
                && conn.exchange(&probe).await.is_ok()
            {
                return Ok(server);
            }
            if let Some(status) = server._child.try_wait()? {
                return Err(format!("{command} did not start: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Requests per second as wrk sees them, after one second that does not count.
async fn wrk(url: &str, token: &str, time: Duration) -> Result<f64, Fault> {
    let header = format!("Authorization: Bearer {token}");
    let mut rate = None;
    for seconds in [1, time.as_secs()] {
        let duration = format!("{seconds}s");
        let arguments = ["-t1", "-c64", "-d", &duration, "--latency", "-H", &header, url];
        let done = Command::new("wrk").args(arguments).output().await?;
        let text = String::from_utf8(done.stdout)?;
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(text.into());
        }
        let value = |label: &str| {
            text.lines()
                .find_map(|l| l.trim().strip_prefix(label))
                .map(str::trim)
        };
        rate = value("Requests/sec:").and_then(|v| v.parse::<f64>().ok());
        if seconds > 1 {
            println!(
                "    {url}: {}/s, p99 {}",
                value("Requests/sec:").unwrap_or("?"),
                value("99%").unwrap_or("?")
            );
        }
    }
    rate.ok_or_else(|| "wrk printed no rate".into())
}
