//! The rules, one file for each group of use cases.

mod announce;
pub(crate) mod append;
mod changes;
pub(crate) mod committer;
mod departed;
mod direct;
pub(crate) mod index;
mod invites;
mod join;
pub(crate) mod members;
mod mentions;
pub(crate) mod messages;
mod notices;
mod notify;
mod notify_room;
pub(crate) mod presence;
pub(crate) mod reads;
pub(crate) mod rooms;
mod search;
mod send;
mod standing;
mod unread;
pub(crate) mod uploads;
