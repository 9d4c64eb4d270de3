//! Rooms, members and invitations.

use poem_openapi::Object;
use serde::Serialize;
use yunque_kernel::clock::rfc3339;

use super::{ChatNameOut, ChatUserOut, People, name, preview, user};
use crate::entity::{invite, member, message, room};
use crate::kinds::{InviteStatus, Notify, Role, RoomType};
use crate::repo::ListedRoom;
use yunque_kernel::UserId;

/// The newest message of a room, in short.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub struct ChatPreviewOut {
    pub id: i64,
    /// At most 100 characters.
    pub content: String,
    /// Username.
    pub sender: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

pub fn message_preview(row: &message::Preview, people: &People) -> ChatPreviewOut {
    ChatPreviewOut {
        id: row.id,
        content: preview(&row.content),
        sender: name(people, row.sender()).username,
        created_at: rfc3339(row.created_at),
    }
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub struct ChatRoomListOut {
    pub id: i64,
    pub name: String,
    pub description: Option<String>,
    pub room_type: RoomType,
    /// Null when the account is gone.
    pub created_by: Option<ChatUserOut>,
    pub member_count: i32,
    /// The newest message that is not deleted; null without one, and in rooms of others.
    pub last_message: Option<ChatPreviewOut>,
    /// RFC 3339, UTC.
    pub created_at: String,
    pub is_member: bool,
    /// Messages of others that the caller has not read; 0 for non-members.
    pub unread_count: i64,
    pub is_active: bool,
    pub max_members: i32,
}

/// A room as a list shows it.
pub fn room_item(row: ListedRoom, unread_count: i64, people: &People) -> ChatRoomListOut {
    let ListedRoom {
        id,
        name,
        description,
        room_type,
        created_by,
        member_count,
        max_members,
        created_at,
        reading,
        last_message,
    } = row;
    ChatRoomListOut {
        id,
        name,
        description,
        room_type: RoomType::from_stored(&room_type),
        created_by: created_by.map(|id| user(people, UserId(id))),
        member_count,
        last_message: last_message.map(|message| message_preview(&message, people)),
        created_at: rfc3339(created_at),
        is_member: reading.is_some(),
        unread_count,
        // Closed ones are not listed.
        is_active: true,
        max_members,
    }
}

fn creator(row: &room::Model, people: &People) -> Option<ChatUserOut> {
    row.created_by.map(|id| user(people, UserId(id)))
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatRoomOut {
    pub id: i64,
    pub name: String,
    pub description: Option<String>,
    pub room_type: RoomType,
    /// Null when the account is gone.
    pub created_by: Option<ChatUserOut>,
    pub member_count: i32,
    /// False for a room that was closed.
    pub is_active: bool,
    pub max_members: i32,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

pub fn room(row: &room::Model, people: &People) -> ChatRoomOut {
    ChatRoomOut {
        id: row.id,
        name: row.name.clone(),
        description: row.description.clone(),
        room_type: row.kind(),
        created_by: creator(row, people),
        member_count: row.member_count,
        is_active: row.is_active,
        max_members: row.max_members,
        created_at: rfc3339(row.created_at),
        updated_at: rfc3339(row.updated_at),
    }
}

/// A room with its members.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatRoomDetailOut {
    pub id: i64,
    pub name: String,
    pub description: Option<String>,
    pub room_type: RoomType,
    /// Null when the account is gone.
    pub created_by: Option<ChatUserOut>,
    pub member_count: i32,
    /// False for a room that was closed.
    pub is_active: bool,
    pub max_members: i32,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
    /// At most 200, admins first; all of them are a list of their own.
    pub members: Vec<ChatUserOut>,
    /// Null for who is not a member.
    pub my_role: Option<Role>,
    /// The newest message that is not deleted.
    pub last_message_id: Option<i64>,
}

pub fn room_detail(
    row: &room::Model,
    members: &[member::Model],
    my_role: Option<Role>,
    people: &People,
) -> ChatRoomDetailOut {
    let ChatRoomOut {
        id,
        name,
        description,
        room_type,
        created_by,
        member_count,
        is_active,
        max_members,
        created_at,
        updated_at,
    } = room(row, people);
    ChatRoomDetailOut {
        id,
        name,
        description,
        room_type,
        created_by,
        member_count,
        is_active,
        max_members,
        created_at,
        updated_at,
        members: members.iter().map(|m| user(people, m.user())).collect(),
        my_role,
        last_message_id: row.last_message_id,
    }
}

/// A room by name.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub struct ChatRoomNameOut {
    pub id: i64,
    pub name: String,
}

pub fn room_name(row: &room::Model) -> ChatRoomNameOut {
    ChatRoomNameOut {
        id: row.id,
        name: row.name.clone(),
    }
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatMemberOut {
    pub id: i64,
    pub room: ChatRoomNameOut,
    pub user: ChatUserOut,
    pub role: Role,
    /// RFC 3339, UTC.
    pub joined_at: String,
    /// RFC 3339, UTC.
    pub last_read_at: Option<String>,
    /// May read and not speak.
    pub is_muted: bool,
    /// Thrown out; only moderators see such a row.
    pub is_banned: bool,
    /// Has a socket open in the room.
    pub online: bool,
    /// RFC 3339, UTC; null for a mute without an end.
    pub mute_until: Option<String>,
    /// The caller's own wish; null in the rows of others.
    pub notify: Option<Notify>,
}

pub fn member(
    row: &member::Model,
    room: &room::Model,
    online: bool,
    is_own: bool,
    people: &People,
) -> ChatMemberOut {
    ChatMemberOut {
        id: row.id,
        room: room_name(room),
        user: user(people, row.user()),
        role: row.role(),
        joined_at: rfc3339(row.joined_at),
        last_read_at: row.last_read_at.map(rfc3339),
        is_muted: row.is_muted,
        is_banned: row.is_banned,
        online,
        mute_until: row.mute_until.map(rfc3339),
        notify: is_own.then(|| row.notify()),
    }
}

/// What became of a list of users to invite.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatInvitedOut {
    /// Those who have an invitation now.
    pub invited: Vec<ChatNameOut>,
    pub already_members: Vec<ChatNameOut>,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct ChatInviteOut {
    pub id: i64,
    pub room: ChatRoomOut,
    pub inviter: ChatNameOut,
    pub invitee: ChatNameOut,
    pub status: InviteStatus,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub expires_at: String,
}

pub fn invite(row: &invite::Model, of: &room::Model, people: &People) -> ChatInviteOut {
    ChatInviteOut {
        id: row.id,
        room: room(of, people),
        inviter: name(people, UserId(row.inviter_id)),
        invitee: name(people, UserId(row.invitee_id)),
        status: InviteStatus::from_stored(&row.status),
        created_at: rfc3339(row.created_at),
        expires_at: rfc3339(row.expires_at),
    }
}
