//! Settings of accounts, logins and tokens.

use std::time::Duration;

use yunque_kernel::config::{Days, List, Reader, Seconds, Setting};

use crate::values::name_key;

const CLOUD_ACCESS: Setting = Setting::new(
    "JWT_CLOUD_ACCESS_TTL",
    "3600",
    "Life of access tokens from /user/login/",
);
const CLOUD_REFRESH: Setting = Setting::new(
    "JWT_CLOUD_REFRESH_TTL",
    "604800",
    "Life of refresh tokens from /user/login/",
);
const API_ACCESS: Setting = Setting::new(
    "JWT_API_ACCESS_TTL",
    "604800",
    "Life of access tokens from /api/token/",
);
const API_REFRESH: Setting = Setting::new(
    "JWT_API_REFRESH_TTL",
    "2592000",
    "Life of refresh tokens from /api/token/; must exceed the access tokens'",
);
const ROTATE: Setting = Setting::new(
    "JWT_ROTATE_REFRESH",
    "true",
    "Replace the refresh token at each use",
);
const GRACE: Setting = Setting::new(
    "JWT_REUSE_GRACE",
    "0",
    "Time after a rotation in which the replaced refresh token is refused without ending the session",
);
const POLICY: Setting = Setting::new(
    "PASSWORD_POLICY",
    "basic",
    "basic: 8 to 128 characters; strict: also neither common, numeric nor close to the name",
);
const REGISTRATION_OPEN: Setting = Setting::new(
    "AUTH_REGISTRATION_OPEN",
    "true",
    "Whether anyone may register an account",
);
const REQUIRE_VERIFIED: Setting = Setting::new(
    "AUTH_REQUIRE_VERIFIED_EMAIL",
    "false",
    "Refuse logins until the e-mail address is verified: a password reset verifies it, createsuperuser does at once",
);
const MAX_FAILURES: Setting = Setting::new(
    "AUTH_LOGIN_MAX_FAILURES",
    "",
    "Failed logins for one address and name before a block (default: 10 in 5 minutes, on each surface its own)",
);
const IP_MAX_FAILURES: Setting = Setting::new(
    "AUTH_IP_MAX_FAILURES",
    "",
    "Failed logins from one address before a block (default: 100 in 15 minutes, on each surface its own)",
);
const RESERVED: Setting = Setting::new(
    "USERS_RESERVED_NAMES",
    "me,search,admin,root,system,api,null,undefined",
    "User names that nobody can register",
);
const PURGE_AFTER_DAYS: Setting = Setting::new(
    "USERS_PURGE_AFTER_DAYS",
    "30",
    "Days between a deactivation and the removal of personal data",
);
const LOGIN_LOG_DAYS: Setting = Setting::new("USERS_LOGIN_LOG_DAYS", "180", "Days that login logs are kept");
const LAST_ACTIVE_INTERVAL: Setting = Setting::new(
    "USERS_LAST_ACTIVE_INTERVAL",
    "60s",
    "How exactly the time of last activity is kept",
);
const MAX_API_KEYS: Setting = Setting::new("AUTH_MAX_API_KEYS", "20", "API keys that one user may have");

/// How demanding new passwords are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordPolicy {
    Basic,
    Strict,
}

yunque_kernel::setting_enum!(PasswordPolicy { Basic = "basic", Strict = "strict" });

/// Lives of the tokens of one surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLives {
    pub access: Duration,
    pub refresh: Duration,
}

/// When a login is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    pub failures: u32,
    pub window: Duration,
}

#[derive(Clone, Debug)]
pub struct AccountsSettings {
    pub cloud_tokens: TokenLives,
    pub api_tokens: TokenLives,
    pub rotate_refresh: bool,
    pub reuse_grace: Duration,
    pub password_policy: PasswordPolicy,
    pub registration_open: bool,
    pub require_verified_email: bool,
    /// For one address and one name together.
    pub login_threshold: Threshold,
    /// For one address, whatever the name.
    pub ip_threshold: Threshold,
    /// Folded with [`name_key`].
    pub reserved_names: Vec<String>,
    pub purge_after: Duration,
    pub keep_login_logs: Duration,
    pub last_active_interval: Duration,
    pub max_api_keys: u64,
}

impl AccountsSettings {
    pub fn read(r: &mut Reader<'_>) -> Self {
        let cloud_tokens = lives(r, &CLOUD_ACCESS, &CLOUD_REFRESH);
        let api_tokens = lives(r, &API_ACCESS, &API_REFRESH);
        let login_failures = failures(r, &MAX_FAILURES, 10);
        let ip_failures = failures(r, &IP_MAX_FAILURES, 100);
        let reserved: List<String> = r.get(&RESERVED);
        AccountsSettings {
            cloud_tokens,
            api_tokens,
            rotate_refresh: r.get(&ROTATE),
            reuse_grace: r.get::<Seconds>(&GRACE).0,
            password_policy: r.get(&POLICY),
            registration_open: r.get(&REGISTRATION_OPEN),
            require_verified_email: r.get(&REQUIRE_VERIFIED),
            login_threshold: Threshold {
                failures: login_failures,
                window: minutes(5),
            },
            ip_threshold: Threshold {
                failures: ip_failures,
                window: minutes(15),
            },
            reserved_names: reserved.0.iter().map(|name| name_key(name)).collect(),
            purge_after: r.get::<Days>(&PURGE_AFTER_DAYS).0,
            keep_login_logs: r.get::<Days>(&LOGIN_LOG_DAYS).0,
            last_active_interval: r.get::<Seconds>(&LAST_ACTIVE_INTERVAL).0,
            max_api_keys: r.get(&MAX_API_KEYS),
        }
    }
}

fn lives(r: &mut Reader<'_>, access: &Setting, refresh: &Setting) -> TokenLives {
    let lives = TokenLives {
        access: r.get::<Seconds>(access).0,
        refresh: r.get::<Seconds>(refresh).0,
    };
    if lives.access < Duration::from_secs(1) {
        r.fault(
            access,
            "is shorter than a second",
            format!("Example: {}.", access.default),
        );
    }
    if lives.refresh <= lives.access {
        r.fault(
            refresh,
            format!("must be longer than {}", access.name),
            format!("Example: {}.", refresh.default),
        );
    }
    lives
}

fn failures(r: &mut Reader<'_>, setting: &Setting, default: u32) -> u32 {
    match r.optional(setting) {
        Some(0) => {
            r.fault(setting, "would block everybody", format!("Example: {default}."));
            default
        }
        Some(n) => n,
        None => default,
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[cfg(test)]
mod tests {
    use yunque_kernel::config::Env;

    use super::*;

    #[test]
    fn defaults_are_the_contracts_and_cross_rules_are_checked() {
        let env = Env::fixed::<&str, &str>([]);
        let s = AccountsSettings::read(&mut Reader::new(&env));
        assert_eq!(
            (s.cloud_tokens.access.as_secs(), s.cloud_tokens.refresh.as_secs()),
            (3600, 604_800)
        );
        assert_eq!(
            (s.api_tokens.access.as_secs(), s.api_tokens.refresh.as_secs()),
            (604_800, 2_592_000)
        );
        assert_eq!((s.login_threshold.failures, s.ip_threshold.failures), (10, 100));
        assert!(s.reserved_names.contains(&"admin".to_owned()));

        let env = Env::fixed([("JWT_API_REFRESH_TTL", "1h"), ("AUTH_LOGIN_MAX_FAILURES", "0")]);
        let mut r = Reader::new(&env);
        let settings = AccountsSettings::read(&mut r);
        let faults = r.finish(settings).expect_err("two faults").0;
        assert_eq!(
            faults.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
            ["JWT_API_REFRESH_TTL", "AUTH_LOGIN_MAX_FAILURES"]
        );
    }
}
