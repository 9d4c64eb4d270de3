//! Who answers a session: handing it on, and following the customer's parent.

use std::collections::HashMap;

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
/// Customers looked at together: few enough for the parameters of one statement.
const CHUNK: usize = 500;

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

    /// Customers got another parent, in this transaction: their sessions go along. Most customers
    /// have none, so sessions are looked for by the hundred.
    pub(crate) async fn follow(&self, tx: &Tx, mut moves: Vec<Moved>) -> Result<(), DbError> {
        // Sessions are locked in one order, whoever moves customers.
        moves.sort_unstable_by_key(|moved| moved.customer);
        let to: HashMap<UserId, Option<UserId>> = moves.iter().map(|m| (m.customer, m.to)).collect();
        let mut said = Vec::new();
        for chunk in moves.chunks(CHUNK) {
            let customers: Vec<UserId> = chunk.iter().map(|moved| moved.customer).collect();
            for mut session in repo::lock_by_clients(tx, &customers).await? {
                let client = session.client();
                let agent = to.get(&client).copied().flatten();
                if session.agent() == agent {
                    continue;
                }
                session.agent_id = agent.map(|agent| agent.0);
                let set = [(Column::AgentId, Expr::value(session.agent_id))];
                repo::update_session(tx, session.id, set).await?;
                said.push(self.say_silently(tx, &mut session, client, ASSIGNED).await?);
            }
        }
        if !said.is_empty() {
            let this = self.clone();
            // Names are not looked up inside the transaction.
            tx.after_commit(move || {
                yunque_kernel::task::spawn(async move { this.announce(&said).await });
            });
        }
        Ok(())
    }

    async fn announce(&self, messages: &[message::Model]) {
        for chunk in messages.chunks(CHUNK) {
            let senders: Vec<UserId> = chunk.iter().map(message::Model::sender).collect();
            // Sockets find in the database what this cannot tell them.
            let Ok(people) = self.people(&senders).await else {
                return;
            };
            for message in chunk {
                let shown = dto::message(message, &people, &self.0.ctx.public_base_url);
                let topic = frames::topic(SupportSessionId(message.session_id));
                let frame = frames::chat_message(&shown, None);
                self.0.ctx.realtime.publish(&topic, frame);
            }
        }
    }
}
