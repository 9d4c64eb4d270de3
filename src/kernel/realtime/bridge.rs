//! The way to other instances, over Redis publish/subscribe.
//!
//! Three tasks. The **outbox** takes what this instance publishes, as much as has come in, and
//! sends it in one pipeline; while Redis is down or slow the outbox overflows and frames are dropped
//! and counted. The **session** (`session`) hears what others publish. The **control** task runs
//! the handlers of control messages one after the other and acknowledges.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use redis::RedisResult;
use tokio::sync::{Notify, mpsc, watch};

use super::control::{Acks, Control};
use super::frame::{Frame, InstanceId};
use super::session::{self, Arrived};
use super::{Inner, envelope, lock};
use crate::redis_link::RedisLink;
use crate::telemetry::Metrics;

/// Frames that may wait for Redis.
const OUTBOX_FRAMES: usize = 8192;
/// Bytes that may wait for Redis.
const OUTBOX_BYTES: usize = 16 << 20;
/// Frames in one pipeline.
const PIPELINE: usize = 256;
pub(super) const CONTROL: &str = "rt:control";

/// Whether other instances can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeState {
    /// No Redis is configured; there is only this process.
    Local,
    /// Not connected, or not yet subscribed to everything.
    Down,
    Up,
}

/// The state, and how often it was lost since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeStatus {
    pub state: BridgeState,
    pub losses: u64,
}

type Transition = Box<dyn Fn(BridgeStatus) + Send + Sync>;

pub(super) struct Bridge {
    pub(super) link: RedisLink,
    pub(super) reply_channel: String,
    origin: InstanceId,
    pub(super) metrics: Metrics,
    pub(super) status: watch::Sender<BridgeStatus>,
    transitions: Mutex<Vec<Transition>>,
    /// Topics whose subscription may have to change.
    pub(super) changed: Mutex<HashSet<Arc<str>>>,
    pub(super) wake: Notify,
    /// Topics that Redis confirmed.
    pub(super) listening: watch::Sender<HashSet<Arc<str>>>,
    outbox: mpsc::Sender<Outgoing>,
    outbox_bytes: AtomicUsize,
}

pub(super) struct Outgoing {
    channel: String,
    message: Vec<u8>,
}

impl Bridge {
    pub fn new(
        link: RedisLink,
        origin: InstanceId,
        metrics: Metrics,
    ) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        let (outbox, outgoing) = mpsc::channel(OUTBOX_FRAMES);
        metrics.realtime.bridge_up.set(0);
        let bridge = Bridge {
            reply_channel: link.key(reply_channel(origin)),
            link,
            origin,
            metrics,
            status: watch::channel(BridgeStatus {
                state: BridgeState::Down,
                losses: 0,
            })
            .0,
            transitions: Mutex::default(),
            changed: Mutex::default(),
            wake: Notify::new(),
            listening: watch::channel(HashSet::new()).0,
            outbox,
            outbox_bytes: AtomicUsize::new(0),
        };
        (Arc::new(bridge), outgoing)
    }

    pub fn status(&self) -> &watch::Sender<BridgeStatus> {
        &self.status
    }

    pub fn on_transition(&self, handler: Transition) {
        lock(&self.transitions).push(handler);
    }

    /// Handlers may hold the hub itself.
    pub fn forget_handlers(&self) {
        lock(&self.transitions).clear();
    }

    /// A topic got its first subscriber or lost its last.
    pub fn topic_changed(&self, topic: &str) {
        lock(&self.changed).insert(topic.into());
        self.wake.notify_one();
    }

    /// Puts a frame into the outbox, or drops it.
    pub fn forward(&self, topic: &str, frame: &Frame) {
        if !self.link.is_up() {
            self.metrics.realtime.not_forwarded.inc();
            return;
        }
        self.send(self.link.key(topic), envelope::frame(frame));
    }

    fn send(&self, channel: String, message: Vec<u8>) {
        let size = message.len();
        let waiting = self.outbox_bytes.fetch_add(size, Ordering::Relaxed);
        let is_taken = waiting <= OUTBOX_BYTES && self.outbox.try_send(Outgoing { channel, message }).is_ok();
        if !is_taken {
            self.outbox_bytes.fetch_sub(size, Ordering::Relaxed);
            self.metrics.realtime.not_forwarded.inc();
        }
    }

    /// Whether Redis passes on what others publish to `topic`; waits for that, unless it is down.
    pub async fn is_listening(&self, topic: &str, timeout: Duration) -> bool {
        let (mut listening, mut status) = (self.listening.subscribe(), self.status.subscribe());
        let confirmed = async { listening.wait_for(|topics| topics.contains(topic)).await.is_ok() };
        let lost = async {
            status
                .wait_for(|status| status.state == BridgeState::Down)
                .await
                .is_ok()
        };
        tokio::select! {
            // First, because a topic may be confirmed just before the rest of a new session is.
            biased;
            is_confirmed = confirmed => is_confirmed,
            _ = lost => false,
            () = tokio::time::sleep(timeout) => false,
        }
    }

    pub async fn publish_acked(
        &self,
        control: &Control,
        kind: &str,
        payload: &Bytes,
        timeout: Duration,
    ) -> Acks {
        let mut waiting = control.expect_acks();
        let message = envelope::control(self.origin, waiting.request, kind, payload);
        let mut expected = None;
        let exchange = async {
            let Ok(receivers) = self.publish_now(self.link.key(CONTROL), &message).await else {
                return;
            };
            expected = Some(receivers);
            waiting.until(receivers).await;
        };
        let _ = tokio::time::timeout(timeout, exchange).await;
        Acks {
            expected: expected.unwrap_or(0),
            received: waiting.received(),
            is_lost: expected.is_none(),
        }
    }

    async fn acknowledge(&self, origin: InstanceId, request: u64) {
        let channel = self.link.key(reply_channel(origin));
        if let Err(error) = self.publish_now(channel, &envelope::ack(request)).await {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }

    /// Publishes past the outbox, because somebody waits, and returns the number of receivers.
    async fn publish_now(&self, channel: String, message: &[u8]) -> RedisResult<u64> {
        let published = async {
            let mut connection = self.link.connection().await?;
            redis::cmd("PUBLISH")
                .arg(channel)
                .arg(message)
                .query_async(&mut connection)
                .await
        };
        let result = published.await;
        self.link.observe(&result);
        result
    }

    /// Tells everybody. Handlers run before anyone can see *up*, and after everyone can see *down*.
    pub fn change(&self, state: BridgeState) {
        let before = *self.status.borrow();
        if before.state == state {
            return;
        }
        let losses = before.losses + u64::from(state == BridgeState::Down);
        let status = BridgeStatus { state, losses };
        if state == BridgeState::Down {
            self.listening.send_modify(HashSet::clear);
            self.metrics.realtime.bridge_up.set(0);
            self.metrics.realtime.bridge_losses.inc();
            self.status.send_replace(status);
        }
        for handler in lock(&self.transitions).iter() {
            handler(status);
        }
        if state == BridgeState::Up {
            self.metrics.realtime.bridge_up.set(1);
            self.status.send_replace(status);
        }
    }
}

fn reply_channel(instance: InstanceId) -> String {
    format!("rt:reply:{instance}")
}

/// Starts the tasks; they end when the hub is stopped or dropped.
pub(super) fn start(hub: Arc<Inner>, outgoing: mpsc::Receiver<Outgoing>) {
    let Some(bridge) = hub.bridge.clone() else { return };
    let stop = hub.stop.clone();
    crate::task::spawn(
        stop.clone()
            .run_until_cancelled_owned(send_outbox(bridge.clone(), outgoing)),
    );
    let (control, arrived) = mpsc::channel(1024);
    crate::task::spawn(stop.clone().run_until_cancelled_owned(serve_control(
        hub.clone(),
        bridge.clone(),
        arrived,
    )));
    crate::task::spawn(async move {
        stop.run_until_cancelled(session::keep(&hub, &bridge, &control))
            .await;
        bridge.change(BridgeState::Down);
    });
}

async fn send_outbox(bridge: Arc<Bridge>, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::with_capacity(PIPELINE);
    while outgoing.recv_many(&mut batch, PIPELINE).await > 0 {
        let mut pipeline = redis::Pipeline::with_capacity(batch.len());
        let size: usize = batch.iter().map(|o| o.message.len()).sum();
        let count = batch.len() as u64;
        for Outgoing { channel, message } in batch.drain(..) {
            pipeline.cmd("PUBLISH").arg(channel).arg(message).ignore();
        }
        let sent = async {
            let mut connection = bridge.link.connection().await?;
            pipeline.exec_async(&mut connection).await
        };
        let result = sent.await;
        bridge.outbox_bytes.fetch_sub(size, Ordering::Relaxed);
        bridge.link.observe(&result);
        if let Err(error) = result {
            bridge.metrics.realtime.not_forwarded.inc_by(count);
            tracing::debug!(%error, frames = count, "frames were not forwarded");
        }
    }
}

/// Runs the handlers of control messages one after the other and acknowledges.
async fn serve_control(hub: Arc<Inner>, bridge: Arc<Bridge>, mut arrived: mpsc::Receiver<Arrived>) {
    while let Some(Arrived {
        origin,
        request,
        kind,
        payload,
    }) = arrived.recv().await
    {
        if hub.control.handle(&kind, payload).await {
            // Not through the outbox, where it could stand behind thousands of frames.
            let bridge = bridge.clone();
            crate::task::spawn(async move { bridge.acknowledge(origin, request).await });
        }
    }
}
