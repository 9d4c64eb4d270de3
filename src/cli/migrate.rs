//! `yunque migrate`

use std::process::ExitCode;

use clap::Subcommand;
use yunque_kernel::Clock;

use super::{Global, output};
use crate::app::schema::{Schema, SchemaError};
use crate::app::{Settings, StartError, datadir};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque migrate up")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply what is missing
    #[command(after_help = "Example: yunque migrate up")]
    Up,
    /// Roll the newest steps back
    #[command(after_help = "Example: yunque migrate down --steps 1 --yes")]
    Down {
        /// How many
        #[arg(long, default_value_t = 1)]
        steps: u32,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List every step and whether it was applied
    #[command(after_help = "Example: yunque migrate status --json")]
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Drop every table and start again; all data is lost
    #[command(after_help = "Example: yunque migrate fresh --yes")]
    Fresh {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let settings = global.start()?;
        datadir::prepare(&settings.data_dir)
            .map_err(|e| StartError::Other(format!("DATA_DIR {}: {e}", settings.data_dir.display())))?;
        match self.action {
            Action::Status { json } => status(&settings, json).await,
            Action::Up => up(&settings).await,
            Action::Down { steps, yes } => {
                if !output::confirm(
                    yes,
                    "Roll the schema back? Data of the dropped tables and columns is lost",
                )? {
                    return Ok(ExitCode::FAILURE);
                }
                let _lock = super::worker::lock_if_embedded(&settings)?;
                Schema::open(&settings.db).await?.down(steps).await?;
                println!("rolled back {steps}");
                Ok(ExitCode::SUCCESS)
            }
            Action::Fresh { yes } => {
                if !output::confirm(yes, "Drop every table? ALL DATA IS LOST")? {
                    return Ok(ExitCode::FAILURE);
                }
                let _lock = super::worker::lock_if_embedded(&settings)?;
                let schema = Schema::open(&settings.db).await?;
                schema.fresh().await?;
                println!("fresh schema, {} steps", schema.steps().await?.len());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn status(settings: &Settings, json: bool) -> Result<ExitCode, StartError> {
    let steps = Schema::open(&settings.db).await?.steps().await?;
    if json {
        output::print_json(&steps);
    } else {
        for step in &steps {
            println!(
                "{}  {}",
                if step.applied { "applied" } else { "missing" },
                step.name
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(settings: &Settings) -> Result<ExitCode, StartError> {
    let schema = Schema::open(&settings.db).await?;
    let pending = schema.pending().await?;
    let bar = output::Progress::new(pending as u64, "migrating");
    let result = schema
        .up(&settings.data_dir, &Clock::default(), |name| {
            bar.step(name);
        })
        .await;
    bar.finish();
    match result {
        Ok(0) => println!("nothing to do"),
        Ok(n) => println!("applied {n}"),
        Err(e @ SchemaError::Locked) => return Err(StartError::Other(e.to_string())),
        Err(e) => return Err(e.into()),
    }
    Ok(ExitCode::SUCCESS)
}
