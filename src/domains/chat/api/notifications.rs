//! `/api/chat/notifications/`.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{Body, Json, Listed, NoContent, PageQuery, RequestInfo};
use yunque_kernel::{ApiError, ChatNotificationId, Text};

use super::{ChatTags, done};
use crate::Chat;
use crate::dto::{
    ChatDoneOut, ChatNotificationOut, ChatReadAllIn, ChatUnreadNotificationsOut, ChatUpdatedOut,
};
use crate::kinds::NoticeType;
use crate::repo::NoticeFilter;

const PAGE_SIZE: u32 = 50;
const READ: Text = Text::fixed("通知已标记为已读", "Notification marked as read.");
const ALL_READ: Text = Text::fixed("全部通知已标记为已读", "All notifications marked as read.");

pub(super) struct NotificationsApi {
    chat: Chat,
}

impl NotificationsApi {
    pub fn new(chat: Chat) -> Self {
        NotificationsApi { chat }
    }
}

#[OpenApi(prefix_path = "/api/chat/notifications", tag = "ChatTags::Notifications")]
impl NotificationsApi {
    /// Lists the caller's notifications, most recently moved first.
    ///
    /// In rooms with many members one unread notification stands for all messages there, and moves to
    /// the newest of them.
    /// Errors: 400, 403.
    #[oai(path = "/", method = "get", operation_id = "list_chat_notifications")]
    async fn list(
        &self,
        caller: Caller,
        info: RequestInfo,
        is_read: Query<Option<bool>>,
        notification_type: Query<Option<NoticeType>>,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
    ) -> Result<Listed<ChatNotificationOut>, ApiError> {
        let page = PageQuery::of(page.0, page_size.0, PAGE_SIZE)?;
        let filter = NoticeFilter {
            is_read: is_read.0,
            kind: notification_type.0,
        };
        let (items, total) = self.chat.list_notifications(&caller, filter, page).await?;
        Ok(Listed::new(items, total, page, &info))
    }

    /// Marks a notification as read. Doing it again is no error.
    ///
    /// Errors: 403, 404.
    #[oai(
        path = "/:notification_id/read",
        method = "post",
        operation_id = "read_chat_notification"
    )]
    async fn read(
        &self,
        caller: Caller,
        info: RequestInfo,
        notification_id: Path<ChatNotificationId>,
    ) -> Result<Json<ChatDoneOut>, ApiError> {
        self.chat.read_notification(&caller, notification_id.0).await?;
        Ok(done(&READ, &info))
    }

    /// Marks all notifications as read, or those of one room.
    ///
    /// Errors: 400, 403.
    #[oai(
        path = "/read_all",
        method = "post",
        operation_id = "read_all_chat_notifications"
    )]
    async fn read_all(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<ChatReadAllIn>,
    ) -> Result<Json<ChatUpdatedOut>, ApiError> {
        let ChatReadAllIn { room_id } = body.into_inner();
        let updated = self.chat.read_all_notifications(&caller, room_id).await?;
        Ok(Json(ChatUpdatedOut {
            message: ALL_READ.get(info.lang).to_owned(),
            updated,
        }))
    }

    /// Counts unread notifications.
    ///
    /// Errors: 403.
    #[oai(
        path = "/unread_count",
        method = "get",
        operation_id = "get_chat_notifications_unread_count"
    )]
    async fn unread_count(&self, caller: Caller) -> Result<Json<ChatUnreadNotificationsOut>, ApiError> {
        let unread_count = self.chat.count_unread_notifications(&caller).await?;
        Ok(Json(ChatUnreadNotificationsOut { unread_count }))
    }

    /// Removes a notification.
    ///
    /// Errors: 403, 404.
    #[oai(
        path = "/:notification_id",
        method = "delete",
        operation_id = "delete_chat_notification"
    )]
    async fn delete(
        &self,
        caller: Caller,
        notification_id: Path<ChatNotificationId>,
    ) -> Result<NoContent, ApiError> {
        self.chat.delete_notification(&caller, notification_id.0).await?;
        Ok(NoContent)
    }
}
