//! Query parameters that are more than one value.

use yunque_kernel::error::messages;
use yunque_kernel::{ApiError, Faults};

use crate::repo::Cursor;

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// # Errors
/// 400 with a fault for each parameter out of range.
pub(super) fn cursor(
    after: Option<i64>,
    before: Option<i64>,
    limit: Option<i64>,
) -> Result<Cursor, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let mut faults = Faults::new();
    if after.is_some_and(|id| id < 0) {
        faults.add("after_id", messages::OUT_OF_RANGE);
    }
    if before.is_some_and(|id| id < 1) {
        faults.add("before_id", messages::OUT_OF_RANGE);
    }
    if !(1..=MAX_LIMIT).contains(&limit) {
        faults.add("limit", messages::OUT_OF_RANGE);
    }
    faults.into_result(Cursor {
        after,
        before,
        limit: limit.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_bounded() {
        let all = cursor(None, None, None).expect("valid");
        assert_eq!((all.after, all.before, all.limit), (None, None, 50));
        assert!(cursor(Some(0), Some(1), Some(1)).is_ok());
        assert!(cursor(Some(i64::MAX), Some(i64::MAX), Some(200)).is_ok());
        for (after, before, limit) in [
            (Some(-1), None, None),
            (None, Some(0), None),
            (None, None, Some(0)),
            (None, None, Some(201)),
            (None, None, Some(-1)),
        ] {
            assert_eq!(cursor(after, before, limit).expect_err("refused").status, 400);
        }
    }
}
