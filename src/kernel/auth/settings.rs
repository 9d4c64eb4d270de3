//! Settings of credentials: the master secret and the cost of password hashes.

use std::time::Duration;

use argon2::Params;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Reader, Seconds, Setting};

pub(super) const SECRET_KEY: Setting = Setting::secret(
    "SECRET_KEY",
    "Master secret of at least 32 bytes; made once in DATA_DIR when unset in development with SQLite",
);
const SECRET_KEY_PREVIOUS: Setting = Setting::secret(
    "SECRET_KEY_PREVIOUS",
    "Former master secrets, comma separated; they only verify and decrypt",
);
const ARGON2_MEMORY: Setting = Setting::new(
    "ARGON2_MEMORY_KIB",
    "19456",
    "Memory of one password hash, in KiB",
);
const ARGON2_ITERATIONS: Setting = Setting::new("ARGON2_ITERATIONS", "2", "Passes of one password hash");
const ARGON2_PARALLELISM: Setting = Setting::new("ARGON2_PARALLELISM", "1", "Lanes of one password hash");
const HASH_CONCURRENCY: Setting = Setting::new(
    "PASSWORD_HASH_CONCURRENCY",
    "",
    "Password hashes computed at once (default: one more than there are cores)",
);
const HASH_WAIT: Setting = Setting::new(
    "PASSWORD_HASH_WAIT",
    "5s",
    "Longest wait for a turn to hash a password before answering 503",
);

/// The least cost that OWASP recommends for Argon2id.
const LEAST_MEMORY_KIB: u32 = 19_456;
const LEAST_ITERATIONS: u32 = 2;
/// Beyond these one login is a denial of service.
const MOST_MEMORY_KIB: u32 = 1 << 20;
const MOST_ITERATIONS: u32 = 100;
const MOST_LANES: u32 = 64;
const LEAST_SECRET_BYTES: usize = 32;
pub(super) const REMEDY: &str = "Make one with: openssl rand -hex 32.";

/// What one password hash may cost, and how many run at once.
#[derive(Clone, Debug)]
pub struct PasswordCost {
    pub params: Params,
    pub concurrency: usize,
    pub longest_wait: Duration,
}

impl PasswordCost {
    /// As cheap as Argon2 allows. For tests that are not about password hashes.
    pub fn cheapest() -> Self {
        PasswordCost {
            params: Params::new(Params::MIN_M_COST, 1, 1, Some(32)).expect("the documented minimum is valid"),
            concurrency: at_once(),
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// Settings of the auth section.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    pub secret_key: Option<SecretString>,
    pub previous_keys: Vec<SecretString>,
    pub passwords: PasswordCost,
}

impl AuthSettings {
    /// `production`: weak hash parameters are refused there.
    pub fn read(r: &mut Reader<'_>, production: bool) -> Self {
        let secret_key = r.secret(&SECRET_KEY);
        if let Some(problem) = secret_key.as_ref().and_then(weakness) {
            r.fault(&SECRET_KEY, problem, REMEDY);
        }
        let previous_keys: Vec<SecretString> = r
            .secret(&SECRET_KEY_PREVIOUS)
            .map(|list| {
                let parts = list
                    .expose_secret()
                    .split(',')
                    .map(str::trim)
                    .filter(|p| !p.is_empty());
                parts.map(SecretString::from).collect()
            })
            .unwrap_or_default();
        if let Some(problem) = previous_keys.iter().find_map(weakness) {
            r.fault(
                &SECRET_KEY_PREVIOUS,
                problem,
                "List the former values of SECRET_KEY, separated by commas.",
            );
        }
        AuthSettings {
            secret_key,
            previous_keys,
            passwords: read_cost(r, production),
        }
    }
}

fn read_cost(r: &mut Reader<'_>, production: bool) -> PasswordCost {
    let (memory, passes, lanes): (u32, u32, u32) = (
        r.get(&ARGON2_MEMORY),
        r.get(&ARGON2_ITERATIONS),
        r.get(&ARGON2_PARALLELISM),
    );
    if production && (memory < LEAST_MEMORY_KIB || passes < LEAST_ITERATIONS) {
        r.fault(
            &ARGON2_MEMORY,
            "is too cheap for production",
            "Use at least ARGON2_MEMORY_KIB=19456 with ARGON2_ITERATIONS=2.",
        );
    }
    for (setting, value, most) in [
        (&ARGON2_MEMORY, memory, MOST_MEMORY_KIB),
        (&ARGON2_ITERATIONS, passes, MOST_ITERATIONS),
        (&ARGON2_PARALLELISM, lanes, MOST_LANES),
    ] {
        if value > most {
            r.fault(
                setting,
                format!("is more than {most}"),
                format!("Example: {}.", setting.default),
            );
        }
    }
    let params = Params::new(memory, passes, lanes, Some(32)).unwrap_or_else(|e| {
        r.fault(
            &ARGON2_MEMORY,
            format!("is not a valid cost: {e}"),
            "Example: 19456 with ARGON2_ITERATIONS=2.",
        );
        Params::default()
    });
    let concurrency = r.optional::<usize>(&HASH_CONCURRENCY).unwrap_or_else(at_once);
    if concurrency == 0 {
        r.fault(
            &HASH_CONCURRENCY,
            "must be at least 1",
            "Leave it unset for one more than there are cores.",
        );
    }
    PasswordCost {
        params,
        concurrency: concurrency.max(1),
        longest_wait: r.get::<Seconds>(&HASH_WAIT).0,
    }
}

/// Within what the settings allow. A stored hash outside would be computed with memory that this machine was never
/// meant to give.
pub(super) fn is_bearable(cost: &Params) -> bool {
    cost.m_cost() <= MOST_MEMORY_KIB && cost.t_cost() <= MOST_ITERATIONS && cost.p_cost() <= MOST_LANES
}

/// One more than there are cores, so that none idles while one hash makes way for the next.
fn at_once() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get) + 1
}

/// Why a secret must not be used, if it must not.
fn weakness(secret: &SecretString) -> Option<&'static str> {
    let text = secret.expose_secret();
    let lower = text.to_lowercase();
    let example = [
        "changeme",
        "change-me",
        "change_me",
        "your-secret",
        "your_secret",
        "yoursecret",
        "example",
        "replace-me",
        "replace_me",
        "django-insecure",
        "secret-key",
        "secret_key",
        "0123456789abcdef0123456789abcdef",
    ];
    let mut distinct: Vec<char> = text.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if text.len() < LEAST_SECRET_BYTES {
        Some("is shorter than 32 bytes")
    } else if example.iter().any(|word| lower.contains(word)) {
        Some("is an example value")
    } else if distinct.len() < 8 {
        Some("repeats a few characters and can be guessed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    #[test]
    fn weak_secrets_are_refused_by_name() {
        for (value, ok) in [
            ("short", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("change-me-change-me-change-me-change-me-1234", false),
            ("django-insecure-8d2h$kk3nvz@v0q1m4l7x!9w", false),
            ("3f9c1f6f0a2b4c58d7e6915a2b3c4d5e6f708192a3b4c5d6", true),
        ] {
            let env = Env::fixed([("SECRET_KEY", value)]);
            let mut r = Reader::new(&env);
            let settings = AuthSettings::read(&mut r, true);
            assert_eq!(r.finish(settings).is_ok(), ok, "{value}");
        }
    }

    #[test]
    fn cheap_hashes_are_for_development_only() {
        for (production, ok) in [(true, false), (false, true)] {
            let env = Env::fixed([("ARGON2_MEMORY_KIB", "64"), ("ARGON2_ITERATIONS", "1")]);
            let mut r = Reader::new(&env);
            let settings = AuthSettings::read(&mut r, production);
            assert_eq!(r.finish(settings).is_ok(), ok);
        }
    }

    #[test]
    fn a_hash_that_takes_the_server_down_is_refused() {
        for (name, value) in [
            ("ARGON2_MEMORY_KIB", "1048577"),
            ("ARGON2_ITERATIONS", "101"),
            ("ARGON2_PARALLELISM", "65"),
            ("PASSWORD_HASH_CONCURRENCY", "18446744073709551615"),
        ] {
            let env = Env::fixed([(name, value)]);
            let mut r = Reader::new(&env);
            let settings = AuthSettings::read(&mut r, false);
            let faults = r.finish(settings).unwrap_err();
            assert!(faults.to_string().starts_with(name), "{faults}");
        }
    }
}
