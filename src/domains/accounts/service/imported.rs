//! Passwords that were imported from elsewhere take longer to compare than ours. As long as there are any, refused
//! logins are held back until the slowest of them would be done, or the time would tell which names came along.

use std::time::{Duration, Instant};

use yunque_kernel::DbError;
use yunque_kernel::db::Meta;

use crate::Accounts;
use crate::repo::users;

/// The most iterations of an imported hash, in the facts of the installation; `0` when none is left.
const ITERATIONS: &str = "imported_hash_iterations";

impl Accounts {
    /// Waits until a login that began then has taken as long as the slowest imported hash.
    pub(super) async fn hold_refusal(&self, begun: Instant) {
        let known = self.0.imported_read.get_or_try_init(|| async {
            let stored = iterations(self).await?;
            self.0.ctx.passwords.expect_imported(stored).await;
            Ok::<_, DbError>(())
        });
        if let Err(error) = known.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "imported hashes are not known"
            );
        }
        let left = self.0.ctx.passwords.floor().saturating_sub(begun.elapsed());
        if left > Duration::ZERO {
            tokio::time::sleep(left).await;
        }
    }

    /// There are imported hashes of so many iterations from now on.
    pub(super) async fn note_imported(&self, most: u32) -> Result<(), DbError> {
        if most > iterations(self).await? {
            Meta::set(&self.0.ctx.db, ITERATIONS, &most.to_string()).await?;
        }
        Ok(())
    }

    /// Ends the waiting, from the next start of a process on, when everybody has logged in since.
    pub(super) async fn forget_imported(&self) -> Result<(), DbError> {
        if iterations(self).await? > 0 && !users::has_imported(self.0.ctx.db.reader()).await? {
            Meta::set(&self.0.ctx.db, ITERATIONS, "0").await?;
        }
        Ok(())
    }
}

async fn iterations(accounts: &Accounts) -> Result<u32, DbError> {
    let stored = Meta::get(&accounts.0.ctx.db, ITERATIONS).await?;
    Ok(stored.and_then(|text| text.parse().ok()).unwrap_or(0))
}
