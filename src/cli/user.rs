//! `yunque user`: account operations without a browser.

mod import;

use std::process::ExitCode;

use clap::Subcommand;
use yunque_accounts::{AccountsError, SessionView, UserDetails, UserFilter};
use yunque_kernel::ApiError;
use yunque_kernel::auth::UserType;
use yunque_kernel::clock::rfc3339;
use yunque_kernel::ids::UserId;

use super::{Global, ask, output};
use crate::app::{App, StartError};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Users are named by user name, e-mail address or id.\n\nExample: yunque user show alice"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List accounts by id
    #[command(
        after_help = "Examples:\n  yunque user list --search example.com --limit 20\n  yunque user list --type agent_l1"
    )]
    List {
        /// Part of a user name or address
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only accounts of this kind
        #[arg(long = "type", value_name = "TYPE", value_parser = ["admin", "editor", "agent_l1", "agent_l2", "customer"])]
        user_type: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// Which page of them
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        page: u64,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    #[command(after_help = "Example: yunque user show alice --json")]
    Show {
        /// User name, address or id
        user: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse logins, end all sessions, refuse API keys
    #[command(after_help = "Example: yunque user disable alice")]
    Disable {
        /// User names, addresses or ids
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Allow logins again
    #[command(after_help = "Example: yunque user enable alice")]
    Enable {
        /// User names, addresses or ids
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Set a new password and end all sessions
    #[command(
        after_help = "Example: openssl rand -base64 18 | tee new-password | yunque user set-password alice --password-stdin"
    )]
    SetPassword {
        /// User name, address or id
        user: String,
        /// Read it from the first line of standard input instead of asking
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the sessions that are alive
    #[command(after_help = "Example: yunque user sessions alice")]
    Sessions {
        /// User name, address or id
        user: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// End all sessions
    #[command(after_help = "Example: yunque user revoke-sessions alice")]
    RevokeSessions {
        /// User name, address or id
        user: String,
    },
    /// Make accounts from a file, with the password hashes that they had elsewhere
    Import(import::Args),
    /// Remove the second factor of somebody who lost it, and end all sessions
    #[command(name = "reset-2fa", after_help = "Example: yunque user reset-2fa alice")]
    ResetSecondFactor {
        /// User name, address or id
        user: String,
    },
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let app = global.app().await?;
        match self.action {
            Action::List {
                search,
                user_type,
                limit,
                page,
                json,
            } => {
                list(
                    &app,
                    &UserFilter {
                        search,
                        user_type: user_type.as_deref().map(UserType::from_stored),
                        page,
                        page_size: limit,
                    },
                    json,
                )
                .await?;
            }
            Action::Show { user, json } => {
                let id = resolve(&app, &user).await?;
                show(&app.accounts.console_show(id).await.map_err(told)?, json);
            }
            Action::Disable { users } => set_active(&app, &users, false).await?,
            Action::Enable { users } => set_active(&app, &users, true).await?,
            Action::SetPassword { user, password_stdin } => {
                let id = resolve(&app, &user).await?;
                let password = ask::new_password(password_stdin, None, "Say --password-stdin")?;
                app.accounts
                    .console_set_password(id, &password)
                    .await
                    .map_err(told)?;
                output::say(format_args!("{user}: password set, all sessions ended"));
            }
            Action::Sessions { user, json } => {
                let id = resolve(&app, &user).await?;
                sessions(&app.accounts.console_sessions(id).await.map_err(told)?, json);
            }
            Action::RevokeSessions { user } => {
                let id = resolve(&app, &user).await?;
                let n = app.accounts.console_revoke_sessions(id).await.map_err(told)?;
                output::say(format_args!("{user}: {n} sessions ended"));
            }
            Action::Import(args) => return args.run(&app).await,
            Action::ResetSecondFactor { user } => {
                let id = resolve(&app, &user).await?;
                let had_one = app.accounts.console_reset_second_factor(id).await.map_err(told)?;
                let done = if had_one {
                    "second factor removed, all sessions ended"
                } else {
                    "had no second factor"
                };
                output::say(format_args!("{user}: {done}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The account that a person named.
///
/// # Errors
/// There is none.
pub(super) async fn resolve(app: &App, user: &str) -> Result<UserId, StartError> {
    app.accounts.resolve_user(user).await.map_err(|e| match e {
        AccountsError::NotFound => StartError::Other(format!("user {user}: there is none")),
        other => told(other),
    })
}

/// An error of the accounts, in words for an operator: each wrong field by its name.
pub(super) fn told(error: AccountsError) -> StartError {
    if let AccountsError::Db(e) = error {
        return StartError::Db(e);
    }
    let is_usage = matches!(error, AccountsError::Invalid(_) | AccountsError::UnknownScope(_));
    let shown = error.to_string();
    let known = ApiError::from(error);
    let fields: Vec<String> = known
        .faults
        .iter()
        .map(|f| format!("{}: {}", f.field, f.text.en))
        .collect();
    let text = if !fields.is_empty() {
        fields.join("\n")
    } else if known.status < 500 && !is_usage {
        known.text.en.into_owned()
    } else {
        shown
    };
    if is_usage {
        StartError::Refused(text)
    } else {
        StartError::Other(text)
    }
}

async fn set_active(app: &App, users: &[String], active: bool) -> Result<(), StartError> {
    for user in users {
        let id = resolve(app, user).await?;
        let changed = app.accounts.console_set_active(id, active).await.map_err(told)?;
        let state = match (active, changed) {
            (true, true) => "enabled",
            (false, true) => "disabled, all sessions ended",
            (true, false) => "was enabled already",
            (false, false) => "was disabled already",
        };
        output::say(format_args!("{user}: {state}"));
    }
    Ok(())
}

async fn list(app: &App, filter: &UserFilter, json: bool) -> Result<(), StartError> {
    let (users, total) = app.accounts.console_list(filter).await.map_err(told)?;
    if json {
        output::print_json(&users);
        return Ok(());
    }
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let rows: Vec<_> = users
        .iter()
        .map(|u| {
            vec![
                u.id.to_string(),
                u.username.clone(),
                u.email.clone(),
                u.user_type.clone(),
                u.parent_id.map_or_else(String::new, |id| id.to_string()),
                yes(u.is_active),
            ]
        })
        .collect();
    output::print_table(&["ID", "USER NAME", "E-MAIL", "TYPE", "PARENT", "ACTIVE"], &rows);
    if (users.len() as u64) < total {
        eprintln!("page {}: {} of {total} accounts", filter.page, users.len());
    }
    Ok(())
}

fn show(user: &UserDetails, json: bool) {
    if json {
        output::print_json(user);
        return;
    }
    let time = |at: Option<_>| at.map_or_else(|| "never".to_owned(), rfc3339);
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let mut lines = vec![
        ("id", user.id.to_string()),
        ("user name", user.username.clone()),
        (
            "e-mail",
            format!(
                "{}{}",
                user.email,
                if user.is_verified { " (verified)" } else { "" }
            ),
        ),
        ("display name", user.display_name.clone()),
        ("type", user.user_type.clone()),
        ("parent", parent_of(user)),
        ("active", yes(user.is_active)),
        ("admin", yes(user.is_staff)),
        ("second factor", yes(user.has_second_factor)),
        (
            "space",
            format!("{} of {} bytes used", user.used_space, user.quota),
        ),
        ("live sessions", user.live_sessions.to_string()),
        ("API keys", user.api_keys.to_string()),
        ("joined", rfc3339(user.date_joined)),
        ("last login", time(user.last_login)),
        ("last active", time(user.last_active)),
    ];
    if user.sub_agents > 0 || user.customers > 0 {
        let below = format!("{} sub-agents, {} customers", user.sub_agents, user.customers);
        lines.insert(6, ("below", below));
    }
    if user.deactivated_at.is_some() {
        lines.push(("deactivated", time(user.deactivated_at)));
    }
    if user.purged_at.is_some() {
        lines.push(("data removed", time(user.purged_at)));
    }
    for (name, value) in lines {
        output::say(format_args!("{name:<14} {}", output::plain(&value)));
    }
}

fn parent_of(user: &UserDetails) -> String {
    match (user.parent_id, &user.parent_username) {
        (Some(id), Some(name)) => format!("{name} (id {id})"),
        (Some(id), None) => format!("id {id}"),
        (None, _) => "none".to_owned(),
    }
}

fn sessions(sessions: &[SessionView], json: bool) {
    if json {
        output::print_json(&sessions);
        return;
    }
    let row = |s: &SessionView| {
        vec![
            s.id.to_string(),
            s.surface.clone(),
            s.ip_address.clone(),
            rfc3339(s.created_at),
            rfc3339(s.last_used_at),
            rfc3339(s.expires_at),
            output::shortened(&s.user_agent, 60),
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    output::print_table(
        &["ID", "SURFACE", "ADDRESS", "BEGAN", "LAST USED", "ENDS", "CLIENT"],
        &rows,
    );
}
