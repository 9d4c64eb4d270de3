//! Who may do what in a room. Pure functions.
//!
//! A *member* is in the room and not banned. Platform admins read and moderate every room without
//! being members; they do not speak in it. Rooms have sequential ids, so that one exists is no
//! secret: those of others are refused (403), not hidden.

use chrono::{DateTime, Utc};
use yunque_kernel::auth::Caller;

use crate::entity::{member, room};
use crate::error::ChatError;
use crate::kinds::{Role, RoomType};

/// One who wants to read in a room: as much of where he stands as that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    pub room_type: RoomType,
    pub is_member: bool,
    /// A platform admin.
    pub is_staff: bool,
}

impl Reader {
    /// Reading messages and members.
    ///
    /// # Errors
    /// `NotMember`.
    pub fn read(self) -> Result<(), ChatError> {
        if self.is_member || self.is_staff {
            Ok(())
        } else {
            Err(ChatError::NotMember)
        }
    }

    /// A platform admin who is no member reads what is not public: that is recorded.
    pub fn is_recorded(self) -> bool {
        self.is_staff && !self.is_member && self.room_type != RoomType::Public
    }
}

/// Where a caller stands in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub room: room::Model,
    /// The caller's row, also when it is banned.
    pub row: Option<member::Model>,
    /// A platform admin.
    pub is_staff: bool,
}

impl Standing {
    pub fn new(room: room::Model, row: Option<member::Model>, caller: &Caller) -> Self {
        Standing {
            room,
            row,
            is_staff: caller.is_staff,
        }
    }

    /// The caller as a member.
    pub fn member(&self) -> Option<&member::Model> {
        self.row.as_ref().filter(|row| !row.is_banned)
    }

    pub fn is_banned(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.is_banned)
    }

    /// What the caller may do to others: a platform admin as much as an admin of the room.
    pub fn role(&self) -> Option<Role> {
        if self.is_staff {
            return Some(Role::Admin);
        }
        self.member().map(member::Model::role)
    }

    pub fn reader(&self) -> Reader {
        Reader {
            room_type: self.room.kind(),
            is_member: self.member().is_some(),
            is_staff: self.is_staff,
        }
    }

    /// # Errors
    /// As [`Reader::read`].
    pub fn read(&self) -> Result<(), ChatError> {
        self.reader().read()
    }

    /// Seeing what the room is. A closed one is seen by its members only.
    ///
    /// # Errors
    /// `NotMember`, `RoomNotFound`.
    pub fn see(&self) -> Result<(), ChatError> {
        if self.read().is_ok() {
            return Ok(());
        }
        match self.room.kind() {
            RoomType::Public if self.is_banned() => Err(ChatError::NotMember),
            RoomType::Public if !self.room.is_active => Err(ChatError::RoomNotFound),
            RoomType::Public => Ok(()),
            RoomType::Private | RoomType::Group => Err(ChatError::NotMember),
        }
    }

    /// The caller as one who may speak.
    ///
    /// # Errors
    /// `NotMember`, `RoomInactive`, `Muted`.
    pub fn speak(&self, now: DateTime<Utc>) -> Result<&member::Model, ChatError> {
        speak(&self.room, self.row.as_ref(), now)
    }

    /// Editing and deleting the room, setting roles, handing it over.
    ///
    /// # Errors
    /// `NotMember`, `RoleTooLow`.
    pub fn administer(&self) -> Result<(), ChatError> {
        self.at_least(Role::Admin)
    }

    /// # Errors
    /// `NotMember`, `RoleTooLow`.
    pub fn moderate(&self) -> Result<(), ChatError> {
        self.at_least(Role::Moderator)
    }

    fn at_least(&self, needed: Role) -> Result<(), ChatError> {
        let role = self.role().ok_or(ChatError::NotMember)?;
        if rank(role) >= rank(needed) {
            Ok(())
        } else {
            Err(ChatError::RoleTooLow)
        }
    }

    /// Kick, mute, ban and their undoing: admins anyone but admins, moderators members.
    ///
    /// # Errors
    /// `NotMember`, `RoleTooLow`.
    pub fn act_on(&self, target: Role) -> Result<(), ChatError> {
        self.moderate()?;
        let role = self.role().ok_or(ChatError::NotMember)?;
        if rank(role) > rank(target) {
            Ok(())
        } else {
            Err(ChatError::RoleTooLow)
        }
    }

    /// Members invite into public and group rooms, admins and moderators into private ones.
    ///
    /// # Errors
    /// `NotMember`, `RoleTooLow`, `RoomInactive`. Nobody comes into a room of two.
    pub fn invite(&self) -> Result<(), ChatError> {
        self.member().ok_or(ChatError::NotMember)?;
        if !self.room.is_active {
            return Err(ChatError::RoomInactive);
        }
        if self.room.direct_key.is_some() {
            return Err(ChatError::RoleTooLow);
        }
        match self.room.kind() {
            RoomType::Private => self.moderate(),
            RoomType::Public | RoomType::Group => Ok(()),
        }
    }
}

/// The row of one who may speak now.
///
/// # Errors
/// `NotMember`, `RoomInactive`, `Muted`.
pub fn speak<'a>(
    room: &room::Model,
    row: Option<&'a member::Model>,
    now: DateTime<Utc>,
) -> Result<&'a member::Model, ChatError> {
    let member = row.filter(|row| !row.is_banned).ok_or(ChatError::NotMember)?;
    if !room.is_active {
        return Err(ChatError::RoomInactive);
    }
    if member.is_muted_at(now) {
        return Err(ChatError::Muted);
    }
    Ok(member)
}

/// Speaking in the manner of the server, and to all.
pub fn is_moderator(member: &member::Model) -> bool {
    rank(member.role()) >= rank(Role::Moderator)
}

fn rank(role: Role) -> u8 {
    match role {
        Role::Member => 0,
        Role::Moderator => 1,
        Role::Admin => 2,
    }
}

#[cfg(test)]
mod tests {
    use yunque_kernel::UserId;
    use yunque_kernel::auth::UserType;

    use super::*;

    fn caller(is_staff: bool) -> Caller {
        Caller {
            user_id: UserId(1),
            username: "x".into(),
            is_staff,
            user_type: if is_staff {
                UserType::Admin
            } else {
                UserType::Customer
            },
            session: None,
            key: None,
        }
    }

    fn room(kind: RoomType) -> room::Model {
        room::Model {
            id: 1,
            name: "r".into(),
            description: None,
            room_type: kind.as_str().into(),
            created_by: None,
            is_active: true,
            max_members: 50,
            member_count: 1,
            last_seq: 0,
            notified_seq: 0,
            last_ordinal: 0,
            head_id: 0,
            changes: 0,
            last_message_id: None,
            direct_key: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn row(role: Role) -> member::Model {
        member::Model {
            id: 1,
            room_id: 1,
            user_id: 1,
            role: role.as_str().into(),
            joined_at: DateTime::UNIX_EPOCH,
            last_read_at: None,
            last_read_message_id: None,
            mark_id: 0,
            mark_ordinal: 0,
            is_muted: false,
            mute_until: None,
            is_banned: false,
            notify: "all".into(),
        }
    }

    fn standing(kind: RoomType, row: Option<member::Model>, is_staff: bool) -> Standing {
        Standing::new(room(kind), row, &caller(is_staff))
    }

    #[test]
    fn strangers_see_public_rooms_and_read_none() {
        for kind in [RoomType::Public, RoomType::Private, RoomType::Group] {
            let stranger = standing(kind, None, false);
            assert_eq!(stranger.see().is_ok(), kind == RoomType::Public, "{kind:?}");
            assert!(matches!(stranger.read(), Err(ChatError::NotMember)), "{kind:?}");
            assert!(stranger.speak(DateTime::UNIX_EPOCH).is_err(), "{kind:?}");
            let admin = standing(kind, None, true);
            assert!(admin.see().is_ok() && admin.read().is_ok() && admin.administer().is_ok());
            assert!(admin.speak(DateTime::UNIX_EPOCH).is_err(), "no member, no voice");
            assert_eq!(admin.reader().is_recorded(), kind != RoomType::Public);
        }
        let mut banned = row(Role::Admin);
        banned.is_banned = true;
        let banned = standing(RoomType::Public, Some(banned), false);
        assert!(banned.see().is_err() && banned.moderate().is_err() && banned.role().is_none());
    }

    #[test]
    fn roles_act_on_those_below_them() {
        use Role::{Admin, Member, Moderator};
        let table = [
            (Admin, [true, true, false]),
            (Moderator, [true, false, false]),
            (Member, [false, false, false]),
        ];
        for (role, expected) in table {
            let standing = standing(RoomType::Group, Some(row(role)), false);
            let acts = [Member, Moderator, Admin].map(|target| standing.act_on(target).is_ok());
            assert_eq!(acts, expected, "{role:?}");
            assert_eq!(standing.administer().is_ok(), role == Admin);
        }
    }

    #[test]
    fn private_rooms_are_entered_by_invitation_of_those_in_charge() {
        use RoomType::{Group, Private, Public};
        for (kind, role, expected) in [
            (Public, Role::Member, true),
            (Group, Role::Member, true),
            (Private, Role::Member, false),
            (Private, Role::Moderator, true),
            (Private, Role::Admin, true),
        ] {
            let standing = standing(kind, Some(row(role)), false);
            assert_eq!(standing.invite().is_ok(), expected, "{kind:?} {role:?}");
        }
        assert!(
            standing(Public, None, true).invite().is_err(),
            "not even platform admins"
        );
    }

    #[test]
    fn a_mute_ends_by_itself() {
        let at = |s| DateTime::from_timestamp(s, 0).expect("time");
        let mut muted = row(Role::Member);
        muted.is_muted = true;
        muted.mute_until = Some(at(100));
        let standing = standing(RoomType::Public, Some(muted), false);
        assert!(matches!(standing.speak(at(99)), Err(ChatError::Muted)));
        assert!(standing.speak(at(100)).is_ok());
    }
}
