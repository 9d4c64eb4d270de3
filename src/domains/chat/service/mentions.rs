//! Who a text names: `@username`, and `@all`.
//!
//! A mention begins at the start of the text or after a character that does not belong to a word, so
//! that addresses are none. Han, kana and hangul are written without blanks between words; a mention
//! may follow them at once.

use std::collections::HashSet;

use unicode_normalization::char::is_combining_mark;
use yunque_accounts::values::{MAX_USERNAME, name_key};
use yunque_kernel::{DbError, UserId};

use crate::Core;

/// Names of one message that are looked at.
const MOST: usize = 50;
const ALL: &str = "all";

/// Whom a message names, wherever they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// `@all`. Counts when an admin or a moderator wrote it.
    pub all: bool,
    /// Each once, the sender not among them.
    pub users: Vec<UserId>,
}

impl Mentions {
    pub fn is_empty(&self) -> bool {
        !self.all && self.users.is_empty()
    }
}

impl Core {
    /// Whom a text of `sender` names and may reach. No query for a text without an at sign; outside of
    /// transactions.
    pub(crate) async fn mentions(&self, sender: UserId, content: &str) -> Result<Mentions, DbError> {
        let Named { all, names } = parse(content);
        if names.is_empty() {
            return Ok(Mentions {
                all,
                users: Vec::new(),
            });
        }
        let found = self.accounts.named(&names).await?;
        let mut users: Vec<UserId> = found.into_values().map(|user| user.id).collect();
        users.sort_unstable();
        users.dedup();
        users.retain(|user| *user != sender);
        let users = self.accounts.contactable(sender, users).await?;
        Ok(Mentions { all, users })
    }
}

/// The names in a text, each once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    all: bool,
    /// Folded, as names are compared.
    names: Vec<String>,
}

fn parse(text: &str) -> Named {
    let mut named = Named::default();
    let mut seen = HashSet::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        let starts = c == '@' && before.is_none_or(|c| !joins(c));
        before = Some(c);
        if !starts {
            continue;
        }
        let rest = &text[at + 1..];
        let end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches(['.', '+', '-']);
        if name.is_empty() || name.chars().count() > MAX_USERNAME {
            continue;
        }
        let key = name_key(name);
        if key == ALL {
            named.all = true;
        } else if named.names.len() < MOST && seen.insert(key.clone()) {
            named.names.push(key);
        }
    }
    named
}

/// Whether an at sign right after this character is part of a word.
fn joins(c: char) -> bool {
    (c.is_alphanumeric() || c == '_') && !is_unspaced(c)
}

/// Scripts without blanks between words.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// What names are made of; marks belong to the letters before them.
fn in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-') || is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let named = parse(text);
        assert!(!named.all, "{text}");
        named.names
    }

    #[test]
    fn names_begin_after_what_is_no_word() {
        assert_eq!(names("@bob, hi @BOB @nobody"), ["bob", "nobody"]);
        assert_eq!(names("(@bob) \"@amy\"/@joe\n@zoe"), ["bob", "amy", "joe", "zoe"]);
        assert_eq!(names("你好@bob，看一下"), ["bob"]);
        assert_eq!(names("@@bob"), ["bob"]);
        for none in [
            "",
            "bob",
            "@",
            "@ bob",
            "mail bob@example.com",
            "a_@bob",
            "1@bob",
            "@!",
            "@...",
        ] {
            assert!(names(none).is_empty(), "{none:?}");
        }
    }

    #[test]
    fn names_end_before_their_punctuation() {
        assert_eq!(
            names("@bob. @amy... @joe-smith- @x+y+"),
            ["bob", "amy", "joe-smith", "x+y"]
        );
        assert_eq!(names("@bob.smith! @a_b_: @c'd"), ["bob.smith", "a_b_", "c"]);
        assert_eq!(names("@小明，@小红。@Ｂｏｂ"), ["小明", "小红", "bob"]);
        assert_eq!(names("@bob@amy"), ["bob"]);
        assert_eq!(names("@हिन्दी।"), ["हिन्दी"]);
    }

    #[test]
    fn at_most_fifty_names_and_all_beside_them() {
        let many: String = (0..60).map(|n| format!("@u{n} @U{n} ")).collect();
        assert_eq!(names(&many).len(), MOST);
        assert!(names(&format!("@{}", "a".repeat(MAX_USERNAME + 1))).is_empty());
        for text in ["@all", "hi @ALL!", &format!("{many} @all.")] {
            assert!(parse(text).all, "{text}");
        }
        assert!(!parse("@allison x@all").all);
    }
}
