//! Daily removal of what has served its time.

use chrono::TimeDelta;
use yunque_kernel::ids::UserId;
use yunque_kernel::{DbError, Tx};

use crate::Accounts;
use crate::repo::purge;
use crate::repo::sweep::{self, Aged, BATCH};

const ATTEMPT_DAYS: i64 = 90;

impl Accounts {
    /// Removes expired sessions, old attempts, logs and tokens, and queues the purge of accounts
    /// whose time has come. Returns the number of rows removed.
    ///
    /// # Errors
    /// Only the database's; what was removed stays removed.
    pub async fn sweep(&self) -> Result<u64, DbError> {
        let now = self.now();
        let aged = |table, key, column| Aged { table, key, column };
        let (yesterday, attempts) = (now - TimeDelta::days(1), now - TimeDelta::days(ATTEMPT_DAYS));
        let plan = [
            // A session past its expiry has neither a valid refresh token nor a valid access token.
            (aged("auth_sessions", "id", "expires_at"), yesterday),
            (aged("auth_login_attempts", "id", "created_at"), attempts),
            (aged("auth_login_gates", "bucket", "touched_at"), yesterday),
            (aged("auth_changes", "id", "created_at"), yesterday),
            (
                aged("auth_email_verification_tokens", "id", "expires_at"),
                yesterday,
            ),
            (aged("auth_password_reset_tokens", "id", "expires_at"), yesterday),
            (
                aged("password_reset_codes", "email_hmac", "expires_at"),
                yesterday,
            ),
            (
                aged("user_login_logs", "id", "login_time"),
                now - self.0.settings.keep_login_logs,
            ),
        ];
        let mut removed = 0;
        for (aged, before) in plan {
            loop {
                let run = move |tx: Tx| async move { sweep::delete_aged(&tx, aged, before).await };
                let count = self.0.ctx.db.write("sweep_accounts", run).await?;
                removed += count;
                if count < BATCH {
                    break;
                }
            }
        }
        self.queue_due_purges().await?;
        self.forget_imported().await?;
        Ok(removed)
    }

    async fn queue_due_purges(&self) -> Result<(), DbError> {
        let before = self.now() - self.0.settings.purge_after;
        let due = purge::list_due_for_purge(self.0.ctx.db.reader(), before, BATCH).await?;
        for id in due.into_iter().map(UserId) {
            let accounts = self.clone();
            let queued = self.0.ctx.db.write("queue_purge", move |tx: Tx| {
                let accounts = accounts.clone();
                async move { accounts.enqueue_purge(&tx, id, None).await }
            });
            queued.await?;
        }
        Ok(())
    }
}
