//! The client's side of a WebSocket, read as cheaply as HTTP in `client`: heads of frames are
//! scanned, and of a payload only what is asked for is looked at.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::client::{Conn, request};

pub const TEXT: u8 = 0x1;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// A full server answers 503 or closes; this is how often a client then comes back.
const ATTEMPTS: usize = 60;

/// Where a socket is opened.
#[derive(Clone, Debug)]
pub struct Door {
    server: SocketAddr,
    request: Vec<u8>,
}

impl Door {
    pub fn new(server: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let head = request("GET", path, token, None);
        let end = head.len() - b"\r\n".len();
        let upgrade = b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        Door {
            server,
            request: [&head[..end], upgrade].concat(),
        }
    }

    /// Opens it for client number `n`. Returns the stream, what came behind the answer, and how often the server had
    /// no place.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn open(&self, n: usize) -> io::Result<(TcpStream, Vec<u8>, u64)> {
        let mut refused = 0;
        for attempt in 0..ATTEMPTS {
            let mut conn = Conn::open(self.server, n).await?;
            let status = match conn.exchange(&self.request).await {
                // Closed before it was read: as good as a 503.
                Err(e) if [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&e.kind()) => 503,
                other => other?,
            };
            match status {
                101 => {
                    let (stream, rest) = conn.into_parts();
                    return Ok((stream, rest, refused));
                }
                503 => {
                    refused += 1;
                    // Between a quarter of a second and a whole one, then twice that; without a source of randomness.
                    let wait = 250 + (n * 7919 + attempt * 104_729) % 750;
                    let wait = if attempt == 0 { wait } else { 2 * wait };
                    tokio::time::sleep(Duration::from_millis(wait as u64)).await;
                }
                status => return Err(io::Error::other(format!("handshake: {status}"))),
            }
        }
        Err(io::Error::other("the server has no place for a socket"))
    }
}

/// A frame of a client. The key of its mask is zero, so the payload stays as it is.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    out.push(FIN | opcode);
    match payload.len() {
        n @ 0..=125 => out.push(MASKED | n as u8),
        n @ 126..=0xFFFF => {
            out.push(MASKED | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(MASKED | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// The first frame of a server in these bytes: its opcode, its payload, and the length of it all. `None`: not all of
/// it is there yet.
pub fn first(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (head, length): (usize, usize) = match *bytes {
        [_, n @ 0..=125, ..] => (2, usize::from(n)),
        [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            let length = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            (10, usize::try_from(length).ok()?)
        }
        _ => return None,
    };
    let payload = bytes.get(head..head.checked_add(length)?)?;
    Some((bytes[0] & 0x0F, payload, head + length))
}

/// A number behind a mark. Where it was found in the last payload is where it is looked for first.
#[derive(Clone, Debug)]
pub struct Mark {
    mark: &'static [u8],
    at: usize,
}

impl Mark {
    pub fn new(mark: &'static str) -> Self {
        Mark {
            mark: mark.as_bytes(),
            at: 0,
        }
    }

    pub fn number(&mut self, payload: &[u8]) -> Option<u64> {
        let here = |at: usize| payload.get(at..).is_some_and(|p| p.starts_with(self.mark));
        if !here(self.at) {
            self.at = (0..payload.len()).find(|at| here(*at))?;
        }
        let digits = payload.get(self.at + self.mark.len()..)?;
        let digits = digits.iter().take_while(|b| b.is_ascii_digit());
        digits.fold(None, |n: Option<u64>, b| {
            n.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(b - b'0'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_three_forms_and_may_be_incomplete() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = frame(TEXT, &vec![b'x'; length]);
            let head = bytes.len() - length - 4;
            // As a server would send it: no mask.
            bytes[1] &= !MASKED;
            bytes.drain(head..head + 4);
            for short in 0..bytes.len().min(20) {
                assert_eq!(first(&bytes[..short]), None);
            }
            let whole = bytes.len();
            bytes.extend(b"next");
            let (opcode, payload, end) = first(&bytes).expect("a frame");
            assert_eq!((opcode, payload.len(), end), (TEXT, length, whole));
        }
    }

    #[test]
    fn a_mark_is_found_wherever_it_is() {
        let mut mark = Mark::new("\"seq\":");
        assert_eq!(mark.number(b"{\"id\":1,\"seq\":12,"), Some(12));
        assert_eq!(mark.number(b"{\"id\":22,\"seq\":13,"), Some(13));
        assert_eq!(mark.number(b"{\"id\":22}"), None);
        assert_eq!(mark.number(b"\"seq\":}"), None);
    }
}
