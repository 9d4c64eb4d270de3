//! Argon2id, on a bounded number of threads.
//!
//! * One hash takes about 19 MiB and 15 ms of a core. One more than there are cores run at once; the
//!   rest wait in order, and who waits longer than the setting gets a 503 instead of a hash.
//! * The memory of a hash is kept and reused, so 64 logins at once cost no more than one for each
//!   core.
//! * A hash runs to its end even when its client has gone: its turn is only given back then.
//! * Where there is no account, the same work is done over a fixed salt, so that the time tells
//!   nothing.
//! * A hash imported from Django takes many times as long. While there are any, whoever refuses a login
//!   waits until [`Passwords::floor`] is over, or the time would tell which names were imported.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{ParamsString, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::django::{self, DjangoHash};
use super::settings::{PasswordCost, is_bearable};
use crate::error::{Code, Coded, common};
use crate::telemetry::Metrics;

/// Longer input is never hashed; the contract's limit of 128 characters is far below.
const MAX_PASSWORD_BYTES: usize = 1024;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The salt where there is no account. Its hash is computed and thrown away.
const DUMMY_SALT: [u8; SALT_BYTES] = *b"yunque-no-such-u";
/// So many iterations tell how long one takes.
const SAMPLE: u32 = 20_000;

/// The outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right {
        /// The stored hash is weaker than today's parameters: store a new one.
        needs_rehash: bool,
    },
}

impl Verdict {
    pub fn is_right(self) -> bool {
        matches!(self, Verdict::Right { .. })
    }
}

/// No hash was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFailure {
    #[error("too many password hashes are waiting")]
    Busy,
    #[error("the hash was cut off by the shutdown or ran out of memory")]
    Interrupted,
}

impl Coded for PasswordFailure {
    fn code(&self) -> Code {
        common::SERVICE_UNAVAILABLE
    }
}

/// Hashes and compares passwords.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    params: Params,
    turns: Arc<Semaphore>,
    longest_wait: Duration,
    memory: Mutex<Vec<Vec<Block>>>,
    /// The most iterations of an imported hash that this process has heard of; 0 for none.
    imported: AtomicU32,
    /// Picoseconds of one such iteration, as measured last.
    pace: AtomicU64,
    metrics: Metrics,
}

impl Passwords {
    pub fn new(cost: &PasswordCost, metrics: &Metrics) -> Self {
        Passwords(Arc::new(Inner {
            params: cost.params.clone(),
            turns: Arc::new(Semaphore::new(cost.concurrency)),
            longest_wait: cost.longest_wait,
            memory: Mutex::default(),
            imported: AtomicU32::new(0),
            pace: AtomicU64::new(0),
            metrics: metrics.clone(),
        }))
    }

    /// A PHC string with a fresh salt.
    ///
    /// # Errors
    /// `Busy` after waiting too long for a turn.
    pub async fn hash(&self, password: &SecretString) -> Result<String, PasswordFailure> {
        let password = password.clone();
        self.in_turn(move |inner| {
            let mut salt = [0_u8; SALT_BYTES];
            rand::rng().fill_bytes(&mut salt);
            let out = inner.digest(
                password.expose_secret(),
                &salt,
                &inner.params,
                Algorithm::Argon2id,
                Version::V0x13,
            )?;
            Some(phc(&inner.params, &salt, &out))
        })
        .await?
        .ok_or(PasswordFailure::Interrupted)
    }

    /// Compares with a stored hash. `None` (no such account) does the same work and is `Wrong`.
    ///
    /// # Errors
    /// `Busy` after waiting too long for a turn.
    pub async fn verify(
        &self,
        password: &SecretString,
        stored: Option<String>,
    ) -> Result<Verdict, PasswordFailure> {
        if password.expose_secret().len() > MAX_PASSWORD_BYTES {
            return Ok(Verdict::Wrong);
        }
        let password = password.clone();
        self.in_turn(move |inner| {
            let password = password.expose_secret();
            let verdict = stored
                .as_deref()
                .and_then(|stored| inner.compare(password, stored));
            verdict.or_else(|| {
                inner.digest(
                    password,
                    &DUMMY_SALT,
                    &inner.params,
                    Algorithm::Argon2id,
                    Version::V0x13,
                )?;
                Some(Verdict::Wrong)
            })
        })
        .await?
        .ok_or(PasswordFailure::Interrupted)
    }

    /// Whether a stored text is a hash that we can compute.
    pub fn understands(stored: &str) -> bool {
        DjangoHash::parse(stored).is_some() || Stored::parse(stored).is_some()
    }

    /// There are imported hashes of so many iterations.
    pub async fn expect_imported(&self, iterations: u32) {
        if iterations > 0 && self.0.pace.load(Ordering::Relaxed) == 0 {
            let measured = self.in_turn(|inner| {
                let begun = Instant::now();
                std::hint::black_box(django::digest("", "sample", SAMPLE));
                inner.keep_pace(begun.elapsed(), SAMPLE);
            });
            // A server too busy for it measures the first real one.
            let _ = measured.await;
        }
        self.0.imported.fetch_max(iterations, Ordering::Relaxed);
    }

    /// How long a refused login takes at least: a little more than the slowest imported hash.
    pub fn floor(&self) -> Duration {
        let iterations = u64::from(self.0.imported.load(Ordering::Relaxed));
        let once = self.0.pace.load(Ordering::Relaxed).saturating_mul(iterations) / 1000;
        Duration::from_nanos(once.saturating_add(once / 4))
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, PasswordFailure> {
        let inner = self.0.clone();
        let waiting = Instant::now();
        let turn = tokio::time::timeout(inner.longest_wait, inner.turns.clone().acquire_owned()).await;
        inner
            .metrics
            .auth
            .hash_wait_seconds
            .observe(waiting.elapsed().as_secs_f64());
        let Ok(Ok(turn)) = turn else {
            return Err(PasswordFailure::Busy);
        };
        let done = tokio::task::spawn_blocking(move || {
            inner.metrics.auth.hashes_running.inc();
            let result = work(&inner);
            inner.metrics.auth.hashes_running.dec();
            drop(turn);
            result
        });
        done.await.map_err(|_| PasswordFailure::Interrupted)
    }
}

impl Inner {
    /// `None` when the stored text is not a hash that we can compute.
    fn compare(&self, password: &str, stored: &str) -> Option<Verdict> {
        if let Some(imported) = DjangoHash::parse(stored) {
            return Some(self.compare_imported(password, &imported));
        }
        let stored = Stored::parse(stored)?;
        let out = self.digest(
            password,
            &stored.salt,
            &stored.params,
            stored.algorithm,
            stored.version,
        )?;
        if !same(&out, &stored.hash) {
            return Some(Verdict::Wrong);
        }
        let weaker = stored.algorithm != Algorithm::Argon2id
            || stored.version != Version::V0x13
            || stored.params.m_cost() < self.params.m_cost()
            || stored.params.t_cost() < self.params.t_cost();
        Some(Verdict::Right { needs_rehash: weaker })
    }

    fn compare_imported(&self, password: &str, imported: &DjangoHash) -> Verdict {
        self.imported.fetch_max(imported.iterations, Ordering::Relaxed);
        let begun = Instant::now();
        let (found, stored) = imported.digests(password);
        self.keep_pace(begun.elapsed(), imported.iterations);
        if same(&found, &stored) {
            Verdict::Right { needs_rehash: true }
        } else {
            Verdict::Wrong
        }
    }

    fn keep_pace(&self, took: Duration, iterations: u32) {
        let each = took.as_nanos().saturating_mul(1000) / u128::from(iterations.max(1));
        let each = u64::try_from(each).unwrap_or(u64::MAX);
        self.pace.store(each.max(1), Ordering::Relaxed);
    }

    fn digest(
        &self,
        password: &str,
        salt: &[u8],
        params: &Params,
        algorithm: Algorithm,
        version: Version,
    ) -> Option<[u8; HASH_BYTES]> {
        let mut out = [0_u8; HASH_BYTES];
        let mut blocks = self
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default();
        let missing = params.block_count().saturating_sub(blocks.len());
        if missing > 0 {
            // `resize` alone ends the process when there is not that much memory.
            blocks.try_reserve_exact(missing).ok()?;
            blocks.resize(params.block_count(), Block::default());
        }
        let result = Argon2::new(algorithm, version, params.clone()).hash_password_into_with_memory(
            password.as_bytes(),
            salt,
            &mut out,
            blocks.as_mut_slice(),
        );
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(blocks);
        result.ok().map(|()| out)
    }
}

/// An Argon2 hash taken apart.
struct Stored {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl Stored {
    fn parse(text: &str) -> Option<Self> {
        let stored = PasswordHash::new(text).ok()?;
        let version = stored.version.map_or(Ok(Version::V0x13), Version::try_from);
        Some(Stored {
            algorithm: Algorithm::try_from(stored.algorithm.as_str()).ok()?,
            version: version.ok()?,
            // What was stored decides how much memory is asked for, and a row can be edited or imported.
            params: Params::try_from(&stored).ok().filter(is_bearable)?,
            salt: stored.salt?.as_ref().to_vec(),
            hash: stored.hash?.as_bytes().try_into().ok()?,
        })
    }
}

fn phc(params: &Params, salt: &[u8], hash: &[u8]) -> String {
    // The output length is the hash's own; only m, t and p belong into the text.
    let bare = Params::new(params.m_cost(), params.t_cost(), params.p_cost(), None)
        .expect("taken from parameters that were valid");
    let cost = ParamsString::try_from(&bare).expect("three small numbers fit");
    format!(
        "$argon2id$v=19${cost}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    )
}

/// Equality in a time that does not depend on where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (x, y)| seen | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn the_right_password_verifies_and_nothing_else_does() {
        let p = Passwords::new(&PasswordCost::cheapest(), &Metrics::new());
        let long: String = "x".repeat(100);
        let stored = p.hash(&secret(&long)).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        assert_ne!(stored, p.hash(&secret(&long)).await.expect("hashed"));
        let check = |text: String| {
            let (p, stored) = (p.clone(), stored.clone());
            async move { p.verify(&secret(&text), Some(stored)).await.expect("verified") }
        };
        assert_eq!(check(long.clone()).await, Verdict::Right { needs_rehash: false });
        // No truncation: a difference after byte 72 counts.
        assert_eq!(check(format!("{}y", &long[..99])).await, Verdict::Wrong);
        assert_eq!(check(format!("{long} ")).await, Verdict::Wrong);
        assert_eq!(check("x".repeat(1 << 20)).await, Verdict::Wrong);
        assert_eq!(p.verify(&secret("x"), None).await, Ok(Verdict::Wrong));
        for broken in [
            "",
            "plain",
            "$argon2id$v=19$m=8,t=1,p=1$c2FsdA",
            "pbkdf2_sha256$1$a$b",
            "!",
        ] {
            assert_eq!(
                p.verify(&secret("x"), Some(broken.into())).await,
                Ok(Verdict::Wrong),
                "{broken}"
            );
        }
    }

    #[tokio::test]
    async fn weaker_stored_hashes_ask_to_be_replaced() {
        let weak = Passwords::new(&PasswordCost::cheapest(), &Metrics::new());
        let stored = weak.hash(&secret("correct horse")).await.expect("hashed");
        let params = Params::new(64, 2, 1, Some(32)).expect("valid");
        let strong = Passwords::new(
            &PasswordCost {
                params,
                ..PasswordCost::cheapest()
            },
            &Metrics::new(),
        );
        let verdict = strong
            .verify(&secret("correct horse"), Some(stored))
            .await
            .expect("verified");
        assert_eq!(verdict, Verdict::Right { needs_rehash: true });
        let stored = strong.hash(&secret("correct horse")).await.expect("hashed");
        let verdict = weak
            .verify(&secret("correct horse"), Some(stored))
            .await
            .expect("verified");
        assert_eq!(verdict, Verdict::Right { needs_rehash: false });
    }

    #[tokio::test]
    async fn an_imported_hash_verifies_asks_to_be_replaced_and_sets_the_floor() {
        let p = Passwords::new(&PasswordCost::cheapest(), &Metrics::new());
        assert_eq!(p.floor(), Duration::ZERO);
        p.expect_imported(1000).await;
        let expected = p.floor();
        assert!(
            expected > Duration::ZERO && expected < Duration::from_millis(200),
            "{expected:?}"
        );
        let stored = format!(
            "pbkdf2_sha256$4000$salt${}",
            base64::engine::general_purpose::STANDARD.encode(django::digest("correct horse", "salt", 4000))
        );
        assert!(Passwords::understands(&stored));
        let verdict = p.verify(&secret("correct horse"), Some(stored.clone())).await;
        assert_eq!(verdict, Ok(Verdict::Right { needs_rehash: true }));
        let verdict = p.verify(&secret("correct horsf"), Some(stored)).await;
        assert_eq!(verdict, Ok(Verdict::Wrong));
        assert_eq!(p.0.imported.load(Ordering::Relaxed), 4000);
    }

    #[tokio::test]
    async fn a_stored_cost_beyond_the_settings_is_no_match_and_takes_no_memory() {
        let p = Passwords::new(&PasswordCost::cheapest(), &Metrics::new());
        let stored = p.hash(&secret("correct horse")).await.expect("hashed");
        for cost in [
            "m=4294967295,t=1,p=1",
            "m=1048577,t=1,p=1",
            "m=8,t=101,p=1",
            "m=8,t=4294967295,p=1",
            "m=1024,t=1,p=65",
        ] {
            let stored = stored.replace("m=8,t=1,p=1", cost);
            let verdict = p.verify(&secret("correct horse"), Some(stored)).await;
            assert_eq!(verdict, Ok(Verdict::Wrong), "{cost}");
        }
        let kept = p.0.memory.lock().expect("not poisoned");
        assert!(kept.iter().all(|blocks| blocks.len() == 8));
    }

    #[tokio::test]
    async fn waiting_too_long_is_refused() {
        let cost = PasswordCost {
            concurrency: 1,
            longest_wait: Duration::from_millis(20),
            ..PasswordCost::cheapest()
        };
        let p = Passwords::new(&cost, &Metrics::new());
        let turn = p.0.turns.clone().acquire_owned().await.expect("open");
        assert_eq!(p.hash(&secret("x")).await, Err(PasswordFailure::Busy));
        drop(turn);
        assert!(p.hash(&secret("x")).await.is_ok());
    }
}
