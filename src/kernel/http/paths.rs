//! Paths as they are routed: one form for both spellings, nothing clever.
//!
//! Every path answers with and without one trailing slash, without a redirect, because a redirect
//! drops POST bodies. Nothing else is normalised: `//`, `.` and `..` segments, NUL and other
//! controls (also percent-encoded) name nothing and are 404, so no two layers can disagree about
//! what a path means.

use percent_encoding::percent_decode_str;

/// The path without its trailing slash; `/` stays.
pub(super) fn trimmed(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(rest) => rest,
    }
}

/// Can this path name anything at all?
pub(super) fn is_plain(path: &str) -> bool {
    if !path.starts_with('/') || path.contains("//") || path.contains('\\') {
        return false;
    }
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return false;
    };
    !decoded.chars().any(char::is_control) && !decoded.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_is_trimmed() {
        assert_eq!(trimmed("/"), "/");
        assert_eq!(trimmed("/a/b/"), "/a/b");
        assert_eq!(trimmed("/a//"), "/a/");
    }

    #[test]
    fn strange_paths_name_nothing() {
        for ok in ["/", "/a/b", "/file/1/", "/room/%E4%B8%AD", "/a%20b"] {
            assert!(is_plain(ok), "{ok}");
        }
        for bad in [
            "",
            "*",
            "//a",
            "/a//",
            "/..",
            "/a/%2e%2e/b",
            "/a%2f..%2fb",
            "/%00",
            "/%0d%0aX:",
            "/%ff",
            "/a\\b",
        ] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
