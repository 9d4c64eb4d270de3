//! Rows of this domain's tables: columns only. Queries are in `repo`.

pub mod api_key;
pub mod group;
pub mod login_log;
pub mod profile;
pub mod session;
pub mod user;
pub mod user_group;
