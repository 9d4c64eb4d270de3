//! Bytes on a socket, for requests that no library would send.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TestServer;

pub async fn connect(srv: &TestServer) -> TcpStream {
    let address = srv.client.base().trim_start_matches("http://").to_owned();
    TcpStream::connect(address).await.expect("a connection")
}

/// Sends and reads until the server ends the connection, at most `seconds`.
pub async fn exchange(srv: &TestServer, bytes: &[u8], seconds: u64) -> String {
    let mut stream = connect(srv).await;
    // The server may refuse before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_to_end(&mut stream, seconds).await.0
}

/// What came until the end of the connection, and how long that took. Fails when it stays open.
pub async fn read_to_end(stream: &mut TcpStream, seconds: u64) -> (String, Duration) {
    let begun = Instant::now();
    let mut all = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = Duration::from_secs(seconds).saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&all).into_owned(), begun.elapsed()),
            Ok(Ok(n)) => all.extend_from_slice(&buffer[..n]),
            Err(_) => {
                panic!(
                    "the connection is still open after {seconds} s: {}",
                    String::from_utf8_lossy(&all)
                )
            }
        }
    }
}
