//! Typed row ids. All are positive 64-bit integers, because the published API shows integers.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for sea_orm::Value {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl $name {
            /// Reads an id as it stands in a path: `^[0-9]{1,19}$`, positive, in range.
            pub fn parse(text: &str) -> Option<Self> {
                parse_id(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// `users.id`
    UserId;
    /// `auth_sessions.id`; the `sid` of tokens.
    SessionId;
    /// `files.id`
    FileId;
    /// `jobs.id`
    JobId;
    /// `support_sessions.id`
    SupportSessionId;
    /// `support_messages.id`
    SupportMessageId;
    /// `chat_rooms.id`
    ChatRoomId;
    /// `chat_messages.id`
    ChatMessageId;
    /// `chat_invites.id`
    ChatInviteId;
    /// `chat_notifications.id`
    ChatNotificationId;
}

/// Reads an id as it stands in a path. `None` is a 404, never a 400: an id that cannot exist
/// names nothing.
pub fn parse_id(text: &str) -> Option<i64> {
    let plain = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().filter(|id| *id > 0)
}

#[cfg(test)]
mod tests {
    use super::parse_id;

    #[test]
    fn only_plain_positive_digits_are_ids() {
        assert_eq!(parse_id("42"), Some(42));
        assert_eq!(parse_id("9223372036854775807"), Some(i64::MAX));
        for bad in [
            "",
            "0",
            "-1",
            "+1",
            "9223372036854775808",
            "１",
            "1e3",
            " 1",
            "12345678901234567890",
        ] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
