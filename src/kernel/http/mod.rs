//! Everything between a socket and a handler, and back. The layers are described in [`app`].

mod accept;
pub mod app;
pub mod body;
mod cors;
mod failure;
pub mod idempotency;
mod inline_type;
pub mod limits;
mod object;
mod observe;
pub mod openapi;
mod paging;
mod path_id;
mod paths;
mod render;
pub mod reply;
mod request_info;
mod router;
mod security;
mod settings;
#[cfg(test)]
mod tests;
mod translate;

pub use accept::serve;
pub use app::{AppBuilder, HttpDeps};
pub use body::{Body, BodyDigest, BodyMemory, ContentBody, FormOrJson, MultipartBody, RawBody};
pub use cors::Origins;
pub use failure::{ERROR_SCHEMA, Failure, codes};
pub use idempotency::{Begun, Claim, Idempotency, Replayable, Scope};
pub use limits::{Bucket, Limits, Rate, StrictRule, charge_user};
pub use object::{ObjectKind, ObjectReply, asked_range};
pub use observe::RequestObserver;
pub use paging::{Listed, MAX_PAGE_SIZE, Page, PageOut, PageQuery};
pub use reply::{Created, Direct, Json, NoContent, StoredReply};
pub use request_info::{RequestInfo, TrustedProxies, is_private, network_of};
pub use router::Handler;
pub use settings::{HttpSettings, Timeouts};
#[cfg(test)]
pub(crate) use tests::database as test_database;
