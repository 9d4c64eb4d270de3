//! Sending and reading.

use serde::Serialize;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Claim;
use yunque_kernel::queue::Job;
use yunque_kernel::{DbError, SupportSessionId, Tx};

use sea_orm::sea_query::{Expr, ExprTrait};

use crate::dto::{self, SupportMessageOut};
use crate::entity::session::{Column, Model};
use crate::jobs::{CheckSupportImage, image_subject};
use crate::kinds::ContentType;
use crate::policy::Side;
use crate::repo::{self, NewMessage};
use crate::{Support, SupportError, frames, policy};

/// What a new message holds, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewContent {
    /// Checked by `MessageText::into_valid`.
    Text(String),
    /// Key of an image that is in storage, without the leading `media/`.
    Image(String),
}

/// A session that a socket may join.
#[derive(Clone, Debug)]
pub struct Joined {
    pub session: SupportSessionId,
    pub side: Side,
    pub is_active: bool,
    /// 0 when nothing was said yet.
    pub last_message_id: i64,
}

impl Support {
    /// Whether a socket of the caller may be in a session: participants only. Asked again when a
    /// system message comes, because the agent may be another one then.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionDenied`.
    pub async fn can_join(&self, id: SupportSessionId, caller: &Caller) -> Result<Joined, SupportError> {
        let session = self.existing(id).await?;
        let side = policy::take_part(caller, &session)?;
        Ok(Joined {
            session: id,
            side,
            is_active: session.is_active,
            last_message_id: session.last_message_id.unwrap_or(0),
        })
    }

    /// Whether the caller may write here now; before a body is read.
    ///
    /// # Errors
    /// `SessionNotFound`, `NotParticipant`, `Closed`.
    pub async fn can_write(&self, caller: &Caller, id: SupportSessionId) -> Result<(), SupportError> {
        let session = self.existing(id).await?;
        let side = policy::write(caller, &session)?;
        self.check_open(&session, side)
    }

    fn check_open(&self, session: &Model, side: Side) -> Result<(), SupportError> {
        let reopens = side == Side::Client && self.0.settings.auto_reopen;
        if session.is_active || reopens {
            Ok(())
        } else {
            Err(SupportError::Closed)
        }
    }

    /// Adds a message of the caller. A customer's message opens a closed session again. `answer`
    /// makes the stored idempotent answer.
    ///
    /// # Errors
    /// As [`Support::can_write`].
    pub async fn send<A: Serialize + Send + Sync>(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        content: NewContent,
        claim: Claim,
        answer: impl Fn(&SupportMessageOut) -> A + Clone + Send + Sync + 'static,
    ) -> Result<SupportMessageOut, SupportError> {
        let people = self.people(&[caller.user_id]).await?;
        let (this, by) = (self.clone(), caller.clone());
        self.0
            .ctx
            .db
            .write("support.send", move |tx: Tx| {
                let (this, by, people) = (this.clone(), by.clone(), people.clone());
                let (content, claim, answer) = (content.clone(), claim.clone(), answer.clone());
                async move {
                    let session = repo::lock_session(&tx, id)
                        .await?
                        .ok_or(SupportError::SessionNotFound)?;
                    let side = policy::write(&by, &session)?;
                    this.check_open(&session, side)?;
                    let previous = session.last_message_id.unwrap_or(0);
                    let row = this.insert(&tx, &session, &by, side, content).await?;
                    let shown = dto::message(&row, &people, &this.0.ctx.public_base_url);
                    claim.store(&tx, 201, &answer(&shown)).await?;
                    let (hub, frame) = (this.0.ctx.realtime.clone(), shown.clone());
                    tx.after_commit(move || {
                        hub.publish(&frames::topic(id), frames::chat_message(&frame, Some(previous)));
                    });
                    Ok::<_, SupportError>(shown)
                }
            })
            .await
    }

    /// A text of the caller, for the socket.
    ///
    /// # Errors
    /// As [`Support::can_write`].
    pub async fn send_text(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        text: String,
    ) -> Result<SupportMessageOut, SupportError> {
        self.send(caller, id, NewContent::Text(text), Claim::none(), |_| ())
            .await
    }

    async fn insert(
        &self,
        tx: &Tx,
        session: &Model,
        by: &Caller,
        side: Side,
        content: NewContent,
    ) -> Result<crate::entity::message::Model, DbError> {
        let now = repo::later(session, self.now());
        let mut new = NewMessage {
            session: session.id,
            sender: by.user_id,
            message_type: side.writes(),
            content_type: ContentType::Text,
            content: None,
            image: None,
        };
        match content {
            NewContent::Text(text) => new.content = Some(text),
            NewContent::Image(image) => {
                let subject = image_subject(&image);
                self.0
                    .ctx
                    .queue
                    .withdraw(tx, CheckSupportImage::KIND, &subject)
                    .await?;
                (new.content_type, new.image) = (ContentType::Image, Some(image));
            }
        }
        let row = repo::insert_message(tx, new, now).await?;
        let unread = counter(other(side));
        let set = [
            (Column::LastMessageId, Expr::value(row.id)),
            (Column::UpdatedAt, Expr::value(now)),
            (Column::IsActive, Expr::value(true)),
            (unread, Expr::col(unread).add(1)),
        ];
        repo::update_session(tx, session.id, set).await?;
        Ok(row)
    }

    /// Marks what the other side wrote as read, up to a message or all of it, and tells how many
    /// messages were not before.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionDenied`.
    pub async fn mark_read(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        up_to: Option<i64>,
    ) -> Result<u64, SupportError> {
        let (this, by) = (self.clone(), caller.clone());
        self.0
            .ctx
            .db
            .write("support.mark_read", move |tx: Tx| {
                let (this, by) = (this.clone(), by.clone());
                async move {
                    let session = repo::lock_session(&tx, id)
                        .await?
                        .ok_or(SupportError::SessionNotFound)?;
                    let side = policy::take_part(&by, &session)?;
                    let last = session.last_message_id.unwrap_or(0);
                    let up_to = std::cmp::min(up_to.unwrap_or(last), last);
                    let read = repo::update_read(&tx, session.id, side.reads(), up_to).await?;
                    if read > 0 {
                        let left =
                            unread(&session, side).saturating_sub(i32::try_from(read).unwrap_or(i32::MAX));
                        let set = [(counter(side), Expr::value(std::cmp::max(left, 0)))];
                        repo::update_session(&tx, session.id, set).await?;
                        let hub = this.0.ctx.realtime.clone();
                        tx.after_commit(move || {
                            hub.publish(&frames::topic(id), frames::messages_read(by.user_id, up_to));
                        });
                    }
                    Ok::<_, SupportError>(read)
                }
            })
            .await
    }
}

pub(super) fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Agent,
        Side::Agent => Side::Client,
    }
}

/// The column with what a side has not read.
pub(super) fn counter(side: Side) -> Column {
    match side {
        Side::Client => Column::UnreadClient,
        Side::Agent => Column::UnreadAgent,
    }
}

pub(super) fn unread(session: &Model, side: Side) -> i32 {
    match side {
        Side::Client => session.unread_client,
        Side::Agent => session.unread_agent,
    }
}
