//! `yunque user import`: accounts from a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use yunque_accounts::{Import, ImportOptions, ImportReport};

use super::told;
use crate::app::{App, StartError};
use crate::cli::output::{self, Progress};

/// Lines of one transaction.
const BATCH: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is a JSON object: username and email, and if wanted password (a hash: \
                        pbkdf2_sha256$… of Django, or Argon2), display_name, first_name, last_name, phone, is_active, \
                        is_staff, is_verified, date_joined, last_login.\n\nAccounts that are here already stay as they \
                        are, so the same file may be imported again. Exit code 1 when a line was refused.\n\n\
                        Example: yunque user import users.ndjson --dry-run"
)]
pub struct Args {
    /// The file; - for standard input
    file: PathBuf,
    /// Say what would happen, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Accept administrators (is_staff)
    #[arg(long)]
    allow_staff: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, app: &App) -> Result<ExitCode, StartError> {
        let (mut reader, size) = open(&self.file)?;
        let progress = Progress::new(size, "import");
        let mut import = app.accounts.import(ImportOptions {
            dry_run: self.dry_run,
            allow_staff: self.allow_staff,
        });
        let (mut line, mut done) = (0, 0);
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH {
                let mut bytes = Vec::new();
                let read = reader
                    .read_until(b'\n', &mut bytes)
                    .map_err(|e| StartError::Other(format!("{}: {e}", self.file.display())))?;
                if read == 0 {
                    break;
                }
                line += 1;
                done += u64::try_from(read).unwrap_or(0);
                batch.push((line, bytes));
            }
            if batch.is_empty() {
                break;
            }
            add(&mut import, &batch).await?;
            progress.set(done);
        }
        progress.finish();
        let report = import.finish();
        show(&report, self.dry_run, self.json);
        let code = u8::from(!report.refused.is_empty());
        Ok(ExitCode::from(code))
    }
}

fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, u64), StartError> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(std::io::stdin())), 0));
    }
    let failed = |e: std::io::Error| StartError::Refused(format!("{}: {e}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    Ok((Box::new(BufReader::new(file)), size))
}

async fn add(import: &mut Import, batch: &[(u64, Vec<u8>)]) -> Result<(), StartError> {
    let first = batch.first().map_or(0, |(line, _)| *line);
    let added = import.add(batch).await.map_err(told);
    added.inspect_err(|_| eprintln!("stopped at line {first}; what came before is done"))
}

fn show(report: &ImportReport, dry_run: bool, json: bool) {
    if json {
        return output::print_json(report);
    }
    for fault in &report.refused {
        eprintln!("line {}: {}", fault.line, output::plain(&fault.reason));
    }
    let made = if dry_run { "would be made" } else { "made" };
    output::say(format_args!(
        "{} accounts {made}, {} were here already, {} lines refused",
        report.created,
        report.present,
        report.refused.len()
    ));
}
