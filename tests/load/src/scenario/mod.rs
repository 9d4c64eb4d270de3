//! What is measured, one file for each group of figures.

mod jobs;
mod login;
mod profile;
mod startup;
mod support;
mod upload;

use std::time::Duration;

use tokio::process::Command;

use crate::Fault;
use crate::server::{Peers, Size};
use crate::table::Table;

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
}

const ALL: [Scenario; 7] = [
    Scenario::Startup,
    Scenario::Login,
    Scenario::Profile,
    Scenario::Accept,
    Scenario::Complete,
    Scenario::Support,
    Scenario::Jobs,
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
