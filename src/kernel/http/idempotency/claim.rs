//! The right to do the work of one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::AbortHandle;

use super::row::Ids;
use super::{Idempotency, LOCK};
use crate::db::{DbError, Tx, dialect};
use crate::error::ApiError;

const EXTEND_EVERY: Duration = Duration::from_secs(20);

/// The right to do the work of one request. Cheap to clone; released when the last clone goes
/// without an answer having been stored.
#[derive(Clone)]
pub struct Claim(Option<Arc<Held>>);

struct Held {
    idempotency: Idempotency,
    ids: Ids,
    settled: Arc<AtomicBool>,
    extender: AbortHandle,
}

impl Claim {
    /// A claim on nothing, for calls that do not come from a request with a key.
    pub fn none() -> Self {
        Claim(None)
    }

    /// Is there nothing to store an answer for?
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn start(idempotency: Idempotency, ids: Ids) -> Self {
        let settled = Arc::new(AtomicBool::new(false));
        let extender = crate::task::spawn(extend(idempotency.clone(), ids.clone())).abort_handle();
        Claim(Some(Arc::new(Held {
            idempotency,
            ids,
            settled,
            extender,
        })))
    }

    /// Stores the final answer, in the transaction that does the work. `body` must be what the
    /// handler answers with.
    ///
    /// # Errors
    /// The database failed, or the claim was taken over by somebody who now does the work.
    pub async fn store(&self, tx: &Tx, status: u16, body: &impl Serialize) -> Result<(), DbError> {
        let Some(held) = &self.0 else { return Ok(()) };
        let text = serde_json::to_string(body).map_err(|e| DbError::Other(e.to_string()))?;
        held.write(tx, status, text).await?;
        let settled = held.settled.clone();
        tx.after_commit(move || settled.store(true, Ordering::Release));
        Ok(())
    }

    /// Stores an answer whose work is already done or that did nothing.
    pub(super) async fn settle(&self, status: u16, body: impl FnOnce() -> String) -> Result<(), ApiError> {
        let Some(held) = self.0.clone() else { return Ok(()) };
        if held.settled.load(Ordering::Acquire) {
            return Ok(());
        }
        if status < 400 {
            tracing::warn!(
                idempotency.status = status,
                "an answer was not stored together with its work"
            );
        }
        let (store, text) = (held.clone(), body());
        let run = move |tx: Tx| {
            let (held, text) = (store.clone(), text.clone());
            async move { held.write(&tx, status, text).await }
        };
        held.idempotency
            .db
            .write::<_, DbError, _, _>("idempotency_settle", run)
            .await?;
        held.settled.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) async fn release(&self) {
        if let Some(held) = &self.0 {
            held.settled.store(true, Ordering::Release);
            release(held.idempotency.clone(), held.ids.clone()).await;
        }
    }
}

impl Held {
    async fn write(&self, tx: &Tx, status: u16, body: String) -> Result<(), DbError> {
        let update = "UPDATE idempotency_keys SET status = ?, body = ? WHERE scope_hash = ? AND owner = ? AND status IS NULL";
        let ids = &self.ids;
        let values = [
            i32::from(status).into(),
            body.into(),
            ids.scope.clone().into(),
            ids.owner.clone().into(),
        ];
        match dialect::execute(tx, update, values).await? {
            0 => Err(DbError::Conflict(
                "the idempotency claim was taken over".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.extender.abort();
        // The request ended without an answer: the client went away or the handler panicked.
        if !self.settled.load(Ordering::Acquire) && tokio::runtime::Handle::try_current().is_ok() {
            crate::task::spawn(release(self.idempotency.clone(), self.ids.clone()));
        }
    }
}

/// Deletes a claim that has no answer. Work that still commits afterwards finds its claim gone and
/// is rolled back, so a repeat starts from nothing.
async fn release(idempotency: Idempotency, ids: Ids) {
    let run = move |tx: Tx| {
        let ids = ids.clone();
        async move {
            let delete = "DELETE FROM idempotency_keys WHERE scope_hash = ? AND owner = ? AND status IS NULL";
            dialect::execute(&tx, delete, [ids.scope.into(), ids.owner.into()]).await
        }
    };
    if let Err(error) = idempotency
        .db
        .write::<_, DbError, _, _>("idempotency_release", run)
        .await
    {
        tracing::warn!(%error, "an idempotency claim could not be released; it ends by itself within a minute");
    }
}

async fn extend(idempotency: Idempotency, ids: Ids) {
    loop {
        tokio::time::sleep(EXTEND_EVERY).await;
        let (ids, until) = (ids.clone(), idempotency.clock.now() + LOCK);
        let run = move |tx: Tx| {
            let ids = ids.clone();
            async move {
                let update = "UPDATE idempotency_keys SET locked_until = ? WHERE scope_hash = ? AND owner = ? AND status IS NULL";
                dialect::execute(&tx, update, [until.into(), ids.scope.into(), ids.owner.into()]).await
            }
        };
        match idempotency
            .db
            .write::<_, DbError, _, _>("idempotency_extend", run)
            .await
        {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an idempotency claim could not be extended"),
        }
    }
}
