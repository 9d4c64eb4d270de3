//! The harness: a real server on a port of its own, and a client that speaks to it.

pub mod client;
pub mod database;
pub mod jwt;
pub mod oss;
pub mod raw;
pub mod server;
pub mod sql;
pub mod stage;
pub mod statements;

pub use client::{Client, Reply};
pub use server::{TestServer, User};
pub use stage::Stage;

/// Waits until `done` says so, at most `seconds`.
pub async fn eventually<F, Fut>(what: &str, seconds: u64, mut done: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !done().await {
        assert!(
            std::time::Instant::now() < deadline,
            "not within {seconds} s: {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
