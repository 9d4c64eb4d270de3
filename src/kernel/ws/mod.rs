//! WebSockets, once for all domains.
//!
//! A domain implements [`Endpoint`] (who may be in a room, what a frame does) and [`Log`] (the stored
//! messages of a room), takes a [`Handshake`] in an operation, and publishes [`Broadcast`]s to the
//! room's topic after its commits. The layer owns everything else:
//!
//! * `handshake`: what is checked before the upgrade, and in which order; `credential`; `turns`: who
//!   waits for that when many come at once.
//! * `conn`: the loop of one socket; `decode`, `frame`: the protocol; `pace`: frames per second;
//!   `close`: the close codes; `parting`: the last words.
//! * `line`: the bounded queue to one client, and how a frame is written without waking anybody.
//! * `room`: order, gaps and repair for all sockets of a room; `rooms`: those that are open;
//!   `shared`: one read of the database for all who want the same.
//! * `registry`: all sockets; heartbeats, token expiry, revocation, the end at shutdown.
//!
//! The protocol is read and written by this module rather than by the library's streams, because
//! those keep buffers for each connection, encode a frame again for each of them, and drop the
//! connection without a close frame when one is too long. An idle socket is one task without timers
//! and buffers.
//!
//! What surprises: a frame that is published is delivered by whoever publishes it, as far as the
//! sockets take it at once; their own tasks sleep on.

mod broadcast;
mod close;
mod conn;
mod credential;
mod decode;
mod endpoint;
mod frame;
mod handshake;
mod line;
mod pace;
mod parting;
mod registry;
mod room;
mod rooms;
mod settings;
mod shared;
#[cfg(test)]
mod tests;
mod turns;
mod typing;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

pub use broadcast::Broadcast;
pub use close::{CloseCode, codes};
pub use endpoint::{Endpoint, Handled, Incoming, Log, Opened, Peer, Tail, Tip};
pub use handshake::{Handshake, Upgraded};
pub use settings::WsSettings;
pub use shared::SharedReads;
pub use typing::{Typing, Typists};
pub use wire::{
    AuthFrame, AuthOkFrame, ErrorFrame, PingFrame, PongFrame, ResumeCompleteFrame, SocketUserOut, frame_of,
};

use crate::auth::{Authenticate, RevocationBus};
use crate::clock::Clock;
use crate::http::Origins;
use crate::ids::UserId;
use crate::realtime::Hub;
use crate::telemetry::Metrics;
use line::Line;
use registry::Registry;
use rooms::Rooms;
use turns::Turns;

/// What the layer needs from the rest of the process.
pub struct WsDeps {
    pub settings: WsSettings,
    pub origins: Origins,
    pub clock: Clock,
    pub hub: Hub,
    pub metrics: Metrics,
    pub authenticate: Arc<dyn Authenticate>,
    /// Tells of sessions and rights that end.
    pub bus: Arc<dyn RevocationBus>,
}

/// The sockets of one process. Cheap to clone.
#[derive(Clone)]
pub struct Ws(Arc<Inner>);

struct Inner {
    settings: WsSettings,
    origins: Origins,
    clock: Clock,
    metrics: Metrics,
    authenticate: Arc<dyn Authenticate>,
    registry: Arc<Registry>,
    rooms: Arc<Rooms>,
    turns: Turns,
    next_id: AtomicU64,
}

impl Ws {
    /// Listens to the bus from now on; call [`Ws::start`] where sockets are served.
    pub fn new(deps: WsDeps) -> Self {
        let registry = Registry::new(deps.settings.clone(), deps.clock.clone());
        // Weak: the bus belongs to others.
        let told = Arc::downgrade(&registry);
        deps.bus.on_change(Box::new(move |change| {
            if let Some(registry) = told.upgrade() {
                registry.auth_changed(change);
            }
        }));
        let turns = Turns::new(deps.settings.max_handshakes, deps.metrics.clone());
        Ws(Arc::new(Inner {
            origins: deps.origins,
            clock: deps.clock,
            authenticate: deps.authenticate,
            rooms: Rooms::new(deps.hub, deps.metrics.clone()),
            metrics: deps.metrics,
            registry,
            turns,
            next_id: AtomicU64::new(1),
            settings: deps.settings,
        }))
    }

    /// The tasks that look after all sockets; they end when the handles are dropped.
    pub fn start(&self) -> Vec<AbortOnDropHandle<()>> {
        let (rooms, interval) = (self.0.rooms.clone(), self.0.settings.repair_interval);
        let repair = async move {
            loop {
                tokio::time::sleep(interval).await;
                rooms.repair().await;
            }
        };
        vec![
            AbortOnDropHandle::new(crate::task::spawn(self.0.registry.clone().sweep())),
            AbortOnDropHandle::new(crate::task::spawn(repair)),
        ]
    }

    /// Ends all sockets with 1001 and waits for them, at most `longest`. Handshakes get 503, those
    /// that wait for their turn included.
    pub async fn drain(&self, longest: Duration) {
        self.0.turns.close();
        if tokio::time::timeout(longest, self.0.registry.drain())
            .await
            .is_err()
        {
            tracing::warn!(
                ws.sockets = self.0.registry.open(),
                "sockets that did not end in time are cut off"
            );
        }
    }

    /// Sockets that are open, those about to end included.
    pub fn open(&self) -> usize {
        self.0.registry.open()
    }

    fn line(&self, user: UserId, session: i64) -> Arc<Line> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let now = self.0.registry.now_ms();
        Arc::new(Line::new(id, user, session, now, self.0.metrics.clone()))
    }
}
