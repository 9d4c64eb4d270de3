//! Domains → one server.

use std::sync::Arc;

use poem::http::Method;
use poem_openapi::OpenApi;
use yunque_chat::dto::{ChatClientFrame, ChatServerFrame, NotificationClientFrame, NotificationServerFrame};
use yunque_kernel::Code;
use yunque_kernel::auth::{Authenticate, ScopeTable};
use yunque_kernel::http::openapi::{Channel, Document, Info, error_codes_json};
use yunque_kernel::http::{AppBuilder, Handler, HttpDeps};
use yunque_support::dto::{SupportClientFrame, SupportServerFrame};

use super::App;

const TITLE: &str = "Yunque";
const DESCRIPTION: &str = "Accounts, files, support chat and chat rooms, in one server.\n\n\
    Every path answers with and without a slash at the end. Errors have one shape: `error` (for people), `code` \
    (for programs), `errors` (by field). Texts are Chinese, or English with `Accept-Language: en`.";

/// Which scope of an API key opens which paths.
const SCOPES: &[(&str, &str)] = &[
    ("/user", "cloud"),
    ("/user-settings", "cloud"),
    ("/file", "cloud"),
    ("/api/token", "agents"),
    ("/api/users", "agents"),
    ("/api/chat/sessions", "agents"),
    ("/ws/chat/sessions", "agents"),
    ("/api/chat", "chat"),
    ("/ws/chat", "chat"),
    ("/ws/notifications", "chat"),
];

impl App {
    /// Every published operation.
    fn api(&self) -> impl OpenApi + use<> {
        (
            self.accounts.api(),
            self.files.api(),
            self.support.api(),
            self.support.sockets(&self.ws),
            self.chat.api(),
            self.chat.sockets(&self.ws),
            self.system.api(),
        )
    }

    /// The finished endpoint, with every layer.
    pub fn endpoint(&self) -> Handler {
        let deps = HttpDeps {
            settings: self.settings.http.clone(),
            clock: self.ctx.clock.clone(),
            limits: self.ctx.limits.clone(),
            observer: Arc::new(self.ctx.metrics.clone()),
            memory: self.body_memory.clone(),
        };
        let api = self.api();
        let authenticate: Arc<dyn Authenticate> = Arc::new(self.accounts.clone());
        AppBuilder::new(deps)
            .api(api)
            .document(document)
            .sockets(socket_document)
            .route(Method::GET, "/metrics", self.system.metrics_endpoint())
            .route(Method::GET, "/oss/*path", yunque_files::api::private_bucket)
            .data(authenticate)
            .data(ScopeTable::new(SCOPES))
            .build()
    }
}

/// The error tables of every domain and of the kernel.
const TABLES: &[&[Code]] = &[
    yunque_kernel::error::common::ALL,
    yunque_kernel::http::codes::ALL,
    yunque_kernel::storage::codes::ALL,
    yunque_accounts::codes::ALL,
    yunque_files::codes::ALL,
    yunque_kernel::image::codes::ALL,
    yunque_kernel::ws::codes::ALL,
    yunque_support::codes::ALL,
    yunque_chat::codes::ALL,
];

fn info(server: &str) -> Info {
    Info {
        title: TITLE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: DESCRIPTION.to_owned(),
        server: server.to_owned(),
    }
}

/// The published document, made from types alone: nothing runs and no database is touched.
pub fn document() -> Document {
    fn of<T: OpenApi>(_: fn(&App) -> T) -> Document {
        Document::of::<T>(&info("/"), TABLES)
    }
    of(App::api)
}

/// The published description of the sockets.
pub fn socket_document() -> Document {
    let channels = [
        Channel::of::<ChatClientFrame, ChatServerFrame>("chat_room", "/ws/chat/{room_id}/", "A chat room")
            .parameter("room_id", "Id of the room.")
            .resumes(),
        Channel::of::<SupportClientFrame, SupportServerFrame>(
            "support_session",
            "/ws/chat/sessions/{id}/",
            "A support session",
        )
        .parameter("id", "Id of the session.")
        .resumes(),
        Channel::of::<NotificationClientFrame, NotificationServerFrame>(
            "notifications",
            "/ws/notifications/",
            "The caller's notifications",
        ),
    ];
    Document::of_sockets(&info("/"), &channels)
}

/// `openapi/error-codes.json`.
pub fn error_codes() -> String {
    error_codes_json(TABLES)
}
