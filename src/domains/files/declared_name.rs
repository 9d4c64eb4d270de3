//! A file's name as clients send it. Control characters are let in, because they are removed
//! rather than refused (contract "cloud" 3.2); `names::FileName` makes a name of it.

use yunque_kernel::http::body::FILE_NAME_FORMAT;
use yunque_kernel::text_type;

use crate::names::MAX_NAME;

/// 1 to 255 characters of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredName(pub String);

impl DeclaredName {
    fn as_str(&self) -> &str {
        &self.0
    }
}

text_type!(
    DeclaredName,
    Some(FILE_NAME_FORMAT),
    Some(1),
    MAX_NAME,
    |name| Ok(DeclaredName(name)),
    as_str
);
