//! The command line: one file for each subcommand. Commands parse, call `app`, and print.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod apikey;
mod ask;
mod completions;
mod config;
mod create_group;
mod createsuperuser;
mod doctor;
mod jobs;
mod migrate;
mod openapi;
mod output;
mod serve;
mod user;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use yunque_kernel::Clock;
use yunque_kernel::config::{Env, SettingView};
use yunque_kernel::telemetry::{self, TelemetrySettings};

use crate::app::{App, Migrate, SchemaSettings, Settings, StartError};

/// Backend in one binary: accounts, files, and an embedded job queue.
#[derive(Debug, Parser)]
#[command(name = "yunque", version, after_help = "Start everything with: yunque serve")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Read settings from this file instead of ./.env
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Folder for everything kept on disk (DATA_DIR)
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// text or json (LOG_FORMAT)
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace (LOG_LEVEL)
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP, and in the embedded size run the jobs too
    Serve(serve::Args),
    /// Drain the job queue
    Worker(worker::Args),
    /// Bring the database schema up to date
    Migrate(migrate::Args),
    /// Make an administrator
    Createsuperuser(createsuperuser::Args),
    /// Make a group, with members or the demo account
    CreateGroup(create_group::Args),
    /// Make, list and revoke API keys
    Apikey(apikey::Args),
    /// Look at and manage accounts
    User(user::Args),
    /// Look at and manage jobs
    Jobs(jobs::Args),
    /// Write or check the OpenAPI document
    Openapi(openapi::Args),
    /// Check and show settings
    Config(config::Args),
    /// Look whether everything around the server works
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Write manual pages into a folder
    Man(completions::ManArgs),
}

/// Parses, runs, and turns the outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("yunque: {e}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // Blocking work that hangs (a name lookup, a slow disk) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    yunque_kernel::telemetry::flush();
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("yunque: {e}");
            ExitCode::from(e.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, StartError> {
    let global = cli.global;
    match cli.command {
        Command::Serve(args) => args.run(global).await,
        Command::Worker(args) => args.run(global).await,
        Command::Migrate(args) => args.run(global).await,
        Command::Createsuperuser(args) => args.run(global).await,
        Command::CreateGroup(args) => args.run(global).await,
        Command::Apikey(args) => args.run(global).await,
        Command::User(args) => args.run(global).await,
        Command::Jobs(args) => args.run(global).await,
        Command::Openapi(args) => args.run(),
        Command::Config(args) => args.run(global),
        Command::Doctor(args) => args.run(global).await,
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
    }
}

impl Global {
    /// The variables in force: flags, then the environment, then the file.
    fn env(&self) -> Result<Env, StartError> {
        let mut env = Env::load(self.env_file.as_deref()).map_err(StartError::Refused)?;
        for (name, value) in [("LOG_FORMAT", &self.log_format), ("LOG_LEVEL", &self.log_level)] {
            if let Some(value) = value {
                env.set(name, value);
            }
        }
        if let Some(dir) = &self.data_dir {
            env.set("DATA_DIR", dir.to_string_lossy());
        }
        Ok(env)
    }

    /// All settings, or every fault in them.
    fn settings(&self) -> Result<Settings, StartError> {
        Settings::read(&self.env()?).map_err(|e| StartError::Refused(format!("configuration\n{e}")))
    }

    /// Settings with the log set up, for commands that run something.
    fn start(&self) -> Result<Settings, StartError> {
        self.start_with(self.env()?)
    }

    fn start_with(&self, env: Env) -> Result<Settings, StartError> {
        let settings =
            Settings::read(&env).map_err(|e| StartError::Refused(format!("configuration\n{e}")))?;
        self.start_log(&settings.telemetry, &settings.views, &settings.warnings);
        Ok(settings)
    }

    /// The same for commands that only work on the schema.
    fn start_schema(&self) -> Result<SchemaSettings, StartError> {
        let settings = SchemaSettings::read(&self.env()?)
            .map_err(|e| StartError::Refused(format!("configuration\n{e}")))?;
        self.start_log(&settings.telemetry, &settings.views, &settings.warnings);
        Ok(settings)
    }

    fn start_log(&self, settings: &TelemetrySettings, views: &[SettingView], warnings: &[String]) {
        telemetry::init(settings.format, &settings.level);
        let open_secrets = config::open_secrets(views, self.env_file.as_deref());
        for warning in warnings.iter().chain(&open_secrets) {
            tracing::warn!("{warning}");
        }
    }

    /// The application for a command that works on the database and ends. Its log stays quiet, so
    /// that the command's own output can be read.
    async fn app(&self) -> Result<App, StartError> {
        let mut env = self.env()?;
        if self.log_level.is_none() {
            env.set("LOG_LEVEL", "warn");
        }
        App::build(self.start_with(env)?, Clock::default(), Migrate::IfEmbedded).await
    }
}

/// The whole command, for completions and manual pages.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
