//! The hub as its users see it; with Redis where a server is to be had.
//!
//! `TEST_REDIS_URL` names a server to use; otherwise a private `redis-server` is started when the
//! program is installed. Without either the Redis tests say so and pass.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// A private server; ends with the test.
struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        Some(Redis {
            port,
            child: Self::spawn(port)?,
        })
    }

    fn spawn(port: u16) -> Option<Child> {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn restart(&mut self) {
        self.child = Self::spawn(self.port).expect("was started before");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A server to test against, and its URL.
#[expect(
    clippy::disallowed_methods,
    reason = "says where the test's server is; no setting of the product"
)]
fn redis() -> Option<(Option<Redis>, String)> {
    if let Ok(url) = std::env::var("TEST_REDIS_URL") {
        return Some((None, url));
    }
    let Some(server) = Redis::start() else {
        eprintln!("no redis-server and no TEST_REDIS_URL; skipped");
        return None;
    };
    let url = server.url();
    Some((Some(server), url))
}

fn link(url: &str, prefix: &str) -> RedisLink {
    RedisLink::open(&SecretString::from(url), prefix).expect("a valid URL")
}

fn unique_prefix() -> String {
    format!("test:{}:", InstanceId::new())
}

async fn hub(url: &str, prefix: &str) -> Hub {
    let hub = Hub::bridged(Metrics::new(), link(url, prefix));
    wait_for(&hub, BridgeState::Up).await;
    hub
}

async fn wait_for(hub: &Hub, state: BridgeState) {
    let mut watch = hub.watch_bridge();
    tokio::time::timeout(SOON, watch.wait_for(|s| s.state == state))
        .await
        .expect("in time")
        .expect("hub lives");
}

async fn text(subscription: &mut Subscription) -> String {
    let frame = tokio::time::timeout(SOON, subscription.recv())
        .await
        .expect("in time")
        .expect("not ended");
    String::from_utf8(frame.payload.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn every_subscriber_sees_the_order_of_publishing() {
    let hub = Hub::local(Metrics::new());
    let (mut a, mut b) = (hub.subscribe("room:1"), hub.subscribe("room:1"));
    let mut other = hub.subscribe("room:2");
    for n in 0..100 {
        hub.publish("room:1", n.to_string());
    }
    for n in 0..100 {
        assert_eq!(text(&mut a).await, n.to_string());
    }
    let mut all = Vec::new();
    b.recv_many(&mut all, 1000).await.expect("not ended");
    assert_eq!(all.len(), 100);
    assert_eq!(all[99].payload, "99");
    assert_eq!(other.try_recv(), Ok(None));
}

#[tokio::test]
async fn subscribers_share_the_bytes_of_a_frame() {
    let hub = Hub::local(Metrics::new());
    let (mut a, mut b) = (hub.subscribe("t"), hub.subscribe("t"));
    let payload = Bytes::from(vec![1_u8; 1000]);
    hub.publish("t", payload.clone());
    let (a, b) = (a.recv().await.expect("a frame"), b.recv().await.expect("a frame"));
    assert!(a.payload.as_ptr() == payload.as_ptr() && b.payload.as_ptr() == payload.as_ptr());
}

#[tokio::test]
async fn a_slow_subscriber_is_removed_while_others_go_on() {
    let hub = Hub::local(Metrics::new());
    let (mut slow, mut fast) = (hub.subscribe("t"), hub.subscribe("t"));
    for n in 0..LIMIT_FRAMES + 10 {
        hub.publish("t", n.to_string());
        assert_eq!(text(&mut fast).await, n.to_string());
    }
    assert_eq!(slow.recv().await, Err(Ended::Lagged));
    assert_eq!(slow.recv().await, Err(Ended::Lagged));
    assert_eq!(hub.inner.metrics.realtime.lagged.get(), 1);
    assert_eq!(hub.inner.metrics.realtime.subscribers.get(), 1);
    drop(slow);
    hub.publish("t", "last");
    assert_eq!(text(&mut fast).await, "last");
    assert_eq!(hub.inner.metrics.realtime.subscribers.get(), 1);
}

#[tokio::test]
async fn dropping_a_subscription_ends_it() {
    let hub = Hub::local(Metrics::new());
    let (a, b) = (hub.subscribe("t"), hub.subscribe("t"));
    assert!(hub.has_subscribers("t"));
    drop(a);
    assert!(hub.has_subscribers("t"));
    drop(b);
    assert!(!hub.has_subscribers("t"));
    assert_eq!(hub.inner.metrics.realtime.topics.get(), 0);
}

#[tokio::test]
async fn a_stopped_hub_ends_its_subscriptions_after_what_is_buffered() {
    let hub = Hub::local(Metrics::new());
    let mut subscription = hub.subscribe("t");
    hub.publish("t", "last words");
    hub.stop();
    assert_eq!(text(&mut subscription).await, "last words");
    assert_eq!(subscription.recv().await, Err(Ended::Closed));
    assert_eq!(hub.subscribe("t").recv().await, Err(Ended::Closed));
}

#[tokio::test]
async fn without_redis_control_messages_are_handled_here() {
    let hub = Hub::local(Metrics::new());
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    hub.on_control("evict", move |payload| {
        let counter = counter.clone();
        async move {
            counter.fetch_add(payload.len(), Ordering::Relaxed);
        }
    });
    hub.on_control("broken", |_| async { panic!("on purpose") });
    let acks = hub.publish_acked("evict", "12345", SOON).await;
    assert_eq!(acks, Acks::default());
    assert!(acks.is_complete() && hub.bridge_up() && hub.bridge().state == BridgeState::Local);
    assert_eq!(seen.load(Ordering::Relaxed), 5);
    hub.publish_acked("broken", "", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_hear_each_other_and_never_their_own_echo() {
    let Some((_server, url)) = redis() else { return };
    let prefix = unique_prefix();
    let (a, b) = (hub(&url, &prefix).await, hub(&url, &prefix).await);
    let stranger = hub(&url, &unique_prefix()).await;
    let (mut at_a, mut at_b, mut elsewhere) = (
        a.subscribe("room:1"),
        b.subscribe("room:1"),
        stranger.subscribe("room:1"),
    );
    assert!(at_a.settled(SOON).await && at_b.settled(SOON).await && elsewhere.settled(SOON).await);
    for n in 0..200 {
        a.publish("room:1", format!("a{n}"));
        assert_eq!(
            text(&mut at_a).await,
            format!("a{n}"),
            "the origin does not wait for Redis"
        );
    }
    for n in 0..200 {
        assert_eq!(text(&mut at_b).await, format!("a{n}"));
    }
    b.publish("room:1", "from b");
    assert_eq!(text(&mut at_a).await, "from b");
    assert_eq!(text(&mut at_b).await, "from b");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        (at_a.try_recv(), at_b.try_recv(), elsewhere.try_recv()),
        (Ok(None), Ok(None), Ok(None))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_be_left_and_joined_again() {
    let Some((_server, url)) = redis() else { return };
    let prefix = unique_prefix();
    let (a, b) = (hub(&url, &prefix).await, hub(&url, &prefix).await);
    for round in 0..20 {
        let mut subscription = b.subscribe("room:1");
        assert!(subscription.settled(SOON).await);
        a.publish("room:1", round.to_string());
        assert_eq!(text(&mut subscription).await, round.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acked_message_is_handled_everywhere_before_the_call_returns() {
    let Some((_server, url)) = redis() else { return };
    let prefix = unique_prefix();
    let hubs = [
        hub(&url, &prefix).await,
        hub(&url, &prefix).await,
        hub(&url, &prefix).await,
    ];
    let seen = Arc::new(AtomicUsize::new(0));
    for hub in &hubs {
        let seen = seen.clone();
        hub.on_control("auth.revoked", move |payload| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                assert_eq!(payload, "7");
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let acks = hubs[0].publish_acked("auth.revoked", "7", SOON).await;
    assert_eq!(seen.load(Ordering::Relaxed), 3, "each instance handled it once");
    assert_eq!(
        acks,
        Acks {
            expected: 3,
            received: 3,
            is_lost: false
        }
    );
    hubs[2].on_control("stuck", |_| std::future::pending());
    let acks = hubs[0]
        .publish_acked("stuck", "", Duration::from_millis(300))
        .await;
    assert_eq!((acks.expected, acks.received, acks.is_complete()), (3, 2, false));
    assert_eq!(hubs[0].inner.metrics.realtime.unacknowledged.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_delivery_goes_on_without_redis_and_the_bridge_comes_back() {
    let Some(mut server) = Redis::start() else { return };
    let prefix = unique_prefix();
    let (a, b) = (
        hub(&server.url(), &prefix).await,
        hub(&server.url(), &prefix).await,
    );
    let transitions = Arc::new(Mutex::new(Vec::new()));
    let (log, observer) = (transitions.clone(), a.clone());
    a.on_bridge(move |status| lock(&log).push((status.state, observer.bridge_up())));
    let (mut at_a, mut at_b) = (a.subscribe("t"), b.subscribe("t"));
    assert!(at_a.settled(SOON).await && at_b.settled(SOON).await);

    server.stop();
    wait_for(&a, BridgeState::Down).await;
    wait_for(&b, BridgeState::Down).await;
    assert!(!a.bridge_up() && a.bridge().losses == 1);
    a.publish("t", "only here");
    assert_eq!(text(&mut at_a).await, "only here");
    let acks = a.publish_acked("anything", "", Duration::from_millis(300)).await;
    assert!(acks.is_lost && !acks.is_complete());
    assert!(!at_b.settled(SOON).await, "known at once");
    let mut joined_meanwhile = b.subscribe("t2");

    server.restart();
    wait_for(&a, BridgeState::Up).await;
    wait_for(&b, BridgeState::Up).await;
    a.publish("t", "both again");
    assert_eq!(text(&mut at_a).await, "both again");
    // A frame that was given to the connection before it knew of the loss may arrive late.
    let mut at_last = text(&mut at_b).await;
    if at_last == "only here" {
        at_last = text(&mut at_b).await;
    }
    assert_eq!(at_last, "both again");
    a.publish("t2", "and this");
    assert_eq!(text(&mut joined_meanwhile).await, "and this");
    assert_eq!(
        *lock(&transitions),
        [(BridgeState::Down, false), (BridgeState::Up, false)]
    );
    a.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_starts_without_redis() {
    let Some(mut server) = Redis::start() else { return };
    server.stop();
    let started = Hub::bridged(Metrics::new(), link(&server.url(), &unique_prefix()));
    let mut subscription = started.subscribe("t");
    started.publish("t", "alone");
    assert_eq!(text(&mut subscription).await, "alone");
    assert!(!started.bridge_up());
    server.restart();
    wait_for(&started, BridgeState::Up).await;
    assert!(subscription.settled(SOON).await);
}
