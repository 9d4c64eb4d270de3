//! A customer's session comes into being.

use serde::Serialize;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Claim;
use yunque_kernel::{SupportSessionId, Tx, UserId};

use sea_orm::sea_query::Expr;

use crate::dto::{self, People, SupportSessionOut};
use crate::entity::session::{Column, Model};
use crate::kinds::{ContentType, MessageType};
use crate::repo::{self, NewMessage};
use crate::{Support, SupportError, frames, policy};

/// What the first message of a session says. Stored text keeps to Chinese.
const CREATED: &str = "会话已创建";
/// How often the agent may change while a session is opened.
const TRIES: usize = 5;

/// The customer's session, and whether it is new.
#[derive(Clone, Debug)]
pub struct Opened {
    pub session: SupportSessionOut,
    pub is_new: bool,
}

impl Support {
    /// The caller's own session: a new one with the parent as its agent, or the one there is, open
    /// again. Parallel calls make one row. `answer` makes the stored idempotent answer.
    ///
    /// # Errors
    /// `AgentCannotOpen`, `CustomersOnly`; `NoAgent` when the settings want one.
    pub async fn open_session<A: Serialize + Send + Sync>(
        &self,
        caller: &Caller,
        claim: Claim,
        answer: impl Fn(&Opened) -> (u16, A) + Clone + Send + Sync + 'static,
    ) -> Result<Opened, SupportError> {
        policy::open(caller)?;
        let client = caller.user_id;
        let mut agent = self.above(Some(client)).await?;
        // The agent is only known for sure under the lock, and a transaction awaits nothing but
        // itself; so names are looked up before, and again when they were the wrong ones.
        for _ in 0..TRIES {
            let ids: Vec<UserId> = [Some(client), agent].into_iter().flatten().collect();
            let people = self.people(&ids).await?;
            let (this, claim, answer) = (self.clone(), claim.clone(), answer.clone());
            let done = self.0.ctx.db.write("support.open", move |tx: Tx| {
                let (this, people) = (this.clone(), people.clone());
                let (claim, answer) = (claim.clone(), answer.clone());
                async move {
                    let opened = this.open_locked(&tx, client, agent, &people).await?;
                    let (status, body) = answer(&opened);
                    claim.store(&tx, status, &body).await?;
                    Ok::<_, SupportError>(opened)
                }
            });
            match done.await {
                Err(SupportError::AgentIs(other)) => agent = other,
                other => return other,
            }
        }
        Err(SupportError::AgentIs(agent))
    }

    async fn open_locked(
        &self,
        tx: &Tx,
        client: UserId,
        expected: Option<UserId>,
        people: &People,
    ) -> Result<Opened, SupportError> {
        // Before the session: users come first everywhere. It also keeps others from inserting.
        let place = self.0.accounts.lock_place(tx, client).await?;
        let parent = place.and_then(|p| p.parent);
        let now = self.now();
        if let Some(mut session) = repo::lock_by_client(tx, client).await? {
            if session.agent() != expected {
                return Err(SupportError::AgentIs(session.agent()));
            }
            if !session.is_active {
                (session.is_active, session.updated_at) = (true, repo::later(&session, now));
                let set = [
                    (Column::IsActive, Expr::value(true)),
                    (Column::UpdatedAt, Expr::value(session.updated_at)),
                ];
                repo::update_session(tx, session.id, set).await?;
            }
            let last: Vec<i64> = session.last_message_id.into_iter().collect();
            let last = repo::list_messages_by_ids(tx, &last).await?.pop();
            return Ok(Opened {
                session: dto::session(&session, last.as_ref(), people, client),
                is_new: false,
            });
        }
        if parent != expected {
            return Err(SupportError::AgentIs(parent));
        }
        if parent.is_none() && self.0.settings.require_agent {
            return Err(SupportError::NoAgent);
        }
        let mut session = repo::insert_session(tx, client, parent, now).await?;
        let last = self.say(tx, &mut session, client, CREATED, people).await?;
        Ok(Opened {
            session: dto::session(&session, Some(&last), people, client),
            is_new: true,
        })
    }

    /// Adds a system message to a locked session, which moves on with it, and publishes it after
    /// the commit.
    pub(super) async fn say(
        &self,
        tx: &Tx,
        session: &mut Model,
        sender: UserId,
        text: &str,
        people: &People,
    ) -> Result<crate::entity::message::Model, yunque_kernel::DbError> {
        let previous = session.last_message_id.unwrap_or(0);
        let message = self.say_silently(tx, session, sender, text).await?;
        let shown = dto::message(&message, people, &self.0.ctx.public_base_url);
        let (hub, topic) = (
            self.0.ctx.realtime.clone(),
            frames::topic(SupportSessionId(session.id)),
        );
        tx.after_commit(move || hub.publish(&topic, frames::chat_message(&shown, Some(previous))));
        Ok(message)
    }

    /// The same without telling the sockets.
    pub(super) async fn say_silently(
        &self,
        tx: &Tx,
        session: &mut Model,
        sender: UserId,
        text: &str,
    ) -> Result<crate::entity::message::Model, yunque_kernel::DbError> {
        let now = repo::later(session, self.now());
        let new = NewMessage {
            session: session.id,
            sender,
            message_type: MessageType::System,
            content_type: ContentType::Text,
            content: Some(text.to_owned()),
            image: None,
        };
        let message = repo::insert_message(tx, new, now).await?;
        (session.last_message_id, session.updated_at) = (Some(message.id), now);
        let set = [
            (Column::LastMessageId, Expr::value(message.id)),
            (Column::UpdatedAt, Expr::value(now)),
        ];
        repo::update_session(tx, session.id, set).await?;
        Ok(message)
    }
}
