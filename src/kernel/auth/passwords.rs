//! Argon2id, on a bounded number of threads.
//!
//! * One hash takes about 19 MiB and 15 ms of a core. One more than there are cores run at once; the
//!   rest wait in order, and who waits longer than the setting gets a 503 instead of a hash.
//! * The memory of a hash is kept and reused, so 64 logins at once cost no more than one for each
//!   core.
//! * A hash runs to its end even when its client has gone: its turn is only given back then.
//! * Where there is no account, the same work is done over a fixed salt, so that the time tells
//!   nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{ParamsString, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::settings::{PasswordCost, is_bearable};
use crate::error::{Code, Coded, common};
use crate::telemetry::Metrics;

/// Longer input is never hashed; the contract's limit of 128 characters is far below.
const MAX_PASSWORD_BYTES: usize = 1024;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The salt where there is no account. Its hash is computed and thrown away.
const DUMMY_SALT: [u8; SALT_BYTES] = *b"yunque-no-such-u";

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
    metrics: Metrics,
}

impl Passwords {
    pub fn new(cost: &PasswordCost, metrics: &Metrics) -> Self {
        Passwords(Arc::new(Inner {
            params: cost.params.clone(),
            turns: Arc::new(Semaphore::new(cost.concurrency)),
            longest_wait: cost.longest_wait,
            memory: Mutex::default(),
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
    /// `None` when the stored text is not a hash that we can compute. Forms imported from
    /// elsewhere (`pbkdf2_sha256$…`) get their branch here.
    fn compare(&self, password: &str, stored: &str) -> Option<Verdict> {
        let stored = PasswordHash::new(stored).ok()?;
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
        let version = stored
            .version
            .map_or(Ok(Version::V0x13), Version::try_from)
            .ok()?;
        // What was stored decides how much memory is asked for, and a row can be edited or imported.
        let params = Params::try_from(&stored).ok().filter(is_bearable)?;
        let salt = stored.salt?;
        let expected = stored.hash?;
        if expected.as_bytes().len() != HASH_BYTES {
            return None;
        }
        let out = self.digest(password, salt.as_ref(), &params, algorithm, version)?;
        if !same(&out, expected.as_bytes()) {
            return Some(Verdict::Wrong);
        }
        let weaker = algorithm != Algorithm::Argon2id
            || version != Version::V0x13
            || params.m_cost() < self.params.m_cost()
            || params.t_cost() < self.params.t_cost();
        Some(Verdict::Right { needs_rehash: weaker })
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
