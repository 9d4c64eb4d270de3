//! Tests of the whole program, in one binary. Files follow URLs and promises; names are sentences.
//!
//! Without variables everything runs embedded: SQLite in a temporary folder, no Redis. With
//! `TEST_DATABASE_URL` each server gets a database of its own there, with `TEST_REDIS_URL` a key
//! prefix of its own. `tests/run` runs the suite in all combinations.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read variables, spawn tasks, and may panic"
)]

mod support;

mod accounts;
mod agents;
mod chat_rooms;
mod cli;
mod files;
mod guards;
mod http;
mod queue;
mod sockets;
mod storage;
mod support_chat;
