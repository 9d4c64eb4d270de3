//! Splits a JSON document, while it arrives, into its long contents and everything else.
//!
//! Everything else is handed on as it is, so that the ordinary parser decides what is JSON: only
//! blanks between tokens are shortened, and a long string that the type calls a content is replaced
//! by a short one that stands for it. A document that is no JSON does not become JSON by that, nor
//! the other way round. Strings that are taken out are checked as strictly as the parser would.

use super::unescape::{Step, Unescape};
use super::{Contents, Mark};
use crate::error::{ApiError, common};
use crate::http::body::shape::{Node, Shape};
use crate::http::body::{JSON_LIMIT, json};

/// Arrays, objects and their members take far more room parsed than written. There may be no more
/// of them than an ordinary body can have.
pub(super) const MAX_VALUES: usize = JSON_LIMIT as usize / 2;

/// Unions may name each other; no type goes this deep.
const MAX_UNIONS: usize = 8;

/// What may stand at one place, by the schema; nothing where it does not say.
type Nodes = Vec<&'static Node>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between strings.
    Outside,
    /// In the name of a member.
    Name,
    /// In a string that stays.
    Text,
    /// In a content that may yet be short.
    Short,
    /// In a content that is taken out.
    Long,
    /// This is no JSON.
    Broken,
}

/// An open array or object.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// Does a name come next? Only in objects.
    awaits_name: bool,
    /// The objects that this may be, or what the array's items may be.
    nodes: Nodes,
    /// What may stand under the last name.
    value: Nodes,
    /// That name, when the schema knows it.
    field: Option<&'static str>,
    /// Would a string be a content now?
    takes: bool,
    /// Contents that were taken out of this object.
    taken: Vec<(&'static str, usize)>,
}

/// A document that is being read. May be stopped and continued at any byte.
#[derive(Debug)]
pub(super) struct Scanner {
    shape: &'static Shape,
    long: usize,
    mark: Mark,
    state: State,
    /// The document without what was taken out.
    rest: Vec<u8>,
    levels: Vec<Level>,
    /// The open name, or the content that may yet be short, as written.
    raw: Vec<u8>,
    longest_name: usize,
    /// Was the last byte of the open string a backslash that means something?
    escaped: bool,
    unescape: Unescape,
    /// What the open content stands for and was not handed on yet.
    text: Vec<u8>,
    contents: usize,
    values: usize,
}

impl Scanner {
    /// `long` is the length as written, closing quote included, up to which a content stays.
    pub fn new(shape: &'static Shape, long: usize) -> Self {
        Scanner {
            shape,
            long,
            mark: Mark::new(),
            state: State::Outside,
            rest: Vec::new(),
            levels: Vec::new(),
            raw: Vec::new(),
            // Every character of a name may be written as `\u` and four digits, between quotes.
            longest_name: shape.longest_name() * 6 + 2,
            escaped: false,
            unescape: Unescape::new(),
            text: Vec::new(),
            contents: 0,
            values: 0,
        }
    }

    /// Bytes of the document that stay in memory.
    pub fn kept(&self) -> u64 {
        self.rest.len() as u64
    }

    /// How many values it has at most, those under unknown names included.
    pub fn values(&self) -> u64 {
        self.values as u64
    }

    /// No more bytes will make JSON of this.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// 413 for more than [`MAX_VALUES`] values; whatever `contents` says.
    pub fn feed(&mut self, mut bytes: &[u8], contents: &mut impl Contents) -> Result<(), ApiError> {
        while !bytes.is_empty() && !self.is_broken() {
            let used = match self.state {
                State::Outside => self.outside(bytes)?,
                State::Name => self.name(bytes, contents),
                State::Text => self.text(bytes),
                State::Short => self.short(bytes, contents)?,
                State::Long => self.long(bytes, contents)?,
                State::Broken => bytes.len(),
            };
            bytes = &bytes[used..];
        }
        if self.state == State::Long {
            self.hand_on(contents)?;
        }
        Ok(())
    }

    /// The document without its contents, and what stands for them; `None` when it is no JSON.
    pub fn finish(self) -> Option<(Vec<u8>, Mark)> {
        (self.state == State::Outside).then_some((self.rest, self.mark))
    }

    fn outside(&mut self, bytes: &[u8]) -> Result<usize, ApiError> {
        for (at, byte) in bytes.iter().copied().enumerate() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' if self.rest.last() == Some(&b' ') => continue,
                b' ' | b'\t' | b'\n' | b'\r' => self.rest.push(b' '),
                b'"' => {
                    self.open_string();
                    return Ok(at + 1);
                }
                _ => self.rest.push(byte),
            }
            match byte {
                b'{' | b'[' => {
                    self.count()?;
                    self.open_level(byte == b'{');
                    if self.levels.len() > json::MAX_DEPTH {
                        self.give_up();
                        return Ok(bytes.len());
                    }
                }
                b'}' | b']' => drop(self.levels.pop()),
                b',' => {
                    self.count()?;
                    if let Some(level) = self.levels.last_mut() {
                        level.awaits_name = level.is_object;
                    }
                }
                _ => {}
            }
        }
        Ok(bytes.len())
    }

    fn count(&mut self) -> Result<(), ApiError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(common::PAYLOAD_TOO_LARGE.into());
        }
        Ok(())
    }

    /// What may stand where the next value begins.
    fn expected(&self) -> Nodes {
        match self.levels.last() {
            None => self.flat([&self.shape.root]),
            Some(level) if level.is_object => level.value.clone(),
            Some(level) => level.nodes.clone(),
        }
    }

    /// Looks through names and unions.
    fn flat(&self, nodes: impl IntoIterator<Item = &'static Node>) -> Nodes {
        fn add(shape: &'static Shape, node: &'static Node, depth: usize, found: &mut Nodes) {
            match shape.resolve(node) {
                Node::Choice { arms, .. } if depth < MAX_UNIONS => {
                    arms.iter().for_each(|arm| add(shape, arm, depth + 1, found));
                }
                other => found.push(other),
            }
        }
        let mut found = Nodes::new();
        nodes
            .into_iter()
            .for_each(|node| add(self.shape, node, 0, &mut found));
        found
    }

    fn open_level(&mut self, is_object: bool) {
        let mut nodes = self.expected();
        if is_object {
            nodes.retain(|n| matches!(n, Node::Object(_)));
        } else {
            nodes = self.flat(nodes.into_iter().filter_map(|n| match n {
                Node::List { item, .. } => Some(&**item),
                _ => None,
            }));
        }
        self.levels.push(Level {
            is_object,
            awaits_name: is_object,
            takes: !is_object && is_content(&nodes),
            nodes,
            value: Nodes::new(),
            field: None,
            taken: Vec::new(),
        });
    }

    fn open_string(&mut self) {
        self.escaped = false;
        self.raw.clear();
        match self.levels.last() {
            Some(level) if level.awaits_name => {
                self.state = State::Name;
                self.raw.push(b'"');
            }
            Some(level) if level.takes => {
                self.state = State::Short;
                return;
            }
            _ => self.state = State::Text,
        }
        self.rest.push(b'"');
    }

    fn text(&mut self, bytes: &[u8]) -> usize {
        let (used, closed) = within_string(bytes, &mut self.escaped);
        self.rest.extend_from_slice(&bytes[..used]);
        if closed {
            self.state = State::Outside;
        }
        used
    }

    fn name(&mut self, bytes: &[u8], contents: &mut impl Contents) -> usize {
        let used = self.text(bytes);
        if self.raw.len() <= self.longest_name {
            let more = used.min(self.longest_name + 1);
            self.raw.extend_from_slice(&bytes[..more]);
        }
        if self.state == State::Outside {
            let fits = self.raw.len() <= self.longest_name;
            let name: Option<String> = fits.then(|| serde_json::from_slice(&self.raw).ok()).flatten();
            self.named(name.as_deref(), contents);
        }
        used
    }

    /// A member's name is complete; `None` for one that is in no schema.
    fn named(&mut self, name: Option<&str>, contents: &mut impl Contents) {
        let Some(level) = self.levels.last() else { return };
        let fields = level.nodes.iter().filter_map(|n| match n {
            Node::Object(rule) => rule.fields.iter().find(|f| Some(f.name) == name),
            _ => None,
        });
        let fields: Vec<_> = fields.collect();
        let value = self.flat(fields.iter().map(|f| &f.node));
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        level.awaits_name = false;
        level.field = fields.first().map(|f| f.name);
        level.takes = is_content(&value);
        level.value = value;
        // Of values under the same name the last one counts.
        if let Some(at) = level.taken.iter().position(|(n, _)| Some(*n) == name) {
            contents.forget(level.taken.swap_remove(at).1);
        }
    }

    fn short(&mut self, bytes: &[u8], contents: &mut impl Contents) -> Result<usize, ApiError> {
        let room = (self.long + 1).saturating_sub(self.raw.len()).min(bytes.len());
        let (used, closed) = within_string(&bytes[..room], &mut self.escaped);
        self.raw.extend_from_slice(&bytes[..used]);
        if self.raw.len() > self.long {
            let raw = std::mem::take(&mut self.raw);
            self.state = State::Long;
            self.unescape = Unescape::new();
            self.text.clear();
            contents.begin();
            self.long(&raw, contents)?;
        } else if closed {
            self.rest.push(b'"');
            self.rest.append(&mut self.raw);
            self.state = State::Outside;
        }
        Ok(used)
    }

    fn long(&mut self, bytes: &[u8], contents: &mut impl Contents) -> Result<usize, ApiError> {
        let (used, step) = self.unescape.feed(bytes, &mut self.text);
        match step {
            Step::Open => {}
            Step::Broken => self.give_up(),
            Step::Closed => {
                self.hand_on(contents)?;
                // Half a character is left.
                if !self.text.is_empty() {
                    self.give_up();
                }
                if !self.is_broken() {
                    self.close_content(contents)?;
                }
            }
        }
        Ok(used)
    }

    /// Hands on what is whole of the open content.
    fn hand_on(&mut self, contents: &mut impl Contents) -> Result<(), ApiError> {
        let whole = match std::str::from_utf8(&self.text) {
            Ok(text) => text.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            Err(_) => {
                self.give_up();
                return Ok(());
            }
        };
        if let Ok(text) = std::str::from_utf8(&self.text[..whole])
            && !text.is_empty()
            && !self.unescape.has_forbidden()
        {
            contents.push(text)?;
        }
        self.text.drain(..whole);
        Ok(())
    }

    fn close_content(&mut self, contents: &mut impl Contents) -> Result<(), ApiError> {
        let index = self.contents;
        self.contents += 1;
        contents.end()?;
        if self.unescape.has_forbidden() {
            // As short as it is bad: the walker will say so.
            contents.forget(index);
            self.rest.extend_from_slice(br#""\u0000""#);
        } else {
            self.mark.write(index, &mut self.rest);
            if let Some(level) = self.levels.last_mut()
                && let Some(name) = level.field
            {
                level.taken.push((name, index));
            }
        }
        self.state = State::Outside;
        Ok(())
    }

    fn give_up(&mut self) {
        self.state = State::Broken;
        (self.rest, self.raw, self.text) = (Vec::new(), Vec::new(), Vec::new());
        self.levels = Vec::new();
    }
}

fn is_content(nodes: &[&Node]) -> bool {
    nodes
        .iter()
        .any(|n| matches!(n, Node::Text(rule) if rule.content))
}

/// How many of the bytes belong to the open string, its closing quote included; did it close?
fn within_string(bytes: &[u8], escaped: &mut bool) -> (usize, bool) {
    let mut at = usize::from(*escaped && !bytes.is_empty());
    *escaped = *escaped && bytes.is_empty();
    while let Some(found) = bytes[at..].iter().position(|b| matches!(b, b'"' | b'\\')) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return (at, true);
        }
        if at == bytes.len() {
            *escaped = true;
            return (at, false);
        }
        at += 1;
    }
    (bytes.len(), false)
}
