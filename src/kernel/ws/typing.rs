//! Somebody types: told to the others at most once a second, and over by itself after six.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::UserId;

/// Somebody who says nothing more for so long has stopped typing.
const LASTS: Duration = Duration::from_secs(6);
/// How often the others are told that somebody types.
const TOLD_EVERY: Duration = Duration::from_secs(1);

type Place = (i64, UserId);
type States = HashMap<Place, (Arc<Mutex<State>>, usize)>;

/// Who types in the rooms of one kind of socket.
#[derive(Clone, Debug, Default)]
pub struct Typists(Arc<Mutex<States>>);

impl Typists {
    /// For a connection of a user in a room; all of them share what the others are told.
    pub fn join(&self, room: i64, user: UserId) -> Typing {
        let place = (room, user);
        let mut states = self.lock();
        let (state, connections) = states.entry(place).or_default();
        *connections += 1;
        Typing {
            state: state.clone(),
            place,
            all: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the user of a connection types, on whichever of his connections.
#[derive(Debug)]
pub struct Typing {
    state: Arc<Mutex<State>>,
    place: Place,
    all: Typists,
}

impl Typing {
    /// The client says that its user types, or does not any more. Tells whether the others have to
    /// hear of it now.
    #[must_use]
    pub fn set(&self, is_typing: bool) -> bool {
        self.lock().set_at(Instant::now(), is_typing)
    }

    /// Do the others take him for typing?
    pub fn is_told(&self) -> bool {
        self.lock().is_told
    }

    /// The user may not type here, so what was just said is not told.
    pub fn take_back(&self) {
        let mut state = self.lock();
        (state.until, state.is_told) = (None, false);
    }

    /// When [`Typing::ring`] is wanted; for [`super::Endpoint::alarm`].
    pub fn alarm(&self) -> Option<Instant> {
        self.lock().alarm()
    }

    /// What the others have to hear by now, if anything: that he types, or that he has stopped.
    #[must_use]
    pub fn ring(&self) -> Option<bool> {
        self.lock().ring_at(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        let mut states = self.all.lock();
        if let Some((_, connections)) = states.get_mut(&self.place) {
            *connections -= 1;
            if *connections == 0 {
                states.remove(&self.place);
            }
        }
    }
}

/// Whether a user types in a room.
#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    /// When the others were last told that he types, and whether that is what they know.
    told_at: Option<Instant>,
    is_told: bool,
}

impl State {
    fn set_at(&mut self, now: Instant, is_typing: bool) -> bool {
        self.until = is_typing.then(|| now + LASTS);
        if !is_typing {
            return std::mem::take(&mut self.is_told);
        }
        // Too early, it is told later: see `alarm`.
        let is_due = self.told_again_at().is_none_or(|at| at <= now);
        if is_due {
            (self.told_at, self.is_told) = (Some(now), true);
        }
        is_due
    }

    fn told_again_at(&self) -> Option<Instant> {
        self.told_at.map(|at| at + TOLD_EVERY)
    }

    fn alarm(&self) -> Option<Instant> {
        match self.is_told {
            true => self.until,
            false => self.until.and(self.told_again_at()),
        }
    }

    fn ring_at(&mut self, now: Instant) -> Option<bool> {
        let until = self.until?;
        if until <= now {
            return self.set_at(now, false).then_some(false);
        }
        let is_due = !self.is_told && self.told_again_at().is_none_or(|at| at <= now);
        if is_due {
            (self.told_at, self.is_told) = (Some(now), true);
        }
        is_due.then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_told_once_a_second_and_ends_by_itself() {
        let mut typing = State::default();
        let mut now = Instant::now();
        assert!(!typing.set_at(now, false), "nothing changed");
        assert!(typing.set_at(now, true));
        assert!(!typing.set_at(now, true), "told already");
        now += TOLD_EVERY;
        assert!(typing.set_at(now, true) && typing.ring_at(now).is_none());
        now += LASTS;
        assert_eq!(typing.alarm(), Some(now));
        assert_eq!(typing.ring_at(now), Some(false));
        assert_eq!(typing.alarm(), None);
        assert!(typing.ring_at(now).is_none() && !typing.set_at(now, false));
    }

    #[test]
    fn the_connections_of_a_user_in_a_room_share_what_is_told() {
        let all = Typists::default();
        let (first, second) = (all.join(1, UserId(7)), all.join(1, UserId(7)));
        let (elsewhere, other) = (all.join(2, UserId(7)), all.join(1, UserId(8)));
        assert!(first.set(true));
        assert!(!second.set(true) && second.is_told(), "told already");
        assert!(elsewhere.set(true) && other.set(true));
        assert!(second.set(false), "he stopped");
        assert!(!first.set(false) && first.ring().is_none());
        drop((first, elsewhere, other));
        assert_eq!(all.lock().len(), 1);
        drop(second);
        assert!(all.lock().is_empty());
    }

    #[test]
    fn who_starts_and_stops_all_the_time_is_told_of_once_a_second() {
        let mut typing = State::default();
        let now = Instant::now();
        let mut told = 0;
        for _ in 0..50 {
            told += i32::from(typing.set_at(now, true)) + i32::from(typing.set_at(now, false));
        }
        assert_eq!(told, 2, "once that he types, and that he stopped");
        assert!(!typing.set_at(now, true));
        let soon = now + TOLD_EVERY;
        assert_eq!((typing.alarm(), typing.ring_at(now)), (Some(soon), None));
        assert_eq!(typing.ring_at(soon), Some(true), "he types still");
        assert!(typing.set_at(soon, false));
    }
}
