//! What travels between instances. Binary, because a payload is passed on as it is.
//!
//! | first byte | then |
//! |---|---|
//! | 1 frame | origin (16), payload |
//! | 2 control | origin (16), request (8, big endian), length of the kind (1), kind, payload |
//! | 3 ack | request (8, big endian) |
//!
//! A first byte of a later version is ignored, so that old and new instances can run side by side.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{Frame, InstanceId};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Frame(Frame),
    Control {
        origin: InstanceId,
        request: u64,
        kind: String,
        payload: Bytes,
    },
    Ack {
        request: u64,
    },
}

pub(super) fn frame(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::with_capacity(17 + frame.payload.len());
    out.push(1);
    out.extend_from_slice(&frame.origin.0);
    out.extend_from_slice(&frame.payload);
    out
}

pub(super) fn control(origin: InstanceId, request: u64, kind: &str, payload: &[u8]) -> Bytes {
    // Kinds are constants of our own; one that does not fit is cut and will find no handler.
    let kind = &kind.as_bytes()[..kind.len().min(255)];
    let mut out = BytesMut::with_capacity(26 + kind.len() + payload.len());
    out.put_u8(2);
    out.put_slice(&origin.0);
    out.put_u64(request);
    out.put_u8(u8::try_from(kind.len()).unwrap_or(u8::MAX));
    out.put_slice(kind);
    out.put_slice(payload);
    out.freeze()
}

pub(super) fn ack(request: u64) -> Vec<u8> {
    let mut out = vec![3];
    out.extend_from_slice(&request.to_be_bytes());
    out
}

/// `None`: not ours, or of a version to come.
pub(super) fn read(bytes: &[u8]) -> Option<Envelope> {
    let (tag, rest) = bytes.split_first()?;
    match tag {
        1 => {
            let (origin, payload) = rest.split_first_chunk::<16>()?;
            Some(Envelope::Frame(Frame {
                origin: InstanceId(*origin),
                payload: Bytes::copy_from_slice(payload),
            }))
        }
        2 => {
            let (origin, rest) = rest.split_first_chunk::<16>()?;
            let (request, rest) = rest.split_first_chunk::<8>()?;
            let (length, rest) = rest.split_first()?;
            let (kind, payload) = rest.split_at_checked(usize::from(*length))?;
            Some(Envelope::Control {
                origin: InstanceId(*origin),
                request: u64::from_be_bytes(*request),
                kind: std::str::from_utf8(kind).ok()?.to_owned(),
                payload: Bytes::copy_from_slice(payload),
            })
        }
        3 => Some(Envelope::Ack {
            request: u64::from_be_bytes(*rest.first_chunk::<8>()?),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_read_back_as_written() {
        let origin = InstanceId::new();
        let sent = Frame {
            origin,
            payload: Bytes::from_static("{\"a\":\"中\"}".as_bytes()),
        };
        assert_eq!(read(&frame(&sent)), Some(Envelope::Frame(sent)));
        let control = control(origin, 7, "auth.revoked", b"42");
        let expected = Envelope::Control {
            origin,
            request: 7,
            kind: "auth.revoked".into(),
            payload: "42".into(),
        };
        assert_eq!(read(&control), Some(expected));
        assert_eq!(read(&ack(u64::MAX)), Some(Envelope::Ack { request: u64::MAX }));
    }

    #[test]
    fn foreign_and_cut_messages_are_ignored() {
        let whole = control(InstanceId::new(), 7, "kind", b"");
        for n in 0..whole.len() {
            assert_eq!(read(&whole[..n]), None, "{n} bytes");
        }
        assert_eq!(read(b"hello"), None);
        assert_eq!(read(&[3, 1, 2]), None);
        assert_eq!(read(&[9; 40]), None);
    }
}
