//! Accepts connections and serves HTTP/1.1 on them.
//!
//! hyper is driven directly instead of through `poem::Server`, which has no deadline for heads,
//! cannot tell a half-sent head from a slow handler, and waits for both alike at shutdown. HTTP/2
//! is left to the proxy that does TLS; WebSockets need HTTP/1.1 anyway.

mod caps;
mod stream;
mod tap;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::render::HeadFault;
use super::router::Handler;
use super::settings::{HttpSettings, Timeouts};
use caps::{Caps, Place};
use stream::{ConnState, Guarded, Running};

/// Largest buffer of a connection; heads are smaller (see `tap`).
const BUFFER: usize = 64 * 1024;

/// A head that is half-sent at shutdown may be completed within this.
const HEAD_AT_SHUTDOWN: Duration = Duration::from_millis(500);

/// When a connection could not be accepted.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// A machine without descriptors would fill its disk with the same line.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Sent to connections over the cap, without reading anything.
const FULL_BODY: &str = r#"{"error":"服务暂不可用","code":"service_unavailable","request_id":"none"}"#;

/// Serves until `shutdown`, then lets running requests finish for at most the grace period. Never
/// waits for a client that stalls. Upgraded connections are not waited for: whoever upgraded them
/// tells their clients.
///
/// # Errors
/// The listener has no address.
pub async fn serve(
    app: Handler,
    listener: TcpListener,
    settings: &HttpSettings,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let server = Arc::new(Server {
        app,
        local,
        timeouts: settings.timeouts,
        shutdown: shutdown.clone(),
    });
    let caps = Caps::new(settings);
    let tracker = TaskTracker::new();
    let hard_stop = CancellationToken::new();
    let mut said = None;
    loop {
        let (socket, peer) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    accept_failed(&error, &caps, &mut said).await;
                    continue;
                }
            },
        };
        let Some(place) = caps.take(peer.ip()) else {
            tracing::debug!(client.ip = %peer.ip(), "a connection over the cap was turned away");
            turn_away(&socket);
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (server, hard_stop) = (server.clone(), hard_stop.clone());
        crate::task::spawn(tracker.track_future(async move {
            tokio::select! {
                () = server.connection(socket, peer, place) => {}
                () = hard_stop.cancelled() => {}
            }
        }));
    }
    drop(listener);
    tracker.close();
    tracing::info!(
        http.connections = caps.open(),
        "no new connections; running requests may finish"
    );
    if tokio::time::timeout(settings.shutdown_grace, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            http.connections = tracker.len(),
            "connections that did not finish are cut off"
        );
        hard_stop.cancel();
        tracker.wait().await;
    }
    Ok(())
}

fn turn_away(socket: &TcpStream) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{FULL_BODY}",
        FULL_BODY.len()
    );
    // A fresh socket has room for this; if not, the close says enough.
    let _ = socket.try_write(answer.as_bytes());
}

/// Most errors are about one connection. Running out of descriptors is not: wait for some to close
/// instead of spinning.
async fn accept_failed(error: &io::Error, caps: &Caps, said: &mut Option<Instant>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
        tracing::warn!(%error, "connections cannot be accepted for now");
        *said = Some(Instant::now());
    }
    // A connection that ends gives one back; files and other sockets do so as well, without a word.
    let _ = tokio::time::timeout(TRY_AGAIN, caps.freed()).await;
}

struct Server {
    app: Handler,
    local: SocketAddr,
    timeouts: Timeouts,
    shutdown: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, place: Place) {
        let state = ConnState::new();
        let io = TokioIo::new(Guarded::new(socket, state.clone(), self.timeouts, place));
        let service = {
            let (server, state) = (self.clone(), state.clone());
            service_fn(move |request| {
                let (server, state) = (server.clone(), state.clone());
                async move { Ok::<_, Infallible>(server.answer(request, peer, &state).await) }
            })
        };
        // Heads have their deadline in the stream, which also covers what comes before them.
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(BUFFER)
            .serve_connection(io, service)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.shutdown.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        if !state.is_running() {
            if !state.is_mid_head() {
                return;
            }
            tokio::select! {
                _ = connection.as_mut() => return,
                () = tokio::time::sleep(HEAD_AT_SHUTDOWN) => {}
            }
            if !state.is_running() {
                return;
            }
        }
        let _ = connection.await;
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        state: &Arc<ConnState>,
    ) -> hyper::Response<Tracked<impl Body<Data = bytes::Bytes, Error = io::Error> + use<>>> {
        let (running, judgement) = state.begin();
        let (local, remote) = (LocalAddr(self.local.into()), RemoteAddr(peer.into()));
        let mut request: Request = (request, local, remote, Scheme::HTTP).into();
        let close = judgement.as_ref().is_none_or(|j| j.close);
        if let Some(fault) = judgement.and_then(|j| j.fault) {
            request.set_data(HeadFault(fault));
        }
        let mut response = self.app.get_response(request).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            state.upgrade();
        } else if close || self.shutdown.is_cancelled() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        hyper::Response::from(response).map(|inner| Tracked {
            inner,
            _running: running,
        })
    }
}

/// An answer's body that keeps its request running until it was written or dropped.
struct Tracked<B> {
    inner: B,
    _running: Running,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
