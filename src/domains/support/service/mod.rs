//! The rules, one file for each group of use cases.

mod agents;
mod assign;
mod delete;
mod images;
mod messages;
mod open;
mod read;
mod sessions;

pub use messages::{Joined, NewContent};
pub use open::Opened;
