//! Who answers a session: handing it on, and following the customer's parent.

use sea_orm::sea_query::Expr;
use yunque_accounts::Moved;
use yunque_kernel::auth::Caller;
use yunque_kernel::{DbError, SupportSessionId, Tx, UserId};

use crate::dto::{self, SupportSessionOut};
use crate::entity::message;
use crate::entity::session::Column;
use crate::{Support, SupportError, frames, policy, repo};

/// Without a name: whose it is now stands in the session itself.
const ASSIGNED: &str = "会话已转接";

impl Support {
    /// Hands a session to another agent, with a system message.
    ///
    /// # Errors
    /// `SessionNotFound`; `SessionDenied` unless the caller is above the present agent or an admin;
    /// `NoSuchAgent` for somebody who is no active agent, or not of the caller's own.
    pub async fn assign(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        agent: UserId,
    ) -> Result<SupportSessionOut, SupportError> {
        let present = self.existing(id).await?;
        let above = self.above(present.agent()).await?;
        if !policy::may_assign(caller, &present, above) {
            return Err(SupportError::SessionDenied);
        }
        let people = self.people(&[caller.user_id]).await?;
        let (this, by, before) = (self.clone(), caller.clone(), present.agent());
        let session = self
            .0
            .ctx
            .db
            .write("support.assign", move |tx: Tx| {
                let (this, by, people) = (this.clone(), by.clone(), people.clone());
                async move {
                    // Users first. The target stays an agent until the session is his.
                    let place = this.0.accounts.lock_place(&tx, agent).await?;
                    let is_own = |p: &yunque_accounts::Place| {
                        by.is_staff || p.id == by.user_id || p.is_below(by.user_id)
                    };
                    let fits = place.is_some_and(|p| {
                        p.user_type.is_agent() && p.is_active && !p.is_deleted && is_own(&p)
                    });
                    if !fits {
                        return Err(SupportError::NoSuchAgent);
                    }
                    let mut session = repo::lock_session(&tx, id)
                        .await?
                        .ok_or(SupportError::SessionNotFound)?;
                    if session.agent() != before {
                        // Somebody else was faster, perhaps somebody who takes the right away.
                        return Err(SupportError::AgentIs(session.agent()));
                    }
                    if session.agent() != Some(agent) {
                        session.agent_id = Some(agent.0);
                        let set = [(Column::AgentId, Expr::value(agent.0))];
                        repo::update_session(&tx, session.id, set).await?;
                        this.say(&tx, &mut session, by.user_id, ASSIGNED, &people).await?;
                    }
                    Ok(session)
                }
            })
            .await?;
        Ok(self.present(session, caller.user_id).await?)
    }

    /// A customer got another parent, in this transaction: the session goes along.
    pub(crate) async fn follow(&self, tx: &Tx, moved: Moved) -> Result<(), DbError> {
        let Some(mut session) = repo::lock_by_client(tx, moved.customer).await? else {
            return Ok(());
        };
        if session.agent() == moved.to {
            return Ok(());
        }
        session.agent_id = moved.to.map(|agent| agent.0);
        let set = [(Column::AgentId, Expr::value(session.agent_id))];
        repo::update_session(tx, session.id, set).await?;
        let message = self
            .say_silently(tx, &mut session, moved.customer, ASSIGNED)
            .await?;
        let this = self.clone();
        // Names are not looked up inside the transaction.
        tx.after_commit(move || {
            yunque_kernel::task::spawn(async move { this.announce(message).await });
        });
        Ok(())
    }

    async fn announce(&self, message: message::Model) {
        // Sockets find in the database what this cannot tell them.
        let Ok(people) = self.people(&[message.sender()]).await else {
            return;
        };
        let shown = dto::message(&message, &people, &self.0.ctx.public_base_url);
        let topic = frames::topic(SupportSessionId(message.session_id));
        self.0
            .ctx
            .realtime
            .publish(&topic, frames::chat_message(&shown, None));
    }
}
