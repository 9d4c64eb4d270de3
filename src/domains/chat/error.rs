//! What can go wrong in chat rooms, and what clients hear of it.

use yunque_kernel::{ApiError, Code, Coded, DbError, Text};

/// The codes of this domain.
pub mod codes {
    yunque_kernel::codes! {
        EMPTY_CONTENT = 400, "empty_content", "消息内容不能为空", "Content is required.";
        INVALID_REPLY = 400, "invalid_reply", "回复的消息不存在", "Replied-to message not found.";
        ROOM_FULL = 400, "room_full", "房间已满", "The room is full.";
        MAX_MEMBERS_TOO_SMALL = 400, "max_members_too_small", "人数上限不能小于当前成员数", "The limit is below the present number of members.";
        CANNOT_TARGET_SELF = 400, "cannot_target_self", "不能对自己执行此操作", "You cannot do this to yourself.";
        UNKNOWN_USERS = 400, "unknown_users", "用户不存在", "No such user.";
        NOT_MEMBER = 403, "not_member", "无权限访问该房间", "You may not access this room.";
        MESSAGE_DENIED = 403, "not_member", "无权限访问该消息", "You may not access this message.";
        INVITE_REQUIRED = 403, "invite_required", "该房间需要邀请才能加入", "Invitation required.";
        BANNED = 403, "banned", "您已被该房间封禁", "You are banned from this room.";
        MUTED = 403, "muted", "您已被禁言", "You are muted.";
        NOT_SENDER = 403, "not_sender", "只能删除自己的消息", "You may only delete your own messages.";
        EDIT_DENIED = 403, "not_sender", "只能编辑自己的消息", "You may only edit your own messages.";
        SYSTEM_DENIED = 403, "permission_denied", "无权发送系统消息", "You may not send system messages.";
        GROUP_REQUIRED = 403, "permission_denied", "权限不足", "You do not have permission.";
        ROOM_NOT_FOUND = 404, "not_found", "房间不存在", "Room not found.";
        MESSAGE_NOT_FOUND = 404, "not_found", "消息不存在", "Message not found.";
        MEMBER_NOT_FOUND = 404, "not_found", "成员不存在", "Member not found.";
        INVITE_NOT_FOUND = 404, "not_found", "邀请不存在", "Invitation not found.";
        USER_NOT_FOUND = 404, "not_found", "用户不存在", "User not found.";
        NOTIFICATION_NOT_FOUND = 404, "not_found", "通知不存在", "Notification not found.";
        ROOM_INACTIVE = 409, "room_inactive", "房间已关闭", "The room is closed.";
        LAST_ADMIN = 409, "last_admin", "房间至少需要一名管理员", "A room needs an admin.";
        NOT_EDITABLE = 409, "not_editable", "该消息不能再编辑", "The message can no longer be edited.";
    }
}

/// Errors of the chat services.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("not in the group that chat needs")]
    GroupRequired,
    #[error("no such room")]
    RoomNotFound,
    #[error("the room is closed")]
    RoomInactive,
    #[error("the room is full")]
    RoomFull,
    #[error("not a member")]
    NotMember,
    #[error("not a member of the message's room")]
    MessageDenied,
    #[error("nobody invited the caller")]
    InviteRequired,
    #[error("banned from the room")]
    Banned,
    #[error("muted in the room")]
    Muted,
    #[error("the role does not allow it")]
    RoleTooLow,
    #[error("only admins and moderators speak for the server")]
    SystemDenied,
    #[error("the room would have no admin")]
    LastAdmin,
    #[error("not with oneself")]
    TargetsSelf,
    #[error("no such member")]
    MemberNotFound,
    #[error("no such user")]
    UserNotFound,
    #[error("unknown users: {0:?}")]
    UnknownUsers(Vec<(String, String)>),
    #[error("fewer places than members")]
    MaxMembersTooSmall,
    #[error("no such invitation")]
    InviteNotFound,
    #[error("no such message")]
    MessageNotFound,
    #[error("not the sender, and no moderator")]
    NotSender,
    #[error("not the sender")]
    EditDenied,
    #[error("deleted, of the server, or too old")]
    NotEditable,
    #[error("no content")]
    EmptyContent,
    #[error("the message that is replied to is not one of this room")]
    InvalidReply,
    #[error("no such notification")]
    NotificationNotFound,
    #[error("the quota does not allow it")]
    QuotaExceeded,
    #[error(transparent)]
    Storage(#[from] yunque_kernel::storage::StorageError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Coded for ChatError {
    fn code(&self) -> Code {
        match self {
            ChatError::GroupRequired => codes::GROUP_REQUIRED,
            ChatError::RoomNotFound => codes::ROOM_NOT_FOUND,
            ChatError::RoomInactive => codes::ROOM_INACTIVE,
            ChatError::RoomFull => codes::ROOM_FULL,
            ChatError::NotMember => codes::NOT_MEMBER,
            ChatError::MessageDenied => codes::MESSAGE_DENIED,
            ChatError::InviteRequired => codes::INVITE_REQUIRED,
            ChatError::Banned => codes::BANNED,
            ChatError::Muted => codes::MUTED,
            ChatError::RoleTooLow => yunque_kernel::error::common::PERMISSION_DENIED,
            ChatError::SystemDenied => codes::SYSTEM_DENIED,
            ChatError::LastAdmin => codes::LAST_ADMIN,
            ChatError::TargetsSelf => codes::CANNOT_TARGET_SELF,
            ChatError::MemberNotFound => codes::MEMBER_NOT_FOUND,
            ChatError::UserNotFound => codes::USER_NOT_FOUND,
            ChatError::UnknownUsers(_) => codes::UNKNOWN_USERS,
            ChatError::MaxMembersTooSmall => codes::MAX_MEMBERS_TOO_SMALL,
            ChatError::InviteNotFound => codes::INVITE_NOT_FOUND,
            ChatError::MessageNotFound => codes::MESSAGE_NOT_FOUND,
            ChatError::NotSender => codes::NOT_SENDER,
            ChatError::EditDenied => codes::EDIT_DENIED,
            ChatError::NotEditable => codes::NOT_EDITABLE,
            ChatError::EmptyContent => codes::EMPTY_CONTENT,
            ChatError::InvalidReply => codes::INVALID_REPLY,
            ChatError::NotificationNotFound => codes::NOTIFICATION_NOT_FOUND,
            ChatError::QuotaExceeded => yunque_files::codes::QUOTA_EXCEEDED,
            ChatError::Storage(e) => e.code(),
            ChatError::Db(e) => e.code(),
        }
    }

    /// Every 400 names its field.
    fn decorate(&self, mut error: ApiError) -> ApiError {
        let field = match self {
            ChatError::EmptyContent => "content",
            ChatError::InvalidReply => "reply_to",
            ChatError::MaxMembersTooSmall => "max_members",
            ChatError::UnknownUsers(unknown) => {
                for (field, name) in unknown {
                    let text = Text::owned(format!("用户不存在：{name}"), format!("No such user: {name}."));
                    error.faults.add_coded_text(field.clone(), error.code, text);
                }
                return error;
            }
            ChatError::Storage(e) => return e.decorate(error),
            _ => return error,
        };
        error.faults.add_coded_text(field, error.code, error.text.clone());
        error
    }
}
