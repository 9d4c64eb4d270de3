//! The words of this domain, as they are stored and published.

use poem_openapi::Enum;
use serde::{Serialize, Serializer};

/// An enum whose stored word is the published one.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident as $published:literal, otherwise $other:ident {
        $($(#[$about:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
        #[oai(rename_all = "snake_case", rename = $published)]
        pub enum $name {
            $($(#[$about])* $variant,)+
        }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            /// The stored word; one that is unknown has the least effect.
            pub fn from_stored(text: &str) -> Self {
                match text {
                    $($word => $name::$variant,)+
                    _ => $name::$other,
                }
            }

            /// The word of a query parameter.
            pub fn parse(text: &str) -> Option<Self> {
                let found = Self::from_stored(text);
                (found.as_str() == text).then_some(found)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// Who finds a room and who may come in.
    RoomType as "ChatRoomType", otherwise Private {
        /// Listed for everybody, open to everybody.
        Public = "public",
        /// By invitation of admins and moderators.
        Private = "private",
        /// By invitation of any member.
        Group = "group",
    }
}

words! {
    /// What a member may do in a room.
    Role as "ChatRole", otherwise Member {
        Admin = "admin",
        Moderator = "moderator",
        Member = "member",
    }
}

words! {
    /// What a message holds.
    MessageType as "ChatMessageType", otherwise Text {
        Text = "text",
        Image = "image",
        File = "file",
        /// Said by the server, or by admins and moderators in its manner.
        System = "system",
    }
}

words! {
    /// Which messages of a room a member is notified of.
    Notify as "ChatNotify", otherwise None {
        All = "all",
        Mentions = "mentions",
        None = "none",
    }
}

words! {
    /// What a notification tells of.
    NoticeType as "ChatNotificationType", otherwise System {
        Message = "message",
        Mention = "mention",
        RoomInvite = "room_invite",
        System = "system",
    }
}

words! {
    /// What became of an invitation.
    InviteStatus as "ChatInviteStatus", otherwise Revoked {
        Pending = "pending",
        Accepted = "accepted",
        Declined = "declined",
        Revoked = "revoked",
    }
}

words! {
    /// Which rooms a list shows.
    RoomScope as "ChatRoomScope", otherwise All {
        /// The caller's and all public ones.
        All = "all",
        /// Those where the caller is a member.
        Mine = "mine",
        Public = "public",
    }
}
