//! GCRA in the memory of the process.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use super::{Rate, throttled};
use crate::clock::Clock;
use crate::error::ApiError;

/// After so many hits the idle subjects are forgotten, should nobody call `sweep`.
const HITS_PER_SWEEP: u32 = 100_000;

/// Who is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    User(i64),
    Address(IpAddr),
}

/// Our clock, so that tests can move it.
#[derive(Clone)]
struct Ticks(Clock);

impl GovernorClock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let us = u64::try_from(self.0.now().timestamp_micros()).unwrap_or(0);
        Nanos::from(Duration::from_micros(us))
    }
}

type Limiter = RateLimiter<Subject, DashMapStateStore<Subject>, Ticks, StateInformationMiddleware>;

pub(super) struct Quick {
    rate: Rate,
    limiter: Limiter,
    hits: AtomicU32,
}

/// How a hit went, and what the headers say about it.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub rate: Rate,
    pub remaining: u32,
    /// Seconds until the bucket is full again; after a refusal until the next hit may come.
    pub reset: u64,
    refused_for: Option<Duration>,
}

impl Verdict {
    /// # Errors
    /// 429 when the hit was refused.
    pub fn into_result(self) -> Result<Self, ApiError> {
        match self.refused_for {
            None => Ok(self),
            Some(wait) => Err(throttled(
                self.rate,
                u64::try_from(wait.as_micros()).unwrap_or(u64::MAX),
            )),
        }
    }
}

impl Quick {
    pub fn new(rate: Rate, clock: Clock) -> Self {
        let per_hit = rate.per / rate.count.max(1);
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(per_hit.max(Duration::from_nanos(1)))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let limiter: RateLimiter<Subject, DashMapStateStore<Subject>, Ticks, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, DashMapStateStore::default(), Ticks(clock));
        Quick {
            rate,
            limiter: limiter.with_middleware(),
            hits: AtomicU32::new(0),
        }
    }

    pub fn hit(&self, subject: Subject) -> Verdict {
        if self.hits.fetch_add(1, Ordering::Relaxed) >= HITS_PER_SWEEP {
            self.sweep();
        }
        self.verdict(self.limiter.check_key(&subject))
    }

    /// Many at once, all of them or none. One hit less than the bucket holds is the most that is asked
    /// for, so that those who bring more pass when it is full but for the hit that announced them.
    pub fn hit_many(&self, subject: Subject, hits: u32) -> Result<(), ApiError> {
        let Some(hits) = NonZeroU32::new(hits.min(self.rate.burst.saturating_sub(1))) else {
            return Ok(());
        };
        match self.limiter.check_key_n(&subject, hits) {
            Ok(outcome) => self.verdict(outcome).into_result().map(drop),
            Err(e) => Err(ApiError::internal(e.to_string())),
        }
    }

    fn verdict(&self, outcome: Result<StateSnapshot, NotUntil<Nanos>>) -> Verdict {
        match outcome {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = u64::from(self.rate.burst.saturating_sub(remaining));
                let reset = missing * u64::try_from(self.rate.per.as_millis()).unwrap_or(u64::MAX)
                    / u64::from(self.rate.count.max(1));
                Verdict {
                    rate: self.rate,
                    remaining,
                    reset: reset.div_ceil(1000),
                    refused_for: None,
                }
            }
            Err(until) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                let reset = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Verdict {
                    rate: self.rate,
                    remaining: 0,
                    reset,
                    refused_for: Some(wait),
                }
            }
        }
    }

    pub fn sweep(&self) {
        self.hits.store(0, Ordering::Relaxed);
        self.limiter.retain_recent();
    }
}
