//! Settings of chat rooms.

use std::time::Duration;

use yunque_kernel::config::{Reader, Seconds, Setting};

const REQUIRED_GROUP: Setting = Setting::new(
    "CHAT_REQUIRED_GROUP",
    "",
    "Only members of this group may use chat rooms; empty for everybody",
);
const TEST_PAGE: Setting = Setting::new(
    "CHAT_TEST_PAGE",
    "true",
    "Whether /api/chat/test/ shows a page to try chat rooms with",
);
const EDIT_WINDOW: Setting = Setting::new(
    "CHAT_EDIT_WINDOW",
    "24h",
    "How long a sender may change a message of a chat room",
);
const KEEP_DELETED: Setting = Setting::new(
    "CHAT_KEEP_DELETED",
    "false",
    "Keep the text of deleted messages of chat rooms, out of everybody's sight",
);
const PRESENCE_BROADCAST: Setting = Setting::new(
    "CHAT_PRESENCE_BROADCAST",
    "true",
    "Tell the others of a chat room when somebody comes online or goes",
);
const NOTIFY_INLINE_MAX: Setting = Setting::new(
    "CHAT_NOTIFY_INLINE_MAX",
    "20",
    "Members up to which a chat room's notifications are written together with the message; above, by a job",
);
const NOTIFY_COALESCE: Setting = Setting::new(
    "CHAT_NOTIFY_COALESCE",
    "100",
    "Members above which a chat room keeps one unread notification for each member, with a count",
);

/// Settings of the chat domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSettings {
    /// `None`: everybody may chat.
    pub required_group: Option<String>,
    pub test_page: bool,
    pub edit_window: Duration,
    pub keep_deleted: bool,
    pub presence_broadcast: bool,
    pub notify_inline_max: u32,
    pub notify_coalesce: u32,
}

impl ChatSettings {
    pub fn read(r: &mut Reader<'_>) -> Self {
        let required_group: String = r.get(&REQUIRED_GROUP);
        ChatSettings {
            required_group: Some(required_group).filter(|name| !name.is_empty()),
            test_page: r.get(&TEST_PAGE),
            edit_window: r.get::<Seconds>(&EDIT_WINDOW).0,
            keep_deleted: r.get(&KEEP_DELETED),
            presence_broadcast: r.get(&PRESENCE_BROADCAST),
            notify_inline_max: r.get(&NOTIFY_INLINE_MAX),
            notify_coalesce: r.get(&NOTIFY_COALESCE),
        }
    }
}
