//! What goes into the storage and comes out of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{ByteStream, Disposition, StorageError};
use crate::hex;

/// What was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutOutcome {
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Bytes.
    pub size: u64,
}

impl PutOutcome {
    /// 64 lower-case hex digits.
    pub fn sha256_hex(&self) -> String {
        hex::encode(&self.sha256)
    }
}

/// What is known about an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Bytes of the whole object.
    pub size: u64,
    /// As declared at upload; never trusted for rendering.
    pub content_type: String,
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
}

/// An object, or a part of it, on its way out.
pub struct GetObject {
    /// The bytes. An error in between means the transfer broke; what came before is not the object.
    pub stream: ByteStream,
    /// Bytes in `stream`.
    pub size: u64,
    /// First and last byte, when a range was asked for.
    pub range: Option<(u64, u64)>,
    pub head: ObjectHead,
}

/// A URL that somebody else may use once or for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presigned {
    pub url: String,
    pub method: &'static str,
    /// Must be sent exactly like this; they are part of the signature.
    pub headers: BTreeMap<String, String>,
    /// Whole seconds.
    pub expires_at: DateTime<Utc>,
}

/// An upload to be allowed.
#[derive(Clone, Copy, Debug)]
pub struct PresignPut<'a> {
    pub key: &'a str,
    pub content_type: &'a str,
    /// Exact length. OSS cannot check it in advance, so it is compared again after the upload.
    pub size: u64,
    pub expires_at: DateTime<Utc>,
    /// Path of this server that takes the bytes, such as `/file/7/content/`; local backend only.
    pub local_path: &'a str,
}

/// A download to be allowed.
#[derive(Clone, Copy, Debug)]
pub struct PresignGet<'a> {
    pub key: &'a str,
    pub file_name: &'a str,
    pub disposition: Disposition,
    pub expires_at: DateTime<Utc>,
    /// Path of this server that sends the bytes; local backend only.
    pub local_path: &'a str,
}

/// What the bucket says about uploads from a browser page.
#[derive(Debug)]
pub enum CorsAnswer {
    Allowed,
    Refused,
    /// The rules could not be read; most keys have no right to.
    Unknown(StorageError),
}
