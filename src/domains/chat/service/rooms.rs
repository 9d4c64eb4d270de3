//! Rooms: making, listing, showing, changing and closing them.

use sea_orm::sea_query::{Expr, SimpleExpr};
use serde::Serialize;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{Claim, Page};
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::unread::unread_count;
use crate::dto::{self, ChatRoomDetailOut, ChatRoomListOut, ChatRoomOut};
use crate::entity::room::Column;
use crate::entity::{member, message, room};
use crate::kinds::{Role, RoomType};
use crate::policy::Standing;
use crate::repo::{NewRoom, RoomFilter};
use crate::{Chat, ChatError, frames, repo};

/// Members that the detail of a room shows.
const SHOWN_MEMBERS: u64 = 200;

/// A room that somebody wants to have.
#[derive(Clone, Debug)]
pub struct RoomDraft {
    pub name: String,
    pub description: Option<String>,
    pub room_type: RoomType,
    pub max_members: i32,
    /// Users to invite.
    pub member_ids: Vec<i64>,
}

/// Changes of a room; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RoomChange {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub room_type: Option<RoomType>,
    pub max_members: Option<i32>,
    pub is_active: Option<bool>,
}

impl RoomChange {
    /// # Errors
    /// `MaxMembersTooSmall`; `RoleTooLow` for what would let others into a room of two.
    fn check(&self, room: &room::Model) -> Result<(), ChatError> {
        let opens = self.room_type.is_some() || self.max_members.is_some();
        if room.direct_key.is_some() && opens {
            return Err(ChatError::RoleTooLow);
        }
        if self.max_members.is_some_and(|most| most < room.member_count) {
            return Err(ChatError::MaxMembersTooSmall);
        }
        Ok(())
    }

    /// Changes the room, and tells what of it is to be written.
    fn apply(self, room: &mut room::Model) -> Vec<(Column, SimpleExpr)> {
        let RoomChange {
            name,
            description,
            room_type,
            max_members,
            is_active,
        } = self;
        let before = room.clone();
        room.name = name.unwrap_or_else(|| before.name.clone());
        room.description = description.unwrap_or_else(|| before.description.clone());
        room.room_type = room_type.map_or_else(|| before.room_type.clone(), |kind| kind.as_str().to_owned());
        room.max_members = max_members.unwrap_or(before.max_members);
        room.is_active = is_active.unwrap_or(before.is_active);
        let mut set = Vec::new();
        if room.name != before.name {
            set.push((Column::Name, Expr::value(room.name.clone())));
        }
        if room.description != before.description {
            set.push((Column::Description, Expr::value(room.description.clone())));
        }
        if room.room_type != before.room_type {
            set.push((Column::RoomType, Expr::value(room.room_type.clone())));
        }
        if room.max_members != before.max_members {
            set.push((Column::MaxMembers, Expr::value(room.max_members)));
        }
        if room.is_active != before.is_active {
            set.push((Column::IsActive, Expr::value(room.is_active)));
        }
        set
    }
}

impl Chat {
    /// A page of the active rooms that the caller sees, newest first.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub async fn list_rooms(
        &self,
        caller: &Caller,
        filter: &RoomFilter,
        page: Page,
    ) -> Result<(Vec<ChatRoomListOut>, u64), ChatError> {
        self.admit(caller).await?;
        let reader = self.ctx().db.reader();
        let (rooms, total) = repo::list_rooms(reader, caller.user_id, filter, page).await?;
        let people = rooms.iter().flat_map(|room| {
            let last = room.last_message.as_ref().map(message::Preview::sender);
            room.created_by.map(UserId).into_iter().chain(last)
        });
        let people = self.core().people(people).await?;
        let shown = rooms.into_iter().map(|room| {
            let unread = room.reading.map_or(0, |reading| {
                unread_count(
                    reading.last_ordinal,
                    reading.mark_ordinal,
                    reading.deleted_after_mark,
                )
            });
            dto::room_item(room, unread, &people)
        });
        Ok((shown.collect(), total))
    }

    /// Makes a room with the caller as its admin, and invites others. `answer` makes the stored
    /// idempotent answer.
    ///
    /// # Errors
    /// `GroupRequired`, `UnknownUsers`.
    pub async fn create_room<A: Serialize + Send + Sync>(
        &self,
        caller: &Caller,
        draft: RoomDraft,
        claim: Claim,
        answer: impl Fn(&ChatRoomOut) -> A + Clone + Send + Sync + 'static,
    ) -> Result<ChatRoomOut, ChatError> {
        self.admit(caller).await?;
        let by = caller.user_id;
        let invited = self
            .find_invitees(by, ("member_ids", &draft.member_ids), ("member_ids", &[]))
            .await?;
        let people = self.core().people([by]).await?;
        let core = self.core().clone();
        self.ctx()
            .db
            .write("chat.create_room", move |tx: Tx| {
                let (core, draft, invited) = (core.clone(), draft.clone(), invited.clone());
                let (people, claim, answer) = (people.clone(), claim.clone(), answer.clone());
                async move {
                    let new = NewRoom {
                        name: draft.name,
                        description: draft.description,
                        room_type: draft.room_type,
                        max_members: draft.max_members,
                        created_by: by,
                        direct_key: None,
                    };
                    let now = core.now();
                    let mut room = repo::insert_room(&tx, new, now).await?;
                    core.let_in(&tx, &mut room, &[(by, Role::Admin)], now).await?;
                    core.invite_all(&tx, &room, by, &invited, &people).await?;
                    let shown = dto::room(&room, &people);
                    claim.store(&tx, 201, &answer(&shown)).await?;
                    Ok::<_, ChatError>(shown)
                }
            })
            .await
    }

    /// What a room is and who is in it.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`.
    pub async fn get_room(&self, caller: &Caller, id: ChatRoomId) -> Result<ChatRoomDetailOut, ChatError> {
        let standing = self.standing(caller, id).await?;
        standing.see()?;
        self.record(caller, &standing).await?;
        Ok(self.detail(&standing).await?)
    }

    /// The detail of a room as one sees it who stands there so.
    pub(super) async fn detail(&self, standing: &Standing) -> Result<ChatRoomDetailOut, DbError> {
        let room = &standing.room;
        let members = repo::list_first(self.ctx().db.reader(), room.id, SHOWN_MEMBERS).await?;
        let people = members.iter().map(member::Model::user).chain(creator(room));
        let people = self.core().people(people).await?;
        let my_role = standing.member().map(member::Model::role);
        Ok(dto::room_detail(room, &members, my_role, &people))
    }

    /// Changes a room.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`, `RoleTooLow`, `MaxMembersTooSmall`.
    pub async fn update_room(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        change: RoomChange,
    ) -> Result<ChatRoomDetailOut, ChatError> {
        let standing = self.change_room(caller, id, change).await?;
        self.record(caller, &standing).await?;
        Ok(self.detail(&standing).await?)
    }

    /// Closes a room: it is gone from lists, its members still read it. Doing it twice changes
    /// nothing.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`, `RoleTooLow`.
    pub async fn close_room(&self, caller: &Caller, id: ChatRoomId) -> Result<(), ChatError> {
        let change = RoomChange {
            is_active: Some(false),
            ..RoomChange::default()
        };
        self.change_room(caller, id, change).await?;
        Ok(())
    }

    async fn change_room(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        change: RoomChange,
    ) -> Result<Standing, ChatError> {
        let before = self.standing(caller, id).await?;
        before.administer()?;
        let people = self.core().people(creator(&before.room)).await?;
        let (core, by) = (self.core().clone(), caller.clone());
        self.ctx()
            .db
            .write("chat.update_room", move |tx: Tx| {
                let (core, by, change) = (core.clone(), by.clone(), change.clone());
                let people = people.clone();
                async move {
                    let mut standing = core.locked_standing(&tx, &by, id).await?;
                    standing.administer()?;
                    change.check(&standing.room)?;
                    let was_active = standing.room.is_active;
                    let room = &mut standing.room;
                    let mut set = change.apply(room);
                    if set.is_empty() {
                        return Ok(standing);
                    }
                    room.updated_at = repo::later(room, core.now());
                    set.push((Column::UpdatedAt, Expr::value(room.updated_at)));
                    repo::update_room(&tx, room.id, set).await?;
                    core.send_to_room(&tx, id, frames::room_updated(&dto::room(room, &people)));
                    if was_active && !room.is_active {
                        core.room_closed(&tx, room, by.user_id).await?;
                    }
                    Ok::<_, ChatError>(standing)
                }
            })
            .await
    }
}

/// Who made a room, while the account is there.
pub(super) fn creator(room: &room::Model) -> Option<UserId> {
    room.created_by.map(UserId)
}
