//! Looking at sessions and messages.

use std::collections::HashMap;

use yunque_kernel::auth::{Caller, UserType};
use yunque_kernel::http::Page;
use yunque_kernel::{DbError, SupportSessionId, UserId};

use crate::dto::{self, People, SupportHistoryOut, SupportMessageOut, SupportSessionOut};
use crate::entity::{message, session};
use crate::policy;
use crate::repo::{self, Cursor, Scope};
use crate::{Support, SupportError};

impl Support {
    /// Everybody's brief, from the cache as a rule.
    pub(super) async fn people(&self, ids: &[UserId]) -> Result<People, DbError> {
        self.0.accounts.briefs(ids).await
    }

    /// The parent of an agent.
    pub(super) async fn above(&self, agent: Option<UserId>) -> Result<Option<UserId>, DbError> {
        let Some(agent) = agent else { return Ok(None) };
        let people = self.people(&[agent]).await?;
        Ok(people.get(&agent).and_then(|brief| brief.parent_id))
    }

    /// A session that the caller may read.
    ///
    /// # Errors
    /// `SessionNotFound`, `SessionDenied`.
    pub async fn readable(
        &self,
        caller: &Caller,
        id: SupportSessionId,
    ) -> Result<session::Model, SupportError> {
        let session = self.existing(id).await?;
        let above = self.above(session.agent()).await?;
        if policy::may_read(caller, &session, above) {
            Ok(session)
        } else {
            Err(SupportError::SessionDenied)
        }
    }

    pub(super) async fn existing(&self, id: SupportSessionId) -> Result<session::Model, SupportError> {
        repo::find_session(self.0.ctx.db.reader(), id)
            .await?
            .ok_or(SupportError::SessionNotFound)
    }

    /// # Errors
    /// As [`Support::readable`].
    pub async fn get_session(
        &self,
        caller: &Caller,
        id: SupportSessionId,
    ) -> Result<SupportSessionOut, SupportError> {
        let session = self.readable(caller, id).await?;
        Ok(self.present(session, caller.user_id).await?)
    }

    /// The sessions that the caller may read, newest activity first. Whatever the length of the page
    /// that is one query each for the agents below, the count, the page, what was said last, and
    /// the names that are not remembered.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn list_sessions(
        &self,
        caller: &Caller,
        page: Page,
    ) -> Result<(Vec<SupportSessionOut>, u64), SupportError> {
        let scope = self.scope(caller).await?;
        let (sessions, total) = repo::list_sessions(self.0.ctx.db.reader(), &scope, page).await?;
        Ok((self.present_all(sessions, caller.user_id).await?, total))
    }

    async fn scope(&self, caller: &Caller) -> Result<Scope, DbError> {
        if caller.is_staff {
            return Ok(Scope::Everybody);
        }
        let mut agents = Vec::new();
        if caller.user_type.is_agent() {
            agents.push(caller.user_id);
        }
        if caller.user_type == UserType::AgentL1 {
            let below = self
                .0
                .accounts
                .sub_agents_of(self.0.ctx.db.reader(), caller.user_id);
            agents.extend(below.await?);
        }
        Ok(Scope::Of {
            client: caller.user_id,
            agents,
        })
    }

    pub(super) async fn present(
        &self,
        session: session::Model,
        viewer: UserId,
    ) -> Result<SupportSessionOut, DbError> {
        let mut shown = self.present_all(vec![session], viewer).await?;
        shown
            .pop()
            .ok_or_else(|| DbError::Other("a session was not shown".to_owned()))
    }

    async fn present_all(
        &self,
        sessions: Vec<session::Model>,
        viewer: UserId,
    ) -> Result<Vec<SupportSessionOut>, DbError> {
        let (last, people) = self.around(&sessions).await?;
        let shown = sessions.iter().map(|s| {
            let last = s.last_message_id.and_then(|id| last.get(&id));
            dto::session(s, last, &people, viewer)
        });
        Ok(shown.collect())
    }

    /// The last messages of sessions, and who takes part in them.
    pub(super) async fn around(
        &self,
        sessions: &[session::Model],
    ) -> Result<(HashMap<i64, message::Model>, People), DbError> {
        let ids: Vec<i64> = sessions.iter().filter_map(|s| s.last_message_id).collect();
        let last = repo::list_messages_by_ids(self.0.ctx.db.reader(), &ids).await?;
        let mut users: Vec<UserId> = sessions.iter().map(session::Model::client).collect();
        users.extend(sessions.iter().filter_map(session::Model::agent));
        let people = self.people(&users).await?;
        Ok((last.into_iter().map(|m| (m.id, m)).collect(), people))
    }

    /// Messages of a session in ascending order, and whether there are more beyond them.
    ///
    /// # Errors
    /// As [`Support::readable`].
    pub async fn list_messages(
        &self,
        caller: &Caller,
        id: SupportSessionId,
        cursor: Cursor,
    ) -> Result<(Vec<SupportMessageOut>, bool), SupportError> {
        self.readable(caller, id).await?;
        let (messages, has_more) = repo::list_messages(self.0.ctx.db.reader(), id.0, cursor).await?;
        let people = self.senders(&messages).await?;
        let base = &self.0.ctx.public_base_url;
        let shown = messages.iter().map(|m| dto::message(m, &people, base));
        Ok((shown.collect(), has_more))
    }

    async fn senders(&self, messages: &[message::Model]) -> Result<People, DbError> {
        let users: Vec<UserId> = messages.iter().map(message::Model::sender).collect();
        self.people(&users).await
    }

    /// What was said with a customer, for those who may read the session. Whoever is above the
    /// customer is told when there is none; to others that is nobody's business.
    ///
    /// # Errors
    /// `HistoryDenied`, `HistoryNotFound`.
    pub async fn history(
        &self,
        caller: &Caller,
        client: UserId,
        cursor: Cursor,
    ) -> Result<(SupportHistoryOut, bool), SupportError> {
        let reader = self.0.ctx.db.reader();
        let Some(session) = repo::find_by_client(reader, client).await? else {
            return Err(self.no_history(caller, client).await?);
        };
        let above = self.above(session.agent()).await?;
        let answers = caller.user_id != client && policy::may_read(caller, &session, above);
        if !answers {
            return Err(SupportError::HistoryDenied);
        }
        let (messages, has_more) = repo::list_messages(reader, session.id, cursor).await?;
        let mut users: Vec<UserId> = messages.iter().map(message::Model::sender).collect();
        users.push(client);
        let people = self.people(&users).await?;
        let shown = dto::history(&session, &messages, &people, &self.0.ctx.public_base_url);
        Ok((shown, has_more))
    }

    async fn no_history(&self, caller: &Caller, client: UserId) -> Result<SupportError, DbError> {
        let people = self.people(&[client]).await?;
        let parent = people.get(&client).and_then(|brief| brief.parent_id);
        let is_above = caller.user_type.is_agent()
            && (parent == Some(caller.user_id) || self.above(parent).await? == Some(caller.user_id));
        Ok(if caller.is_staff || is_above {
            SupportError::HistoryNotFound
        } else {
            SupportError::HistoryDenied
        })
    }
}
