//! The revocation bus over the realtime hub: control messages that every instance acknowledges.

use std::time::Duration;

use async_trait::async_trait;

use super::revocation::{AuthChange, Listener, LocalBus, RevocationBus};
use crate::realtime::{BridgeState, Hub};

const KIND: &str = "auth.change";
const LONGEST_WAIT: Duration = Duration::from_millis(300);

/// Publishes over the hub, delivers to the listeners of this process.
#[derive(Clone)]
pub struct HubBus {
    hub: Hub,
    local: LocalBus,
}

impl HubBus {
    pub fn new(hub: Hub) -> Self {
        let local = LocalBus::new();
        let listeners = local.clone();
        hub.on_control(KIND, move |payload| {
            let listeners = listeners.clone();
            async move {
                match serde_json::from_slice::<AuthChange>(&payload) {
                    Ok(change) => listeners.deliver(change),
                    // A newer instance says something we do not know: forget everything.
                    Err(error) => {
                        tracing::warn!(error = %error, "unknown revocation message; cached sessions are dropped");
                        listeners.start_epoch();
                    }
                }
            }
        });
        HubBus { hub, local }
    }

    /// Told by [`super::revocation::follow_changes`] whether `auth_changes` can be read.
    pub fn set_up(&self, up: bool) {
        self.local.set_up(up);
    }
}

#[async_trait]
impl RevocationBus for HubBus {
    async fn publish(&self, change: AuthChange) {
        match serde_json::to_vec(&change) {
            // Runs our own handler too.
            Ok(payload) => {
                self.hub.publish_acked(KIND, payload, LONGEST_WAIT).await;
            }
            Err(_) => self.local.deliver(change),
        }
    }

    /// Redis answers for the other instances; where there is no Redis, they write `auth_changes`.
    fn is_up(&self) -> bool {
        match self.hub.bridge().state {
            BridgeState::Down => false,
            BridgeState::Local => self.local.is_up(),
            _ => true,
        }
    }

    fn epoch(&self) -> u64 {
        self.hub.bridge().losses.wrapping_add(self.local.epoch())
    }

    fn on_change(&self, listener: Listener) {
        self.local.on_change(listener);
    }

    fn deliver(&self, change: AuthChange) {
        self.local.deliver(change);
    }
}
