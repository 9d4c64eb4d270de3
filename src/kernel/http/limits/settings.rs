//! The limits of the contract and their variables.

use std::time::Duration;

use crate::config::{FromSetting, List, Reader, Setting};

/// In development these are this much wider, so that a front end under work is not throttled.
const DEVELOPMENT_FACTOR: u32 = 20;

const ENABLED: Setting = Setting::new(
    "RATE_LIMIT_ENABLED",
    "true",
    "false stops the general, register, file and chat limits, for load tests; login and code limits stay",
);
const USER: Setting = Setting::new(
    "RATE_LIMIT_USER",
    "600/min",
    "Requests of one user (20 times as many in development)",
);
const ANONYMOUS: Setting = Setting::new(
    "RATE_LIMIT_ANONYMOUS",
    "120/min",
    "Requests of one address without a login (20 times as many in development)",
);
const REGISTER: Setting = Setting::new(
    "RATE_LIMIT_REGISTER",
    "30/h",
    "Registrations from one address (20 times as many in development)",
);
const RESET_MAIL: Setting = Setting::new(
    "RATE_LIMIT_RESET_MAIL",
    "1/min,5/h",
    "Password mails to one mail address",
);
const RESET_MAIL_IP: Setting = Setting::new(
    "RATE_LIMIT_RESET_MAIL_IP",
    "20/h",
    "Password mails asked for by one address",
);
const FILE_CREATE: Setting = Setting::new(
    "RATE_LIMIT_FILE_CREATE",
    "120/min",
    "Files created by one user (20 times as many in development)",
);
const CHAT_SEND: Setting = Setting::new(
    "RATE_LIMIT_CHAT_SEND",
    "20/s",
    "Messages sent by one user (20 times as many in development)",
);
const CHAT_BURST: Setting = Setting::new(
    "RATE_LIMIT_CHAT_BURST",
    "60",
    "Messages one user may send at once (20 times as many in development)",
);

/// So many in so long: `600/min`, `20/s`, `5/h`, `100/15m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
    /// How many at once; as many as `count` unless said otherwise. Quick buckets only.
    pub burst: u32,
}

impl Rate {
    pub const fn new(count: u32, per: Duration) -> Self {
        Rate {
            count,
            per,
            burst: count,
        }
    }

    /// As `RateLimit-Policy` writes it: `100;w=60`.
    pub fn policy(self) -> String {
        format!("{};w={}", self.count, self.per.as_secs().max(1))
    }

    fn times(self, factor: u32) -> Self {
        Rate {
            count: self.count.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor),
            per: self.per,
        }
    }
}

impl FromSetting for Rate {
    const EXAMPLE: &'static str = "600/min, 20/s, 5/h or 100/15m";

    fn from_setting(text: &str) -> Result<Self, String> {
        let problem = || "must be a count, a slash and a time".to_owned();
        let (count, per) = text.split_once('/').ok_or_else(problem)?;
        let count: u32 = count.trim().parse().map_err(|_| problem())?;
        let per = match per.trim() {
            "s" | "sec" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" | "hour" => Duration::from_secs(3600),
            "d" | "day" => Duration::from_secs(86_400),
            other => crate::config::Seconds::from_setting(other)?.0,
        };
        if count == 0 || per.is_zero() {
            return Err("must not be zero".to_owned());
        }
        Ok(Rate::new(count, per))
    }
}

/// The limits in force.
#[derive(Clone, Debug)]
pub struct LimitSettings {
    pub enabled: bool,
    pub user: Rate,
    pub anonymous: Rate,
    pub register: Vec<Rate>,
    pub reset_mail: Vec<Rate>,
    pub reset_mail_ip: Vec<Rate>,
    pub file_create: Rate,
    pub chat_send: Rate,
}

impl LimitSettings {
    /// Whether anything but logins and codes is limited.
    pub(crate) fn enabled(r: &mut Reader<'_>) -> bool {
        r.get(&ENABLED)
    }

    pub fn read(r: &mut Reader<'_>, production: bool) -> Self {
        let mut chat_send = wide(r, &CHAT_SEND, production);
        let factor = if production || r.is_set(&CHAT_BURST) {
            1
        } else {
            DEVELOPMENT_FACTOR
        };
        chat_send.burst = r.get::<u32>(&CHAT_BURST).max(1).saturating_mul(factor);
        LimitSettings {
            enabled: r.get(&ENABLED),
            user: wide(r, &USER, production),
            anonymous: wide(r, &ANONYMOUS, production),
            register: vec![wide(r, &REGISTER, production)],
            reset_mail: r.get::<List<Rate>>(&RESET_MAIL).0,
            reset_mail_ip: r.get::<List<Rate>>(&RESET_MAIL_IP).0,
            file_create: wide(r, &FILE_CREATE, production),
            chat_send,
        }
    }
}

impl Rate {
    /// A limit that is wider in development, unless somebody chose it.
    pub(crate) fn wide(r: &mut Reader<'_>, setting: &Setting, production: bool) -> Rate {
        wide(r, setting, production)
    }
}

/// A limit that is wider in development, unless somebody chose it.
fn wide(r: &mut Reader<'_>, setting: &Setting, production: bool) -> Rate {
    let rate: Rate = r.get(setting);
    if production || r.is_set(setting) {
        rate
    } else {
        rate.times(DEVELOPMENT_FACTOR)
    }
}
