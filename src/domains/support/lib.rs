//! Support chat: customers talk to the agent who is responsible for them.
//!
//! * Tables: `support_sessions` (one for each customer), `support_messages`.
//! * Every change of a session locks its row first. The message, the counters and the last message
//!   are one transaction, so lists need no counting, and ids ascend in the order of commits.
//! * The agent of a session is the customer's parent. When that changes, accounts calls the
//!   [`ParentHook`] below inside the same transaction.
//! * An image is written to storage before its row, and a job that looks whether the row came
//!   about is stored before that: whatever happens in between, an image without a message is gone
//!   after an hour.
//! * Frames for sockets ([`frames`]) are published after the commit; see [`Support::can_join`].
//! * Jobs: `check_support_image`, `purge_support_images`.
//!
//! What surprises: `is_read` of a message and the counters of its session say the same twice.
//! Lists read the counters, `mark_read` moves both under the lock.

pub mod api;
pub mod dto;
mod entity;
mod error;
pub mod frames;
mod jobs;
mod kinds;
mod message_text;
mod policy;
mod repo;
mod service;
mod settings;
mod socket;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use yunque_accounts::{Accounts, Moved, ParentHook};
use yunque_kernel::{Ctx, DbError, Tx};

pub use error::{SupportError, codes};
pub use jobs::{CheckSupportImage, PurgeSupportImages};
pub use message_text::{MAX_TEXT, MessageText};
pub use policy::Side;
pub use repo::Cursor;
pub use service::Joined;
pub use settings::SupportSettings;

/// The support domain. Cheap to clone.
#[derive(Clone)]
pub struct Support(Arc<Inner>);

struct Inner {
    ctx: Ctx,
    accounts: Accounts,
    settings: SupportSettings,
}

impl Support {
    /// Registers this domain's jobs as well, and follows customers who get another agent.
    pub fn new(ctx: Ctx, accounts: Accounts, settings: SupportSettings) -> Self {
        let support = Support(Arc::new(Inner {
            ctx,
            accounts,
            settings,
        }));
        support.register_jobs();
        support.0.accounts.on_parent_change(Arc::new(support.clone()));
        support
    }

    pub fn settings(&self) -> &SupportSettings {
        &self.0.settings
    }

    pub(crate) fn idempotency(&self) -> &yunque_kernel::http::Idempotency {
        &self.0.ctx.idempotency
    }

    pub(crate) fn limits(&self) -> &yunque_kernel::http::Limits {
        &self.0.ctx.limits
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.0.ctx.clock.now()
    }
}

impl ParentHook for Support {
    fn customers_moved(&self, tx: Tx, moves: Vec<Moved>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move { self.follow(&tx, moves).await })
    }
}
