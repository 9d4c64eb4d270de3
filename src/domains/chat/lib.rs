//! Chat rooms: who is in them, what is said, and who hears of it.
//!
//! * Tables: `chat_rooms`, `chat_room_members` (the only record of who is where), `chat_messages`,
//!   `chat_message_reads`, `chat_deleted_messages`, `chat_mutes`, `chat_invites`, `chat_notifications`,
//!   `chat_uploads`, and for the search `chat_message_index` and `chat_search_marks`.
//! * Every change of a room, its members or its messages locks the room's row first. Messages
//!   therefore have ids and a gapless `seq` in the order of their commits.
//! * Messages that come together, over HTTP or sockets, are committed together ([`service`]'s
//!   committer); whatever is checked is checked again inside that transaction.
//! * Frames for sockets ([`frames`]) are published after the commit. What a socket missed it finds
//!   in the database.
//! * Nothing is counted to show what is unread: every message carries how many were said up to it,
//!   every member how many up to what he read.
//! * Messages enter the index of the search behind those who send; a search reads what is not there
//!   yet by itself.
//! * Jobs: `notify_chat_room`, `index_chat`, `purge_chat_files`, `purge_chat_member`, `sweep_chat`.
//!
//! What surprises: a banned member's row stays, and counts as nothing; `Standing::member` is the
//! way to ask.

pub mod api;
pub mod dto;
mod entity;
mod error;
pub mod frames;
mod jobs;
mod kinds;
mod policy;
mod repo;
mod service;
mod settings;
mod socket;
mod text;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use yunque_accounts::Accounts;
use yunque_kernel::realtime::Presence;
use yunque_kernel::{Ctx, UserId};

pub use error::{ChatError, codes};
pub use settings::ChatSettings;

use service::committer::Committers;
use service::index::ToIndex;
use service::reads::GatheredReads;

/// The chat domain. Cheap to clone.
#[derive(Clone)]
pub struct Chat(Arc<Inner>);

struct Inner {
    core: Core,
    committers: Committers,
}

/// What everything in this domain works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Core {
    pub ctx: Ctx,
    pub accounts: Accounts,
    pub settings: Arc<ChatSettings>,
    pub presence: Presence,
    pub reads: GatheredReads,
    pub to_index: ToIndex,
}

impl Chat {
    /// Registers this domain's jobs as well. Inside a runtime.
    pub fn new(ctx: Ctx, accounts: Accounts, settings: ChatSettings) -> Self {
        text::register_formats();
        let core = Core {
            presence: Presence::new(&ctx.realtime),
            ctx,
            accounts,
            settings: Arc::new(settings),
            reads: GatheredReads::default(),
            to_index: ToIndex::default(),
        };
        let chat = Chat(Arc::new(Inner {
            committers: Committers::start(&core),
            core,
        }));
        chat.register_jobs();
        chat
    }

    pub fn settings(&self) -> &ChatSettings {
        &self.0.core.settings
    }

    fn core(&self) -> &Core {
        &self.0.core
    }

    fn ctx(&self) -> &Ctx {
        &self.0.core.ctx
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.core.now()
    }
}

impl Core {
    fn now(&self) -> DateTime<Utc> {
        self.ctx.clock.now()
    }

    /// Users as they are shown.
    async fn people(
        &self,
        ids: impl IntoIterator<Item = UserId>,
    ) -> Result<dto::People, yunque_kernel::DbError> {
        let ids: Vec<UserId> = ids.into_iter().collect();
        self.accounts.briefs(&ids).await
    }
}
