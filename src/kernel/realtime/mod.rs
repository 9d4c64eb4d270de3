//! Realtime fan-out: topics, in this process and, over Redis, between instances.
//!
//! - A [`Frame`] holds bytes that were encoded once; every subscriber gets a reference to them.
//! - [`Hub::publish`] never waits. It puts the frame into the bounded buffer of each subscriber
//!   ([`LIMIT_FRAMES`], [`LIMIT_BYTES`]); one that is full is removed and its subscriber sees
//!   [`Ended::Lagged`]. What it then does (a socket closes 1013, a room reads the rows it missed)
//!   is its own business.
//! - **Redis is only the wake-up path.** Topics live on the channels `{REDIS_PREFIX}{topic}`; an
//!   instance listens to a channel while it has a subscriber there. The envelope names the instance
//!   a frame came from, so the origin delivers at once by itself and ignores its own echo. A frame
//!   that Redis does not take is lost to other instances, which therefore compare with the database
//!   now and then; local delivery goes on.
//! - [`Hub::bridge`] tells whether other instances can be heard. What may only be remembered while
//!   they can (validity of sessions) is dropped in an [`Hub::on_bridge`] handler.
//! - [`Hub::publish_acked`] is for what must have happened elsewhere before a request is answered
//!   (revocation): handlers registered with [`Hub::on_control`] run on every instance, which then
//!   acknowledges.
//!
//! What surprises: after [`Hub::subscribe`] frames of other instances arrive only once Redis has
//! confirmed the subscription. Who replays history first and must not miss anything in between
//! waits for [`Subscription::settled`] before reading it.

mod bridge;
mod control;
mod envelope;
mod frame;
mod presence;
mod session;
#[cfg(test)]
mod tests;
mod topics;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use bridge::{BridgeState, BridgeStatus};
pub use control::Acks;
pub use frame::{Ended, Frame, InstanceId, LIMIT_BYTES, LIMIT_FRAMES, Subscription};
pub use presence::{Presence, Present};

use crate::redis_link::RedisLink;
use crate::telemetry::Metrics;
use bridge::Bridge;
use control::Control;
use frame::Mailbox;
use topics::Topics;

/// A cheap handle to one instance's hub. The hub ends with its last handle.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
    _end: Arc<DropGuard>,
}

struct Inner {
    instance: InstanceId,
    topics: Topics,
    control: Control,
    metrics: Metrics,
    bridge: Option<Arc<Bridge>>,
    /// Of a hub without a bridge; never changes.
    local: watch::Sender<BridgeStatus>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("instance", &self.inner.instance)
            .field("bridge", &self.bridge())
            .finish()
    }
}

impl Hub {
    /// A hub that knows no other instance.
    pub fn local(metrics: Metrics) -> Self {
        Self::build(metrics, None)
    }

    /// A hub that exchanges frames with every instance on the same Redis and prefix. It starts
    /// whether or not Redis is there. Must be called inside a Tokio runtime.
    pub fn bridged(metrics: Metrics, link: RedisLink) -> Self {
        Self::build(metrics, Some(link))
    }

    fn build(metrics: Metrics, link: Option<RedisLink>) -> Self {
        let stop = CancellationToken::new();
        let instance = InstanceId::new();
        let (bridge, outbox) = link
            .map(|link| Bridge::new(link, instance, metrics.clone()))
            .unzip();
        let inner = Arc::new(Inner {
            instance,
            topics: Topics::new(metrics.clone()),
            control: Control::default(),
            metrics,
            bridge,
            local: watch::channel(BridgeStatus {
                state: BridgeState::Local,
                losses: 0,
            })
            .0,
            stop: stop.clone(),
        });
        if let Some(outbox) = outbox {
            bridge::start(inner.clone(), outbox);
        }
        Hub {
            inner,
            _end: Arc::new(stop.drop_guard()),
        }
    }

    /// The id under which this instance's frames travel.
    pub fn instance(&self) -> InstanceId {
        self.inner.instance
    }

    /// Starts listening to a topic. Dropping the subscription ends it.
    pub fn subscribe(&self, topic: &str) -> Subscription {
        let topic: Arc<str> = topic.into();
        let mailbox = Arc::new(Mailbox::default());
        let is_first = self.inner.topics.add(&topic, mailbox.clone());
        if self.inner.stop.is_cancelled() {
            mailbox.close();
        }
        if is_first && let Some(bridge) = &self.inner.bridge {
            bridge.topic_changed(&topic);
        }
        Subscription::new(self.inner.clone(), topic, mailbox)
    }

    /// Hands a frame to every subscriber of `topic`, here and elsewhere. Never waits. Frames that
    /// one task publishes to one topic arrive in that order.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>) {
        let payload = payload.into();
        self.inner.metrics.realtime.published.inc();
        let frame = Frame {
            origin: self.inner.instance,
            payload,
        };
        self.inner.deliver(topic, &frame);
        if let Some(bridge) = &self.inner.bridge {
            bridge.forward(topic, &frame);
        }
    }

    /// Whether somebody in this process listens to `topic`.
    pub fn has_subscribers(&self, topic: &str) -> bool {
        self.inner.topics.contains(topic)
    }

    /// Registers what this instance does about control messages of a kind. Handlers are idempotent
    /// and quick: a message is acknowledged after its handlers have returned, and they get one
    /// second together. Handlers of one message run in order of registration.
    pub fn on_control<F, Fut>(&self, kind: &str, handler: F)
    where
        F: Fn(Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.inner.control.register(kind, handler);
    }

    /// Runs the control handlers of `kind` here, then on every other instance, and returns when
    /// all that heard it have acknowledged, or after `timeout`.
    pub async fn publish_acked(&self, kind: &str, payload: impl Into<Bytes>, timeout: Duration) -> Acks {
        let payload = payload.into();
        self.inner.control.handle(kind, payload.clone()).await;
        let Some(bridge) = &self.inner.bridge else {
            return Acks::default();
        };
        let acks = bridge
            .publish_acked(&self.inner.control, kind, &payload, timeout)
            .await;
        if !acks.is_complete() {
            let missing = acks.expected.saturating_sub(acks.received).max(1);
            self.inner.metrics.realtime.unacknowledged.inc_by(missing);
            tracing::warn!(
                control.kind = kind,
                acks.expected = acks.expected,
                acks.received = acks.received,
                "not every instance confirmed a control message in time"
            );
        }
        acks
    }

    /// Whether everything that other instances publish arrives here. Also true when there can be
    /// no other instance.
    pub fn bridge_up(&self) -> bool {
        self.bridge().state != BridgeState::Down
    }

    /// The bridge now. `losses` tells two moments with a loss in between apart.
    pub fn bridge(&self) -> BridgeStatus {
        *self.inner.status().borrow()
    }

    /// Follows the bridge. A loss that is over before the receiver looks shows in `losses`.
    pub fn watch_bridge(&self) -> watch::Receiver<BridgeStatus> {
        self.inner.status().subscribe()
    }

    /// Runs `handler` at each transition, before anything else happens: after a loss
    /// [`Hub::bridge_up`] is already false, and on the way up it is still false.
    pub fn on_bridge(&self, handler: impl Fn(BridgeStatus) + Send + Sync + 'static) {
        if let Some(bridge) = &self.inner.bridge {
            bridge.on_transition(Box::new(handler));
        }
    }

    /// Ends every subscription with [`Ended::Closed`] after what is buffered, and the bridge.
    /// Handlers are forgotten: they usually hold this hub, which would then never be freed.
    pub fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.topics.close_all();
        self.inner.control.forget_handlers();
        if let Some(bridge) = &self.inner.bridge {
            bridge.forget_handlers();
        }
    }
}

impl Inner {
    fn deliver(&self, topic: &str, frame: &Frame) {
        if self.topics.deliver(topic, frame) {
            self.topic_gone(topic);
        }
    }

    fn unsubscribe(&self, topic: &str, mailbox: &Arc<Mailbox>) {
        if self.topics.remove(topic, mailbox) {
            self.topic_gone(topic);
        }
    }

    fn topic_gone(&self, topic: &str) {
        if let Some(bridge) = &self.bridge {
            bridge.topic_changed(topic);
        }
    }

    fn status(&self) -> &watch::Sender<BridgeStatus> {
        self.bridge.as_ref().map_or(&self.local, |bridge| bridge.status())
    }
}

/// No code that runs under these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
