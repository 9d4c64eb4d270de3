//! Rows of the tables of this domain.

pub mod message;
pub mod session;
