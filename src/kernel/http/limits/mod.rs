//! Rate limits.
//!
//! Two kinds. *Strict* buckets (register, mail, codes …) are exact: a sliding log of the last hits,
//! in Redis or else in the table `strict_limits`, shared by all instances, surviving restarts and
//! never failing open. *Quick* buckets (any request, file create, chat send) are GCRA in the memory
//! of the process, so they cost no round trip and are approximate across instances.
//!
//! `RATE_LIMIT_ENABLED=false` stops the quick buckets and the register bucket, nothing else.

mod gate;
mod quick;
mod settings;
mod strict;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

pub use gate::{RateGate, charge_user};
pub use quick::Subject;
pub use settings::{LimitSettings, Rate};
pub use strict::StrictRule;

use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::error::{ApiError, common};
use crate::http::network_of;
use crate::ids::UserId;
use crate::redis_link::RedisLink;

/// The buckets of the contract that have settings of their own. Login failures are counted by the
/// accounts domain, which needs more than a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Strict; key: client IP.
    Register,
    /// Strict; key: folded address.
    ResetMail,
    /// Strict; key: client IP.
    ResetMailIp,
    /// Quick; subject: user.
    FileCreate,
    /// Quick; subject: user.
    ChatSend,
}

/// A cheap-to-clone handle to all limits of the process.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    settings: LimitSettings,
    user: quick::Quick,
    anonymous: quick::Quick,
    file_create: quick::Quick,
    chat_send: quick::Quick,
    strict: strict::Strict,
}

impl Limits {
    pub fn new(settings: LimitSettings, clock: Clock, db: Db, redis: Option<RedisLink>) -> Self {
        let quick = |rate: Rate| quick::Quick::new(rate, clock.clone());
        Limits(Arc::new(Inner {
            user: quick(settings.user),
            anonymous: quick(settings.anonymous),
            file_create: quick(settings.file_create),
            chat_send: quick(settings.chat_send),
            strict: strict::Strict::new(clock, db, redis),
            settings,
        }))
    }

    /// Counts one hit in a bucket that has its own settings. `key` is who or what is limited, such
    /// as an address; it is stored hashed.
    ///
    /// # Errors
    /// 429 with `Retry-After`, or 503 when neither Redis nor the database can tell.
    pub async fn strict(&self, bucket: Bucket, key: &str) -> Result<(), ApiError> {
        let (name, rates) = match bucket {
            Bucket::Register if !self.0.settings.enabled => return Ok(()),
            Bucket::Register => ("register", &self.0.settings.register),
            Bucket::ResetMail => ("reset_mail", &self.0.settings.reset_mail),
            Bucket::ResetMailIp => ("reset_mail_ip", &self.0.settings.reset_mail_ip),
            Bucket::FileCreate | Bucket::ChatSend => {
                return Err(ApiError::internal("a quick bucket was used as a strict one"));
            }
        };
        self.0.strict.hit(name, rates, key).await
    }

    /// Counts one hit against a rule of the caller's own, in every environment.
    ///
    /// # Errors
    /// See [`Limits::strict`].
    pub async fn strict_rule(&self, rule: &StrictRule, key: &str) -> Result<(), ApiError> {
        self.0.strict.hit(rule.name, &rule.rates, key).await
    }

    /// Asks without counting.
    ///
    /// # Errors
    /// See [`Limits::strict`].
    pub async fn strict_peek(&self, rule: &StrictRule, key: &str) -> Result<(), ApiError> {
        self.0.strict.peek(rule.name, &rule.rates, key).await
    }

    /// Forgets the hits of a key, such as after a success.
    ///
    /// # Errors
    /// The database failed.
    pub async fn strict_forget(&self, rule: &StrictRule, key: &str) -> Result<(), DbError> {
        self.0.strict.forget(rule.name, key).await
    }

    /// One file create or chat send of a user.
    ///
    /// # Errors
    /// 429 with `Retry-After`.
    pub fn quick(&self, bucket: Bucket, user: UserId) -> Result<(), ApiError> {
        let limiter = self.limiter(bucket)?;
        if !self.0.settings.enabled {
            return Ok(());
        }
        limiter.hit(Subject::User(user.0)).into_result().map(drop)
    }

    /// What a batch holds besides the one that [`Limits::quick`] counted: all of it or nothing.
    ///
    /// # Errors
    /// See [`Limits::quick`].
    pub fn quick_rest(&self, bucket: Bucket, user: UserId, rest: usize) -> Result<(), ApiError> {
        let limiter = self.limiter(bucket)?;
        if !self.0.settings.enabled {
            return Ok(());
        }
        limiter.hit_many(Subject::User(user.0), u32::try_from(rest).unwrap_or(u32::MAX))
    }

    fn limiter(&self, bucket: Bucket) -> Result<&quick::Quick, ApiError> {
        match bucket {
            Bucket::FileCreate => Ok(&self.0.file_create),
            Bucket::ChatSend => Ok(&self.0.chat_send),
            _ => Err(ApiError::internal("a strict bucket was used as a quick one")),
        }
    }

    /// One request of a user, or of an address when there is no user. `None` when limiting is off.
    pub(super) fn general(&self, subject: Subject) -> Option<quick::Verdict> {
        let limiter = match subject {
            Subject::User(_) => &self.0.user,
            Subject::Address(_) => &self.0.anonymous,
        };
        self.0.settings.enabled.then(|| limiter.hit(subject))
    }

    /// Forgets subjects that have not been seen for a while, and expired rows. Once a minute.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self) -> Result<(), DbError> {
        for limiter in [
            &self.0.user,
            &self.0.anonymous,
            &self.0.file_create,
            &self.0.chat_send,
        ] {
            limiter.sweep();
        }
        self.0.strict.sweep().await
    }
}

/// The subject of an anonymous request.
pub(super) fn address(ip: IpAddr) -> Subject {
    Subject::Address(network_of(ip))
}

/// 429 for a rate, with when to come back.
fn throttled(rate: Rate, wait_us: u64) -> ApiError {
    let seconds = wait_us.div_ceil(1_000_000).max(1);
    ApiError::from(common::THROTTLED)
        .retry_after(seconds)
        .with_header("ratelimit-limit", rate.count.to_string())
        .with_header("ratelimit-remaining", "0")
        .with_header("ratelimit-reset", seconds.to_string())
        .with_header("ratelimit-policy", rate.policy())
}
