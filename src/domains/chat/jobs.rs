//! The jobs of this domain: payloads, and which service method does the work.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yunque_kernel::queue::{Job, JobContext, JobError, NewJob, Plan, Schedule};
use yunque_kernel::{Db, DbError, UserId};

use crate::Chat;

/// Tells the members of a large room of what is new there.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct NotifyChatRoom {
    pub room_id: i64,
}

#[async_trait]
impl Job for NotifyChatRoom {
    const KIND: &'static str = "notify_chat_room";
    type Domain = Chat;

    fn subject(&self) -> Option<String> {
        Some(room_subject(self.room_id))
    }

    async fn run(&self, chat: &Chat, _: &JobContext) -> Result<(), JobError> {
        Ok(chat.core().notify_room(self.room_id).await?)
    }

    async fn expected(chat: &Chat, _: &Db) -> Result<Option<Vec<String>>, DbError> {
        chat.core().expected_notifiers().await.map(Some)
    }
}

pub(crate) fn room_subject(room: i64) -> String {
    format!("room:{room}")
}

/// Brings what was said into the index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexChat {
    /// Empty for all that lag behind.
    pub rooms: Vec<i64>,
}

#[async_trait]
impl Job for IndexChat {
    const KIND: &'static str = "index_chat";
    type Domain = Chat;

    async fn run(&self, chat: &Chat, cx: &JobContext) -> Result<(), JobError> {
        Ok(chat.core().index_rooms(&self.rooms, &cx.cancelled).await?)
    }
}

/// Removes a file that no message shows any more.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PurgeChatFiles {
    pub upload_id: i64,
}

#[async_trait]
impl Job for PurgeChatFiles {
    const KIND: &'static str = "purge_chat_files";
    type Domain = Chat;

    fn subject(&self) -> Option<String> {
        Some(crate::service::uploads::upload_subject(self.upload_id))
    }

    async fn run(&self, chat: &Chat, _: &JobContext) -> Result<(), JobError> {
        chat.core().purge_upload(self.upload_id).await
    }

    async fn expected(chat: &Chat, _: &Db) -> Result<Option<Vec<String>>, DbError> {
        chat.core().expected_purges().await.map(Some)
    }
}

/// Takes a user whose account was removed out of all rooms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PurgeChatMember {
    pub user_id: i64,
}

#[async_trait]
impl Job for PurgeChatMember {
    const KIND: &'static str = "purge_chat_member";
    type Domain = Chat;

    async fn run(&self, chat: &Chat, _: &JobContext) -> Result<(), JobError> {
        let purged = chat.purge_member(UserId(self.user_id)).await;
        purged
            .map_err(|error| JobError::retry("the user could not be taken out of all rooms").caused_by(error))
    }
}

/// Removes files that were never sent and notifications that were read long ago, and makes the jobs
/// that should be there and are not.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SweepChat {}

#[async_trait]
impl Job for SweepChat {
    const KIND: &'static str = "sweep_chat";
    type Domain = Chat;

    async fn run(&self, chat: &Chat, _: &JobContext) -> Result<(), JobError> {
        let core = chat.core();
        let notifiers = core.revive_notifiers().await?;
        let uploads = core.sweep_uploads().await?;
        let notifications = core.purge_notifications().await?;
        if notifiers > 0 || uploads > 0 || notifications > 0 {
            tracing::info!(
                sweep.notifiers = notifiers,
                sweep.uploads = uploads,
                sweep.notifications = notifications,
                "chat swept"
            );
        }
        Ok(())
    }
}

impl Chat {
    pub(crate) fn register_jobs(&self) {
        let queue = &self.ctx().queue;
        // A room whose members wait for news is tried again soon, and given up late.
        let notify = Plan {
            max_attempts: 20,
            retry_base: Duration::from_secs(2),
            retry_max: Duration::from_secs(300),
            ..Plan::default()
        };
        queue.register::<NotifyChatRoom>(self.clone(), notify);
        // Given up soon: the next minute brings another.
        let index = Plan {
            max_attempts: 3,
            retry_base: Duration::from_secs(2),
            timeout: Duration::from_secs(600),
            ..Plan::default()
        };
        queue.register::<IndexChat>(self.clone(), index);
        let purge = Plan {
            max_attempts: 10,
            ..Plan::default()
        };
        queue.register::<PurgeChatFiles>(self.clone(), purge);
        queue.register::<PurgeChatMember>(self.clone(), purge);
        let sweep = Plan {
            max_attempts: 1,
            timeout: Duration::from_secs(600),
            ..Plan::default()
        };
        queue.register::<SweepChat>(self.clone(), sweep);
    }

    /// What comes round.
    pub fn schedules(&self) -> Vec<Schedule> {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        vec![
            // Apart from the sweeps of others, which run at 2, 7, 12 … and in the night.
            Schedule::new("sweep_chat", minutes(30), minutes(11), || {
                NewJob::new(&SweepChat {}).dedupe("sweep_chat")
            }),
            // For rooms whose own job was lost, and for databases that were filled before there was an index.
            Schedule::new("index_chat", minutes(1), Duration::from_secs(35), || {
                NewJob::new(&IndexChat { rooms: Vec::new() }).dedupe("index_chat")
            }),
        ]
    }
}
