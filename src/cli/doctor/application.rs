//! What only the application knows: whether secrets, folders and database belong together, who
//! works, what waits, and accounts that must not be.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use yunque_accounts::UserFilter;
use yunque_kernel::mail::{Message, TestMail};
use yunque_kernel::queue::JobState;
use yunque_kernel::queue::admin::Filter;
use yunque_kernel::{Clock, Lang};

use super::report::Report;
use crate::app::{App, Migrate, Settings, StartError, datadir};
use crate::cli::create_group;

/// A due job that waits longer means too few workers, or none.
const LATE: TimeDelta = TimeDelta::minutes(5);
/// Queues of uploads that only one folder can serve.
const STAGING: &str = "upload@";

pub async fn check(report: &mut Report, settings: Settings, mail_to: Option<String>) {
    let app = match App::build(settings, Clock::default(), Migrate::IfEmbedded).await {
        Ok(app) => app,
        Err(e) => {
            report.failed("application", e.to_string(), "");
            return;
        }
    };
    report.ok("application", "secrets, data folder and database belong together");
    if let Err(e) = workers(report, &app).await {
        report.unknown("workers", e.to_string(), "");
    }
    if let Err(e) = accounts(report, &app).await {
        report.unknown("accounts", e, "");
    }
    if let Some(address) = mail_to {
        let message = Message::new(
            &address,
            Lang::default(),
            &TestMail {
                sent_at: app.ctx.clock.now(),
            },
        );
        match app.ctx.mail.send_now(message).await {
            Ok(()) => report.ok("test mail", format!("handed over for {address}")),
            Err(e) => report.failed("test mail", e.to_string(), "See the check of mail."),
        }
    }
}

async fn workers(report: &mut Report, app: &App) -> Result<(), StartError> {
    let queue = &app.ctx.queue;
    let alive = queue.live_workers().await?;
    let drained: BTreeSet<&str> = alive
        .iter()
        .flat_map(|(_, queues)| queues)
        .map(String::as_str)
        .collect();
    let is_serving = !alive.is_empty() || is_locked(app);
    let start = match (app.is_embedded(), app.redis.is_some()) {
        (true, _) if is_serving => "Restart without --no-worker: yunque serve",
        (true, _) => "Start: yunque serve",
        (false, true) => "Start: yunque worker",
        (false, false) => "Start: yunque serve (or yunque worker)",
    };
    let needed: Vec<String> = app
        .queues()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with(STAGING))
        .collect();
    let missing: Vec<&str> = needed
        .iter()
        .map(String::as_str)
        .filter(|name| !drained.contains(name))
        .collect();
    if missing.is_empty() {
        report.ok("workers", format!("{} alive", alive.len()));
    } else if app.is_embedded() && !is_serving {
        report.ok("workers", "yunque serve does not run; it brings its worker");
    } else if alive.is_empty() {
        report.warn(
            "workers",
            "none is alive: uploads stay pending and mails unsent",
            start,
        );
    } else {
        report.warn("workers", format!("nobody drains {}", missing.join(", ")), start);
    }
    waiting(report, app, &drained, start).await?;
    let dead = queue
        .count(&Filter {
            state: Some(JobState::Dead),
            ..Filter::default()
        })
        .await?;
    let look = "Look at them: yunque jobs list --state dead. Then: yunque jobs retry --all, or yunque jobs purge --all --state dead";
    report.good_if(dead == 0, "dead jobs", format!("{dead} jobs were given up"), look);
    Ok(())
}

/// Jobs that are due and that nobody takes.
async fn waiting(
    report: &mut Report,
    app: &App,
    drained: &BTreeSet<&str>,
    start: &str,
) -> Result<(), StartError> {
    let now = app.ctx.clock.now();
    let own = app.files.staging().own_queue();
    let mut late = Vec::new();
    for (name, since) in app.ctx.queue.oldest_due().await? {
        let Some(id) = name
            .strip_prefix(STAGING)
            .filter(|_| !drained.contains(name.as_str()))
        else {
            if now - since > LATE {
                late.push(format!("{name} since {}", yunque_kernel::clock::rfc3339(since)));
            }
            continue;
        };
        let filter = Filter {
            state: Some(JobState::Ready),
            queue: Some(name.clone()),
            ..Filter::default()
        };
        let jobs = app.ctx.queue.count(&filter).await?;
        let detail = format!("{jobs} uploads wait for the staging folder {id}, and nobody drains it");
        let remedy = if name == own {
            format!("It is this host's folder. {start}")
        } else {
            format!(
                "Start yunque worker (or yunque serve) where DATA_DIR holds staging/.staging-id with {id}. If that disk \
                 is lost: yunque jobs cancel --all --queue {name}"
            )
        };
        report.failed("staged uploads", detail, remedy);
    }
    if late.is_empty() {
        report.ok("waiting jobs", "no job is late");
    } else {
        let remedy = format!("Start more workers, or raise WORKER_CONCURRENCY. {start}");
        report.warn("waiting jobs", format!("late: {}", late.join(", ")), remedy);
    }
    Ok(())
}

/// In the embedded size `serve` holds the data folder.
fn is_locked(app: &App) -> bool {
    app.is_embedded() && matches!(datadir::lock(&app.settings.data_dir), Ok(None))
}

async fn accounts(report: &mut Report, app: &App) -> Result<(), String> {
    let first = UserFilter {
        page: 1,
        page_size: 1,
        ..UserFilter::default()
    };
    let (_, total) = app
        .accounts
        .console_list(&first)
        .await
        .map_err(|e| e.to_string())?;
    report.good_if(
        total > 0,
        "accounts",
        format!("{total} accounts"),
        "Make the first: yunque createsuperuser",
    );
    if !app
        .accounts
        .demo_password_in_use()
        .await
        .map_err(|e| e.to_string())?
    {
        report.ok("demo account", "no account has the password that everybody knows");
        return Ok(());
    }
    let remedy = "yunque user set-password developer, or: yunque user disable developer";
    match create_group::open_to_the_world(&app.settings) {
        Some(why) => {
            report.failed(
                "demo account",
                format!("developer has the password that everybody knows, and {why}"),
                remedy,
            );
        }
        None => {
            report.warn(
                "demo account",
                "developer has the password that everybody knows; for development only",
                remedy,
            );
        }
    }
    Ok(())
}
