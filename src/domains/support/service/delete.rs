//! Taking back one message.

use chrono::TimeDelta;
use sea_orm::sea_query::Expr;
use yunque_kernel::auth::Caller;
use yunque_kernel::queue::NewJob;
use yunque_kernel::{SupportMessageId, SupportSessionId, Tx};

use super::messages::{counter, unread};
use crate::entity::session::Column;
use crate::jobs::PurgeSupportImages;
use crate::kinds::MessageType;
use crate::policy::Side;
use crate::{Support, SupportError, policy, repo};

/// How long a sender may take a message back.
const REGRET: TimeDelta = TimeDelta::minutes(2);

impl Support {
    /// Removes a message: its sender within two minutes, admins at any time. System messages are
    /// nobody's own. Its image goes by job.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionDenied` for others than participants, `MessageNotFound`,
    /// `DeleteDenied`.
    pub async fn delete_message(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        message: SupportMessageId,
    ) -> Result<(), SupportError> {
        let (this, by) = (self.clone(), caller.clone());
        self.0
            .ctx
            .db
            .write("support.delete", move |tx: Tx| {
                let (this, by) = (this.clone(), by.clone());
                async move {
                    let session = repo::lock_session(&tx, id)
                        .await?
                        .ok_or(SupportError::SessionNotFound)?;
                    policy::take_part(&by, &session)?;
                    let row = repo::find_message(&tx, session.id, message)
                        .await?
                        .ok_or(SupportError::MessageNotFound)?;
                    let written_by = MessageType::from_stored(&row.message_type);
                    let is_own = row.sender() == by.user_id && written_by != MessageType::System;
                    let in_time = this.now() - row.created_at <= REGRET;
                    let may = by.is_staff || (is_own && in_time);
                    if !may {
                        return Err(SupportError::DeleteDenied);
                    }
                    repo::delete_message(&tx, row.id).await?;
                    let mut set = Vec::new();
                    if session.last_message_id == Some(row.id) {
                        let last = repo::find_last_id(&tx, session.id).await?;
                        set.push((Column::LastMessageId, Expr::value(last)));
                    }
                    // Whoever had not read it has one less to read.
                    let reader = match written_by {
                        MessageType::Client => Some(Side::Agent),
                        MessageType::Agent => Some(Side::Client),
                        MessageType::System => None,
                    };
                    if let Some(side) = reader.filter(|_| !row.is_read) {
                        set.push((counter(side), Expr::value((unread(&session, side) - 1).max(0))));
                    }
                    if !set.is_empty() {
                        repo::update_session(&tx, session.id, set).await?;
                    }
                    if let Some(image) = row.image {
                        let job = PurgeSupportImages { images: vec![image] };
                        this.0
                            .ctx
                            .queue
                            .enqueue(&tx, NewJob::new(&job).owner(by.user_id))
                            .await?;
                    }
                    Ok(())
                }
            })
            .await
    }
}
