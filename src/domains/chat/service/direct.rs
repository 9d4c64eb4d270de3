//! Rooms of two: one for each pair, which the unique `direct_key` decides. Both are ordinary members,
//! so that neither can throw the other out or let somebody else in; whoever is enough of it leaves.

use sea_orm::sea_query::Expr;
use yunque_kernel::auth::Caller;
use yunque_kernel::{DbError, Tx, UserId};

use crate::dto::{self, ChatRoomOut, People};
use crate::entity::room;
use crate::kinds::{Role, RoomType};
use crate::repo::NewRoom;
use crate::{Chat, ChatError, Core, repo};

const DIRECT_KEY: &str = "chat_rooms_direct_key_key";
/// How often somebody else may make the room first. He has made it then, so twice is enough.
const TRIES: usize = 3;
/// Characters of each name in the name of the room, which has at most 100.
const NAME_PART: usize = 49;

impl Chat {
    /// The room of the caller and another user, and whether it is new. If one of them had left the
    /// room that there was, he is a member again.
    ///
    /// # Errors
    /// `GroupRequired`, `TargetsSelf`; `UserNotFound` also for one who does not want to hear of the
    /// caller; `Banned`, and `RoomNotFound` for a room that was closed over a caller who had left it.
    pub async fn open_direct_room(
        &self,
        caller: &Caller,
        other: UserId,
    ) -> Result<(ChatRoomOut, bool), ChatError> {
        self.admit(caller).await?;
        let by = caller.user_id;
        if other == by {
            return Err(ChatError::TargetsSelf);
        }
        let people = self.core().people([by, other]).await?;
        let brief = people.get(&other);
        let is_known = brief.is_some_and(|brief| brief.is_active && !brief.is_purged);
        if !is_known || !self.core().accounts.may_contact(by, other).await? {
            return Err(ChatError::UserNotFound);
        }
        let key = direct_key(by, other);
        for _ in 0..TRIES {
            if let Some(found) = repo::find_direct(self.ctx().db.reader(), &key).await? {
                let room = self.core().reopen_direct(found, by, other, &people).await?;
                return Ok((dto::room(&room, &people), false));
            }
            match self.core().create_direct(&key, by, other, &people).await {
                Err(DbError::Unique { constraint }) if constraint == DIRECT_KEY => {}
                made => return Ok((dto::room(&made?, &people), true)),
            }
        }
        Err(DbError::Conflict("a room of two is neither there nor can it be made".to_owned()).into())
    }
}

impl Core {
    async fn create_direct(
        &self,
        key: &str,
        by: UserId,
        other: UserId,
        people: &People,
    ) -> Result<room::Model, DbError> {
        let new = NewRoom {
            name: direct_name(people, by, other),
            description: None,
            room_type: RoomType::Private,
            max_members: 2,
            created_by: by,
            direct_key: Some(key.to_owned()),
        };
        let core = self.clone();
        self.ctx
            .db
            .write("chat.create_direct", move |tx: Tx| {
                let (core, new) = (core.clone(), new.clone());
                async move {
                    let now = core.now();
                    let mut room = repo::insert_room(&tx, new, now).await?;
                    let both = [by, other].map(|user| (user, Role::Member));
                    core.let_in(&tx, &mut room, &both, now).await?;
                    Ok::<_, DbError>(room)
                }
            })
            .await
    }

    /// Lets whoever had left come back. A room that both had left opens again; one that was closed
    /// over somebody's head stays closed.
    async fn reopen_direct(
        &self,
        found: room::Model,
        by: UserId,
        other: UserId,
        people: &People,
    ) -> Result<room::Model, ChatError> {
        let (core, people) = (self.clone(), people.clone());
        self.ctx
            .db
            .write("chat.reopen_direct", move |tx: Tx| {
                let (core, people, key) = (core.clone(), people.clone(), found.key());
                async move {
                    let mut room = repo::lock_room(&tx, key).await?.ok_or(ChatError::RoomNotFound)?;
                    let rows = repo::list_members_of(&tx, &[(room.id, vec![by.0, other.0])]).await?;
                    let row_of = |user: UserId| rows.iter().find(|row| row.user() == user);
                    if row_of(by).is_some_and(|row| row.is_banned) {
                        return Err(ChatError::Banned);
                    }
                    if !room.is_active && room.member_count > 0 {
                        return match row_of(by) {
                            Some(_) => Ok(room),
                            None => Err(ChatError::RoomNotFound),
                        };
                    }
                    if !room.is_active {
                        room.is_active = true;
                        let set = [(room::Column::IsActive, Expr::value(true))];
                        repo::update_room(&tx, room.id, set).await?;
                    }
                    for user in [by, other].into_iter().filter(|user| row_of(*user).is_none()) {
                        core.let_in(&tx, &mut room, &[(user, Role::Member)], core.now())
                            .await?;
                        core.say_came(&tx, &mut room, user, &people).await?;
                    }
                    Ok(room)
                }
            })
            .await
    }
}

/// The same for both.
fn direct_key(one: UserId, other: UserId) -> String {
    let (low, high) = (one.min(other), one.max(other));
    format!("{low}:{high}")
}

fn direct_name(people: &People, one: UserId, other: UserId) -> String {
    let part = |user| -> String {
        let username = dto::name(people, user).username;
        username.chars().take(NAME_PART).collect()
    };
    format!("{}、{}", part(one), part(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_one_key() {
        assert_eq!(direct_key(UserId(10), UserId(9)), "9:10");
        assert_eq!(direct_key(UserId(9), UserId(10)), "9:10");
        let longest = direct_key(UserId(i64::MAX), UserId(i64::MAX - 1));
        assert!(longest.len() <= 41, "{longest}");
    }
}
