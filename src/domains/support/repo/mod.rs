//! Every query of this domain, by table.
//!
//! Whoever changes a session or its messages locks the session's row first. Ids of messages are
//! therefore given out in the order of their commits inside a session, and the counters in the row
//! are exact.

mod messages;
mod sessions;

pub use messages::*;
pub use sessions::*;
