//! `yunque migrate`

use std::process::ExitCode;

use clap::Subcommand;
use yunque_kernel::Clock;

use super::worker::lock_if_embedded;
use super::{Global, output};
use crate::app::schema::Schema;
use crate::app::{SchemaSettings, StartError, datadir};

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
        steps: usize,
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
        let settings = global.start_schema()?;
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
                down(&settings, steps).await
            }
            Action::Fresh { yes } => {
                if !output::confirm(yes, "Drop every table? ALL DATA IS LOST")? {
                    return Ok(ExitCode::FAILURE);
                }
                fresh(&settings).await
            }
        }
    }
}

async fn status(settings: &SchemaSettings, json: bool) -> Result<ExitCode, StartError> {
    let steps = Schema::open(&settings.db).await?.steps().await?;
    if json {
        output::print_json(&steps);
    } else {
        for step in &steps {
            let state = if step.applied { "applied" } else { "missing" };
            output::say(format_args!("{state}  {}", step.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(settings: &SchemaSettings) -> Result<ExitCode, StartError> {
    let schema = Schema::open(&settings.db).await?;
    let pending = schema.pending().await?;
    let bar = output::Progress::new(pending as u64, "migrating");
    let done = schema
        .up(&settings.data_dir, &Clock::default(), |name| bar.step(name))
        .await;
    bar.finish();
    match done? {
        0 => output::say("nothing to do"),
        n => output::say(format_args!("applied {n}")),
    }
    Ok(ExitCode::SUCCESS)
}

async fn down(settings: &SchemaSettings, steps: usize) -> Result<ExitCode, StartError> {
    let _lock = lock_if_embedded(settings.db.kind, &settings.data_dir)?;
    let schema = Schema::open(&settings.db).await?;
    let applied = schema.steps().await?.iter().filter(|s| s.applied).count();
    let bar = output::Progress::new(applied.min(steps) as u64, "rolling back");
    let done = schema
        .down(steps, &settings.data_dir, &Clock::default(), |name| {
            bar.step(name)
        })
        .await;
    bar.finish();
    output::say(format_args!("rolled back {}", done?));
    Ok(ExitCode::SUCCESS)
}

async fn fresh(settings: &SchemaSettings) -> Result<ExitCode, StartError> {
    let _lock = lock_if_embedded(settings.db.kind, &settings.data_dir)?;
    let schema = Schema::open(&settings.db).await?;
    let bar = output::Progress::new(Schema::known() as u64, "migrating");
    let done = schema
        .fresh(&settings.data_dir, &Clock::default(), |name| bar.step(name))
        .await;
    bar.finish();
    output::say(format_args!("fresh schema, {} steps", done?));
    Ok(ExitCode::SUCCESS)
}
