pub mod deleted;
pub mod invite;
pub mod member;
pub mod message;
pub mod notification;
pub mod read;
pub mod room;
pub mod upload;
