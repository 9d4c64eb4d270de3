//! One line for each operation of the document. A new operation needs a line here, or
//! `every_operation_has_a_probe` fails.

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody; credentials are not looked at.
    Anyone,
    /// Everybody who brings a signed link.
    Signed,
    /// A token, or an API key with the scope of the path.
    Login,
    /// A token; never an API key.
    Session,
    /// An admin.
    Admin,
}

/// Whose object the path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Nothing,
    Account,
    File,
    Session,
    /// A support session; those of others are refused rather than hidden.
    Support,
    /// A chat room, or a message in it; refused like support sessions.
    Room,
    /// What somebody was told, or invited to.
    Notice,
    /// A user of the platform: whoever logged in may read of him what is public, and is refused the rest.
    Person,
}

pub struct Probe {
    pub operation: &'static str,
    pub who: Who,
    pub names: Names,
}

const fn probe(operation: &'static str, who: Who, names: Names) -> Probe {
    Probe {
        operation,
        who,
        names,
    }
}

use Names::{Account, File, Nothing, Notice, Room, Session as OneSession, Support};
use Who::{Admin, Anyone, Login, Session, Signed};

pub const PROBES: &[Probe] = &[
    probe("GET /healthz/", Anyone, Nothing),
    probe("GET /readyz/", Anyone, Nothing),
    probe("POST /user/register/", Anyone, Nothing),
    probe("POST /user/login/", Anyone, Nothing),
    probe("POST /user/refresh-token/", Anyone, Nothing),
    probe("POST /user/logout/", Session, Nothing),
    probe("POST /user/logout-all/", Session, Nothing),
    probe("GET /user/sessions/", Session, Nothing),
    probe("DELETE /user/sessions/{sid}/", Session, OneSession),
    probe("GET /user/profile/", Login, Nothing),
    probe("POST /user/change-password/", Session, Nothing),
    probe("POST /user/update-display-name/", Login, Nothing),
    probe("POST /user/update-email/", Session, Nothing),
    probe("POST /user-settings/change-password/", Session, Nothing),
    probe("POST /user-settings/update-display-name/", Login, Nothing),
    probe("POST /user-settings/update-email/", Session, Nothing),
    probe("GET /user/", Admin, Nothing),
    probe("POST /user/", Admin, Nothing),
    probe("GET /user/{id}/", Login, Account),
    probe("PATCH /user/{id}/", Login, Account),
    probe("PUT /user/{id}/", Login, Account),
    probe("DELETE /user/{id}/", Session, Account),
    probe("POST /user/forgot-password/", Anyone, Nothing),
    probe("POST /user/reset-password/", Anyone, Nothing),
    probe("POST /api/token/", Anyone, Nothing),
    probe("POST /api/token/refresh/", Anyone, Nothing),
    probe("POST /api/token/verify/", Anyone, Nothing),
    probe("POST /api/token/logout/", Session, Nothing),
    probe("POST /api/users/register/", Anyone, Nothing),
    probe("POST /api/users/reset_password/", Anyone, Nothing),
    probe("POST /api/users/forgot_password/", Anyone, Nothing),
    probe("POST /api/users/verify_code/", Anyone, Nothing),
    probe("POST /api/users/create_sub_agent/", Login, Nothing),
    probe("POST /api/users/create_agent/", Admin, Nothing),
    probe("POST /api/users/create_customer/", Admin, Nothing),
    probe("GET /api/users/profile/", Login, Nothing),
    probe("PUT /api/users/update_profile/", Login, Nothing),
    probe("PATCH /api/users/update_profile/", Login, Nothing),
    probe("PUT /api/users/change_password/", Session, Nothing),
    probe("POST /api/users/change_password/", Session, Nothing),
    probe("POST /api/users/upload_avatar/", Login, Nothing),
    probe("GET /api/users/sub_agents/", Admin, Nothing),
    probe("GET /api/users/customers/", Admin, Nothing),
    probe("GET /api/users/", Login, Nothing),
    probe("GET /api/users/{id}/", Login, Account),
    probe("PATCH /api/users/{id}/", Login, Account),
    probe("PUT /api/users/{id}/", Login, Account),
    probe("DELETE /api/users/{id}/", Session, Account),
    probe("DELETE /api/users/{id}/delete_user/", Session, Account),
    probe("POST /api/users/{id}/delete_user/", Session, Account),
    probe("POST /api/users/{id}/disable_user/", Login, Account),
    probe("POST /api/users/{id}/start_user/", Login, Account),
    probe("POST /api/users/{id}/set_password/", Session, Account),
    probe("GET /file/", Login, Nothing),
    probe("POST /file/", Login, Nothing),
    probe("GET /file/upload_status/", Login, Nothing),
    probe("GET /file/storage-info/", Login, Nothing),
    probe("POST /file/new-folder/", Login, Nothing),
    probe("POST /file/upload/", Login, Nothing),
    probe("POST /file/presign/", Login, Nothing),
    probe("POST /file/batch_delete/", Login, Nothing),
    probe("GET /file/{id}/", Login, File),
    probe("PATCH /file/{id}/", Login, File),
    probe("PUT /file/{id}/", Login, File),
    probe("DELETE /file/{id}/", Login, File),
    probe("POST /file/{id}/delete/", Login, File),
    probe("GET /file/{id}/download/", Login, File),
    probe("POST /file/{id}/download/", Login, File),
    probe("POST /file/{id}/retry_upload/", Login, File),
    probe("POST /file/{id}/complete/", Login, File),
    probe("POST /file/{id}/cancel/", Login, File),
    probe("GET /api/chat/sessions/", Login, Nothing),
    probe("POST /api/chat/sessions/", Login, Nothing),
    probe("GET /api/chat/sessions/unread_total/", Login, Nothing),
    probe("GET /api/chat/sessions/agent_chat_users/", Login, Nothing),
    probe("GET /api/chat/sessions/user_chat_history/", Login, Nothing),
    probe("GET /api/chat/sessions/{id}/", Login, Support),
    probe("POST /api/chat/sessions/{id}/clear_messages/", Login, Support),
    probe("POST /api/chat/sessions/{id}/close/", Login, Support),
    probe("POST /api/chat/sessions/{id}/reopen/", Login, Support),
    probe("POST /api/chat/sessions/{id}/assign/", Login, Support),
    probe("POST /api/chat/sessions/{id}/mark_read/", Login, Support),
    probe("GET /api/chat/sessions/{id}/messages/", Login, Support),
    probe("POST /api/chat/sessions/{id}/messages/", Login, Support),
    probe(
        "DELETE /api/chat/sessions/{id}/messages/{message_id}/",
        Login,
        Support,
    ),
    probe("GET /api/chat/test/", Anyone, Nothing),
    probe("GET /api/chat/test/{file}/", Anyone, Nothing),
    probe("GET /api/chat/rooms/", Login, Nothing),
    probe("POST /api/chat/rooms/", Login, Nothing),
    probe("POST /api/chat/direct/", Login, Nothing),
    probe("GET /api/chat/rooms/{room_id}/", Login, Room),
    probe("PATCH /api/chat/rooms/{room_id}/", Login, Room),
    probe("PUT /api/chat/rooms/{room_id}/", Login, Room),
    probe("DELETE /api/chat/rooms/{room_id}/", Login, Room),
    probe("POST /api/chat/rooms/{room_id}/join/", Login, Room),
    probe("POST /api/chat/rooms/{room_id}/leave/", Login, Nothing),
    probe("POST /api/chat/rooms/{room_id}/transfer/", Login, Room),
    probe("POST /api/chat/rooms/{room_id}/invite/", Login, Room),
    probe("GET /api/chat/rooms/{room_id}/online/", Login, Room),
    probe("GET /api/chat/rooms/{room_id}/members/", Login, Room),
    probe("PATCH /api/chat/rooms/{room_id}/me/", Login, Room),
    probe("PATCH /api/chat/rooms/{room_id}/members/{user_id}/", Login, Room),
    probe(
        "POST /api/chat/rooms/{room_id}/members/{user_id}/kick/",
        Login,
        Room,
    ),
    probe(
        "POST /api/chat/rooms/{room_id}/members/{user_id}/mute/",
        Login,
        Room,
    ),
    probe(
        "POST /api/chat/rooms/{room_id}/members/{user_id}/unmute/",
        Login,
        Room,
    ),
    probe(
        "POST /api/chat/rooms/{room_id}/members/{user_id}/ban/",
        Login,
        Room,
    ),
    probe(
        "POST /api/chat/rooms/{room_id}/members/{user_id}/unban/",
        Login,
        Room,
    ),
    probe("GET /api/chat/rooms/{room_id}/messages/", Login, Room),
    probe("POST /api/chat/rooms/{room_id}/messages/", Login, Room),
    probe("POST /api/chat/rooms/{room_id}/read/", Login, Room),
    probe("GET /api/chat/messages/search/", Login, Nothing),
    probe("GET /api/chat/messages/{message_id}/", Login, Room),
    probe("PATCH /api/chat/messages/{message_id}/", Login, Room),
    probe("PUT /api/chat/messages/{message_id}/", Login, Room),
    probe("DELETE /api/chat/messages/{message_id}/", Login, Room),
    probe("DELETE /api/chat/messages/{message_id}/delete/", Login, Room),
    probe("GET /api/chat/messages/{message_id}/reads/", Login, Room),
    probe("POST /api/chat/messages/{message_id}/read/", Login, Room),
    probe("GET /api/chat/unread/", Login, Nothing),
    probe("POST /api/chat/upload/", Login, Nothing),
    probe("GET /api/chat/invites/", Login, Nothing),
    probe("POST /api/chat/invites/{invite_id}/accept/", Login, Notice),
    probe("POST /api/chat/invites/{invite_id}/decline/", Login, Notice),
    probe("GET /api/chat/notifications/", Login, Nothing),
    probe("GET /api/chat/notifications/unread_count/", Login, Nothing),
    probe("POST /api/chat/notifications/read_all/", Login, Nothing),
    probe(
        "POST /api/chat/notifications/{notification_id}/read/",
        Login,
        Notice,
    ),
    probe("DELETE /api/chat/notifications/{notification_id}/", Login, Notice),
    // A plain request is told to come as a WebSocket before the session is looked at.
    probe("GET /ws/chat/{room_id}/", Login, Nothing),
    probe("GET /ws/notifications/", Login, Nothing),
    probe("GET /media/chat_files/{file}/", Anyone, Nothing),
    probe("GET /ws/chat/sessions/{id}/", Login, Nothing),
    probe("GET /media/chat_images/{file}/", Anyone, Nothing),
    probe("GET /media/avatars/{file}/", Anyone, Nothing),
    probe("GET /file/{id}/content/", Signed, File),
    probe("PUT /file/{id}/content/", Signed, File),
];
