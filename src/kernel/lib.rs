//! What every domain stands on: configuration, errors, the database, the job queue, object
//! storage, mail, realtime fan-out, credentials, HTTP and telemetry.
//!
//! The kernel knows no domain. A domain gets a [`Ctx`] and registers what it offers (API structs,
//! jobs, event listeners) in the composition root, `app`.

pub mod auth;
pub mod batch;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod hex;
pub mod http;
pub mod ids;
pub mod image;
pub mod mail;
pub mod queue;
pub mod realtime;
pub mod redis_link;
pub mod search;
pub mod storage;
pub mod task;
pub mod telemetry;
pub mod ws;

mod ctx;

pub use clock::Clock;
pub use ctx::Ctx;
pub use db::{Db, DbError, Tx};
pub use error::{ApiError, Code, Coded, Faults, Lang, Text};
pub use ids::{
    ChatInviteId, ChatMessageId, ChatNotificationId, ChatRoomId, FileId, JobId, SessionId, SupportMessageId,
    SupportSessionId, UserId,
};
