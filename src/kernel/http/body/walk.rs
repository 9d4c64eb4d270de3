//! Walks a JSON value along the schema of the type it is meant for, cleans its strings and
//! collects every fault.
//!
//! The walker and the published document have one source, the registered schema, so they cannot
//! disagree. What it lets through is what `T::parse_from_json` accepts.

use serde_json::{Map, Value};

use super::content::Mark;
use super::shape::{Discriminator, Node, ObjectRule, Shape, TextRule};
use crate::error::{Faults, Text, messages};

/// Enough to help, too few to flood a client or a log.
const MAX_FAULTS: usize = 100;

/// Checks and cleans `value`. Faults are in the order of the fields' declaration. `mark` tells which
/// texts stand for contents that were taken out of this body.
pub(super) fn walk(shape: &Shape, value: &mut Value, mark: Option<&Mark>) -> Faults {
    let mut walker = Walker {
        shape,
        mark,
        faults: Faults::new(),
        count: 0,
    };
    walker.node(
        &shape.root,
        value,
        &Path {
            parent: None,
            segment: Segment::Root,
        },
    );
    walker.faults
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

/// Where the walker is; written out only when there is a fault to report.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

impl<'a> Path<'a> {
    fn then(&'a self, segment: Segment<'a>) -> Path<'a> {
        Path {
            parent: Some(self),
            segment,
        }
    }

    /// `profile.name`, `3.size`; `non_field_errors` for the document itself.
    fn name(&self) -> String {
        let mut segments = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            match path.segment {
                Segment::Root => {}
                Segment::Name(name) => segments.push(name.to_owned()),
                Segment::Index(index) => segments.push(index.to_string()),
            }
            at = path.parent;
        }
        segments.reverse();
        if segments.is_empty() {
            "non_field_errors".to_owned()
        } else {
            segments.join(".")
        }
    }
}

struct Walker<'a> {
    shape: &'a Shape,
    mark: Option<&'a Mark>,
    faults: Faults,
    count: usize,
}

impl Walker<'_> {
    fn fault(&mut self, path: &Path<'_>, text: Text) {
        self.count += 1;
        if self.count <= MAX_FAULTS {
            self.faults.add(path.name(), text);
        }
    }

    fn node(&mut self, node: &Node, value: &mut Value, path: &Path<'_>) {
        let shape = self.shape;
        match shape.resolve(node) {
            Node::Any => self.any(value, path),
            Node::Text(rule) => match value {
                Value::String(text) => self.text(rule, text, path),
                _ => self.fault(path, messages::BAD_TYPE),
            },
            Node::Integer { min, max } => match integer(value) {
                None => self.fault(path, messages::BAD_TYPE),
                Some(n) if (*min..=*max).contains(&n) => {}
                Some(_) => self.fault(path, messages::OUT_OF_RANGE),
            },
            Node::Number { min, max } => match value.as_f64() {
                None => self.fault(path, messages::BAD_TYPE),
                Some(n) if n >= *min && n <= *max => {}
                Some(_) => self.fault(path, messages::OUT_OF_RANGE),
            },
            Node::Bool if value.is_boolean() => {}
            Node::Bool => self.fault(path, messages::BAD_TYPE),
            Node::List { item, min, max } => match value {
                Value::Array(items) => self.list(item, *min, *max, items, path),
                _ => self.fault(path, messages::BAD_TYPE),
            },
            Node::Object(rule) => match value {
                Value::Object(map) => self.object(rule, map, path),
                _ => self.fault(path, messages::BAD_TYPE),
            },
            Node::Choice { by: Some(by), .. } => self.tagged(by, value, path),
            Node::Choice { arms, by: None } => self.choice(arms, value, path),
            Node::Named(_) => unreachable!("resolve follows names"),
        }
    }

    fn text(&mut self, rule: &TextRule, text: &mut String, path: &Path<'_>) {
        if rule.content && self.mark.is_some_and(|mark| mark.is_in(text)) {
            return;
        }
        if !rule.controls && has_forbidden_control(text) {
            return self.fault(path, messages::BAD_CHARACTER);
        }
        if !rule.verbatim {
            clean(text);
        }
        if !rule.allowed.is_empty() {
            if !rule.allowed.iter().any(|v| v.as_str() == Some(text.as_str())) {
                self.fault(path, messages::BAD_CHOICE);
            }
            return;
        }
        if text.is_empty() && rule.min > 0 {
            return self.fault(path, messages::BLANK);
        }
        if longer_than(text, rule.max) {
            return self.fault(path, messages::too_long(rule.max));
        }
        if rule.min > 1 && !longer_than(text, rule.min - 1) {
            let short = if rule.verbatim {
                messages::short_password
            } else {
                messages::too_short
            };
            return self.fault(path, short(rule.min));
        }
        if let Some(Err(fault)) = rule.check.map(|check| check(text)) {
            match fault.code {
                Some(code) if self.count < MAX_FAULTS => {
                    self.count += 1;
                    self.faults.add_coded_text(path.name(), code, fault.text);
                }
                _ => self.fault(path, fault.text),
            }
        }
    }

    fn list(&mut self, item: &Node, min: usize, max: usize, items: &mut [Value], path: &Path<'_>) {
        if items.len() < min {
            return self.fault(
                path,
                if items.is_empty() {
                    messages::BLANK
                } else {
                    too_few(min)
                },
            );
        }
        if items.len() > max {
            return self.fault(path, too_many(max));
        }
        let scalar = !matches!(
            self.shape.resolve(item),
            Node::Object(_) | Node::List { .. } | Node::Choice { .. }
        );
        for (index, value) in items.iter_mut().enumerate() {
            let before = self.count;
            // A fault of a plain item is a fault of the list: one message, under the list's name.
            if scalar {
                self.node(item, value, path);
                if self.count > before {
                    return;
                }
            } else {
                self.node(item, value, &path.then(Segment::Index(index)));
            }
            if self.count >= MAX_FAULTS {
                return;
            }
        }
    }

    fn object(&mut self, rule: &ObjectRule, map: &mut Map<String, Value>, path: &Path<'_>) {
        for field in &rule.fields {
            let at = path.then(Segment::Name(field.name));
            match map.get_mut(field.name) {
                None if field.required => self.fault(&at, messages::REQUIRED),
                Some(Value::Null) if field.required => self.fault(&at, messages::BLANK),
                None | Some(Value::Null) => {}
                Some(value) => self.node(&field.node, value, &at),
            }
        }
        if let Some(others) = &rule.others {
            for (name, value) in map
                .iter_mut()
                .filter(|(n, _)| !rule.fields.iter().any(|f| f.name == n.as_str()))
            {
                if has_forbidden_control(name) {
                    self.fault(path, messages::BAD_CHARACTER);
                } else if !value.is_null() {
                    self.node(others, value, &path.then(Segment::Name(name)));
                }
            }
        }
    }

    fn tagged(&mut self, by: &Discriminator, value: &mut Value, path: &Path<'_>) {
        let Value::Object(map) = value else {
            return self.fault(path, messages::BAD_TYPE);
        };
        let at = path.then(Segment::Name(by.property));
        match map.get(by.property) {
            None | Some(Value::Null) => self.fault(&at, messages::REQUIRED),
            Some(Value::String(tag)) => match by.arms.iter().find(|(name, _)| name == tag) {
                Some((_, arm)) => self.node(arm, value, path),
                None => self.fault(&at, messages::BAD_CHOICE),
            },
            Some(_) => self.fault(&at, messages::BAD_TYPE),
        }
    }

    /// The arm of the value's own kind; among several, the first without faults.
    fn choice(&mut self, arms: &[Node], value: &mut Value, path: &Path<'_>) {
        let shape = self.shape;
        let fitting: Vec<&Node> = arms
            .iter()
            .filter(|arm| same_kind(shape.resolve(arm), value))
            .collect();
        let Some(first) = fitting.first() else {
            return self.fault(path, messages::BAD_TYPE);
        };
        for arm in fitting.iter().filter(|_| fitting.len() > 1) {
            let mut attempt = Walker {
                shape,
                mark: self.mark,
                faults: Faults::new(),
                count: 0,
            };
            let mut copy = value.clone();
            attempt.node(arm, &mut copy, path);
            if attempt.count == 0 {
                *value = copy;
                return;
            }
        }
        self.node(first, value, path);
    }

    fn any(&mut self, value: &Value, path: &Path<'_>) {
        let bad = match value {
            Value::String(text) => has_forbidden_control(text),
            Value::Array(items) => return items.iter().for_each(|item| self.any(item, path)),
            Value::Object(map) => {
                map.values().for_each(|v| self.any(v, path));
                map.keys().any(|k| has_forbidden_control(k))
            }
            _ => false,
        };
        if bad {
            self.fault(path, messages::BAD_CHARACTER);
        }
    }
}

fn same_kind(node: &Node, value: &Value) -> bool {
    match node {
        Node::Any => true,
        Node::Text(_) => value.is_string(),
        Node::Integer { .. } | Node::Number { .. } => value.is_number(),
        Node::Bool => value.is_boolean(),
        Node::List { .. } => value.is_array(),
        Node::Object(_) | Node::Choice { .. } | Node::Named(_) => value.is_object(),
    }
}

/// Whole numbers only: `1.0` is not one.
fn integer(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// NUL and the other C0 controls, except those that text may have.
pub(in crate::http) fn has_forbidden_control(text: &str) -> bool {
    text.bytes()
        .any(|b| b < 0x20 && !matches!(b, b'\n' | b'\t' | b'\r'))
}

/// Line ends become `\n`, blanks at both ends go.
pub(in crate::http) fn clean(text: &mut String) {
    if text.contains('\r') {
        *text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    let trimmed = text.trim();
    if trimmed.len() != text.len() {
        *text = trimmed.to_owned();
    }
}

fn longer_than(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().nth(max).is_some()
}

fn too_few(n: usize) -> Text {
    Text::owned(format!("至少需要 {n} 项"), format!("At least {n} items."))
}

fn too_many(n: usize) -> Text {
    Text::owned(format!("不能超过 {n} 项"), format!("At most {n} items."))
}
