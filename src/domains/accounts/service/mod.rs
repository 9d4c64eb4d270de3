//! The rules of accounts, one file for each group of use cases.

pub mod accounts;
pub mod activity;
pub mod api_keys;
pub mod authenticate;
pub mod avatar;
pub mod briefs;
pub mod changes;
pub mod client;
pub mod console;
pub mod contacts;
pub mod current_password;
pub mod deletion;
pub mod events;
pub mod groups;
pub mod hierarchy;
pub mod login;
pub mod members;
pub mod membership;
pub mod password;
pub mod register;
pub mod reset;
pub mod sessions;
pub mod space;
pub mod sweep;
pub mod throttle;
pub mod tokens;
