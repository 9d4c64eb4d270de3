//! `yunque completions` and `yunque man`

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::Shell;

use super::output;
use crate::app::StartError;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: yunque completions bash > ~/.local/share/bash-completion/completions/yunque"
)]
pub struct Args {
    /// Which shell
    shell: Shell,
}

impl Args {
    pub fn run(self) -> Result<ExitCode, StartError> {
        // Into memory first: the generator panics when its output goes away.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "yunque", &mut script);
        let _ = std::io::stdout().write_all(&script);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque man ./man && man ./man/yunque-serve.1")]
pub struct ManArgs {
    /// Where to put the pages; made when missing
    dir: PathBuf,
}

impl ManArgs {
    pub fn run(self) -> Result<ExitCode, StartError> {
        let written = std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(super::command(), &self.dir));
        written.map_err(|e| StartError::Other(format!("{}: {e}", self.dir.display())))?;
        output::say(format_args!("manual pages are in {}", self.dir.display()));
        Ok(ExitCode::SUCCESS)
    }
}
