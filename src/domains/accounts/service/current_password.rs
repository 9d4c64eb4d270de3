//! Proof that the caller knows the account's password, asked again before sensitive changes.

use std::time::Duration;

use yunque_kernel::http::{Rate, StrictRule};
use yunque_kernel::ids::UserId;

use crate::Accounts;
use crate::error::AccountsError;
use crate::repo::users::{self, CredentialRow};
use crate::values::CurrentPassword;

/// Wrong passwords of one user, on all surfaces and fields together. Has no switch.
fn rule() -> StrictRule {
    StrictRule {
        name: "current_password",
        rates: vec![Rate::new(5, Duration::from_secs(15 * 60))],
    }
}

impl Accounts {
    /// Verifies the password of a logged-in user. `field` is the body's field that carried it.
    ///
    /// # Errors
    /// `WrongPassword`; 429 after five wrong ones within 15 minutes.
    pub(super) async fn prove_password(
        &self,
        user: UserId,
        password: Option<&CurrentPassword>,
        field: &'static str,
    ) -> Result<CredentialRow, AccountsError> {
        let Some(password) = password else {
            return Err(AccountsError::WrongPassword { field });
        };
        let key = user.to_string();
        let limits = &self.0.ctx.limits;
        // Counted before it is looked at, so that parallel guesses count as well.
        limits.strict_rule(&rule(), &key).await?;
        let row = users::find_credential(self.0.ctx.db.reader(), user)
            .await?
            .ok_or(AccountsError::NotFound)?;
        let verdict = self
            .0
            .ctx
            .passwords
            .verify(password.secret(), Some(row.password.clone()))
            .await?;
        if !verdict.is_right() {
            return Err(AccountsError::WrongPassword { field });
        }
        limits.strict_forget(&rule(), &key).await?;
        Ok(row)
    }
}
