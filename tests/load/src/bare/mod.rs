//! What the machine can do with nothing around it: the same work by hand, to be compared with.

pub mod accept;
pub mod hashes;
pub mod profile;
