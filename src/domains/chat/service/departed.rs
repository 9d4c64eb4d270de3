//! What becomes of somebody whose account is removed: he leaves every room, and what he was told of
//! is gone. What he said stays, under the name of nobody.

use async_trait::async_trait;
use yunque_accounts::{PurgeHook, SpaceHook};
use yunque_kernel::queue::NewJob;
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::join::Exit;
use crate::jobs::PurgeChatMember;
use crate::{Chat, ChatError, repo};

impl Chat {
    /// Takes a user out of all rooms, as if he had left them.
    ///
    /// # Errors
    /// Only the database's.
    pub(crate) async fn purge_member(&self, user: UserId) -> Result<(), ChatError> {
        let people = self.core().people([user]).await?;
        for (row, _) in repo::list_rooms_of(self.ctx().db.reader(), user).await? {
            let (this, people, id) = (self.clone(), people.clone(), ChatRoomId(row.room_id));
            self.ctx()
                .db
                .write("chat.purge_member", move |tx: Tx| {
                    let (this, people) = (this.clone(), people.clone());
                    async move {
                        let Some(mut room) = repo::lock_room(&tx, id).await? else {
                            return Ok(());
                        };
                        let row = repo::find_member(&tx, room.id, user).await?;
                        if let Some(row) = row.filter(|row| !row.is_banned) {
                            this.hand_on(&tx, &room, &row).await?;
                            this.core()
                                .remove_member(&tx, &mut room, &row, Exit::Left, &people)
                                .await?;
                        }
                        Ok::<_, ChatError>(())
                    }
                })
                .await?;
        }
        self.ctx()
            .db
            .write("chat.purge_notifications", move |tx: Tx| async move {
                repo::delete_notifications_of(&tx, user).await?;
                Ok::<_, ChatError>(())
            })
            .await
    }
}

#[async_trait]
impl PurgeHook for Chat {
    async fn user_purged(&self, tx: &Tx, user: UserId) -> Result<(), DbError> {
        let job =
            NewJob::new(&PurgeChatMember { user_id: user.0 }).dedupe(format!("purge_chat_member:{user}"));
        self.ctx().queue.enqueue(tx, job).await.map(drop)
    }
}

#[async_trait]
impl SpaceHook for Chat {
    async fn space_of(&self, tx: &Tx, user: UserId) -> Result<u64, DbError> {
        Chat::space_of(self, tx, user).await
    }
}
