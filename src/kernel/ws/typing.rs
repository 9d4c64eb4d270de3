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
        let now = Instant::now();
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
        self.until.is_some_and(|until| until <= Instant::now()) && self.set(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn typing_is_told_once_a_second_and_ends_by_itself() {
        let mut typing = Typing::default();
        assert!(!typing.set(false), "nothing changed");
        assert!(typing.set(true));
        assert!(!typing.set(true), "told already");
        tokio::time::sleep(TOLD_EVERY).await;
        assert!(typing.set(true) && !typing.has_ended());
        tokio::time::sleep(LASTS).await;
        assert!(typing.has_ended() && typing.until().is_none());
        assert!(!typing.has_ended() && !typing.set(false));
    }
}
