//! Frames as they go out: made once, written as they are to any number of sockets, since frames of
//! a server are not masked.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::close::CloseCode;

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;
const FIN: u8 = 0x80;

/// A ping without content.
pub(super) const PING_FRAME: &[u8] = &[FIN | PING, 0];

fn with_head(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 10);
    out.put_u8(FIN | opcode);
    match payload.len() {
        n @ 0..=125 => out.put_u8(u8::try_from(n).unwrap_or(0)),
        n => match u16::try_from(n) {
            Ok(n) => {
                out.put_u8(126);
                out.put_u16(n);
            }
            Err(_) => {
                out.put_u8(127);
                out.put_u64(n as u64);
            }
        },
    }
    out.put_slice(payload);
    out.freeze()
}

/// A text frame of a value.
pub(super) fn json(value: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(value).expect("our own values have text keys and no failing parts");
    with_head(TEXT, &text)
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    with_head(PONG, payload)
}

/// A close frame without a reason: the error frame before it says more.
pub(super) fn close(code: CloseCode) -> Bytes {
    with_head(CLOSE, &code.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_three_forms() {
        assert_eq!(with_head(TEXT, b"ab")[..], [0x81, 2, b'a', b'b']);
        assert_eq!(with_head(TEXT, &[b'x'; 125])[..2], [0x81, 125]);
        assert_eq!(with_head(TEXT, &[b'x'; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(with_head(TEXT, &[b'x'; 65_535])[..4], [0x81, 126, 255, 255]);
        assert_eq!(
            with_head(TEXT, &vec![b'x'; 65_536])[..10],
            [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(close(CloseCode::TRY_AGAIN)[..], [0x88, 2, 0x03, 0xF5]);
        assert_eq!(pong(b"x")[..], [0x8A, 1, b'x']);
    }
}
