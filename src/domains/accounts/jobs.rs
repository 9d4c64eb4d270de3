//! Jobs of this domain.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yunque_kernel::ids::UserId;
use yunque_kernel::queue::{Job, JobContext, JobError, NewJob, Plan, Schedule};

use crate::Accounts;

/// Removes the personal data of a deactivated account.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PurgeUser {
    pub user_id: UserId,
}

impl PurgeUser {
    pub fn plan() -> Plan {
        Plan {
            max_attempts: 10,
            ..Plan::default()
        }
    }

    /// One live purge for each account.
    pub fn key(user: UserId) -> String {
        format!("purge_user:{user}")
    }
}

#[async_trait]
impl Job for PurgeUser {
    const KIND: &'static str = "purge_user";
    type Domain = Accounts;

    fn subject(&self) -> Option<String> {
        Some(format!("user:{}", self.user_id))
    }

    async fn run(&self, accounts: &Accounts, _cx: &JobContext) -> Result<(), JobError> {
        Ok(accounts.purge(self.user_id).await?)
    }
}

/// Removes expired sessions and old rows. Daily.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AccountsSweep {}

impl AccountsSweep {
    pub fn plan() -> Plan {
        Plan {
            max_attempts: 3,
            timeout: Duration::from_secs(600),
            ..Plan::default()
        }
    }
}

#[async_trait]
impl Job for AccountsSweep {
    const KIND: &'static str = "accounts_sweep";
    type Domain = Accounts;

    async fn run(&self, accounts: &Accounts, _cx: &JobContext) -> Result<(), JobError> {
        let removed = accounts.sweep().await?;
        tracing::info!(sweep.rows = removed, "old account rows were removed");
        Ok(())
    }
}

/// Removes a picture that is not, or not any more, its user's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckAvatar {
    pub user_id: UserId,
    /// As in `users.avatar`: without the leading `media/`.
    pub avatar: String,
}

impl CheckAvatar {
    pub fn plan() -> Plan {
        Plan {
            max_attempts: 10,
            ..Plan::default()
        }
    }
}

#[async_trait]
impl Job for CheckAvatar {
    const KIND: &'static str = "check_avatar";
    type Domain = Accounts;

    fn subject(&self) -> Option<String> {
        Some(format!("user:{}", self.user_id))
    }

    async fn run(&self, accounts: &Accounts, _cx: &JobContext) -> Result<(), JobError> {
        accounts.drop_stray_avatar(self.user_id, &self.avatar).await
    }
}

impl Accounts {
    /// What comes round.
    pub fn schedules(&self) -> Vec<Schedule> {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        vec![
            // 03:41 UTC, apart from the other daily sweeps.
            Schedule::new("accounts_sweep", minutes(24 * 60), minutes(3 * 60 + 41), || {
                NewJob::new(&AccountsSweep {}).dedupe("accounts_sweep")
            }),
        ]
    }
}
