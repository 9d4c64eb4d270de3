//! Frames as they come in, from bytes in any pieces.
//!
//! Nothing is kept between messages but a few bytes of state, and nothing is read of a frame that
//! will not be taken: the length is judged as soon as the head is there. Only text is accepted.

use super::close::CloseCode;
use super::frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};

/// Pieces that one message may come in.
const MAX_FRAGMENTS: u32 = 1024;
/// The most that a ping, pong or close may carry.
const MAX_CONTROL: usize = 125;

/// Something complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    /// With what the peer is to be answered.
    Close(CloseCode),
}

/// Reads one direction of one connection.
pub(super) struct Decoder {
    limit: usize,
    head: [u8; 14],
    head_len: usize,
    frame: Option<Current>,
    /// The message in pieces; empty and without memory between messages.
    message: Vec<u8>,
    /// Frames of the open message so far; 0 when none is open.
    fragments: u32,
    control: Vec<u8>,
}

/// The frame whose payload is being read.
#[derive(Clone, Copy)]
struct Current {
    opcode: u8,
    fin: bool,
    left: usize,
    mask: [u8; 4],
    at: usize,
}

impl Decoder {
    /// `limit`: most bytes of one frame and of one whole message.
    pub fn new(limit: usize) -> Self {
        Decoder {
            limit,
            head: [0; 14],
            head_len: 0,
            frame: None,
            message: Vec::new(),
            fragments: 0,
            control: Vec::new(),
        }
    }

    /// Takes bytes from the front of `input` until something is complete or nothing is left.
    ///
    /// # Errors
    /// The code to close with. Nothing more may be read then.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Received>, CloseCode> {
        loop {
            let Some(mut frame) = self.frame else {
                if !self.read_head(input)? {
                    return Ok(None);
                }
                continue;
            };
            let n = frame.left.min(input.len());
            let (now, later) = input.split_at(n);
            *input = later;
            let into = if frame.opcode >= CLOSE {
                &mut self.control
            } else {
                &mut self.message
            };
            let (mask, at) = (frame.mask, frame.at);
            into.extend(now.iter().enumerate().map(|(i, byte)| byte ^ mask[(at + i) % 4]));
            frame.left -= n;
            frame.at += n;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            self.frame = None;
            if let Some(received) = self.complete(frame)? {
                return Ok(Some(received));
            }
        }
    }

    /// Collects a head. `true`: a frame begins; `false`: more bytes are needed.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<bool, CloseCode> {
        loop {
            let needed = self.head_size()?;
            if self.head_len == needed && needed >= 6 {
                break;
            }
            let Some((first, rest)) = input.split_first() else {
                return Ok(false);
            };
            *input = rest;
            self.head[self.head_len] = *first;
            self.head_len += 1;
        }
        self.head_len = 0;
        let head = self.head;
        let (length, mask_at) = match head[1] & 0x7F {
            126 => (u64::from(u16::from_be_bytes([head[2], head[3]])), 4),
            127 => {
                let mut raw = [0; 8];
                raw.copy_from_slice(&head[2..10]);
                (u64::from_be_bytes(raw), 10)
            }
            n => (u64::from(n), 2),
        };
        let mut mask = [0; 4];
        mask.copy_from_slice(&head[mask_at..mask_at + 4]);
        let frame = Current {
            opcode: head[0] & 0x0F,
            fin: head[0] & 0x80 != 0,
            left: usize::try_from(length).map_err(|_| CloseCode::TOO_BIG)?,
            mask,
            at: 0,
        };
        self.judge(frame)?;
        self.frame = Some(frame);
        Ok(true)
    }

    /// How long this head is, as far as its bytes tell, refusing what can be refused already.
    fn head_size(&self) -> Result<usize, CloseCode> {
        if self.head_len >= 1 {
            let first = self.head[0];
            // No extension was agreed on, so the reserved bits mean nothing.
            if first & 0x70 != 0 {
                return Err(CloseCode::PROTOCOL);
            }
            match first & 0x0F {
                BINARY => return Err(CloseCode::UNSUPPORTED),
                CONTINUATION | TEXT | CLOSE | PING | PONG => {}
                _ => return Err(CloseCode::PROTOCOL),
            }
        }
        if self.head_len < 2 {
            return Ok(2);
        }
        let second = self.head[1];
        if second & 0x80 == 0 {
            return Err(CloseCode::PROTOCOL);
        }
        Ok(match second & 0x7F {
            126 => 8,
            127 => 14,
            _ => 6,
        })
    }

    fn judge(&mut self, frame: Current) -> Result<(), CloseCode> {
        if frame.opcode >= CLOSE {
            let sound = frame.fin && frame.left <= MAX_CONTROL;
            return if sound { Ok(()) } else { Err(CloseCode::PROTOCOL) };
        }
        let continues = frame.opcode == CONTINUATION;
        if continues != (self.fragments > 0) {
            return Err(CloseCode::PROTOCOL);
        }
        self.fragments += 1;
        let whole = self.message.len().saturating_add(frame.left);
        if frame.left > self.limit || whole > self.limit || self.fragments > MAX_FRAGMENTS {
            return Err(CloseCode::TOO_BIG);
        }
        Ok(())
    }

    fn complete(&mut self, frame: Current) -> Result<Option<Received>, CloseCode> {
        match frame.opcode {
            PING => Ok(Some(Received::Ping(std::mem::take(&mut self.control)))),
            PONG => {
                self.control = Vec::new();
                Ok(Some(Received::Pong))
            }
            CLOSE => {
                let payload = std::mem::take(&mut self.control);
                close_code(&payload).map(|code| Some(Received::Close(code)))
            }
            _ if frame.fin => {
                self.fragments = 0;
                let text = String::from_utf8(std::mem::take(&mut self.message));
                text.map(|text| Some(Received::Text(text)))
                    .map_err(|_| CloseCode::INVALID_UTF8)
            }
            _ => Ok(None),
        }
    }
}

/// With what a peer's close is answered: with its own code.
fn close_code(payload: &[u8]) -> Result<CloseCode, CloseCode> {
    match payload {
        [] => Ok(CloseCode::NORMAL),
        [_] => Err(CloseCode::PROTOCOL),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !allowed {
                return Err(CloseCode::PROTOCOL);
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(CloseCode::INVALID_UTF8);
            }
            Ok(CloseCode(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 65_536;

    /// A masked frame as a client sends it.
    fn client(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(0x80 | n as u8),
            n @ 126..=65_535 => {
                out.push(0x80 | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        out.extend(mask);
        out.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
        out
    }

    fn all(bytes: &[u8], piece: usize) -> (Vec<Received>, Option<CloseCode>) {
        let mut decoder = Decoder::new(LIMIT);
        let mut out = Vec::new();
        for mut chunk in bytes.chunks(piece.max(1)) {
            loop {
                match decoder.feed(&mut chunk) {
                    Ok(Some(received)) => out.push(received),
                    Ok(None) => break,
                    Err(code) => return (out, Some(code)),
                }
            }
            assert!(chunk.is_empty());
        }
        (out, None)
    }

    fn refused(bytes: &[u8]) -> Option<CloseCode> {
        let code = all(bytes, bytes.len()).1;
        assert_eq!(all(bytes, 1).1, code, "in single bytes");
        code
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let long = "名".repeat(20_000);
        let mut bytes = client(0x81, b"{}");
        bytes.extend(client(0x01, "名".as_bytes().split_at(1).0));
        bytes.extend(client(0x89, b"are you there"));
        bytes.extend(client(0x00, b""));
        bytes.extend(client(0x80, "名".as_bytes().split_at(1).1));
        bytes.extend(client(0x8A, b""));
        bytes.extend(client(0x81, long.as_bytes()));
        bytes.extend(client(0x88, &[0x03, 0xE8, b'b', b'y', b'e']));
        let expected = vec![
            Received::Text("{}".into()),
            Received::Ping(b"are you there".to_vec()),
            Received::Text("名".into()),
            Received::Pong,
            Received::Text(long),
            Received::Close(CloseCode::NORMAL),
        ];
        for piece in [1, 2, 3, 7, 100, 4096, bytes.len()] {
            let (received, fault) = all(&bytes, piece);
            assert_eq!(fault, None);
            assert!(received == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn sizes_are_judged_by_the_head_alone() {
        assert_eq!(refused(&client(0x81, &vec![b'x'; LIMIT])), None);
        let head = |length: u64| {
            let mut out = vec![0x81, 0xFF];
            out.extend(length.to_be_bytes());
            out.extend([0; 4]);
            out
        };
        for length in [LIMIT as u64 + 1, 2 << 20, 1 << 62, u64::MAX] {
            assert_eq!(refused(&head(length)), Some(CloseCode::TOO_BIG), "{length}");
        }
        let mut pieces = client(0x01, &vec![b'x'; LIMIT - 10]);
        pieces.extend(client(0x80, &[b'x'; 11]));
        assert_eq!(refused(&pieces), Some(CloseCode::TOO_BIG), "a message in pieces");
        let mut many = client(0x01, b"");
        (0..100_000).for_each(|_| many.extend(client(0x00, b"")));
        assert_eq!(all(&many, 4096).1, Some(CloseCode::TOO_BIG), "too many pieces");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (bytes, code) in [
            (client(0x82, b"x"), CloseCode::UNSUPPORTED),
            (client(0x02, b"x"), CloseCode::UNSUPPORTED),
            (client(0x81, b"\xff"), CloseCode::INVALID_UTF8),
            (client(0x81, b"\xed\xa0\x80"), CloseCode::INVALID_UTF8),
            (client(0xC1, b"x"), CloseCode::PROTOCOL),
            (client(0x91, b"x"), CloseCode::PROTOCOL),
            (client(0x83, b"x"), CloseCode::PROTOCOL),
            (client(0x8F, b"x"), CloseCode::PROTOCOL),
            (client(0x80, b"x"), CloseCode::PROTOCOL),
            (client(0x09, b"x"), CloseCode::PROTOCOL),
            (client(0x89, &[0; 126]), CloseCode::PROTOCOL),
            (vec![0x81, 1, b'x'], CloseCode::PROTOCOL),
            (client(0x88, &[3]), CloseCode::PROTOCOL),
            (client(0x88, &1005_u16.to_be_bytes()), CloseCode::PROTOCOL),
            (client(0x88, &999_u16.to_be_bytes()), CloseCode::PROTOCOL),
            (client(0x88, &[0x03, 0xE8, 0xFF]), CloseCode::INVALID_UTF8),
            (
                [client(0x01, b"x"), client(0x81, b"x")].concat(),
                CloseCode::PROTOCOL,
            ),
        ] {
            assert_eq!(refused(&bytes), Some(code), "{bytes:?}");
        }
    }

    #[test]
    fn closes_are_answered_with_their_code() {
        for (payload, code) in [(vec![], 1000), (vec![0x03, 0xE9], 1001), (vec![0x11, 0x30], 4400)] {
            let (received, fault) = all(&client(0x88, &payload), 1);
            assert_eq!((received, fault), (vec![Received::Close(CloseCode(code))], None));
        }
    }
}
