//! Settings of mail.

use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::{FromSetting, Reader, Seconds, Setting};
use crate::setting_enum;

const MAIL_BACKEND: Setting = Setting::new(
    "MAIL_BACKEND",
    "",
    "smtp, file (.eml in the data folder) or log; default smtp when SMTP_URL is set, else file.",
);
const SMTP_URL: Setting = Setting::secret(
    "SMTP_URL",
    "Mail server: smtps://user:password@host (465) or smtp://user:password@host?tls=required (587, STARTTLS).",
);
const MAIL_FROM: Setting = Setting::new(
    "MAIL_FROM",
    "",
    "Sender, such as 'Yunque <noreply@example.com>'; default the SMTP user if it is an address.",
);

const MAIL_KEEP: Setting = Setting::new(
    "MAIL_KEEP",
    "30d",
    "How long sent and failed mails stay listed, without their values.",
);

const FALLBACK: &str = "Yunque <noreply@localhost>";
const URL_EXAMPLE: &str =
    "Example: smtps://user:password@smtp.example.com (or smtp://…?tls=required for STARTTLS).";

/// Where mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailBackend {
    Smtp,
    /// `.eml` files under `mail/` in the data folder.
    File,
    /// Only that a mail would have been sent; never its text, which may hold a code.
    Log,
    /// For tests; cannot be chosen by a setting.
    Memory,
}

setting_enum!(MailBackend { Smtp = "smtp", File = "file", Log = "log" });

/// Settings of mail.
#[derive(Clone, Debug)]
pub struct MailSettings {
    pub backend: MailBackend,
    /// Whether somebody chose the backend; production without SMTP warns otherwise.
    pub is_chosen: bool,
    pub smtp_url: Option<SecretString>,
    pub from: Mailbox,
    /// How long finished rows are kept.
    pub keep: Duration,
}

struct Sender(Mailbox);

impl FromSetting for Sender {
    const EXAMPLE: &'static str = "Yunque <noreply@example.com>";

    fn from_setting(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("has control characters".to_owned());
        }
        text.parse()
            .map(Sender)
            .map_err(|_| "is not a mail address".to_owned())
    }
}

impl MailSettings {
    pub fn read(r: &mut Reader<'_>) -> Self {
        let chosen = r.optional::<MailBackend>(&MAIL_BACKEND);
        let smtp_url = r.secret(&SMTP_URL);
        let from = r.optional::<Sender>(&MAIL_FROM).map(|from| from.0);
        if let Some(url) = &smtp_url
            && let Err(problem) = check_url(url.expose_secret())
        {
            r.fault(&SMTP_URL, problem, URL_EXAMPLE);
        }
        let backend = chosen.unwrap_or(if smtp_url.is_some() {
            MailBackend::Smtp
        } else {
            MailBackend::File
        });
        if backend == MailBackend::Smtp && smtp_url.is_none() {
            r.fault(&SMTP_URL, "is required by MAIL_BACKEND=smtp", URL_EXAMPLE);
        }
        let from = from.or_else(|| user_as_sender(smtp_url.as_ref()?));
        if from.is_none() && backend == MailBackend::Smtp {
            r.warn(format!(
                "MAIL_FROM is unset: mails come from {FALLBACK}, which most servers refuse."
            ));
        }
        let from = from.unwrap_or_else(|| FALLBACK.parse().expect("a constant address"));
        MailSettings {
            backend,
            is_chosen: chosen.is_some(),
            smtp_url,
            from,
            keep: r.get::<Seconds>(&MAIL_KEEP).0,
        }
    }

    /// What to tell an operator of a production server, at the start and in `doctor`.
    pub fn production_warning(&self) -> Option<&'static str> {
        let is_accident = self.backend != MailBackend::Smtp && !self.is_chosen;
        is_accident.then_some(
            "No mail leaves this server: SMTP_URL is unset, so mails are written to the data folder. \
             Set SMTP_URL, or MAIL_BACKEND=file if this is meant.",
        )
    }

    /// Keeps mails in memory, for tests.
    pub fn memory() -> Self {
        let from = FALLBACK.parse().expect("a constant address");
        MailSettings {
            backend: MailBackend::Memory,
            is_chosen: true,
            smtp_url: None,
            from,
            keep: Duration::from_secs(3600),
        }
    }
}

fn user_as_sender(url: &SecretString) -> Option<Mailbox> {
    let url = Url::parse(url.expose_secret()).ok()?;
    let user = percent_encoding::percent_decode_str(url.username())
        .decode_utf8()
        .ok()?;
    user.parse().ok()
}

/// Refuses what would fail later with a worse message, and a password that would travel in clear.
fn check_url(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let tls = url
        .query_pairs()
        .find(|(key, _)| key == "tls")
        .map(|(_, value)| value.into_owned());
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or("has no host")?;
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None | Some("required")) | ("smtp", Some("required" | "opportunistic" | "none")) => {}
        ("smtp", None) => {
            let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
            if url.password().is_some() && !is_local {
                return Err(
                    "would send the password in clear; use smtps:// or ?tls=required (?tls=none to insist)",
                );
            }
        }
        ("smtp" | "smtps", Some(_)) => return Err("has an unknown tls parameter"),
        _ => return Err("must start with smtp:// or smtps://"),
    }
    if url.username().is_empty() != url.password().is_none() {
        return Err("needs both user and password, or neither");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn read(values: &[(&str, &str)]) -> (MailSettings, String) {
        let env = Env::fixed(values.iter().copied());
        let mut r = Reader::new(&env);
        let settings = MailSettings::read(&mut r);
        let faults = r.finish(()).err().map_or(String::new(), |f| f.to_string());
        (settings, faults)
    }

    #[test]
    fn the_backend_follows_the_url_unless_chosen() {
        assert_eq!(read(&[]).0.backend, MailBackend::File);
        assert_eq!(
            read(&[("SMTP_URL", "smtps://u:p@mail.example.com")]).0.backend,
            MailBackend::Smtp
        );
        let (settings, faults) = read(&[
            ("SMTP_URL", "smtps://u:p@mail.example.com"),
            ("MAIL_BACKEND", "log"),
        ]);
        assert!(settings.backend == MailBackend::Log && settings.is_chosen && faults.is_empty());
    }

    #[test]
    fn smtp_without_a_server_is_a_fault() {
        let (_, faults) = read(&[("MAIL_BACKEND", "smtp")]);
        assert!(
            faults.contains("SMTP_URL") && faults.contains("MAIL_BACKEND=smtp"),
            "{faults}"
        );
        assert!(read(&[("MAIL_BACKEND", "memory")]).1.contains("MAIL_BACKEND"));
        assert!(read(&[]).0.production_warning().is_some());
        assert!(read(&[("MAIL_BACKEND", "file")]).0.production_warning().is_none());
    }

    #[test]
    fn a_password_does_not_travel_in_clear_by_accident() {
        for (url, is_good) in [
            ("smtps://u:p@mail.example.com:465", true),
            ("smtp://u:p@mail.example.com?tls=required", true),
            ("smtp://u:p@mail.example.com", false),
            ("smtp://u:p@mail.example.com?tls=none", true),
            ("smtp://127.0.0.1:1025", true),
            ("smtp://relay.internal", true),
            ("smtp://u@mail.example.com?tls=required", false),
            ("http://mail.example.com", false),
            ("smtp://", false),
            ("mail.example.com:25", false),
        ] {
            assert_eq!(
                read(&[("SMTP_URL", url), ("MAIL_FROM", "a@b.cn")]).1.is_empty(),
                is_good,
                "{url}"
            );
        }
    }

    #[test]
    fn the_sender_is_checked_and_falls_back_to_the_smtp_user() {
        let url = ("SMTP_URL", "smtps://noreply%40example.com:p@mail.example.com");
        assert_eq!(read(&[url]).0.from.email.to_string(), "noreply@example.com");
        let (settings, faults) = read(&[url, ("MAIL_FROM", "云雀 <no-reply@example.com>")]);
        assert_eq!(faults, "");
        assert_eq!(settings.from.name.as_deref(), Some("云雀"));
        assert!(read(&[("MAIL_FROM", "nobody")]).1.contains("MAIL_FROM"));
        assert!(
            read(&[("MAIL_FROM", "a@b.cn\r\nBcc: v@x.cn")])
                .1
                .contains("MAIL_FROM")
        );
    }
}
