//! Closing, opening again, and removing whole sessions.

use sea_orm::sea_query::Expr;
use yunque_kernel::auth::Caller;
use yunque_kernel::queue::NewJob;
use yunque_kernel::{SupportSessionId, Tx, UserId};

use crate::dto::SupportSessionOut;
use crate::entity::session::Column;
use crate::jobs::PurgeSupportImages;
use crate::{Support, SupportError, frames, policy, repo};

const CLOSED: &str = "会话已关闭";
const REOPENED: &str = "会话已重新打开";

/// A session that is gone.
#[derive(Clone, Debug)]
pub struct Cleared {
    pub client: UserId,
    pub client_name: String,
}

impl Support {
    /// Closes or opens a session, with a system message. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionDenied`.
    pub async fn set_active(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        is_active: bool,
    ) -> Result<SupportSessionOut, SupportError> {
        let people = self.people(&[caller.user_id]).await?;
        let (this, by) = (self.clone(), caller.clone());
        let session = self
            .0
            .ctx
            .db
            .write("support.set_active", move |tx: Tx| {
                let (this, by, people) = (this.clone(), by.clone(), people.clone());
                async move {
                    let mut session = repo::lock_session(&tx, id)
                        .await?
                        .ok_or(SupportError::SessionNotFound)?;
                    policy::take_part(&by, &session)?;
                    if session.is_active == is_active {
                        return Ok(session);
                    }
                    session.is_active = is_active;
                    let set = [(Column::IsActive, Expr::value(is_active))];
                    repo::update_session(&tx, session.id, set).await?;
                    let text = if is_active { REOPENED } else { CLOSED };
                    this.say(&tx, &mut session, by.user_id, text, &people).await?;
                    if !is_active {
                        this.tell_closed(&tx, id);
                    }
                    Ok::<_, SupportError>(session)
                }
            })
            .await?;
        Ok(self.present(session, caller.user_id).await?)
    }

    fn tell_closed(&self, tx: &Tx, id: SupportSessionId) {
        let hub = self.0.ctx.realtime.clone();
        tx.after_commit(move || hub.publish(&frames::topic(id), frames::session_closed(id)));
    }

    /// Removes a session with all its messages; their images go by job.
    ///
    /// # Errors
    /// `SessionNotFound`; `ClearDenied` for everybody but the agent and admins.
    pub async fn clear(&self, caller: &Caller, id: SupportSessionId) -> Result<Cleared, SupportError> {
        let (this, by) = (self.clone(), caller.clone());
        let client = self
            .0
            .ctx
            .db
            .write("support.clear", move |tx: Tx| {
                let (this, by) = (this.clone(), by.clone());
                async move {
                    let session = repo::lock_session(&tx, id)
                        .await?
                        .ok_or(SupportError::SessionNotFound)?;
                    if !policy::may_clear(&by, &session) {
                        return Err(SupportError::ClearDenied);
                    }
                    let images = repo::list_images(&tx, session.id).await?;
                    repo::delete_session(&tx, session.id).await?;
                    let jobs = images.chunks(PurgeSupportImages::MOST).map(|images| {
                        let images = images.to_vec();
                        NewJob::new(&PurgeSupportImages { images }).owner(by.user_id)
                    });
                    this.0.ctx.queue.enqueue_many(&tx, jobs.collect()).await?;
                    this.tell_closed(&tx, id);
                    Ok(session.client())
                }
            })
            .await?;
        let people = self.people(&[client]).await?;
        let client_name = crate::dto::user(&people, client).name;
        Ok(Cleared { client, client_name })
    }
}
