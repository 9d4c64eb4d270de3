//! `yunque config`: what is set, where it comes from, and what is wrong with it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use yunque_kernel::config::{Env, SettingView, Source};

use super::{Global, output};
use crate::app::settings::Inspection;
use crate::app::{Settings, StartError};

const ORDER: [&str; 4] = ["command line", "environment", ".env", "default"];
/// Variables of `createsuperuser`, which are not settings.
const OURS: &str = "YUNQUE_SUPERUSER_";

const EXAMPLE_HEAD: &str = "\
# Every setting of Yunque with its default. Copy this file to .env, and take the # away from lines that you change.
#
# The environment wins over this file, and this file over the defaults; `yunque config show` tells where each value
# comes from. Durations are seconds or carry a suffix (90, 90s, 5m, 7d), sizes bytes or a suffix (10MiB). An empty
# value is the same as none. Put a value with a blank, a $, a # or a quote into single quotes: outside of them $NAME is
# replaced by the variable of that name.
#
# Written by: yunque config example > .env.example
";

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque config check")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every fault and every risky value; exit 2 when there is a fault
    #[command(after_help = "Example: yunque config check --env-file production.env")]
    Check {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every setting in force and where it comes from, secrets as ***
    #[command(
        after_help = "Example: yunque config show --json | jq '.settings[] | select(.source != \"default\")'"
    )]
    Show {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a complete .env.example
    #[command(after_help = "Example: yunque config example > .env.example")]
    Example,
}

impl Args {
    pub fn run(self, global: Global) -> Result<ExitCode, StartError> {
        let json = match self.action {
            Action::Example => {
                output::say(example().trim_end());
                return Ok(ExitCode::SUCCESS);
            }
            Action::Check { json } | Action::Show { json } => json,
        };
        let env = global.env()?;
        let mut found = Settings::inspect(&env);
        found.warnings.extend(unknown_names(&env, &found.views));
        found
            .warnings
            .extend(open_secrets(&found.views, global.env_file.as_deref()));
        if json {
            output::print_json(&as_json(&found));
        } else {
            print(&found);
        }
        let is_check = matches!(self.action, Action::Check { .. });
        if is_check && !json && found.faults.is_empty() {
            output::say("the configuration is good");
        }
        Ok(if is_check && !found.faults.is_empty() {
            ExitCode::from(2)
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn print(found: &Inspection) {
    output::say(format_args!(
        "Values come from, first one wins: {}.",
        ORDER.join(", ")
    ));
    output::say("");
    let row = |view: &SettingView| {
        let value = view
            .value
            .as_deref()
            .map_or("-".to_owned(), |text| output::shortened(text, 70));
        vec![
            view.setting.name.to_owned(),
            value,
            view.source.as_str().to_owned(),
        ]
    };
    let rows: Vec<_> = found.views.iter().map(row).collect();
    output::print_table(&["SETTING", "VALUE", "SOURCE"], &rows);
    output::say("");
    for warning in &found.warnings {
        output::say(format_args!("warning: {warning}"));
    }
    for fault in &found.faults {
        output::say(format_args!("fault: {}: {}", fault.name, fault.problem));
        output::say(format_args!("       {}", fault.remedy));
    }
}

fn as_json(found: &Inspection) -> Value {
    let setting = |view: &SettingView| {
        json!({
            "name": view.setting.name,
            "value": view.value,
            "source": view.source.as_str(),
            "default": view.setting.default,
            "is_secret": view.setting.secret,
            "help": view.setting.help,
            "section": view.section,
        })
    };
    let fault = |f: &yunque_kernel::config::ConfigFault| json!({ "name": f.name, "problem": f.problem, "remedy": f.remedy });
    json!({
        "order": ORDER,
        "settings": found.views.iter().map(setting).collect::<Vec<_>>(),
        "warnings": found.warnings,
        "faults": found.faults.iter().map(fault).collect::<Vec<_>>(),
    })
}

/// Names in the file that nothing reads: usually a slip of the finger.
pub(super) fn unknown_names(env: &Env, views: &[SettingView]) -> Vec<String> {
    let known: BTreeSet<&str> = views.iter().map(|view| view.setting.name).collect();
    env.file_names()
        .filter(|name| !known.contains(name) && !name.starts_with(OURS))
        .map(|name| format!("{name} in .env is no setting of this program; a slip of the finger?"))
        .collect()
}

/// A file with passwords is for its owner only. Says what to do when it is not.
pub(super) fn open_secrets(views: &[SettingView], file: Option<&Path>) -> Option<String> {
    let path = file.unwrap_or(Path::new(".env"));
    let is_secret = |view: &SettingView| view.setting.secret && view.source == Source::EnvFile;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0 && views.iter().any(is_secret)).then(|| {
        format!("{shown} holds secrets and others on this machine may read it (mode {mode:03o}). Run: chmod 600 {shown}")
    })
}

/// `.env.example`: made from the code, so that it cannot miss a setting.
pub fn example() -> String {
    let nothing = Env::fixed::<&str, &str>([]);
    let mut text = EXAMPLE_HEAD.to_owned();
    let mut section = "";
    for view in Settings::inspect(&nothing).views {
        if view.section != section {
            section = view.section;
            text.push_str(&format!("\n\n# --- {section} ---\n"));
        }
        let setting = view.setting;
        text.push_str(&format!(
            "\n# {}\n#{}={}\n",
            setting.help,
            setting.name,
            quoted(setting.default)
        ));
    }
    text
}

/// As a `.env` file takes it.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@+%*".contains(c);
    if value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("'{value}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_lists_every_setting_once_and_is_a_valid_file() {
        let text = example();
        let views = Settings::inspect(&Env::fixed::<&str, &str>([])).views;
        for view in &views {
            let line = format!("\n#{}=", view.setting.name);
            assert_eq!(text.matches(&line).count(), 1, "{}", view.setting.name);
            assert!(
                !view.setting.help.is_empty() && !view.section.is_empty(),
                "{}",
                view.setting.name
            );
        }
        // With every line switched on it configures the same as nothing at all.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".env");
        let on = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_uppercase()) => rest.to_owned(),
            _ => line.to_owned(),
        };
        std::fs::write(&file, text.lines().map(on).collect::<Vec<_>>().join("\n")).expect("written");
        let env = Env::load(Some(&file)).expect("a valid file");
        assert_eq!(env.file_names().count(), views.len());
        for view in &views {
            let default = (!view.setting.default.is_empty()).then_some(view.setting.default);
            assert!(
                env.get(view.setting.name)
                    .is_none_or(|(value, _)| Some(value) == default),
                "{}",
                view.setting.name
            );
        }
    }
}
