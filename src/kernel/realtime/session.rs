//! One subscription connection to Redis after the other.
//!
//! A session subscribes to the control channel, to the reply channel of this instance and to every
//! topic with a local subscriber; it is *up* once all of that is confirmed. It pings every two
//! seconds and is given up after any failure; the next one begins after a short pause. A peer that
//! vanishes without a word is noticed within [`PING_EVERY`] + [`PING_WAIT`], which keeps the promise
//! that a revocation is in force within 5 s also when Redis is cut off.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{RedisError, RedisResult};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::bridge::{Bridge, BridgeState, CONTROL};
use super::envelope::{self, Envelope};
use super::frame::InstanceId;
use super::{Inner, lock};

const PING_EVERY: Duration = Duration::from_secs(2);
const PING_WAIT: Duration = Duration::from_secs(2);
/// For one batch of subscriptions; no longer than a ping, which has to wait behind it.
const SUBSCRIBE_WAIT: Duration = PING_WAIT;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Channels in one SUBSCRIBE.
const CHANNELS: usize = 500;

/// A control message on its way to the handlers.
pub(super) struct Arrived {
    pub origin: InstanceId,
    pub request: u64,
    pub kind: String,
    pub payload: Bytes,
}

pub(super) async fn keep(hub: &Inner, bridge: &Bridge, control: &mpsc::Sender<Arrived>) {
    let mut backoff = BACKOFF;
    loop {
        let begun = Instant::now();
        let Err(error) = session(hub, bridge, control).await;
        if bridge.status.borrow().state == BridgeState::Up {
            tracing::warn!(%error, "lost the connection to other instances");
        } else {
            tracing::debug!(%error, "no connection to other instances");
        }
        bridge.change(BridgeState::Down);
        if begun.elapsed() > BACKOFF_MAX * 2 {
            backoff = BACKOFF;
        }
        // Spread, so that all instances do not come back in the same millisecond.
        tokio::time::sleep(backoff.mul_f64(rand::random_range(0.5..1.0))).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

async fn session(
    hub: &Inner,
    bridge: &Bridge,
    control: &mpsc::Sender<Arrived>,
) -> Result<Infallible, RedisError> {
    let (sink, stream) = bridge.link.pubsub().await?.split();
    // Both sides at once: the library buffers without bound what nobody reads.
    tokio::select! {
        ended = receive(hub, bridge, control, stream) => ended,
        failed = keep_subscribed(hub, bridge, sink) => failed,
    }
}

async fn receive(
    hub: &Inner,
    bridge: &Bridge,
    control: &mpsc::Sender<Arrived>,
    mut stream: PubSubStream,
) -> Result<Infallible, RedisError> {
    while let Some(message) = stream.next().await {
        match envelope::read(message.get_payload_bytes()) {
            Some(Envelope::Frame(frame)) if frame.origin != hub.instance => {
                if let Some(topic) = message.get_channel_name().strip_prefix(bridge.link.prefix()) {
                    bridge.metrics.realtime.received.inc();
                    hub.deliver(topic, &frame);
                }
            }
            // The handlers already ran before the message was sent.
            Some(Envelope::Control { origin, request, .. }) if origin == hub.instance => {
                hub.control.note_ack(request)
            }
            Some(Envelope::Control {
                origin,
                request,
                kind,
                payload,
            }) => {
                // Full: not acknowledged, so the sender knows.
                let _ = control.try_send(Arrived {
                    origin,
                    request,
                    kind,
                    payload,
                });
            }
            Some(Envelope::Ack { request }) => hub.control.note_ack(request),
            Some(Envelope::Frame(_)) | None => {}
        }
    }
    Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

async fn keep_subscribed(
    hub: &Inner,
    bridge: &Bridge,
    mut sink: PubSubSink,
) -> Result<Infallible, RedisError> {
    // Of a session that failed half-way.
    bridge.listening.send_modify(HashSet::clear);
    within(
        SUBSCRIBE_WAIT,
        sink.subscribe(&[bridge.link.key(CONTROL), bridge.reply_channel.clone()]),
    )
    .await?;
    lock(&bridge.changed).extend(hub.topics.names());
    follow_changes(hub, bridge, &mut sink).await?;
    // Speaking has to work too, and the link may not know yet that Redis is back.
    bridge.link.ping().await?;
    bridge.change(BridgeState::Up);
    tracing::info!("connected to other instances");
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = bridge.wake.notified() => follow_changes(hub, bridge, &mut sink).await?,
            _ = ping.tick() => within(PING_WAIT, sink.ping::<()>()).await?,
        }
    }
}

/// Brings the subscriptions in line with the local subscribers.
async fn follow_changes(hub: &Inner, bridge: &Bridge, sink: &mut PubSubSink) -> RedisResult<()> {
    let changed: Vec<Arc<str>> = lock(&bridge.changed).drain().collect();
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    bridge.listening.send_if_modified(|listening| {
        for topic in changed {
            // Taken out before looking whether somebody listens: who comes later finds it missing
            // and waits for the next round.
            let was_listening = listening.remove(&topic);
            match (hub.topics.contains(&topic), was_listening) {
                (true, true) => drop(listening.insert(topic)),
                (true, false) => wanted.push(topic),
                (false, true) => unwanted.push(topic),
                (false, false) => {}
            }
        }
        false
    });
    for topics in unwanted.chunks(CHANNELS) {
        within(SUBSCRIBE_WAIT, sink.unsubscribe(&channels(bridge, topics))).await?;
    }
    for topics in wanted.chunks(CHANNELS) {
        within(SUBSCRIBE_WAIT, sink.subscribe(&channels(bridge, topics))).await?;
        bridge
            .listening
            .send_modify(|listening| listening.extend(topics.iter().cloned()));
    }
    Ok(())
}

fn channels(bridge: &Bridge, topics: &[Arc<str>]) -> Vec<String> {
    topics.iter().map(|topic| bridge.link.key(topic)).collect()
}

async fn within<T>(limit: Duration, asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match tokio::time::timeout(limit, asked).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
