//! Counts what requests ask of the database.
//!
//! The database library opens a span for every statement, and the server one for every request. A
//! statement counts when it is sent inside a request, so what housekeeping does meanwhile does not.
//! Only this thread is watched: the tests' runtime runs the server on it, whatever other tests of
//! the process do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Id, Subscriber, span::Attributes};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// As the connection trait calls them; what a driver opens below them is the same statement.
const STATEMENTS: [&str; 5] = [
    "execute_raw",
    "execute_unprepared",
    "query_one_raw",
    "query_all_raw",
    "stream_raw",
];

/// Watches this thread until it is dropped.
pub struct Statements {
    count: Arc<AtomicUsize>,
    _watching: DefaultGuard,
    /// With one dispatcher in the process, whether a span is wanted is decided for all by the thread that comes to it
    /// first, which may be that of another test; with two, both are asked.
    _another: Dispatch,
}

impl Statements {
    pub fn watched() -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let another = Dispatch::new(tracing_subscriber::registry());
        let registry = tracing_subscriber::registry().with(Counter(count.clone()));
        Statements {
            count,
            _watching: tracing::subscriber::set_default(registry),
            _another: another,
        }
    }

    /// How many were sent while `work` went on, and what came of it.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        let before = self.count.load(Ordering::SeqCst);
        let done = work.await;
        (self.count.load(Ordering::SeqCst) - before, done)
    }
}

struct Counter(Arc<AtomicUsize>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Counter {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let meta = attributes.metadata();
        let is_statement =
            meta.target().starts_with("sea_orm::database") && STATEMENTS.contains(&meta.name());
        let is_asked = || {
            let mut around = context.span_scope(id).into_iter().flatten();
            around.any(|span| span.name() == "request")
        };
        if is_statement && is_asked() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
