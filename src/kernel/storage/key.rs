//! Which object keys we use: `files/{user}/{32 hex}.ext` and the like.
//!
//! Only `[A-Za-z0-9/_.-]` is allowed. Anything else would need escaping, and the OSS package signs
//! the raw key while the URL carries an escaped one; `?`, `#` and `%41` then name another object or
//! none. A segment never starts with a dot: that keeps `..` out and leaves dot-names to the local
//! backend for its own files.

use super::StorageError;

/// The column `files.object_key` holds no more.
const MAX_LEN: usize = 511;

/// # Errors
/// `Rejected` when the key is outside of the rules above.
pub(crate) fn check(key: &str) -> Result<(), StorageError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'.' | b'-');
    let segment = |s: &str| !s.is_empty() && !s.starts_with('.');
    if key.len() <= MAX_LEN && key.bytes().all(plain) && key.split('/').all(segment) {
        return Ok(());
    }
    Err(StorageError::refused(
        "invalid_key",
        format!("object key {key:?} is not allowed"),
    ))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn keys_that_need_escaping_or_leave_the_folder_are_refused() {
        for good in [
            "a",
            "files/7/0123456789abcdef0123456789abcdef.jpg",
            "probe/x_y-z.tar.gz",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = "a".repeat(512);
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a/.hidden",
            "a b",
            "a?b",
            "a#b",
            "a%41",
            "中",
            "a\\b",
            "a+b",
            "a\nb",
            "a:b",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
