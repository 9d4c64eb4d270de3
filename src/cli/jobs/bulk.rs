//! Changing jobs: those named, or all that a filter lets through.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use yunque_kernel::JobId;
use yunque_kernel::config::{FromSetting, Seconds};
use yunque_kernel::queue::admin::{AdminError, Filter};
use yunque_kernel::queue::{JobRow, JobState};

use super::{State, Wanted};
use crate::app::{App, StartError};
use crate::cli::Global;
use crate::cli::output::{self, Progress};

/// Jobs looked at and purged at a time.
const BATCH: u64 = 500;

/// Which jobs to change.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Ids of jobs
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all",
        value_parser = clap::value_parser!(i64).range(1..))]
    ids: Vec<i64>,
    /// All that the filters let through, instead of ids
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wanted: Wanted,
    /// With --all: at most so many, newest first
    #[arg(long, value_name = "N", requires = "all", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// With --all: do not ask
    #[arg(long, requires = "all")]
    yes: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// What to do with them.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Retry,
    Cancel,
    Purge { older_than: Duration },
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Action::Retry => "retry",
            Action::Cancel => "cancel",
            Action::Purge { .. } => "purge",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Action::Retry => "ready again",
            Action::Cancel => "cancelled",
            Action::Purge { .. } => "purged",
        }
    }

    /// States that it works on, the usual one first.
    fn states(self) -> &'static [State] {
        match self {
            Action::Retry => &[State::Dead, State::Cancelled],
            Action::Cancel => &[State::Ready],
            Action::Purge { .. } => &[State::Done, State::Dead, State::Cancelled],
        }
    }
}

impl Selection {
    /// Refuses what makes no sense, before anything is opened.
    fn checked(mut self, action: Action) -> Result<Self, StartError> {
        if !self.all && !self.wanted.is_empty() {
            return Err(StartError::Refused(
                "filters go with --all, not with ids".to_owned(),
            ));
        }
        let states = action.states();
        let state = *self.wanted.state.get_or_insert(states[0]);
        if !states.contains(&state) {
            return Err(StartError::Refused(format!(
                "--state: {} takes jobs that are {}",
                action.verb(),
                states
                    .iter()
                    .map(|s| JobState::from(*s).as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        }
        Ok(self)
    }
}

/// Parses `90`, `5m`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    Seconds::from_setting(text).map(|seconds| seconds.0)
}

/// What became of the jobs.
#[derive(Default)]
struct Tally {
    done: u64,
    /// Somebody else changed them first.
    skipped: u64,
    refused: Vec<(i64, String)>,
}

impl Tally {
    fn add(&mut self, id: i64, outcome: Result<(), AdminError>, is_bulk: bool) -> Result<(), StartError> {
        match outcome {
            Ok(()) => self.done += 1,
            Err(AdminError::Db(e)) => return Err(e.into()),
            Err(AdminError::NotFound | AdminError::WrongState(_)) if is_bulk => self.skipped += 1,
            Err(e) => self.refused.push((id, e.to_string())),
        }
        Ok(())
    }
}

/// Does it and tells what was done.
pub async fn run(action: Action, selection: Selection, global: &Global) -> Result<ExitCode, StartError> {
    let selection = selection.checked(action)?;
    let app = &global.app().await?;
    let json = selection.json;
    let tally = if selection.all {
        match all(action, selection, app).await? {
            Some(tally) => tally,
            None => return Ok(ExitCode::FAILURE),
        }
    } else {
        let mut tally = Tally::default();
        for id in selection.ids {
            let outcome = one(action, app, id).await;
            tally.add(id, outcome, false)?;
        }
        tally
    };
    if json {
        let refused: Vec<_> = tally
            .refused
            .iter()
            .map(|(id, reason)| json!({ "id": id, "reason": reason }))
            .collect();
        let counts = json!({ "done": tally.done, "skipped": tally.skipped, "refused": refused });
        output::print_json(&counts);
    } else {
        output::say(format_args!("{} {}", tally.done, action.done()));
        if tally.skipped > 0 {
            output::say(format_args!(
                "{} changed meanwhile and were left alone",
                tally.skipped
            ));
        }
        for (id, reason) in &tally.refused {
            eprintln!("job {id}: {}", output::plain(reason));
        }
    }
    Ok(if tally.refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn one(action: Action, app: &App, id: i64) -> Result<(), AdminError> {
    let queue = &app.ctx.queue;
    match action {
        Action::Retry => queue.retry(JobId(id)).await,
        Action::Cancel => queue.cancel(JobId(id)).await,
        Action::Purge { .. } => {
            let job = queue.find(JobId(id)).await?.ok_or(AdminError::NotFound)?;
            if queue.purge_these(&[JobId(id)]).await? == 0 {
                return Err(AdminError::WrongState(job.state));
            }
            Ok(())
        }
    }
}

/// `None`: the operator said no.
async fn all(action: Action, selection: Selection, app: &App) -> Result<Option<Tally>, StartError> {
    let mut filter = selection.wanted.filter(app).await?;
    let most = selection.limit.unwrap_or(u64::MAX);
    let total = app.ctx.queue.count(&filter).await?.min(most);
    if total == 0 {
        return Ok(Some(Tally::default()));
    }
    let state = filter.state.map_or("", JobState::as_str);
    let question = match action {
        Action::Purge { older_than } if !older_than.is_zero() => {
            format!("Purge those of {total} {state} jobs that ended long enough ago?")
        }
        _ => format!("{} {total} {state} jobs?", capital(action.verb())),
    };
    if !output::confirm(selection.yes, question.trim_end_matches('?'))? {
        return Ok(None);
    }
    let bar = Progress::new(total, action.verb());
    let result = each(action, app, &mut filter, total, &bar).await;
    bar.finish();
    result.map(Some)
}

/// Walks down the ids, so that a job that cannot be changed is met once.
async fn each(
    action: Action,
    app: &App,
    filter: &mut Filter,
    total: u64,
    bar: &Progress,
) -> Result<Tally, StartError> {
    let mut tally = Tally::default();
    let mut seen = 0;
    while seen < total {
        let page = app.ctx.queue.list(filter, BATCH.min(total - seen)).await?;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        if let Action::Purge { older_than } = action {
            purge(&page, older_than, app, &mut tally).await?;
            seen += page.len() as u64;
            bar.set(seen);
            continue;
        }
        for job in page {
            let outcome = one(action, app, job.id).await;
            tally.add(job.id, outcome, true)?;
            seen += 1;
            bar.set(seen);
        }
    }
    Ok(tally)
}

async fn purge(
    page: &[JobRow],
    older_than: Duration,
    app: &App,
    tally: &mut Tally,
) -> Result<(), StartError> {
    let before = app.ctx.clock.now() - older_than;
    let old: Vec<JobId> = page
        .iter()
        .filter(|job| job.finished_at.is_none_or(|at| at <= before))
        .map(|job| JobId(job.id))
        .collect();
    let purged = app.ctx.queue.purge_these(&old).await?;
    tally.done += purged;
    tally.skipped += old.len() as u64 - purged;
    Ok(())
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|c| c.to_ascii_uppercase())
        .into_iter()
        .chain(chars)
        .collect()
}
