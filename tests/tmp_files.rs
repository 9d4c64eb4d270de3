#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read variables, spawn tasks, and may panic")]
#[path = "it/support/mod.rs"]
mod support;
#[path = "it/files/mod.rs"]
mod files;
