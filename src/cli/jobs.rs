//! `yunque jobs`: what operators do with the queue.

mod bulk;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use yunque_kernel::JobId;
use yunque_kernel::clock::rfc3339;
use yunque_kernel::queue::admin::{AdminError, Audit, Filter};
use yunque_kernel::queue::{JobRow, JobState, Queue};

use super::user::resolve;
use super::{Global, output};
use crate::app::{App, StartError};
use bulk::{Action as Bulk, Selection};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque jobs list --state dead")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs, newest first
    #[command(
        after_help = "Examples:\n  yunque jobs list --state dead --kind upload_file\n  yunque jobs list --summary"
    )]
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
        /// Only counts, by kind and state
        #[arg(long, conflicts_with_all = ["state", "kind", "queue", "owner"])]
        summary: bool,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one job
    #[command(after_help = "Example: yunque jobs show 42")]
    Show {
        /// Id of the job
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make dead or cancelled jobs ready again, with fresh attempts
    #[command(
        after_help = "Examples:\n  yunque jobs retry 42 43\n  yunque jobs retry --all --kind upload_file --yes"
    )]
    Retry(Selection),
    /// Take jobs that do not run yet out of the queue for good
    #[command(after_help = "Examples:\n  yunque jobs cancel 42\n  yunque jobs cancel --all --queue mail")]
    Cancel(Selection),
    /// Forget jobs that are over
    #[command(
        after_help = "Examples:\n  yunque jobs purge 42\n  yunque jobs purge --all --state dead --older-than 7d"
    )]
    Purge {
        #[command(flatten)]
        selection: Selection,
        /// With --all: only those that ended so long ago
        #[arg(long, value_name = "TIME", requires = "all", value_parser = bulk::duration)]
        older_than: Option<std::time::Duration>,
    },
    /// Find subjects that should have a live job and have none, and jobs without a subject
    #[command(after_help = "Exits with 1 when something was found.\n\nExample: yunque jobs audit")]
    Audit {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which jobs.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wanted {
    /// In this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Of this kind, such as upload_file
    #[arg(long)]
    kind: Option<String>,
    /// In this queue, such as default, mail or upload
    #[arg(long)]
    queue: Option<String>,
    /// Of this user (name, address or id), or `system`
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    Ready,
    Running,
    Done,
    Dead,
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Ready => JobState::Ready,
            State::Running => JobState::Running,
            State::Done => JobState::Done,
            State::Dead => JobState::Dead,
            State::Cancelled => JobState::Cancelled,
        }
    }
}

impl Wanted {
    fn is_empty(&self) -> bool {
        let Wanted {
            state,
            kind,
            queue,
            owner,
        } = self;
        state.is_none() && kind.is_none() && queue.is_none() && owner.is_none()
    }

    async fn filter(self, app: &App) -> Result<Filter, StartError> {
        let owner = match self.owner.as_deref() {
            None => None,
            Some("system" | "0") => Some(0),
            Some(user) => Some(resolve(app, user).await?.0),
        };
        Ok(Filter {
            state: self.state.map(Into::into),
            kind: self.kind,
            queue: self.queue,
            owner,
            before: None,
        })
    }
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        match self.action {
            Action::List {
                summary: true, json, ..
            } => summary(&global.app().await?.ctx.queue, json).await?,
            Action::List {
                wanted, limit, json, ..
            } => {
                let app = global.app().await?;
                let filter = wanted.filter(&app).await?;
                list(&app.ctx.queue.list(&filter, limit).await?, json);
            }
            Action::Show { id, json } => {
                let job = global.app().await?.ctx.queue.find(JobId(id)).await?;
                let job =
                    job.ok_or_else(|| StartError::Other(format!("job {id}: {}", AdminError::NotFound)))?;
                show(&job, json);
            }
            Action::Retry(selection) => return bulk::run(Bulk::Retry, selection, &global).await,
            Action::Cancel(selection) => return bulk::run(Bulk::Cancel, selection, &global).await,
            Action::Purge {
                selection,
                older_than,
            } => {
                let older_than = older_than.unwrap_or_default();
                return bulk::run(Bulk::Purge { older_than }, selection, &global).await;
            }
            Action::Audit { json } => {
                let audit = global.app().await?.ctx.queue.audit().await?;
                print_audit(&audit, json);
                if !audit.without_job.is_empty() || !audit.without_subject.is_empty() {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A job with its payload as JSON instead of text.
fn as_json(job: &JobRow) -> Value {
    let mut value = json!(job);
    if let Ok(payload) = serde_json::from_str::<Value>(&job.payload) {
        value["payload"] = payload;
    }
    value
}

fn owner(job: &JobRow) -> String {
    if job.fair_key == 0 {
        "system".to_owned()
    } else {
        job.fair_key.to_string()
    }
}

fn list(jobs: &[JobRow], json: bool) {
    if json {
        output::print_json(&jobs.iter().map(as_json).collect::<Vec<_>>());
        return;
    }
    let row = |job: &JobRow| {
        vec![
            job.id.to_string(),
            job.kind.clone(),
            job.state.clone(),
            job.queue.clone(),
            owner(job),
            format!("{}/{}", job.attempts, job.max_attempts),
            rfc3339(job.run_at),
            output::shortened(&output::plain(job.last_error.as_deref().unwrap_or("")), 60),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    output::print_table(
        &[
            "ID",
            "KIND",
            "STATE",
            "QUEUE",
            "OWNER",
            "FAILURES",
            "DUE",
            "LAST ERROR",
        ],
        &rows,
    );
}

async fn summary(queue: &Queue, json: bool) -> Result<(), StartError> {
    let counts = queue.counts().await?;
    if json {
        output::print_json(&counts);
        return Ok(());
    }
    let rows: Vec<_> = counts
        .into_iter()
        .map(|c| vec![c.kind, c.state, c.jobs.to_string()])
        .collect();
    output::print_table(&["KIND", "STATE", "JOBS"], &rows);
    Ok(())
}

fn show(job: &JobRow, json: bool) {
    if json {
        output::print_json(&as_json(job));
        return;
    }
    let time = |at: Option<_>| at.map_or_else(|| "-".to_owned(), rfc3339);
    let text = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
    for (name, value) in [
        ("id", job.id.to_string()),
        ("kind", job.kind.clone()),
        ("state", job.state.clone()),
        ("queue", job.queue.clone()),
        ("owner", owner(job)),
        ("subject", text(&job.subject)),
        ("payload", job.payload.clone()),
        ("failures", format!("{} of {}", job.attempts, job.max_attempts)),
        ("lost workers", job.losses.to_string()),
        ("created", rfc3339(job.created_at)),
        ("due", rfc3339(job.run_at)),
        ("started", time(job.started_at)),
        ("finished", time(job.finished_at)),
        ("worker", text(&job.lease_owner)),
        ("request", text(&job.request_id)),
        ("last error", text(&job.last_error)),
    ] {
        output::say(format_args!("{name:<13} {}", output::plain(&value)));
    }
}

fn print_audit(audit: &Audit, json: bool) {
    if json {
        output::print_json(audit);
        return;
    }
    for (kind, subjects) in &audit.without_job {
        for subject in subjects {
            output::say(format_args!(
                "{kind}: {} should have a job and has none",
                output::plain(subject)
            ));
        }
    }
    for (kind, jobs) in &audit.without_subject {
        for job in jobs {
            output::say(format_args!("{kind}: job {job} has no subject that wants it"));
        }
    }
    if audit.without_job.is_empty() && audit.without_subject.is_empty() {
        output::say("every subject has its job, and every job its subject");
    }
}
