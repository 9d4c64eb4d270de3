//! The only source of "now". Whole microseconds, because that is what all three databases keep;
//! a create and a later read are then equal. Tests move it instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Datelike, DurationRound, SecondsFormat, TimeDelta, Utc};

/// A shared, movable UTC clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_us: Arc<AtomicI64>,
}

impl Clock {
    /// The current time, truncated to whole microseconds.
    pub fn now(&self) -> DateTime<Utc> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that reads the time"
        )]
        let now = Utc::now();
        let moved = now + TimeDelta::microseconds(self.offset_us.load(Ordering::Relaxed));
        moved.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(moved)
    }

    /// Seconds since the Unix epoch.
    pub fn unix(&self) -> i64 {
        self.now().timestamp()
    }

    /// Moves the clock forward for everything that shares it. For tests.
    pub fn advance(&self, by: Duration) {
        let us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.offset_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// Whether every database keeps a moment: MySQL knows the years 1 to 9999 only, and an offset leads out of them.
pub fn is_storable(moment: DateTime<Utc>) -> bool {
    (1..=9999).contains(&moment.year())
}

/// Writes a time as the contract wants it: RFC 3339, UTC, `Z`, up to six fraction digits, none
/// when zero.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    let mut text = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    // `Z` comes after a fraction of six digits.
    text.pop();
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_z_and_without_trailing_zeros() {
        let t = |us| DateTime::from_timestamp_micros(us).expect("in range");
        assert_eq!(rfc3339(t(1_700_000_000_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(t(1_700_000_000_120_000)), "2023-11-14T22:13:20.12Z");
        assert_eq!(rfc3339(t(1_700_000_000_000_001)), "2023-11-14T22:13:20.000001Z");
    }
}
