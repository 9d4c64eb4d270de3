//! Yunque: accounts, files, chat and more behind one command.
//!
//! `cli` parses the command line and prints; `app` builds the domains and runs them. Everything
//! else is in the crates under `src/kernel` and `src/domains`; `src/README.md` is the map.

pub mod app;
pub mod cli;
