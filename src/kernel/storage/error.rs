//! What can go wrong with an object, sorted by what the caller can do about it.
//!
//! `Display` is for logs: it names the operation, the vendor's code and its request id. Clients see
//! the table below and nothing else.

use std::io;

use crate::error::{ApiError, Code, Coded, common};

/// The codes of this module.
pub mod codes {
    crate::codes! {
        RANGE_NOT_SATISFIABLE = 416, "range_not_satisfiable", "请求的范围无效", "Requested range not satisfiable.";
    }
}

/// Why an object could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Worth a retry: no connection, a timeout, 408, 429, 5xx; locally a full or unwritable disk.
    #[error("storage unavailable: {0}")]
    Unavailable(String),
    /// Final: the storage understood and refused (400, 401, 403, missing bucket), or the request
    /// could not be made at all (`status` 0: bad key, bad content type).
    #[error("storage refused: {status} {code}: {message}")]
    Rejected {
        status: u16,
        code: String,
        message: String,
    },
    /// There is no such object.
    #[error("object not found")]
    NotFound,
    /// The write was to create, and the object exists.
    #[error("object exists already")]
    AlreadyExists,
    /// The body ended early. Nothing was stored.
    #[error("body ended after {actual} of {declared} declared bytes")]
    Truncated { declared: u64, actual: u64 },
    /// The body went on past its declared length. Nothing was stored.
    #[error("body is longer than the {declared} declared bytes")]
    TooLong { declared: u64 },
    /// The range lies outside of the object, which has `size` bytes.
    #[error("range outside of an object of {size} bytes")]
    BadRange { size: u64 },
    /// The stream that was to be stored failed. Nothing was stored.
    #[error("source of the body failed: {0}")]
    Source(#[source] io::Error),
}

impl StorageError {
    /// A refusal of our own, before anything was sent.
    pub(crate) fn refused(code: &str, message: impl Into<String>) -> Self {
        StorageError::Rejected {
            status: 0,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// Whether the same request may succeed later (contract "cloud" 3.5).
    pub fn is_retryable(&self) -> bool {
        matches!(self, StorageError::Unavailable(_) | StorageError::Source(_))
    }
}

impl Coded for StorageError {
    fn code(&self) -> Code {
        match self {
            StorageError::NotFound => common::NOT_FOUND,
            StorageError::AlreadyExists => common::CONFLICT,
            StorageError::Truncated { .. } | StorageError::TooLong { .. } => common::VALIDATION_ERROR,
            StorageError::BadRange { .. } => codes::RANGE_NOT_SATISFIABLE,
            // A refusal is a fault of our settings or rights, so it is a 503 like an outage: the
            // client can do nothing about either.
            StorageError::Unavailable(_) | StorageError::Rejected { .. } | StorageError::Source(_) => {
                common::SERVICE_UNAVAILABLE
            }
        }
    }

    fn decorate(&self, error: ApiError) -> ApiError {
        match self {
            StorageError::BadRange { size } => error.with_header("content-range", format!("bytes */{size}")),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_no_vendor_text() {
        let error = ApiError::from(StorageError::Rejected {
            status: 403,
            code: "SignatureDoesNotMatch".into(),
            message: "secret words".into(),
        });
        let body = error.body(crate::error::Lang::En, "r1").to_string();
        assert_eq!(error.status, 503);
        assert!(
            !body.contains("secret words") && !body.contains("SignatureDoesNotMatch"),
            "{body}"
        );
    }

    #[test]
    fn only_passing_faults_are_retried() {
        assert!(StorageError::Unavailable("503".into()).is_retryable());
        assert!(!StorageError::refused("invalid_key", "x").is_retryable());
        assert!(!StorageError::NotFound.is_retryable());
        assert!(
            !StorageError::Truncated {
                declared: 2,
                actual: 1
            }
            .is_retryable()
        );
    }
}
