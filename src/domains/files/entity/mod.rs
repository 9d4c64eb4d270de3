//! Rows of the tables of this domain.

pub mod file;
