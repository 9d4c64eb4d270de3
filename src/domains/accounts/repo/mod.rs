//! Every query of this domain, by table. Functions take any connection; only services open
//! transactions.

pub mod attempts;
pub mod briefs;
pub mod groups;
pub mod keys;
pub mod members;
pub mod purge;
pub mod reset_codes;
pub mod security;
pub mod sessions;
pub mod space;
pub mod sweep;
pub mod tree;
pub mod users;
