//! Whom a user reaches: by name, and by leave of whoever decides about contacts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use yunque_kernel::DbError;
use yunque_kernel::ids::UserId;

use crate::Accounts;
use crate::repo::users;
use crate::values::name_key;

/// Who may write to whom. Asked before somebody is drawn into a direct room, invited or mentioned;
/// who is out of reach is answered like a user who does not exist.
#[async_trait]
pub trait ContactPolicy: Send + Sync + 'static {
    /// Those of `to` whom `from` must not contact.
    async fn out_of_reach(&self, from: UserId, to: &[UserId]) -> Result<HashSet<UserId>, DbError>;
}

/// An active user by his name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUser {
    pub id: UserId,
    /// As the user writes it.
    pub username: String,
}

impl Accounts {
    /// Active users by user name, in whatever case it is written, with one query. The keys are names
    /// as they were given; those of nobody, and of accounts that are disabled or deleted, are left
    /// out. For at most a few hundred names.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn named<S: AsRef<str> + Sync>(
        &self,
        names: &[S],
    ) -> Result<HashMap<String, NamedUser>, DbError> {
        let asked: Vec<(&str, String)> = names
            .iter()
            .map(|name| (name.as_ref(), name_key(name.as_ref())))
            .collect();
        let mut keys: Vec<&str> = asked.iter().map(|(_, key)| key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = users::list_active_by_keys(self.0.ctx.db.reader(), &keys).await?;
        let users: HashMap<String, NamedUser> = rows
            .into_iter()
            .map(|row| {
                let id = UserId(row.id);
                let username = row.username;
                (row.username_key, NamedUser { id, username })
            })
            .collect();
        let found = |(name, key): (&str, String)| Some((name.to_owned(), users.get(&key)?.clone()));
        Ok(asked.into_iter().filter_map(found).collect())
    }

    /// Sets who decides about contacts. Until then everybody may reach everybody.
    pub fn set_contact_policy(&self, policy: Arc<dyn ContactPolicy>) {
        *self
            .0
            .contact_policy
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(policy);
    }

    /// Those of `to` whom `from` may contact, in their order.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn contactable(&self, from: UserId, mut to: Vec<UserId>) -> Result<Vec<UserId>, DbError> {
        let policy = self
            .0
            .contact_policy
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(policy) = policy
            && !to.is_empty()
        {
            let refused = policy.out_of_reach(from, &to).await?;
            to.retain(|user| !refused.contains(user));
        }
        Ok(to)
    }

    /// The same for one user.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn may_contact(&self, from: UserId, to: UserId) -> Result<bool, DbError> {
        Ok(!self.contactable(from, vec![to]).await?.is_empty())
    }
}
