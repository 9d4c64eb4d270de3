//! `yunque apikey`

use std::process::ExitCode;

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::json;
use yunque_accounts::ApiKeyView;
use yunque_kernel::clock::rfc3339;

use super::user::{resolve, told};
use super::{Global, output};
use crate::app::StartError;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: yunque apikey create alice --name backup --scope cloud:read --expires-days 90"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it, once
    #[command(after_help = "Only the key goes to standard output, so it can be piped.\n\n\
        Example: yunque apikey create alice --name backup --scope cloud:read --expires-days 90")]
    Create {
        /// User name, address or id of the owner
        user: String,
        /// What the key is for; unique for its owner
        #[arg(long)]
        name: String,
        /// What it may do: users, core, ai, metaverse, social, cloud, agents or chat with :read or :write; *
        /// (everything but staff rights, the default); staff
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Ends after so many days (default: never)
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_days: Option<u32>,
        /// Print key and facts as JSON
        #[arg(long)]
        json: bool,
    },
    /// List keys, without their text
    #[command(after_help = "Example: yunque apikey list --user alice")]
    List {
        /// Only keys of this user (name, address or id)
        #[arg(long)]
        user: Option<String>,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove keys; they are refused everywhere at once
    #[command(after_help = "Example: yunque apikey revoke 12")]
    Revoke {
        /// Ids, as `apikey list` shows them
        #[arg(required = true, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
        ids: Vec<i64>,
    },
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let app = global.app().await?;
        match self.action {
            Action::Create {
                user,
                name,
                scopes,
                expires_days,
                json,
            } => {
                let owner = resolve(&app, &user).await?;
                let created = app
                    .accounts
                    .create_api_key(owner, &name, &scopes, expires_days)
                    .await
                    .map_err(told)?;
                let key = created.text.expose_secret();
                if json {
                    output::print_json(&json!({ "key": key, "api_key": created.view }));
                } else {
                    eprintln!(
                        "key {} of {user}; it is not stored and cannot be shown again:",
                        created.view.id
                    );
                    output::say(key);
                }
            }
            Action::List { user, json } => {
                let owner = match user {
                    Some(user) => Some(resolve(&app, &user).await?),
                    None => None,
                };
                list(&app.accounts.list_api_keys(owner).await.map_err(told)?, json);
            }
            Action::Revoke { ids } => {
                for id in ids {
                    let key = app.accounts.revoke_api_key(id).await.map_err(|e| match e {
                        yunque_accounts::AccountsError::NotFound => {
                            StartError::Other(format!("API key {id}: there is none"))
                        }
                        other => told(other),
                    })?;
                    output::say(format_args!("key {id} ({}) revoked", output::plain(&key.name)));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(keys: &[ApiKeyView], json: bool) {
    if json {
        output::print_json(&keys);
        return;
    }
    let time = |at: Option<_>, without: &str| at.map_or_else(|| without.to_owned(), rfc3339);
    let row = |key: &ApiKeyView| {
        vec![
            key.id.to_string(),
            key.user_id.to_string(),
            key.name.clone(),
            format!("{}…", key.prefix),
            if key.is_active { "yes" } else { "no" }.to_owned(),
            key.permissions.join(","),
            time(key.last_used, "never"),
            time(key.expires_at, "never"),
        ]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    output::print_table(
        &[
            "ID",
            "USER",
            "NAME",
            "KEY",
            "ACTIVE",
            "SCOPES",
            "LAST USED",
            "EXPIRES",
        ],
        &rows,
    );
}
