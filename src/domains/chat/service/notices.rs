//! A user's own notifications.

use std::collections::HashMap;

use chrono::TimeDelta;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;
use yunque_kernel::{ChatNotificationId, DbError, Tx, UserId};

use crate::dto::{self, ChatNotificationOut};
use crate::repo::{self, NoticeFilter};
use crate::{Chat, ChatError, Core};

/// Notifications that were read are kept for so long.
const KEPT: TimeDelta = TimeDelta::days(90);
/// Rows that one transaction of the sweep removes.
const CHUNK: u64 = 500;

impl Chat {
    /// A page of the caller's notifications, by a fixed number of statements.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub(crate) async fn list_notifications(
        &self,
        caller: &Caller,
        filter: NoticeFilter,
        page: Page,
    ) -> Result<(Vec<ChatNotificationOut>, u64), ChatError> {
        self.admit(caller).await?;
        let reader = self.ctx().db.reader();
        let (rows, total) = repo::list_notifications(reader, caller.user_id, filter, page).await?;
        let mut ids: Vec<i64> = rows.iter().filter_map(|row| row.room_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let rooms: HashMap<i64, _> = repo::list_rooms_by_ids(reader, &ids)
            .await?
            .into_iter()
            .map(|room| (room.id, room))
            .collect();
        let ids: Vec<i64> = rows.iter().filter_map(|row| row.message_id).collect();
        let messages: HashMap<i64, _> = repo::list_messages_by_ids(reader, &ids)
            .await?
            .into_iter()
            .map(|message| (message.id, message))
            .collect();
        let creators = rooms.values().filter_map(|room| room.created_by.map(UserId));
        let people = self.core().people(creators).await?;
        let shown = rows.iter().map(|row| {
            let room = row.room_id.and_then(|id| rooms.get(&id));
            let message = row.message_id.and_then(|id| messages.get(&id));
            dto::notification(row, room, message, &people)
        });
        Ok((shown.collect(), total))
    }

    /// How many of the caller's notifications are unread.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub async fn count_unread_notifications(&self, caller: &Caller) -> Result<u64, ChatError> {
        self.admit(caller).await?;
        Ok(repo::count_unread_notifications(self.ctx().db.reader(), caller.user_id).await?)
    }

    /// Marks one of the caller's notifications as read. Doing it again changes nothing.
    ///
    /// # Errors
    /// `GroupRequired`, `NotificationNotFound`.
    pub async fn read_notification(&self, caller: &Caller, id: ChatNotificationId) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let user = caller.user_id;
        let read = move |tx: Tx| async move { repo::update_notification_read(&tx, user, id).await };
        match self.ctx().db.write("chat.read_notification", read).await? {
            true => Ok(()),
            false => Err(ChatError::NotificationNotFound),
        }
    }

    /// Marks all of the caller's notifications as read, or those of one room, and tells how many were
    /// not.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub async fn read_all_notifications(&self, caller: &Caller, room: Option<i64>) -> Result<u64, ChatError> {
        self.admit(caller).await?;
        let user = caller.user_id;
        let read = move |tx: Tx| async move { repo::update_all_read(&tx, user, room).await };
        Ok(self.ctx().db.write("chat.read_all_notifications", read).await?)
    }

    /// Removes one of the caller's notifications.
    ///
    /// # Errors
    /// `GroupRequired`, `NotificationNotFound`.
    pub async fn delete_notification(
        &self,
        caller: &Caller,
        id: ChatNotificationId,
    ) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let user = caller.user_id;
        let delete = move |tx: Tx| async move { repo::delete_notification(&tx, user, id).await };
        match self.ctx().db.write("chat.delete_notification", delete).await? {
            true => Ok(()),
            false => Err(ChatError::NotificationNotFound),
        }
    }
}

impl Core {
    /// Removes notifications that were read long ago.
    pub(crate) async fn purge_notifications(&self) -> Result<u64, DbError> {
        let before = self.now() - KEPT;
        let mut purged = 0;
        loop {
            let ids = repo::list_old_notifications(self.ctx.db.reader(), before, CHUNK).await?;
            if ids.is_empty() {
                return Ok(purged);
            }
            let delete = move |tx: Tx| {
                let ids = ids.clone();
                async move { repo::delete_notifications(&tx, &ids).await }
            };
            purged += self.ctx.db.write("chat.purge_notifications", delete).await?;
        }
    }
}
