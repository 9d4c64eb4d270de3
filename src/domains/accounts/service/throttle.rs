//! How many wrong guesses an address may make.
//!
//! An attempt asks for its turn before the password is looked at. Turns are given in one
//! transaction that counts failures and notes the attempt, so a limit of ten means ten
//! verifications, however many requests come at once and on however many instances. Attempts that
//! are still being verified count too, but only make others wait: twenty parallel logins with the
//! right password all succeed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yunque_kernel::{DbError, Tx};

use super::client::Client;
use crate::error::AccountsError;
use crate::repo::attempts::{self, Subject};
use crate::settings::Threshold;
use crate::values::name_key;
use crate::{Accounts, AccountsSettings};

const MAX_NAME: usize = 254;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at attempts that other instances are verifying.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Lets the attempts of one address and name wait in memory instead of asking the database again
/// and again.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<(String, String), Weak<Semaphore>>>);

impl Turns {
    async fn next(&self, who: &Subject, at_once: u32) -> Result<OwnedSemaphorePermit, AccountsError> {
        let semaphore = {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if map.len() > 1024 {
                map.retain(|_, turns| turns.strong_count() > 0);
            }
            let slot = map.entry((who.ip.clone(), who.name.clone())).or_default();
            slot.upgrade().unwrap_or_else(|| {
                let turns = Arc::new(Semaphore::new(at_once as usize));
                *slot = Arc::downgrade(&turns);
                turns
            })
        };
        match tokio::time::timeout(LONGEST_WAIT, semaphore.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(DbError::Overloaded.into()),
        }
    }
}

/// The right to verify one password. Must be settled.
pub struct Attempt {
    pub id: i64,
    pub who: Subject,
    _turn: OwnedSemaphorePermit,
}

enum Answer {
    Go(i64),
    Wait,
    Blocked { until: DateTime<Utc> },
}

impl Accounts {
    /// Asks for the right to verify a password for `name`.
    ///
    /// # Errors
    /// `LoginBlocked` after too many failures, even if this password would be right.
    pub(super) async fn begin_attempt(&self, name: &str, client: &Client) -> Result<Attempt, AccountsError> {
        let who = Subject {
            name: name_key(name.trim()).chars().take(MAX_NAME).collect(),
            ip: client.network.clone(),
            user_agent: client.user_agent.clone(),
        };
        let turn = self
            .0
            .turns
            .next(&who, self.0.settings.login_threshold.failures)
            .await?;
        let begun = Instant::now();
        loop {
            match self.ask(&who).await? {
                Answer::Go(id) => return Ok(Attempt { id, who, _turn: turn }),
                Answer::Blocked { until } => {
                    let wait = (until - self.now()).num_milliseconds().max(0);
                    let retry_after_seconds = u64::try_from(wait).unwrap_or(0).div_ceil(1000).max(1);
                    return Err(AccountsError::LoginBlocked { retry_after_seconds });
                }
                Answer::Wait if begun.elapsed() > LONGEST_WAIT => return Err(DbError::Overloaded.into()),
                Answer::Wait => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn ask(&self, who: &Subject) -> Result<Answer, AccountsError> {
        let (who, clock, settings) = (who.clone(), self.0.ctx.clock.clone(), self.0.settings.clone());
        let asked = self.0.ctx.db.write("login_attempt", move |tx| {
            let (who, clock, settings) = (who.clone(), clock.clone(), settings.clone());
            async move { answer(&tx, &who, &settings, clock.now()).await }
        });
        Ok(asked.await?)
    }

    /// The attempt was not verified after all.
    pub(super) async fn withdraw_attempt(&self, attempt: &Attempt) {
        let id = attempt.id;
        let withdrawn = self.0.ctx.db.write("login_withdraw", move |tx| async move {
            attempts::delete(&tx, id).await
        });
        if let Err(error) = withdrawn.await {
            // It counts as a failure for a while, which errs on the safe side.
            tracing::warn!(error = %error, "a login attempt could not be taken back");
        }
    }
}

async fn answer(
    tx: &Tx,
    who: &Subject,
    settings: &AccountsSettings,
    now: DateTime<Utc>,
) -> Result<Answer, DbError> {
    let (pair, ip) = (settings.login_threshold, settings.ip_threshold);
    attempts::lock_gates(tx, who, now).await?;
    let counts = attempts::count(tx, who, now - pair.window, now - ip.window, now).await?;
    let checks = [
        (counts.pair_all, counts.pair_pending, pair, true),
        (counts.ip_all, counts.ip_pending, ip, false),
    ];
    let mut blocked_until = None;
    for (all, pending, threshold, with_name) in checks {
        if all - pending >= i64::from(threshold.failures) {
            let until = end_of_block(tx, who, threshold, with_name, now).await?;
            blocked_until = blocked_until.max(Some(until));
        }
    }
    if let Some(until) = blocked_until {
        return Ok(Answer::Blocked { until });
    }
    if checks
        .iter()
        .any(|(all, _, threshold, _)| *all >= i64::from(threshold.failures))
    {
        return Ok(Answer::Wait);
    }
    Ok(Answer::Go(attempts::insert_pending(tx, who, now).await?))
}

/// When enough of the failures have left the window.
async fn end_of_block(
    tx: &Tx,
    who: &Subject,
    threshold: Threshold,
    with_name: bool,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, DbError> {
    let since = now - threshold.window;
    let failure = attempts::find_nth_failure(tx, who, with_name, since, threshold.failures).await?;
    Ok(failure.unwrap_or(now) + threshold.window)
}
