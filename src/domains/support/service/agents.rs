//! What waits for somebody, and whom an agent talks to.

use yunque_accounts::values::name_key;
use yunque_kernel::UserId;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::Page;

use crate::dto::{self, SupportChatUserOut, SupportUnreadOut, SupportViewer};
use crate::entity::session::{Column, Model};
use crate::repo::{self, Scope};
use crate::{Support, SupportError};

/// Briefs looked at together in a search.
const CHUNK: usize = 500;

impl Support {
    /// Messages that wait for the caller: as the customer of a session, as the agent of sessions,
    /// and for admins as the other side of all of them.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn unread_total(&self, caller: &Caller) -> Result<SupportUnreadOut, SupportError> {
        let reader = self.0.ctx.db.reader();
        let answers = caller.is_staff || caller.user_type.is_agent();
        let (user_type, total) = if answers {
            let scope = match caller.is_staff {
                true => Scope::Everybody,
                false => Scope::OfAgent(caller.user_id),
            };
            let total = repo::sum_unread(reader, Column::UnreadAgent, &scope).await?;
            (SupportViewer::Agent, total)
        } else {
            let scope = Scope::Of {
                client: caller.user_id,
                agents: Vec::new(),
            };
            let total = repo::sum_unread(reader, Column::UnreadClient, &scope).await?;
            (SupportViewer::Client, total)
        };
        Ok(SupportUnreadOut {
            total_unread_count: total,
            user_type,
        })
    }

    /// The customers whose sessions the calling agent has, newest activity first. A search looks at
    /// names and usernames.
    ///
    /// # Errors
    /// `AgentsOnly`.
    pub async fn chat_users(
        &self,
        caller: &Caller,
        search: Option<&str>,
        page: Page,
    ) -> Result<(Vec<SupportChatUserOut>, u64), SupportError> {
        if !caller.user_type.is_agent() {
            return Err(SupportError::AgentsOnly);
        }
        let reader = self.0.ctx.db.reader();
        let (sessions, total) = match search.map(name_key).filter(|s| !s.is_empty()) {
            None => {
                let total = repo::count_of_agent(reader, caller.user_id).await?;
                (
                    repo::list_of_agent(reader, caller.user_id, Some(page)).await?,
                    total,
                )
            }
            Some(search) => {
                let all = repo::list_of_agent(reader, caller.user_id, None).await?;
                let found = self.named_like(all, &search).await?;
                let total = found.len() as u64;
                let skip = usize::try_from(page.offset()).unwrap_or(usize::MAX);
                let take = usize::try_from(page.limit()).unwrap_or(usize::MAX);
                (found.into_iter().skip(skip).take(take).collect(), total)
            }
        };
        let (last, people) = self.around(&sessions).await?;
        let shown = sessions.iter().map(|s| {
            let last = s.last_message_id.and_then(|id| last.get(&id));
            dto::chat_user(s, last, &people)
        });
        Ok((shown.collect(), total))
    }

    /// Names belong to accounts, so they are compared here, out of the cache as a rule.
    async fn named_like(&self, sessions: Vec<Model>, search: &str) -> Result<Vec<Model>, SupportError> {
        let mut found = Vec::new();
        for chunk in sessions.chunks(CHUNK) {
            let ids: Vec<UserId> = chunk.iter().map(Model::client).collect();
            let people = self.people(&ids).await?;
            let fits = |session: &&Model| {
                people.get(&session.client()).is_some_and(|brief| {
                    [&brief.username, &brief.name, &brief.display_name]
                        .iter()
                        .any(|text| name_key(text).contains(search))
                })
            };
            found.extend(chunk.iter().filter(fits).cloned());
        }
        Ok(found)
    }
}
