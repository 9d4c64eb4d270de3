//! Calls that come at the same time, done together.
//!
//! A batch is what arrived while the last one was being done, so there is no timer, nothing waits
//! when there is no load, and the more there is to do the less each call costs.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

/// Turns many `I` into as many `O` at once. Cheap to clone; the work ends with the last clone.
pub struct Batcher<I, O>(mpsc::Sender<(I, oneshot::Sender<O>)>);

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Batcher(self.0.clone())
    }
}

/// The batch panicked or was cut off by the end of the process; whether it was done is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch was interrupted")]
pub struct Interrupted;

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// `work` gets up to `most` items and must answer each of them, in their order.
    pub fn new<F, Fut>(most: usize, work: F) -> Self
    where
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<O>> + Send + 'static,
    {
        let (calls, arrived) = mpsc::channel(most);
        crate::task::spawn(run(most, arrived, Arc::new(work)));
        Batcher(calls)
    }

    /// Adds an item to the next batch and waits for its answer. An item whose batch has begun is done to the end,
    /// whoever waits.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn call(&self, item: I) -> Result<O, Interrupted> {
        self.add(item).await?.await
    }

    /// Adds an item behind those that were added before, and gives what waits for its answer. So one caller can have
    /// many items in the same batch.
    ///
    /// # Errors
    /// [`Interrupted`], also of the answer.
    pub async fn add(
        &self,
        item: I,
    ) -> Result<impl Future<Output = Result<O, Interrupted>> + Send + use<I, O>, Interrupted> {
        let (told, hear) = oneshot::channel();
        self.0.send((item, told)).await.map_err(|_| Interrupted)?;
        Ok(async { hear.await.map_err(|_| Interrupted) })
    }
}

async fn run<I, O, F, Fut>(most: usize, mut arrived: mpsc::Receiver<(I, oneshot::Sender<O>)>, work: Arc<F>)
where
    I: Send + 'static,
    O: Send + 'static,
    F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Vec<O>> + Send + 'static,
{
    let mut batch = Vec::with_capacity(most);
    while arrived.recv_many(&mut batch, most).await > 0 {
        // What nobody waits for any more is not begun.
        let (items, callers): (Vec<I>, Vec<_>) = batch.drain(..).filter(|(_, c)| !c.is_closed()).unzip();
        if items.is_empty() {
            continue;
        }
        let work = work.clone();
        // A task of its own: a panic ends this batch and not the ones after it.
        let done = crate::task::spawn(async move { work(items).await });
        // Dropping the callers tells them.
        let Ok(answers) = done.await else { continue };
        for (caller, answer) in callers.into_iter().zip(answers) {
            // A caller that gave up does not care.
            let _ = caller.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn calls_that_wait_are_one_batch_and_each_hears_its_own_answer() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let doubling = Batcher::new(8, move |items: Vec<u32>| {
            let seen = seen.clone();
            async move {
                seen.lock().expect("sizes").push(items.len());
                tokio::task::yield_now().await;
                assert!(!items.contains(&13), "unlucky");
                items.iter().map(|n| n * 2).collect()
            }
        });
        let answers = join_all((0..12).map(|n| doubling.call(n))).await;
        let expected: Vec<_> = (0..12).map(|n| Ok(n * 2)).collect();
        assert_eq!(answers, expected);
        let batches = sizes.lock().expect("sizes").clone();
        assert!(
            batches.len() < 12 && batches.iter().all(|n| *n <= 8),
            "{batches:?}"
        );

        assert_eq!(doubling.call(13).await, Err(Interrupted));
        assert_eq!(doubling.call(14).await, Ok(28));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let begun = Arc::new(Mutex::new(Vec::<u32>::new()));
        let seen = begun.clone();
        let slow = Batcher::new(8, move |items: Vec<u32>| {
            let seen = seen.clone();
            async move {
                seen.lock().expect("begun").extend(&items);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                items
            }
        });
        let (first, gone) = tokio::join!(
            slow.call(1),
            tokio::time::timeout(std::time::Duration::from_millis(10), async {
                tokio::task::yield_now().await;
                slow.call(2).await
            })
        );
        assert!(first == Ok(1) && gone.is_err());
        assert_eq!(slow.call(3).await, Ok(3));
        assert_eq!(*begun.lock().expect("begun"), [1, 3]);
    }
}
