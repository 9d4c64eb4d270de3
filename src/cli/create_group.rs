//! `yunque create-group`, and the rules about the demo account, whose password everybody knows.

use std::process::ExitCode;

use secrecy::ExposeSecret;
use yunque_accounts::{AccountsError, DemoUser, NewGroup, demo};

use super::user::{resolve, told};
use super::{Global, ask, output};
use crate::app::{App, Settings, StartError};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Running it again changes nothing; an existing account keeps its password.\n\n\
    Examples:\n  yunque create-group developer --demo-user\n  \
    yunque create-group editors --description \"May edit\" --member alice --member bob"
)]
pub struct Args {
    /// Name of the group
    name: String,
    /// What the group is for; an existing group keeps its own
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// User name or id of a member; may be repeated
    #[arg(long = "member", value_name = "USER")]
    members: Vec<String>,
    /// Make the test account developer / developer123 and add it
    #[arg(long)]
    demo_user: bool,
    /// Make the test account in production or on a public address too, with another password
    #[arg(long, requires = "demo_user", requires = "password_stdin")]
    force: bool,
    /// Read the test account's password from the first line of standard input
    #[arg(long, requires = "demo_user")]
    password_stdin: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let password = match self.password_stdin {
            true => Some(ask::new_password(true, None, "Pass it on standard input")?),
            false => None,
        };
        let is_public = password
            .as_ref()
            .is_none_or(|p| p.expose_secret() == demo::PASSWORD);
        let settings = global.settings()?;
        if self.demo_user && (is_public || !self.force) {
            refuse_public_password(&settings)?;
        }
        let app = global.app().await?;
        let mut members = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let id = resolve(&app, member).await?;
            members.push(app.accounts.console_show(id).await.map_err(told)?.username);
        }
        let new = NewGroup {
            name: self.name,
            description: self.description,
            members,
            demo_user: self.demo_user.then_some(DemoUser { password }),
        };
        let report = app.accounts.create_group(new).await.map_err(refused)?;
        if self.json {
            output::print_json(&report);
        } else {
            let state = if report.is_new {
                "made"
            } else {
                "was there already"
            };
            output::say(format_args!("group {} {state}, id {}", report.name, report.id));
            for member in &report.added {
                output::say(format_args!("member {member} added"));
            }
            if report.demo_user_created {
                output::say("account developer made");
            }
        }
        if self.demo_user && !report.demo_user_created {
            eprintln!("yunque: the account developer was there before and keeps its password");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Only the test account is made here, so only its address can be somebody else's.
fn refused(error: AccountsError) -> StartError {
    match error {
        AccountsError::Taken { .. } => StartError::Other(format!(
            "the demo account cannot be made: its address, {}, belongs to another account",
            demo::EMAIL
        )),
        error => told(error),
    }
}

/// Why an account with a public password must not be here, if it must not.
pub(super) fn open_to_the_world(settings: &Settings) -> Option<String> {
    let listen = settings.http.listen;
    if settings.is_production() {
        Some("APP_ENV is production".to_owned())
    } else if !listen.ip().is_loopback() {
        Some(format!("LISTEN is {listen}, which others can reach"))
    } else {
        None
    }
}

/// # Errors
/// Others than the developer can reach this server.
pub(super) fn refuse_public_password(settings: &Settings) -> Result<(), StartError> {
    match open_to_the_world(settings) {
        None => Ok(()),
        Some(why) => Err(StartError::Refused(format!(
            "the demo account has a password that everybody knows, and {why}. Make it with another one: \
             yunque create-group {} --demo-user --force --password-stdin",
            demo::GROUP
        ))),
    }
}

/// Makes the test account of the seed documents.
///
/// # Errors
/// As the database says.
pub(super) async fn make_demo(app: &App) -> Result<(), StartError> {
    let new = NewGroup {
        name: demo::GROUP.to_owned(),
        demo_user: Some(DemoUser { password: None }),
        ..NewGroup::default()
    };
    let report = app.accounts.create_group(new).await.map_err(refused)?;
    if report.demo_user_created {
        tracing::info!(
            "the demo account {} / {} was made",
            demo::USERNAME,
            demo::PASSWORD
        );
    }
    Ok(())
}

/// Keeps a server that others can reach from running with the public password.
///
/// # Errors
/// The account is active and still has it.
pub(super) async fn refuse_demo_password(app: &App) -> Result<(), StartError> {
    let Some(why) = open_to_the_world(&app.settings) else {
        return Ok(());
    };
    if !app.accounts.demo_password_in_use().await.map_err(told)? {
        return Ok(());
    }
    Err(StartError::Refused(format!(
        "the account developer still has the password that everybody knows, and {why}. Run: yunque user set-password \
         developer (or: yunque user disable developer)"
    )))
}
