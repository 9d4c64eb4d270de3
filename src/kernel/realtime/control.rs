//! Control messages: handlers, and acknowledgements that are waited for.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::watch;

use super::lock;

/// Longest run of all handlers of one message.
pub const HANDLER_LIMIT: Duration = Duration::from_secs(1);

/// What became of one [`super::Hub::publish_acked`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// Instances that Redis passed the message to, this one included. 0 without Redis.
    pub expected: u64,
    /// Of those, how many acknowledged in time.
    pub received: u64,
    /// Redis did not take the message at all.
    pub is_lost: bool,
}

impl Acks {
    pub fn is_complete(self) -> bool {
        !self.is_lost && self.received >= self.expected
    }
}

type Handler = Arc<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Default)]
pub(super) struct Control {
    handlers: Mutex<HashMap<String, Vec<Handler>>>,
    waiting: Mutex<HashMap<u64, watch::Sender<u64>>>,
    next_request: AtomicU64,
}

impl Control {
    pub fn register<F, Fut>(&self, kind: &str, handler: F)
    where
        F: Fn(Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |payload| Box::pin(handler(payload)));
        lock(&self.handlers)
            .entry(kind.to_owned())
            .or_default()
            .push(handler);
    }

    /// Handlers may hold the hub itself.
    pub fn forget_handlers(&self) {
        lock(&self.handlers).clear();
    }

    /// Runs the handlers of a message. `false`: they did not end well, so there is nothing to
    /// acknowledge. A kind without handlers has nothing to do and is fine.
    pub async fn handle(&self, kind: &str, payload: Bytes) -> bool {
        let handlers = lock(&self.handlers).get(kind).cloned().unwrap_or_default();
        let all = async {
            for handler in handlers {
                // A panic must not end the task that serves all later messages.
                if AssertUnwindSafe(async { handler(payload.clone()).await })
                    .catch_unwind()
                    .await
                    .is_err()
                {
                    return false;
                }
            }
            true
        };
        let is_done = tokio::time::timeout(HANDLER_LIMIT, all).await.unwrap_or(false);
        if !is_done {
            tracing::error!(control.kind = kind, "a control handler panicked or took too long");
        }
        is_done
    }

    /// Opens a place for acknowledgements.
    pub fn expect_acks(&self) -> Waiting<'_> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (count, received) = watch::channel(0);
        lock(&self.waiting).insert(request, count);
        Waiting {
            control: self,
            request,
            received,
        }
    }

    pub fn note_ack(&self, request: u64) {
        if let Some(count) = lock(&self.waiting).get(&request) {
            count.send_modify(|n| *n += 1);
        }
    }
}

/// A request whose acknowledgements are counted until it is dropped.
pub(super) struct Waiting<'a> {
    control: &'a Control,
    pub request: u64,
    received: watch::Receiver<u64>,
}

impl Waiting<'_> {
    pub fn received(&self) -> u64 {
        *self.received.borrow()
    }

    /// Waits until `expected` came. For ever if they do not: the caller has a timeout.
    pub async fn until(&mut self, expected: u64) {
        // The sender lives in the map until `self` is dropped.
        let _ = self.received.wait_for(|n| *n >= expected).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.control.waiting).remove(&self.request);
    }
}
