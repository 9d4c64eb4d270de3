//! HTTP/1.1 over one kept-alive connection, with as little work as possible: the driver shares the
//! cores with the server, so every cycle spent here is taken from what is measured. Requests are
//! ready-made bytes; of an answer only the status and the body's length are looked at.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// One connection and the answer it read last.
pub struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: Range<usize>,
}

impl Conn {
    /// Connects from 127.0.0.`2 + from`, so that many connections look like many clients.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn open(server: SocketAddr, from: usize) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let last = u8::try_from(2 + from % 250).unwrap_or(2);
        socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into())?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Conn {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
            body: 0..0,
        })
    }

    /// Sends a request and reads its whole answer; returns the status.
    ///
    /// # Errors
    /// The connection broke, or the answer is not one that this client understands.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.send(request).await?;
        self.receive().await
    }

    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// # Errors
    /// As [`Conn::exchange`].
    pub async fn receive(&mut self) -> io::Result<u16> {
        self.buffer.clear();
        self.body = 0..0;
        let mut looked_at = 0;
        let head = loop {
            self.more().await?;
            if let Some(at) = self.buffer[looked_at..].windows(4).position(|w| w == b"\r\n\r\n") {
                break looked_at + at + 4;
            }
            looked_at = self.buffer.len().saturating_sub(3);
        };
        let status = status(&self.buffer).ok_or(io::ErrorKind::InvalidData)?;
        self.body = head..head + length(&self.buffer[..head])?;
        while self.buffer.len() < self.body.end {
            self.more().await?;
        }
        Ok(status)
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The connection after an upgrade, and what came behind the last answer.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer[self.body.end..].to_vec())
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body.clone()]
    }
}

fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

fn length(head: &[u8]) -> io::Result<usize> {
    for line in head.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(io::Error::other("chunked answers are not understood"));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(&value[1..]).map_err(io::Error::other)?;
            return text.trim().parse().map_err(io::Error::other);
        }
    }
    Ok(0)
}

/// The bytes of a request. A body is JSON.
pub fn request(method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    if let Some(token) = token {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        ));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}
