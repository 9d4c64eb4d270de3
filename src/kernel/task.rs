//! The one way to start a background task, so that a panic in one is never silent.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::Notify;
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

/// Spawns a loop that the process cannot do without.
///
/// A panic ends the loop. It is logged with the loop's name, and `failed` is told: whoever waits there ends the
/// process, so that its supervisor starts another. Living on without the loop would look healthy and be useless.
pub fn spawn_vital<F>(name: &'static str, failed: &Arc<Notify>, vital: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let failed = failed.clone();
    spawn(async move {
        // Nothing of the loop is looked at after its panic.
        if let Err(panic) = AssertUnwindSafe(vital).catch_unwind().await {
            tracing::error!(
                task = name,
                panic = panic_text(panic.as_ref()),
                "a loop of the process ended by a panic"
            );
            failed.notify_one();
        }
    })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_vital_loop_that_panics_is_told_and_one_that_is_stopped_is_not() {
        let failed = Arc::new(Notify::new());
        let told = async |failed: &Notify| {
            tokio::time::timeout(Duration::from_millis(100), failed.notified())
                .await
                .is_ok()
        };
        spawn_vital("ends", &failed, async {})
            .await
            .expect("no panic gets out");
        spawn_vital("waits", &failed, std::future::pending()).abort();
        assert!(!told(&failed).await);
        spawn_vital("panics", &failed, async {
            panic!("a row that cannot be decoded")
        })
        .await
        .expect("no panic gets out");
        assert!(told(&failed).await, "also who looks later hears it");
    }

    #[test]
    fn panics_have_a_text() {
        assert_eq!(panic_text(&"fixed"), "fixed");
        assert_eq!(panic_text(&String::from("made")), "made");
        assert_eq!(panic_text(&7), "unknown");
    }
}
