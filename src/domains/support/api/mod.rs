//! HTTP adapters of this domain.

mod body;
mod media;
mod messages;
mod parse;
mod reply;
mod sessions;

use poem_openapi::{OpenApi, Tags};

use crate::Support;

/// Tags of this domain in the published document.
#[derive(Tags)]
pub(crate) enum SupportTags {
    /// Support chat between customers and their agents.
    Support,
}

impl Support {
    /// Everything this domain serves.
    pub fn api(&self) -> impl OpenApi + use<> {
        (
            sessions::SessionsApi::new(self.clone()),
            messages::MessagesApi::new(self.clone()),
            media::MediaApi::new(self.0.ctx.storage.clone()),
        )
    }
}
