//! Bodies on their way into storage: counted, hashed, and held to their declared length.
//!
//! The last piece is kept back until the source has ended. A body that is longer than declared is
//! therefore found before the receiver could take it for complete, and one that is shorter makes
//! the transfer fail instead of storing a torso.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Digest, Table};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use super::StorageError;

/// The bytes of an object, in pieces.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// The checksum that OSS answers a PUT with (`x-oss-hash-crc64ecma`).
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// What went through a [`Measured`] body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub sha256: [u8; 32],
    pub crc64: u64,
}

/// How a body ended. Shared, because the HTTP client swallows the stream.
#[derive(Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<Result<Sums, StorageError>>>>);

impl Verdict {
    fn set(&self, end: Result<Sums, StorageError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// `None` while the body has not ended, and after the first call.
    pub(crate) fn take(&self) -> Option<Result<Sums, StorageError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body that is exactly as long as declared, or an error.
pub(crate) struct Measured {
    source: ByteStream,
    declared: u64,
    seen: u64,
    last: Option<Bytes>,
    ended: bool,
    sha256: Sha256,
    crc64: Digest<'static, u64, Table<16>>,
    verdict: Verdict,
}

impl Measured {
    pub(crate) fn new(source: ByteStream, declared: u64) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let body = Measured {
            source,
            declared,
            seen: 0,
            last: None,
            ended: false,
            sha256: Sha256::new(),
            crc64: CRC64.digest(),
            verdict: verdict.clone(),
        };
        (body, verdict)
    }

    fn fail(&mut self, error: StorageError) -> Poll<Option<io::Result<Bytes>>> {
        self.ended = true;
        let shown = io::Error::other(error.to_string());
        self.verdict.set(Err(error));
        Poll::Ready(Some(Err(shown)))
    }

    fn finish(&mut self) -> Poll<Option<io::Result<Bytes>>> {
        let (declared, actual) = (self.declared, self.seen);
        if actual < declared {
            return self.fail(StorageError::Truncated { declared, actual });
        }
        self.ended = true;
        let sha256 = std::mem::take(&mut self.sha256).finalize().into();
        let crc64 = std::mem::replace(&mut self.crc64, CRC64.digest()).finalize();
        self.verdict.set(Ok(Sums { sha256, crc64 }));
        Poll::Ready(self.last.take().map(Ok))
    }
}

impl Stream for Measured {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            match std::task::ready!(self.source.as_mut().poll_next(cx)) {
                None => return self.finish(),
                Some(Err(error)) => return self.fail(StorageError::Source(error)),
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.seen = self.seen.saturating_add(piece.len() as u64);
                    let declared = self.declared;
                    if self.seen > declared {
                        return self.fail(StorageError::TooLong { declared });
                    }
                    self.sha256.update(&piece);
                    self.crc64.update(&piece);
                    if self.seen < declared {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    self.last = Some(piece);
                }
            }
        }
    }
}

/// Reads a body to its end and keeps nothing of it.
///
/// # Errors
/// `Truncated`, `TooLong` or `Source`.
pub(crate) async fn drain(source: ByteStream, declared: u64) -> Result<Sums, StorageError> {
    let (mut body, verdict) = Measured::new(source, declared);
    while body.next().await.is_some() {}
    verdict
        .take()
        .unwrap_or(Err(StorageError::Truncated { declared, actual: 0 }))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn run(pieces: &[&'static str], declared: u64) -> (usize, Result<Sums, StorageError>) {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|p| Ok(Bytes::from_static(p.as_bytes())))
            .collect();
        let (mut body, verdict) = Measured::new(stream::iter(pieces).boxed(), declared);
        let mut passed = 0;
        while let Some(Ok(piece)) = body.next().await {
            passed += piece.len();
        }
        (passed, verdict.take().expect("ended"))
    }

    #[tokio::test]
    async fn exact_bodies_pass_with_their_sums() {
        let (passed, end) = run(&["1234", "", "56789"], 9).await;
        let sums = end.expect("exact");
        assert_eq!(passed, 9);
        // Check value of CRC-64/XZ in the catalogue of parametrised CRC algorithms.
        assert_eq!(sums.crc64, 0x995d_c9bb_df19_39fa);
        assert_eq!(sums.sha256[..4], [0x15, 0xe2, 0xb0, 0xd3]);
        assert!(run(&[], 0).await.1.is_ok());
    }

    #[tokio::test]
    async fn short_and_long_bodies_never_pass_in_full() {
        let (passed, end) = run(&["1234"], 9).await;
        assert!(
            passed < 9
                && matches!(
                    end,
                    Err(StorageError::Truncated {
                        declared: 9,
                        actual: 4
                    })
                )
        );
        let (passed, end) = run(&["12345", "6789", "0"], 9).await;
        assert!(passed < 9 && matches!(end, Err(StorageError::TooLong { declared: 9 })));
        assert!(matches!(
            run(&["1"], 0).await,
            (0, Err(StorageError::TooLong { declared: 0 }))
        ));
    }
}
