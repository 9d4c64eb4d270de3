//! Every query of this domain, by table.
//!
//! Whoever changes a session or its messages locks the session's row first. Ids of messages are
//! therefore given out in the order of their commits inside a session, and the counters in the row
//! are exact.

mod messages;
mod sessions;

use yunque_kernel::DbError;

pub use messages::*;
pub use sessions::*;

/// The id of the one row that was inserted.
fn inserted(ids: Vec<i64>) -> Result<i64, DbError> {
    ids.first()
        .copied()
        .ok_or_else(|| DbError::Other("an insert gave no id".to_owned()))
}
