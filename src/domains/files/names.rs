//! File names, folder paths, content types and object keys: text from clients made safe.

use sha2::{Digest, Sha256};
use uuid::Uuid;
use yunque_kernel::UserId;

/// Longest name, in characters.
pub const MAX_NAME: usize = 255;
/// Longest folder path, in characters.
pub const MAX_PATH: usize = 1024;

/// A base name: no separators, no control characters, not `.` or `..`, 1 to 255 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Keeps the text after the last `/` or `\`. `None` when nothing usable is left.
    pub fn parse(text: &str) -> Option<Self> {
        let base = text.rsplit(['/', '\\']).next().unwrap_or("");
        let clean: String = base.chars().filter(|c| !c.is_control()).collect();
        let name = clean.trim();
        let usable = !matches!(name, "" | "." | "..") && name.chars().count() <= MAX_NAME;
        usable.then(|| FileName(name.to_owned()))
    }

    /// A folder's name may not contain a separator at all: it would silently become another one.
    pub fn parse_folder(text: &str) -> Option<Self> {
        (!text.contains(['/', '\\'])).then(|| Self::parse(text)).flatten()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// An absolute folder path: `/`, or `/a/b` without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderPath(String);

impl FolderPath {
    pub fn root() -> Self {
        FolderPath("/".to_owned())
    }

    /// Reads `a/b`, `/a/b` and `/a/b/` alike. `None` for `.`, `..`, control characters, backslashes
    /// or more than 1024 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let mut path = String::new();
        for part in text.split('/').map(str::trim).filter(|p| !p.is_empty()) {
            if matches!(part, "." | "..") || part.chars().any(|c| c.is_control() || c == '\\') {
                return None;
            }
            path.push('/');
            path.push_str(part);
        }
        if path.chars().count() > MAX_PATH {
            return None;
        }
        Some(if path.is_empty() {
            Self::root()
        } else {
            FolderPath(path)
        })
    }

    pub fn join(&self, name: &str) -> Option<Self> {
        Self::parse(&format!("{}/{name}", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }

    /// Is `other` this folder or one inside it?
    pub fn contains(&self, other: &FolderPath) -> bool {
        self.0 == "/"
            || other.0 == self.0
            || other
                .0
                .strip_prefix(&self.0)
                .is_some_and(|rest| rest.starts_with('/'))
    }
}

/// `type/subtype` with optional parameters, 1 to 255 characters. Kept as declared and never
/// trusted for rendering. No commas, not even in quotes: browsers take the last type of a list.
pub fn is_content_type(text: &str) -> bool {
    let token = |t: &str| {
        !t.is_empty()
            && t.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b',') {
        return false;
    }
    let essence = text.split(';').next().unwrap_or("").trim();
    essence
        .split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub))
}

/// `files/{user}/{32 hex}{.ext}`, chosen once for each record (contract "cloud" 3.3). Nothing of
/// the client's name gets in but a short plain extension.
pub fn object_key(user: UserId, name: &FileName) -> String {
    let extension = name.as_str().rsplit_once('.').map(|(_, ext)| ext.to_lowercase());
    let plain = |ext: &String| {
        (1..=10).contains(&ext.len()) && ext.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
    };
    let suffix = extension
        .filter(plain)
        .map(|ext| format!(".{ext}"))
        .unwrap_or_default();
    format!("files/{user}/{}{suffix}", Uuid::new_v4().simple())
}

/// What makes a live folder unique: SHA-256 of user, path and name.
pub fn folder_key(user: UserId, path: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [&user.to_string(), path, name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_base_name_is_kept() {
        let name = |t| FileName::parse(t).map(FileName::into_string);
        assert_eq!(name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(name("..\\..\\boot.ini").as_deref(), Some("boot.ini"));
        assert_eq!(name("a.b/c.tar.gz").as_deref(), Some("c.tar.gz"));
        assert_eq!(name("报告\u{7}.pdf").as_deref(), Some("报告.pdf"));
        for bad in ["", ".", "..", "a/", "/", "  ", "\u{1}"] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
        assert!(FileName::parse(&"文".repeat(255)).is_some());
        assert!(FileName::parse(&"文".repeat(256)).is_none());
        assert_eq!(FileName::parse_folder("a/b"), None);
    }

    #[test]
    fn keys_hold_nothing_of_the_name_but_a_plain_extension() {
        let key = |t| object_key(UserId(7), &FileName::parse(t).expect("valid"));
        let is = |key: &str, suffix: &str| {
            let hex = key
                .strip_prefix("files/7/")
                .and_then(|k| k.strip_suffix(suffix))
                .expect("shape");
            assert!(
                hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
                "{key}"
            );
        };
        is(&key("a.PHP"), ".php");
        is(&key("x"), "");
        is(&key("c.tar.gz"), ".gz");
        is(&key("a.b c"), "");
        is(&key("a.中文"), "");
        is(&key("a.abcdefghijk"), "");
    }

    #[test]
    fn paths_are_absolute_and_cannot_climb() {
        let path = |t| FolderPath::parse(t).map(FolderPath::into_string);
        assert_eq!(path("").as_deref(), Some("/"));
        assert_eq!(path("a//b/").as_deref(), Some("/a/b"));
        assert_eq!(path("/a/../b"), None);
        assert_eq!(path("/a\\b"), None);
        let docs = FolderPath::parse("/docs").expect("valid");
        assert!(docs.contains(&FolderPath::parse("/docs/x").expect("valid")));
        assert!(!docs.contains(&FolderPath::parse("/docs2").expect("valid")));
    }

    #[test]
    fn content_types_have_a_type_and_a_subtype() {
        for good in [
            "image/png",
            "text/html; charset=utf-8",
            "application/vnd.ms-excel",
        ] {
            assert!(is_content_type(good), "{good}");
        }
        for bad in [
            "",
            "png",
            "image/",
            "/png",
            "a b/c",
            "text/html\r\nX: y",
            "图/片",
            "image/png; a=b, text/html",
            "image/png,text/html",
            "text/plain; a=\"x,y\"",
        ] {
            assert!(!is_content_type(bad), "{bad}");
        }
    }
}
