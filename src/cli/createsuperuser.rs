//! `yunque createsuperuser`

use std::process::ExitCode;

use yunque_accounts::NewSuperuser;
use yunque_accounts::values::{Email, Username};

use super::user::told;
use super::{Global, ask, output};
use crate::app::StartError;

const USERNAME: &str = "YUNQUE_SUPERUSER_USERNAME";
const EMAIL: &str = "YUNQUE_SUPERUSER_EMAIL";
const PASSWORD: &str = "YUNQUE_SUPERUSER_PASSWORD";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is not given as a flag is read from YUNQUE_SUPERUSER_USERNAME, YUNQUE_SUPERUSER_EMAIL and \
    YUNQUE_SUPERUSER_PASSWORD, or asked for on a terminal. A password is never a flag.\n\n\
    Examples:\n  yunque createsuperuser\n  \
    yunque createsuperuser --username root --email root@example.com --password-stdin < password.txt"
)]
pub struct Args {
    /// Login name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// E-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let env = global.env()?;
        let variable = |name: &str| env.get(name).map(|(value, _)| value.to_owned());
        let new = NewSuperuser {
            username: ask::value(
                "username",
                self.username.or_else(|| variable(USERNAME)),
                &format!("Say --username, or set {USERNAME}"),
                |text| Username::parse(text).map(drop),
            )?,
            email: ask::value(
                "email",
                self.email.or_else(|| variable(EMAIL)),
                &format!("Say --email, or set {EMAIL}"),
                |text| Email::parse(text).map(drop),
            )?,
            password: ask::new_password(
                self.password_stdin,
                env.get_untrimmed(PASSWORD).map(str::to_owned),
                &format!("Say --password-stdin, or set {PASSWORD}"),
            )?,
        };
        let app = global.app().await?;
        let account = app.accounts.create_superuser(new).await.map_err(told)?;
        if self.json {
            output::print_json(&account);
        } else {
            output::say(format_args!(
                "administrator {} made, id {}",
                account.username, account.id
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
