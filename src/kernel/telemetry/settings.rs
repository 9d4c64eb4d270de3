//! Settings of logs and metrics.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};

use crate::config::{FromSetting, Reader, Setting};
use crate::setting_enum;

const LOG_FORMAT: Setting = Setting::new(
    "LOG_FORMAT",
    "text",
    "text for people or json for machines; both go to stderr.",
);
const LOG_LEVEL: Setting = Setting::new(
    "LOG_LEVEL",
    "info",
    "error, warn, info, debug or trace; parts can differ: info,yunque_kernel::queue=debug.",
);
const METRICS_LISTEN: Setting = Setting::new(
    "METRICS_LISTEN",
    "",
    "Address of a separate listener for /metrics, such as 127.0.0.1:9100.",
);
const METRICS_TOKEN: Setting = Setting::secret(
    "METRICS_TOKEN",
    "Bearer token for /metrics; without it the main listener has no /metrics. At least 16 characters.",
);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

setting_enum!(LogFormat { Text = "text", Json = "json" });

/// What is logged: one level for our own code, optionally with `target=level` exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl FromSetting for LogLevel {
    const EXAMPLE: &'static str = "info or info,yunque_kernel::queue=debug";

    fn from_setting(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        for part in text.split(',') {
            let (target, level) = part.trim().split_once('=').unwrap_or(("", part.trim()));
            let is_target = target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
            if !is_target || !["off", "error", "warn", "info", "debug", "trace"].contains(&level) {
                return Err("must be error, warn, info, debug or trace".to_owned());
            }
        }
        Ok(LogLevel(text))
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        LogLevel("info".to_owned())
    }
}

impl LogLevel {
    /// The filter for `tracing`. A bare level is for our own crates; libraries speak from `warn`
    /// up. Exceptions may raise a library, except those at the end, which would write statements,
    /// signatures or SMTP dialogues into the log.
    pub(super) fn directives(&self) -> String {
        let mut all = vec!["warn".to_owned()];
        for part in self.0.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(_) => all.push(part.to_owned()),
                None => all.push(format!("yunque={part}")),
            }
        }
        all.extend(CLOSED.iter().map(|target| format!("{target}=warn")));
        all.push("sqlx::query=off".to_owned());
        all.join(",")
    }
}

/// Libraries that print secrets below `warn`.
const CLOSED: &[&str] = &[
    "aliyun_oss_rust_sdk",
    "hyper",
    "h2",
    "lettre",
    "reqwest",
    "rustls",
    "sea_orm",
    "sqlx",
];

/// Logs and metrics of one process.
#[derive(Clone, Debug, Default)]
pub struct TelemetrySettings {
    pub format: LogFormat,
    pub level: LogLevel,
    /// A listener of its own for health and metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Asked for wherever `/metrics` is served; without it the main listener does not serve it.
    pub metrics_token: Option<SecretString>,
}

impl TelemetrySettings {
    pub fn read(r: &mut Reader) -> Self {
        let settings = TelemetrySettings {
            format: r.get(&LOG_FORMAT),
            level: r.get(&LOG_LEVEL),
            metrics_listen: r.optional(&METRICS_LISTEN),
            metrics_token: r.secret(&METRICS_TOKEN),
        };
        if let Some(token) = &settings.metrics_token {
            let token = token.expose_secret();
            if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
                r.fault(
                    &METRICS_TOKEN,
                    "must be at least 16 visible ASCII characters",
                    "Example: openssl rand -hex 24",
                );
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_our_own_crates_only() {
        let level = LogLevel::from_setting("DEBUG,apalis=info").expect("valid");
        let directives = level.directives();
        assert!(
            directives.starts_with("warn,yunque=debug,apalis=info,"),
            "{directives}"
        );
    }

    #[test]
    fn libraries_that_print_secrets_stay_closed() {
        let directives = LogLevel::from_setting("trace,sqlx=trace,sqlx::query=trace")
            .expect("valid")
            .directives();
        for closed in [
            "sqlx=warn",
            "sqlx::query=off",
            "aliyun_oss_rust_sdk=warn",
            "lettre=warn",
        ] {
            let last = directives.rfind(closed).expect("present");
            let loosened = directives
                .rfind(&format!("{}=trace", closed.split('=').next().unwrap_or("")))
                .unwrap_or(0);
            assert!(last > loosened, "{directives}");
        }
        assert!(LogLevel::from_setting("loud").is_err());
        assert!(LogLevel::from_setting("info,a b=debug").is_err());
    }
}
