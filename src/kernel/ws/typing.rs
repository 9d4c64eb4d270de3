//! Somebody types: told to the others at most once a second, and over by itself after six.

use std::time::Duration;

use tokio::time::Instant;

/// Somebody who says nothing more for so long has stopped typing.
const LASTS: Duration = Duration::from_secs(6);
/// How often the others are told that somebody types.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Whether the user of one connection types.
#[derive(Debug, Default)]
pub struct Typing {
    until: Option<Instant>,
    told_at: Option<Instant>,
}

impl Typing {
    /// The client says that its user types, or does not any more. Tells whether the others have to
    /// hear of it.
    #[must_use]
    pub fn set(&mut self, is_typing: bool) -> bool {
        self.set_at(Instant::now(), is_typing)
    }

    fn set_at(&mut self, now: Instant, is_typing: bool) -> bool {
        let was_typing = self.until.is_some();
        self.until = is_typing.then(|| now + LASTS);
        let told_lately = self.told_at.is_some_and(|at| now < at + TOLD_EVERY);
        if is_typing && told_lately || !is_typing && !was_typing {
            return false;
        }
        if is_typing {
            self.told_at = Some(now);
        }
        true
    }

    /// When it ends by itself; for [`super::Endpoint::alarm`].
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it has ended by itself, so that the others have to hear of it.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        self.has_ended_at(Instant::now())
    }

    fn has_ended_at(&mut self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now) && self.set_at(now, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_told_once_a_second_and_ends_by_itself() {
        let mut typing = Typing::default();
        let mut now = Instant::now();
        assert!(!typing.set_at(now, false), "nothing changed");
        assert!(typing.set_at(now, true));
        assert!(!typing.set_at(now, true), "told already");
        now += TOLD_EVERY;
        assert!(typing.set_at(now, true) && !typing.has_ended_at(now));
        now += LASTS;
        assert!(typing.has_ended_at(now) && typing.until().is_none());
        assert!(!typing.has_ended_at(now) && !typing.set_at(now, false));
    }
}
