//! Frames of one socket that are being done.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::error::ApiError;

/// Frames that may be under way; then nothing more is read until one is done. Few enough that the frames of a client
/// that sends without end are no burden, enough to fill a transaction.
const MOST: usize = 64;

type Told = BoxFuture<'static, Result<Option<Value>, ApiError>>;

/// In the order of frames. Without memory while there are none.
#[derive(Default)]
pub(in crate::ws) struct Begun(VecDeque<(Option<Value>, Told)>);

/// What came of a frame, and the client's own id of it.
pub(in crate::ws) struct Outcome {
    pub client_id: Option<Value>,
    pub came: Result<Option<Value>, ApiError>,
}

impl Begun {
    pub fn push(&mut self, client_id: Option<Value>, told: Told) {
        self.0.push_back((client_id, told));
    }

    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// The outcome of the oldest, or `None` if there is none. The others go on without being asked.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let Some((_, told)) = self.0.front_mut() else {
            return Poll::Ready(None);
        };
        let came = ready!(told.poll_unpin(cx));
        let client_id = self.0.pop_front().and_then(|(client_id, _)| client_id);
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        Poll::Ready(Some(Outcome { client_id, came }))
    }
}
