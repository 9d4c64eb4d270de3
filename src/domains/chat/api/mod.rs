//! HTTP adapters of this domain.

mod invites;
mod members;
mod messages;
mod notifications;
mod page;
mod reads;
mod rooms;
mod uploads;

use poem_openapi::{OpenApi, Tags};
use yunque_kernel::Text;
use yunque_kernel::http::{Json, RequestInfo};

use crate::Chat;
use crate::dto::ChatDoneOut;

/// Tags of this domain in the published document.
#[derive(Tags)]
pub(crate) enum ChatTags {
    /// Chat rooms, their members and messages.
    Chat,
    /// What users of chat rooms are told of.
    Notifications,
}

impl Chat {
    /// Everything this domain serves.
    pub fn api(&self) -> impl OpenApi + use<> {
        (
            rooms::RoomsApi::new(self.clone()),
            members::MembersApi::new(self.clone()),
            invites::InvitesApi::new(self.clone()),
            messages::MessagesApi::new(self.clone()),
            uploads::UploadsApi::new(self.clone()),
            reads::ReadsApi::new(self.clone()),
            notifications::NotificationsApi::new(self.clone()),
            page::PageApi::new(self.settings().test_page, &self.ctx().public_base_url),
        )
    }
}

/// A sentence for people, in their language.
fn done(text: &Text, info: &RequestInfo) -> Json<ChatDoneOut> {
    Json(ChatDoneOut {
        message: text.get(info.lang).to_owned(),
    })
}
