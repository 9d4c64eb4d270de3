//! What other domains record about what people with power do.

use serde_json::Value;
use yunque_kernel::{DbError, Tx, UserId};

use crate::Accounts;
use crate::repo::security;

impl Accounts {
    /// Writes a security event in a transaction of its own, so that it stays whatever comes of the request. `data` holds
    /// no secrets.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn record_event(&self, user: UserId, kind: &'static str, data: &Value) -> Result<(), DbError> {
        let (data, now) = (data.clone(), self.now());
        self.0
            .ctx
            .db
            .write("account.record_event", move |tx: Tx| {
                let data = data.clone();
                async move { security::insert_event(&tx, Some(user), kind, None, &data, now).await }
            })
            .await
    }
}
