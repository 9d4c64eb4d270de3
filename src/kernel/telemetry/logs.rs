//! The log output of the process.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use tracing::Level;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::format::{Fields, json_line, text_line};
use super::lines::Lines;
use super::settings::{LogFormat, LogLevel};
use crate::Clock;

/// What [`init`] set up.
static PROCESS: OnceLock<Lines> = OnceLock::new();

/// Turns each event into one line; lines of parallel tasks never mix.
pub struct LogLayer {
    format: LogFormat,
    colour: bool,
    clock: Clock,
    lines: Lines,
    /// A thread writes lines that are not urgent.
    behind: bool,
}

impl LogLayer {
    /// A layer that writes each line to `sink` at once; without colours.
    pub fn new(format: LogFormat, sink: impl Write + Send + 'static) -> Self {
        LogLayer {
            format,
            colour: false,
            clock: Clock::default(),
            lines: Lines::new(sink),
            behind: false,
        }
    }
}

/// Sends the logs of this process to stderr. Later calls change nothing, so tests may call it too.
/// A process that ends calls [`flush`].
pub fn init(format: LogFormat, level: &LogLevel) {
    let stderr = std::io::stderr();
    let colour = stderr.is_terminal();
    let mut layer = LogLayer {
        colour,
        ..LogLayer::new(format, stderr)
    };
    layer.behind = layer.lines.write_behind().is_ok();
    // The first one is the one in force; see below.
    let _ = PROCESS.set(layer.lines.clone());
    let filter = EnvFilter::builder().parse_lossy(level.directives());
    if Registry::default().with(filter).with(layer).try_init().is_err() {
        tracing::debug!("logs were already set up");
    }
}

/// Writes what still waits.
pub fn flush() {
    if let Some(lines) = PROCESS.get() {
        lines.flush();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(outer) = span.extensions().get::<Fields>() {
                    fields.merge(outer);
                }
            }
        }
        event.record(&mut fields);
        let time = self.clock.now();
        let line = match self.format {
            LogFormat::Json => json_line(time, event.metadata(), fields),
            LogFormat::Text => text_line(time, event.metadata(), fields, self.colour),
        };
        let urgent = *event.metadata().level() <= Level::WARN;
        self.lines.push(line.as_bytes(), urgent || !self.behind);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, run: impl FnOnce()) -> String {
        let lines = Written::default();
        let subscriber = Registry::default().with(LogLayer::new(format, lines.clone()));
        tracing::subscriber::with_default(subscriber, run);
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn one_event_is_one_json_line_with_the_fields_of_its_spans() {
        let out = logged(LogFormat::Json, || {
            let span = tracing::info_span!("request", request_id = "r1", user.id = tracing::field::Empty);
            span.record("user.id", 7);
            let _inside = span.enter();
            tracing::info!(
                name = "a\nb\x1b[2J\u{9b}",
                size_bytes = 5_u64,
                "renamed\r\nINFO forged"
            );
        });
        assert_eq!(out.matches('\n').count(), 1, "{out}");
        assert!(!out.contains('\x1b') && !out.contains('\u{9b}') && !out.contains('\r'));
        let line: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(line["request_id"], "r1");
        assert_eq!(line["user.id"], 7);
        assert_eq!(line["size_bytes"], 5);
        assert_eq!(line["message"], "renamed\r\nINFO forged");
        assert_eq!(line["name"], "a\nb\x1b[2J\u{9b}");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn one_event_is_one_text_line() {
        let out = logged(LogFormat::Text, || {
            tracing::warn!(file = "x y\n\"z\"", "bad\nname")
        });
        assert_eq!(out.matches('\n').count(), 1, "{out}");
        assert!(out.contains(" WARN bad\\nname file=\"x y\\n\\\"z\\\"\""), "{out}");
    }

    #[test]
    fn credentials_never_reach_the_output() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for format in [LogFormat::Json, LogFormat::Text] {
            let out = logged(format, || {
                tracing::info!(
                    password = "hunter2-canary",
                    header = format!("Bearer {jwt}"),
                    "sent {jwt}"
                );
            });
            assert!(!out.contains("hunter2") && !out.contains("eyJzdWIi"), "{out}");
        }
    }
}
