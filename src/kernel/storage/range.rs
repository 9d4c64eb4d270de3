//! One byte range of an object, as RFC 9110 section 14 writes it.

use super::StorageError;

/// A part of an object. Positions are bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From `first` to the end.
    From { first: u64 },
    /// From `first` to `last`, both included; `last` may lie past the end.
    Between { first: u64, last: u64 },
    /// The last `count` bytes.
    Last { count: u64 },
}

impl ByteRange {
    /// Reads a `Range` header. `None` for other units, several ranges or bad syntax: such a header
    /// is ignored and the whole object sent, as the standard wants.
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, range) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (number(first.trim()), number(last.trim())) {
            (Some(first), Some(last)) if first <= last => Some(ByteRange::Between { first, last }),
            (Some(first), None) if last.trim().is_empty() => Some(ByteRange::From { first }),
            (None, Some(count)) if first.trim().is_empty() => Some(ByteRange::Last { count }),
            _ => None,
        }
    }

    /// First byte and number of bytes within an object of `size` bytes.
    ///
    /// # Errors
    /// `BadRange` when nothing of the object lies inside.
    pub fn within(self, size: u64) -> Result<(u64, u64), StorageError> {
        let (first, last) = match self {
            ByteRange::From { first } => (first, u64::MAX),
            ByteRange::Between { first, last } => (first, last),
            ByteRange::Last { count: 0 } => return Err(StorageError::BadRange { size }),
            ByteRange::Last { count } => (size.saturating_sub(count), u64::MAX),
        };
        if first >= size {
            return Err(StorageError::BadRange { size });
        }
        Ok((first, last.min(size - 1) - first + 1))
    }

    /// The value of a `Range` header.
    pub(crate) fn header(self) -> String {
        match self {
            ByteRange::From { first } => format!("bytes={first}-"),
            ByteRange::Between { first, last } => format!("bytes={first}-{last}"),
            ByteRange::Last { count } => format!("bytes=-{count}"),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_written() {
        for text in ["bytes=0-", "bytes=5-9", "bytes=-3"] {
            assert_eq!(
                ByteRange::parse(text).map(ByteRange::header).as_deref(),
                Some(text)
            );
        }
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-5",
            "bytes=1-2,4-5",
            "items=0-1",
            "bytes=+1-2",
            "bytes=a-b",
        ] {
            assert_eq!(ByteRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        let within = |text, size| ByteRange::parse(text).expect("valid").within(size).ok();
        assert_eq!(within("bytes=0-", 10), Some((0, 10)));
        assert_eq!(within("bytes=5-99", 10), Some((5, 5)));
        assert_eq!(within("bytes=3-3", 10), Some((3, 1)));
        assert_eq!(within("bytes=-4", 10), Some((6, 4)));
        assert_eq!(within("bytes=-99", 10), Some((0, 10)));
        for (text, size) in [
            ("bytes=10-", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=-1", 0),
        ] {
            assert_eq!(within(text, size), None, "{text} of {size}");
        }
    }
}
