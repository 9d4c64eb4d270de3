//! How far a room is, what waits for what is missing, and who is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::ws::broadcast::Broadcast;
use crate::ws::close::{CloseCode, Closing, codes};
use crate::ws::endpoint::Tip;
use crate::ws::line::{Chunk, Line, RECHECK};

pub(super) struct State {
    pub tip: Tip,
    /// When the room was known to have missed no change.
    pub whole_at: Instant,
    pub members: Vec<Arc<Line>>,
    /// Stored messages, by position, that do not follow on the tip yet.
    pub waiting: BTreeMap<i64, Broadcast>,
    /// Changes, by number, that do not follow on the tip yet.
    changes: BTreeMap<i64, Broadcast>,
}

/// How whole a room is after what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Take {
    Whole,
    /// Something is missing and may be on its way.
    Gap,
    /// Only the database can tell.
    Unknown,
}

impl State {
    pub fn new() -> Self {
        State {
            tip: Tip::default(),
            whole_at: Instant::now(),
            members: Vec::new(),
            waiting: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    /// Takes one that arrived. What can be handed out now goes to `out`.
    pub fn take(&mut self, broadcast: Broadcast, out: &mut Vec<Broadcast>) -> Take {
        if let Some(change) = broadcast.change {
            if change > self.tip.changes {
                self.changes.insert(change, broadcast);
                self.release(out);
            }
            return Take::Whole;
        }
        let Some(position) = broadcast.position else {
            out.push(broadcast);
            return Take::Whole;
        };
        if position <= self.tip.position {
            return Take::Whole;
        }
        match broadcast.previous {
            Some(previous) if previous <= self.tip.position => {
                self.tip.position = position;
                out.push(broadcast);
                self.release(out);
                Take::Whole
            }
            previous => {
                self.waiting.insert(position, broadcast);
                match previous {
                    Some(_) => Take::Gap,
                    None => Take::Unknown,
                }
            }
        }
    }

    /// Does nothing wait for what is missing?
    pub fn is_whole(&self) -> bool {
        self.waiting.is_empty() && self.changes.is_empty()
    }

    pub fn misses_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Moves what follows now from those that wait.
    pub fn release(&mut self, out: &mut Vec<Broadcast>) {
        while let Some(entry) = self.waiting.first_entry() {
            let position = *entry.key();
            if position <= self.tip.position {
                entry.remove();
                continue;
            }
            if entry
                .get()
                .previous
                .is_none_or(|previous| previous > self.tip.position)
            {
                break;
            }
            self.tip.position = position;
            out.push(entry.remove());
        }
        while let Some(entry) = self.changes.first_entry() {
            let change = *entry.key();
            if change <= self.tip.changes {
                entry.remove();
                continue;
            }
            let about = entry.get().previous;
            if change > self.tip.changes + 1 || about.is_some_and(|about| about > self.tip.position) {
                break;
            }
            self.tip.changes = change;
            out.push(entry.remove());
        }
    }

    pub fn hand_out(&self, out: &[Broadcast]) {
        let mut plain: Vec<&Broadcast> = Vec::new();
        for broadcast in out {
            if is_plain(broadcast) {
                plain.push(broadcast);
                continue;
            }
            self.to_everybody(&plain);
            plain.clear();
            self.to_some(broadcast);
        }
        self.to_everybody(&plain);
    }

    /// Asks for everybody again whether he may be here.
    pub fn recheck(&self) {
        self.members.iter().for_each(|line| line.signal(RECHECK));
    }

    /// The same bytes for all: put together once.
    fn to_everybody(&self, all: &[&Broadcast]) {
        let bytes = match all {
            [] => return,
            [one] => one.frame.clone(),
            many => {
                let mut bytes = BytesMut::with_capacity(many.iter().map(|b| b.frame.len()).sum());
                many.iter().for_each(|b| bytes.extend_from_slice(&b.frame));
                bytes.freeze()
            }
        };
        let chunk = Chunk {
            bytes,
            frames: all.len(),
            droppable: false,
        };
        self.members.iter().for_each(|line| line.push(&chunk));
    }

    fn to_some(&self, broadcast: &Broadcast) {
        let chunk = Chunk {
            bytes: broadcast.frame.clone(),
            frames: 1,
            droppable: broadcast.droppable,
        };
        for line in self.members.iter().filter(|line| broadcast.concerns(line.user)) {
            if !chunk.bytes.is_empty() {
                line.push(&chunk);
            }
            if broadcast.recheck {
                line.signal(RECHECK);
            }
            if let Some(code) = broadcast.close {
                line.end(closing(code));
            }
        }
    }
}

fn is_plain(broadcast: &Broadcast) -> bool {
    !broadcast.droppable
        && !broadcast.recheck
        && broadcast.close.is_none()
        && broadcast.except.is_none()
        && broadcast.only.is_none()
        && !broadcast.frame.is_empty()
}

fn closing(code: CloseCode) -> Closing {
    match code {
        CloseCode::ROOM_CLOSED => Closing::because(codes::ROOM_CLOSED),
        code => Closing::with(code),
    }
}
