//! The last words on a connection: an `error` frame that says why, a close frame, and time for the
//! client to take both.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::OnUpgrade;
use tokio::io::ReadBuf;

use super::close::{CloseCode, Closing, error_frame};
use super::line::Line;
use super::registry::Slot;
use super::{Ws, frame};
use crate::error::{ApiError, Lang};

/// An upgrade that does not come about.
pub(super) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client has to answer a close.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);
const READ: usize = 8 * 1024;

/// Whether what waits is still to be told. Not to a client that does not read, and not to one that
/// may no longer be there.
pub(super) fn keeps_queue(closing: &Closing) -> bool {
    !matches!(
        closing.code,
        CloseCode::TRY_AGAIN | CloseCode::UNAUTHENTICATED | CloseCode::FORBIDDEN
    )
}

pub(super) fn last_frames(closing: &Closing, lang: Lang, request_id: &str) -> Vec<bytes::Bytes> {
    let error = closing.error.as_ref();
    let mut frames: Vec<_> = error
        .map(|e| error_frame(e, lang, request_id, None))
        .into_iter()
        .collect();
    frames.push(frame::close(closing.code));
    frames
}

/// Sends what is queued, which ends with a close frame, and waits for the client to go.
pub(super) async fn part(ws: &Ws, line: &Line, closing: &Closing) {
    ws.0.metrics
        .realtime
        .closes
        .with_label_values(&[closing.code.to_string().as_str()])
        .inc();
    if !closing.abort {
        let parting = async {
            poll_fn(|cx| line.poll_empty(cx)).await;
            poll_fn(|cx| line.poll_shutdown(cx)).await;
        };
        let sent = tokio::time::timeout(ws.0.settings.write_timeout, parting).await;
        if sent.is_ok() {
            // Closing with unread input would reset the connection and destroy the close frame.
            let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| poll_gone(line, cx))).await;
        }
    }
    line.disconnect();
}

/// Reads and drops until the client has closed.
fn poll_gone(line: &Line, cx: &mut Context<'_>) -> Poll<()> {
    let mut scratch = [0_u8; READ];
    loop {
        let mut buf = ReadBuf::new(&mut scratch);
        if ready!(line.poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

/// A client that may not come in is told why, over the socket, because browsers show nothing else.
pub(super) async fn refuse(
    ws: Ws,
    name: &'static str,
    error: ApiError,
    lang: Lang,
    request_id: Arc<str>,
    upgrade: OnUpgrade,
    slot: Slot,
) {
    let Ok(Ok(io)) = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await else {
        return;
    };
    if error.status >= 500 {
        tracing::warn!(error = %error, ws.endpoint = name, "a socket could not be opened");
    }
    let closing = Closing::because(error);
    let line = ws.line(crate::ids::UserId(0), 0);
    line.connect(Box::new(io));
    line.begin_close(true, last_frames(&closing, lang, &request_id));
    part(&ws, &line, &closing).await;
    tracing::info!(
        ws.endpoint = name,
        close.code = closing.code.0,
        error.code = closing.error.as_ref().map(|e| e.code),
        "socket refused with {}",
        closing.code
    );
    drop(slot);
}
