//! Every query of this domain, by table.
//!
//! Whoever changes a room, its members or its messages locks the room's row first. Ids and `seq` of
//! messages are therefore given out in the order of their commits inside a room, and the counters
//! in the row are exact.

mod index;
mod invites;
mod members;
mod messages;
mod mutes;
mod notifications;
mod pages;
mod reads;
mod rooms;
mod search;
mod uploads;

pub use index::*;
pub use invites::*;
pub use members::*;
pub use messages::*;
pub use mutes::*;
pub use notifications::*;
pub use pages::*;
pub use reads::*;
pub use rooms::*;
pub use search::*;
pub use uploads::*;
