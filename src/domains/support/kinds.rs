//! The words for what a message is.

use poem_openapi::Enum;

/// Which side a message came from. Set by the server, never by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", rename = "SupportMessageType")]
pub enum MessageType {
    /// The customer.
    Client,
    /// Whoever answers.
    Agent,
    /// The server, about the session.
    System,
}

impl MessageType {
    pub fn as_str(self) -> &'static str {
        match self {
            MessageType::Client => "client",
            MessageType::Agent => "agent",
            MessageType::System => "system",
        }
    }

    /// The stored word.
    pub fn from_stored(text: &str) -> Self {
        match text {
            "client" => MessageType::Client,
            "agent" => MessageType::Agent,
            _ => MessageType::System,
        }
    }
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", rename = "SupportContentType")]
pub enum ContentType {
    Text,
    Image,
}

impl ContentType {
    pub fn as_str(self) -> &'static str {
        match self {
            ContentType::Text => "text",
            ContentType::Image => "image",
        }
    }

    /// The word of a client or a row.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(ContentType::Text),
            "image" => Some(ContentType::Image),
            _ => None,
        }
    }
}
