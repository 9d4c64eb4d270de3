//! The one way to start a background task, so that a panic in one is never silent.

use std::future::Future;

use tokio::task::JoinHandle;

/// Spawns `future` on the runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the wrapper that the ban points to"
    )]
    tokio::spawn(future)
}
