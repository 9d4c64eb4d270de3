//! `/api/chat/sessions/{id}/messages/`.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::ToJSON;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{Body, Bucket, Claim, Created, Json, NoContent, Replayable, RequestInfo, Scope};
use yunque_kernel::{ApiError, SupportMessageId, SupportSessionId};

use super::SupportTags;
use super::body::{Message, MessageBody};
use super::parse::cursor;
use super::reply::Part;
use crate::dto::{SupportMarkReadIn, SupportMarkReadOut, SupportMessageOut};
use crate::service::NewContent;
use crate::{Support, SupportError};

pub(super) struct MessagesApi {
    support: Support,
}

impl MessagesApi {
    pub fn new(support: Support) -> Self {
        MessagesApi { support }
    }

    async fn send(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        message: Message,
        claim: Claim,
    ) -> Result<Created<SupportMessageOut>, ApiError> {
        let answer = |shown: &SupportMessageOut| shown.to_json();
        let bytes = match message {
            Message::Text(text) => {
                let content = NewContent::Text(text);
                let sent = self.support.send(caller, id, content, claim, answer).await?;
                return Ok(Created(sent));
            }
            Message::Image(bytes) => bytes,
        };
        let image = self.support.store_image(caller.user_id, bytes).await?;
        let content = NewContent::Image(image.clone());
        match self.support.send(caller, id, content, claim, answer).await {
            Ok(sent) => Ok(Created(sent)),
            // A database that failed may have stored the message all the same; then the job that
            // watches the image decides.
            Err(error @ SupportError::Db(_)) => Err(error.into()),
            Err(error) => {
                self.support.discard_image(&image).await;
                Err(error.into())
            }
        }
    }
}

#[OpenApi(prefix_path = "/api/chat/sessions", tag = "SupportTags::Support")]
impl MessagesApi {
    /// Lists messages of a session in ascending order.
    ///
    /// Without a cursor the newest `limit` (1 to 200, default 50); with `after_id` those that
    /// follow it, with `before_id` those right before it. For participants, the agents above the
    /// session's agent, and admins.
    /// Errors: 403, 404.
    #[oai(
        path = "/:id/messages",
        method = "get",
        operation_id = "list_support_messages"
    )]
    async fn list(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
        after_id: Query<Option<i64>>,
        before_id: Query<Option<i64>>,
        limit: Query<Option<i64>>,
    ) -> Result<Part<Vec<SupportMessageOut>>, ApiError> {
        let cursor = cursor(after_id.0, before_id.0, limit.0)?;
        let (body, has_more) = self.support.list_messages(&caller, id.0, cursor).await?;
        Ok(Part { body, has_more })
    }

    /// Sends a message: text as JSON, an image as `multipart/form-data`.
    ///
    /// Images are JPEG, PNG, GIF or WebP by content, at most 10 MiB; metadata are removed and the
    /// pixels stay. Honours `Idempotency-Key`.
    /// Errors: 400 `empty_content`, `image_required`, `unsupported_image`, `image_too_large`, `invalid_image`, `image_dimensions_exceeded`, 403 `not_participant`, 404, 409 `session_closed`, 413, 422.
    #[oai(
        path = "/:id/messages",
        method = "post",
        operation_id = "create_support_message"
    )]
    async fn create(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<SupportSessionId>,
        body: MessageBody,
    ) -> Result<Replayable<Created<SupportMessageOut>>, ApiError> {
        let scope = Scope::user(caller.user_id, &info)?;
        self.support.limits().quick(Bucket::ChatSend, caller.user_id)?;
        if matches!(body, MessageBody::Multipart(_)) {
            // Before megabytes are read for nothing.
            self.support.can_write(&caller, id.0).await?;
        }
        let draft = body.read().await?;
        let digest = draft.digest;
        self.support
            .idempotency()
            .run(scope, digest, |claim| async move {
                let message = draft.into_message()?;
                self.send(&caller, id.0, message, claim).await
            })
            .await
    }

    /// Takes a message back: its sender within two minutes, admins at any time.
    ///
    /// Errors: 403, 404.
    #[oai(
        path = "/:id/messages/:message_id",
        method = "delete",
        operation_id = "delete_support_message"
    )]
    async fn delete(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
        message_id: Path<SupportMessageId>,
    ) -> Result<NoContent, ApiError> {
        self.support.delete_message(&caller, id.0, message_id.0).await?;
        Ok(NoContent)
    }

    /// Marks what the other side wrote as read, up to `up_to` or all of it.
    ///
    /// Errors: 403, 404.
    #[oai(
        path = "/:id/mark_read",
        method = "post",
        operation_id = "read_support_messages"
    )]
    async fn mark_read(
        &self,
        caller: Caller,
        id: Path<SupportSessionId>,
        body: Body<SupportMarkReadIn>,
    ) -> Result<Json<SupportMarkReadOut>, ApiError> {
        let SupportMarkReadIn { up_to } = body.into_inner();
        let updated = self.support.mark_read(&caller, id.0, up_to).await?;
        Ok(Json(SupportMarkReadOut {
            // The seed's text, the same in every language.
            status: "messages marked as read".to_owned(),
            updated,
        }))
    }
}
