//! How one event becomes one line.
//!
//! The fields of the enclosing spans are merged into the event (the innermost wins), so a line
//! carries its `request_id` without the reader having to look for it.

use std::borrow::Cow;
use std::fmt::Write as _;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

use super::scrub;
use crate::clock;

/// Collected fields, in the order they were met.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Sets a field; a later value replaces an earlier one of the same name.
    pub fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    pub fn merge(&mut self, inner: &Fields) {
        for (name, value) in &inner.0 {
            self.set(name, value.clone());
        }
    }

    fn take_message(&mut self) -> String {
        match self.0.iter().position(|(n, _)| *n == "message") {
            Some(at) => match self.0.remove(at).1 {
                Value::String(text) => text,
                other => other.to_string(),
            },
            None => String::new(),
        }
    }

    fn text(&mut self, field: &Field, text: String) {
        let value = if scrub::is_secret_name(field.name()) {
            json!("***")
        } else {
            match scrub::mask(&text) {
                Cow::Owned(masked) => Value::String(masked),
                Cow::Borrowed(_) => Value::String(text),
            }
        };
        self.set(field.name(), value);
    }

    fn plain(&mut self, field: &Field, value: Value) {
        let value = if scrub::is_secret_name(field.name()) {
            json!("***")
        } else {
            value
        };
        self.set(field.name(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Many libraries repeat the cause in their own text.
            let next = error.to_string();
            if !text.contains(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = error.source();
        }
        self.text(field, text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, json!(value));
    }
}

/// One JSON object and a newline.
pub(super) fn json_line(time: DateTime<Utc>, meta: &Metadata<'_>, mut fields: Fields) -> String {
    let message = fields.take_message();
    let mut line = Map::new();
    line.insert("timestamp".into(), json!(clock::rfc3339(time)));
    line.insert("level".into(), json!(meta.level().as_str()));
    line.insert("message".into(), json!(message));
    line.insert("target".into(), json!(meta.target()));
    for (name, value) in fields.0 {
        if !line.contains_key(name) {
            line.insert(name.to_owned(), value);
        }
    }
    let text = Value::Object(line).to_string();
    // The encoder escapes C0 controls; C1 controls and line separators are legal in JSON but act in
    // terminals and log viewers.
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// One line for people; coloured on a terminal.
pub(super) fn text_line(
    time: DateTime<Utc>,
    meta: &Metadata<'_>,
    mut fields: Fields,
    colour: bool,
) -> String {
    let message = fields.take_message();
    let level = meta.level();
    let mut out = String::with_capacity(256);
    let (year, month, day) = (time.year(), time.month(), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let ms = time.timestamp_subsec_millis();
    // By hand: chrono reads its pattern anew for every line.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z "
    );
    if colour {
        let _ = write!(out, "\x1b[{}m{level:>5}\x1b[0m ", colour_of(*level));
    } else {
        let _ = write!(out, "{level:>5} ");
    }
    out.push_str(&scrub::one_line(&message));
    for (name, value) in fields.0 {
        let _ = match &value {
            Value::String(s) if is_bare(s) => write!(out, " {name}={s}"),
            Value::String(s) => write!(out, " {name}=\"{}\"", scrub::one_line(s).replace('"', "\\\"")),
            other => write!(out, " {name}={other}"),
        };
    }
    if *level <= Level::WARN || *level >= Level::DEBUG {
        let _ = write!(out, " ({})", meta.target());
    }
    out.push('\n');
    out
}

fn is_bare(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=')
}

fn colour_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}
