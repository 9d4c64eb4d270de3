//! Every query of this domain, by table. Functions take any connection; only services open
//! transactions.

pub mod attempts;
pub mod groups;
pub mod keys;
pub mod purge;
pub mod security;
pub mod sessions;
pub mod space;
pub mod sweep;
pub mod users;
