//! Load against the release build, and the bare baselines it is compared with.
//!
//! `tests/load/run` builds both, starts the servers it needs and calls this. Each scenario prints
//! its figures as they come, and all of them as one table at the end. Nothing here fails because
//! something was slow.

mod bare;
mod client;
mod crowd;
mod drive;
mod noop;
mod scenario;
mod server;
mod socket;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use scenario::Scenario;
use server::Peers;

/// Whatever went wrong; shown and not handled.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure
    Run {
        #[command(flatten)]
        peers: Peers,
        /// Seconds of each measurement
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// All of them when none is named
        scenarios: Vec<Scenario>,
    },
    /// The bare profile server
    #[command(hide = true)]
    BareProfile {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        database: String,
    },
    /// The bare server of chat rooms
    #[command(hide = true)]
    BareChat {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        database: String,
    },
    /// Bare accepting transactions; prints how many per second
    #[command(hide = true)]
    BareAccept {
        #[arg(long)]
        database: String,
        #[arg(long)]
        folder: PathBuf,
        #[arg(long, value_delimiter = ',')]
        users: Vec<i64>,
        #[arg(long)]
        body: usize,
        #[arg(long)]
        seconds: u64,
    },
    /// Bare transactions of messages; prints how many per second
    #[command(hide = true)]
    BareMessage {
        #[arg(long)]
        database: String,
        #[arg(long, value_delimiter = ',')]
        sessions: Vec<i64>,
        #[arg(long)]
        text: String,
        #[arg(long)]
        seconds: u64,
    },
    /// Bare hashes; prints how many per second
    #[command(hide = true)]
    BareHashes {
        #[arg(long)]
        seconds: u64,
    },
    /// The broadcast servers that chat rooms are compared with, by themselves
    #[command(hide = true)]
    SocketPeers {
        /// As for `run`
        #[arg(long, value_name = "DIR")]
        sockets: PathBuf,
        #[arg(long, default_value_t = 1000)]
        receivers: usize,
        /// Bytes of a frame
        #[arg(long, default_value_t = 560)]
        length: u64,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// A worker for jobs that do nothing
    #[command(hide = true)]
    NoopWorker {
        #[command(flatten)]
        link: noop::Link,
        #[arg(long)]
        concurrency: usize,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The driver takes one thread, like wrk -t1; what stands for a server takes what a server takes.
    let built = match cli.command {
        Command::Run { .. } | Command::SocketPeers { .. } => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()
        }
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let result = built
        .map_err(Fault::from)
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("yunque-load: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Fault> {
    match command {
        Command::Run {
            peers,
            seconds,
            scenarios,
        } => scenario::run(&peers, Duration::from_secs(seconds), &scenarios).await,
        Command::BareProfile { listen, database } => bare::profile::serve(listen, &database).await,
        Command::BareChat { listen, database } => bare::chat::serve(listen, &database).await,
        Command::BareAccept {
            database,
            folder,
            users,
            body,
            seconds,
        } => {
            let time = Duration::from_secs(seconds);
            let bare = bare::accept::Bare {
                database: &database,
                folder: &folder,
                users: &users,
                tasks: 64,
                body,
                time,
            };
            println!("{}", bare.per_second().await?);
            Ok(())
        }
        Command::BareMessage {
            database,
            sessions,
            text,
            seconds,
        } => {
            let time = Duration::from_secs(seconds);
            let rate = bare::message::per_second(&database, 64, sessions, text, time).await?;
            println!("{rate}");
            Ok(())
        }
        Command::BareHashes { seconds } => {
            println!("{}", bare::hashes::per_second(Duration::from_secs(seconds))?);
            Ok(())
        }
        Command::SocketPeers {
            sockets,
            receivers,
            length,
            seconds,
        } => scenario::peers_alone(&sockets, receivers, length, Duration::from_secs(seconds)).await,
        Command::NoopWorker { link, concurrency } => noop::Noops::open(&link).await?.work(concurrency).await,
    }
}
