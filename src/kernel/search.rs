//! Text as a full-text index holds it, and what a text must hold to contain another.
//!
//! The databases split words each in their own way, and none splits Chinese. So the application
//! makes **grams**: at every place of a run of letters the next three of them, or the next two where
//! a script needs no spaces, folded and written in ASCII. SQLite, MySQL/MariaDB and PostgreSQL hold
//! the same grams ([`crate::db::text_index`]) and never see a text.
//!
//! * Whatever contains a text has all its grams, so [`Needle`] finds every such text, inside words as
//!   well. It finds others too (their grams stand elsewhere): the index gives candidates, and a
//!   comparison of the texts decides ([`crate::db::text_index::contains`]).
//! * The last grams of a run are shorter, so that what is shorter than a gram is the beginning of one:
//!   one Chinese character, or two letters, are looked for by prefix.
//! * A single letter or digit, and punctuation alone, have no grams: half of all texts would have them.
//! * A gram consists of `a-z0-9`, so none is an operator of a full-text index, and begins with `x`, so
//!   none is equal to what else stands in one.
//!
//! What surprises: nothing is normalised. A text is found as it was written, but for the case.

use std::collections::BTreeSet;

/// Grams that are looked for at once; the texts are compared anyway.
const MOST_GRAMS: usize = 8;
const MOST_PREFIXES: usize = 2;

/// How a script is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// Few letters that make words, as in Latin: three at a time.
    Letters,
    /// Many signs, or words without spaces, as in Chinese, Korean and Thai: two at a time.
    Signs,
}

impl Script {
    /// `None` is what separates runs. Asked of folded characters.
    fn of(c: char) -> Option<Self> {
        match c {
            '\0'..='\u{2ff}' | '\u{1e00}'..='\u{1fff}' => c.is_alphanumeric().then_some(Script::Letters),
            '\u{300}'..='\u{dff}' => (!c.is_whitespace()).then_some(Script::Letters),
            // Punctuation, and what only changes how the character before it looks.
            '\u{2000}'..='\u{206f}'
            | '\u{3000}'..='\u{303f}'
            | '\u{fe00}'..='\u{fe6f}'
            | '\u{ff00}'..='\u{ff65}' => c.is_alphanumeric().then_some(Script::Signs),
            _ => (!c.is_whitespace()).then_some(Script::Signs),
        }
    }

    fn gram(self) -> usize {
        match self {
            Script::Letters => 3,
            Script::Signs => 2,
        }
    }

    /// The shortest beginning of a gram that is worth looking for.
    fn shortest(self) -> usize {
        self.gram() - 1
    }
}

/// The lower case of a character, as one character.
pub fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// The same for all forms of a letter, those that only differ in lower case among them (σ and ς).
pub fn fold(c: char) -> char {
    lower(upper(c))
}

/// The forms of a letter that are the same to a reader who does not look at the case.
pub fn forms(c: char) -> BTreeSet<char> {
    BTreeSet::from([c, lower(c), upper(c), fold(c)])
}

/// The grams of a text, each once, in order, with a space between two. At most one for each character,
/// of at most 16 bytes: whoever bounds his texts bounds this.
pub fn grams(text: &str) -> String {
    let mut all = BTreeSet::new();
    for (script, run) in runs(text) {
        for from in 0..run.len() {
            let to = run.len().min(from + script.gram());
            if to - from >= script.shortest() {
                all.insert(encoded(&run[from..to]));
            }
        }
    }
    let size = all.iter().map(|gram| gram.len() + 1).sum();
    let mut out = String::with_capacity(size);
    for gram in all {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&gram);
    }
    out
}

/// What a text must have to contain another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// Grams, and whether their beginning is enough. Never empty.
    pub(crate) terms: Vec<(String, bool)>,
}

impl Needle {
    /// `None` if the text has no grams, so that an index does not help.
    pub fn of(text: &str) -> Option<Self> {
        let (mut whole, mut begun) = (BTreeSet::new(), BTreeSet::new());
        for (script, run) in runs(text) {
            let gram = script.gram();
            if run.len() < gram {
                if run.len() >= script.shortest() {
                    begun.insert(encoded(&run));
                }
                continue;
            }
            // One after the other, the last one at the end; those between say nothing new.
            let last = run.len() - gram;
            for from in (0..last).step_by(gram).chain([last]) {
                whole.insert(encoded(&run[from..from + gram]));
            }
        }
        // A beginning stands for many grams, so it is looked for only if there is nothing else.
        let terms: Vec<(String, bool)> = match whole.is_empty() {
            false => spread(whole, MOST_GRAMS).map(|gram| (gram, false)).collect(),
            true => {
                let mut begun: Vec<String> = begun.into_iter().collect();
                begun.sort_by_key(|gram| std::cmp::Reverse(gram.len()));
                let begun = begun.into_iter().take(MOST_PREFIXES);
                begun.map(|gram| (gram, true)).collect()
            }
        };
        Some(Needle { terms }).filter(|needle| !needle.terms.is_empty())
    }
}

/// At most `most` of them, from all over.
fn spread(all: BTreeSet<String>, most: usize) -> impl Iterator<Item = String> {
    let step = all.len().div_ceil(most).max(1);
    all.into_iter().step_by(step)
}

/// Runs of characters of one kind, folded.
fn runs(text: &str) -> impl Iterator<Item = (Script, Vec<char>)> {
    let mut chars = text.chars().map(fold).peekable();
    std::iter::from_fn(move || {
        let (first, script) = loop {
            let c = chars.next()?;
            if let Some(script) = Script::of(c) {
                break (c, script);
            }
        };
        let mut run = vec![first];
        while let Some(c) = chars.next_if(|c| Script::of(*c) == Some(script)) {
            run.push(c);
        }
        Some((script, run))
    })
}

/// Characters in ASCII, so that the beginning of what is written stands for the beginning of the
/// characters: `a-y0-9` are themselves, anything else is `z` and four digits to the base of 36, and
/// `z` itself is `zz`, which no such number begins with.
fn encoded(chars: &[char]) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut out = String::with_capacity(16);
    out.push('x');
    for c in chars {
        match c {
            'z' => out.push_str("zz"),
            'a'..='y' | '0'..='9' => out.push(*c),
            _ => {
                out.push('z');
                let code = u32::from(*c);
                for place in [36 * 36 * 36, 36 * 36, 36, 1] {
                    out.push(char::from(DIGITS[(code / place % 36) as usize]));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
