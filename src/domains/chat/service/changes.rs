//! Editing and deleting messages.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, SimpleExpr};
use yunque_kernel::auth::Caller;
use yunque_kernel::{ApiError, ChatMessageId, ChatRoomId, Tx};

use super::messages::DELETED;
use super::notify::Sent;
use crate::dto::{ChatMessageEditIn, ChatMessageOut};
use crate::entity::message::{Column, Model};
use crate::entity::{deleted, room};
use crate::kinds::{MessageType, Role};
use crate::policy::{Standing, is_moderator};
use crate::{Chat, ChatError, Core, frames, repo};

impl Chat {
    /// Gives a message another text.
    ///
    /// # Errors
    /// 400 `empty_content`; `MessageNotFound`, `MessageDenied`, `EditDenied`, `Muted`,
    /// `RoomInactive`, `NotEditable`.
    pub(crate) async fn edit_message(
        &self,
        caller: &Caller,
        id: ChatMessageId,
        input: ChatMessageEditIn,
    ) -> Result<ChatMessageOut, ApiError> {
        let (row, _) = self.readable_message(caller, id).await?;
        let content = input.content.map(|text| text.into_valid()).transpose()?.flatten();
        let content = match content {
            Some(content) => content,
            // A file needs no words.
            None if row.file_url.is_some() => String::new(),
            None => return Err(ChatError::EmptyContent.into()),
        };
        let core = self.core().clone();
        let mentions = core
            .mentions(caller.user_id, &content)
            .await
            .map_err(ChatError::from)?;
        let people = core.people([row.sender()]).await.map_err(ChatError::from)?;
        let (by, room) = (caller.clone(), ChatRoomId(row.room_id));
        let edited = self
            .ctx()
            .db
            .write("chat.edit_message", move |tx: Tx| {
                let (core, by, people) = (core.clone(), by.clone(), people.clone());
                let (content, mentions) = (content.clone(), mentions.clone());
                async move {
                    let mut standing = core.locked_standing(&tx, &by, room).await?;
                    let row = repo::find_message(&tx, id)
                        .await?
                        .ok_or(ChatError::MessageNotFound)?;
                    let now = core.now().max(row.updated_at);
                    core.check_editable(&standing, &row, &by)?;
                    core.reindex(&tx, &row, Some(&content)).await?;
                    let row = Model {
                        content: content.clone(),
                        is_edited: true,
                        edited_at: Some(now),
                        updated_at: now,
                        ..row
                    };
                    let set: [(Column, SimpleExpr); 4] = [
                        (Column::Content, Expr::value(content)),
                        (Column::IsEdited, Expr::value(true)),
                        (Column::EditedAt, Expr::value(now)),
                        (Column::UpdatedAt, Expr::value(now)),
                    ];
                    repo::update_message(&tx, row.id, set).await?;
                    let one = Sent {
                        row: &row,
                        mentions: &mentions,
                        to_all: mentions.all && standing.member().is_some_and(is_moderator),
                    };
                    core.mention_by_edit(&tx, &standing.room, one, &people).await?;
                    let frame = frames::edited(&row, &people);
                    core.tell_change(&tx, &mut standing.room, frame).await?;
                    Ok::<_, ChatError>((standing.room, row))
                }
            })
            .await?;
        let (room, row) = edited;
        let mut shown = self
            .core()
            .present_messages(&room, &[row])
            .await
            .map_err(ChatError::from)?;
        Ok(shown.pop().ok_or(ChatError::MessageNotFound)?)
    }

    /// Takes the text and the file out of a message, for good. Doing it again changes nothing.
    ///
    /// # Errors
    /// `GroupRequired`, `MessageNotFound`, `NotSender`.
    pub async fn delete_message(&self, caller: &Caller, id: ChatMessageId) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let row = repo::find_message(self.ctx().db.reader(), id).await?;
        let row = row.ok_or(ChatError::MessageNotFound)?;
        let core = self.core().clone();
        let people = core.people([row.sender()]).await?;
        let (by, room) = (caller.clone(), ChatRoomId(row.room_id));
        self.ctx()
            .db
            .write("chat.delete_message", move |tx: Tx| {
                let (core, by, people) = (core.clone(), by.clone(), people.clone());
                async move {
                    let mut standing = core.locked_standing(&tx, &by, room).await?;
                    let row = repo::find_message(&tx, id)
                        .await?
                        .ok_or(ChatError::MessageNotFound)?;
                    core.check_deletable(&tx, &standing, &row, &by).await?;
                    if row.is_deleted {
                        return Ok(());
                    }
                    let row = core.take_out(&tx, &standing.room, row, &by).await?;
                    let frame = frames::deleted(&row, &people);
                    core.tell_change(&tx, &mut standing.room, frame).await?;
                    Ok::<_, ChatError>(())
                }
            })
            .await
    }
}

impl Core {
    fn check_editable(&self, standing: &Standing, row: &Model, by: &Caller) -> Result<(), ChatError> {
        if row.sender() != by.user_id {
            return Err(match standing.read() {
                Ok(()) => ChatError::EditDenied,
                Err(_) => ChatError::MessageDenied,
            });
        }
        let now = self.now();
        standing.speak(now).map_err(|error| match error {
            ChatError::NotMember => ChatError::MessageDenied,
            error => error,
        })?;
        let is_late = now > row.created_at + self.settings.edit_window;
        if row.is_deleted || is_late || row.kind() == MessageType::System {
            return Err(ChatError::NotEditable);
        }
        Ok(())
    }

    /// The sender, and those who moderate him. What the server said is for moderators only.
    async fn check_deletable(
        &self,
        tx: &Tx,
        standing: &Standing,
        row: &Model,
        by: &Caller,
    ) -> Result<(), ChatError> {
        let is_system = row.kind() == MessageType::System;
        // A platform admin moderates even those who are in charge of a room.
        let is_senders = row.sender() == by.user_id && !standing.is_banned() && !is_system;
        if is_senders || standing.is_staff {
            return Ok(());
        }
        let author = repo::find_member(tx, standing.room.id, row.sender()).await?;
        let is_own = row.sender() == by.user_id;
        let role = match author.filter(|author| !author.is_banned) {
            Some(author) if !is_own && !is_system => author.role(),
            _ => Role::Member,
        };
        standing.act_on(role).map_err(|_| ChatError::NotSender)
    }

    /// What deleting does to the rows.
    async fn take_out(
        &self,
        tx: &Tx,
        room: &room::Model,
        row: Model,
        by: &Caller,
    ) -> Result<Model, ChatError> {
        let now: DateTime<Utc> = self.now().max(row.updated_at);
        let deleted = Model {
            content: DELETED.to_owned(),
            file_url: None,
            file_name: None,
            file_size: None,
            upload_id: None,
            is_deleted: true,
            deleted_at: Some(now),
            deleted_by: Some(by.user_id.0),
            updated_at: now,
            ..row.clone()
        };
        let nothing = || Expr::value(Option::<String>::None);
        let set: [(Column, SimpleExpr); 9] = [
            (Column::Content, Expr::value(DELETED)),
            (Column::FileUrl, nothing()),
            (Column::FileName, nothing()),
            (Column::FileSize, Expr::value(Option::<i64>::None)),
            (Column::UploadId, Expr::value(Option::<i64>::None)),
            (Column::IsDeleted, Expr::value(true)),
            (Column::DeletedAt, Expr::value(now)),
            (Column::DeletedBy, Expr::value(by.user_id.0)),
            (Column::UpdatedAt, Expr::value(now)),
        ];
        self.reindex(tx, &row, None).await?;
        repo::update_message(tx, row.id, set).await?;
        if row.kind() != MessageType::System {
            let note = deleted::Model {
                room_id: room.id,
                message_id: row.id,
                content: self.settings.keep_deleted.then(|| row.content.clone()),
                deleted_by: Some(by.user_id.0),
                deleted_at: now,
            };
            repo::insert_deleted(tx, note).await?;
        }
        repo::rewrite_notifications(tx, row.id, DELETED).await?;
        if let Some(upload) = row.upload_id {
            self.drop_upload(tx, upload).await?;
        }
        if room.last_message_id == Some(row.id) {
            let last = repo::find_last_shown(tx, room.id).await?;
            let set = [(room::Column::LastMessageId, Expr::value(last))];
            repo::update_room(tx, room.id, set).await?;
        }
        Ok(deleted)
    }
}
