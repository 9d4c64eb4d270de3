//! How fast the frames of one socket may come.

use std::time::Duration;

use tokio::time::Instant;

use crate::http::Rate;

/// More violations than this in the window end the socket.
const MOST_VIOLATIONS: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);

/// A leaky bucket, and what was refused by it and others.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    /// When the bucket will be empty.
    empty_at: Instant,
    violations: u32,
    window_begun: Instant,
}

impl Pace {
    pub fn new(rate: Option<Rate>) -> Self {
        let now = Instant::now();
        Pace {
            rate,
            empty_at: now,
            violations: 0,
            window_begun: now,
        }
    }

    /// May one more frame be handled?
    pub fn take(&mut self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let each = rate.per / rate.count.max(1);
        let after = self.empty_at.max(now) + each;
        let fits = after.duration_since(now) <= each * rate.burst.max(1);
        if fits {
            self.empty_at = after;
        }
        fits
    }

    /// Counts a refusal. `true`: that was one too many.
    pub fn violation(&mut self) -> bool {
        self.violation_at(Instant::now())
    }

    fn violation_at(&mut self, now: Instant) -> bool {
        if now.duration_since(self.window_begun) > WINDOW {
            self.window_begun = now;
            self.violations = 0;
        }
        self.violations += 1;
        self.violations > MOST_VIOLATIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut rate = Rate::new(10, Duration::from_secs(1));
        rate.burst = 40;
        let mut pace = Pace::new(Some(rate));
        let begun = pace.empty_at;
        assert_eq!((0..100).filter(|_| pace.take_at(begun)).count(), 40);
        let later = begun + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| pace.take_at(later)).count(), 5);
        let mut free = Pace::new(None);
        assert!((0..1000).all(|_| free.take()));
    }

    #[test]
    fn a_hundred_violations_in_a_minute_are_borne() {
        let mut pace = Pace::new(None);
        let begun = pace.window_begun;
        assert!((0..100).all(|_| !pace.violation_at(begun)));
        let later = begun + Duration::from_secs(61);
        assert!((0..100).all(|_| !pace.violation_at(later)));
        assert!(pace.violation_at(later));
    }
}
