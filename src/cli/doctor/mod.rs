//! `yunque doctor`: live checks of everything around the server, each with its remedy.
//!
//! The checks go from the inside out and do not need each other: mail is looked at also when the
//! database is down. What cannot be looked at, because something else failed or a server does not
//! tell, is `unknown`. Only the last part builds the application and asks its domains.

mod application;
mod database;
mod place;
mod report;
mod services;

use std::process::ExitCode;

use yunque_kernel::telemetry;

use super::{Global, config};
use crate::app::{Settings, StartError};
use report::Report;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 1 when a check failed, with 2 when the configuration is wrong.\n\n\
    Examples:\n  yunque doctor\n  yunque doctor --json | jq '.checks[] | select(.status != \"ok\")'\n  \
    yunque doctor --mail-to me@example.com"
)]
pub struct Args {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Also send a test mail to this address
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let mut env = global.env()?;
        let mut report = Report::new(7);
        report.step("configuration");
        let mut found = Settings::inspect(&env);
        found.warnings.extend(config::unknown_names(&env, &found.views));
        found
            .warnings
            .extend(config::open_secrets(&found.views, global.env_file.as_deref()));
        place::configuration(&mut report, &found);
        if global.log_level.is_none() {
            // The report tells what the log would.
            env.set("LOG_LEVEL", "off");
        }
        let Ok(settings) = Settings::read(&env) else {
            report.print(self.json);
            return Ok(ExitCode::from(2));
        };
        telemetry::init(settings.telemetry.format, &settings.telemetry.level);
        place::network(&mut report, &settings);

        report.step("data folder");
        place::data_folder(&mut report, &settings);
        report.step("database");
        let is_usable = database::check(&mut report, &settings).await;
        report.step("Redis");
        services::redis(&mut report, &settings).await;
        report.step("storage");
        services::storage(&mut report, &settings).await;
        report.step("mail");
        services::mail(&mut report, &settings).await;
        report.step("application");
        if is_usable {
            application::check(&mut report, settings, self.mail_to).await;
        } else {
            report.unknown(
                "application",
                "not looked at: it needs the database and its schema",
                "",
            );
        }
        report.print(self.json);
        Ok(if report.has_failed() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
