//! An event as one line: logfmt, or a flat JSON object with the same keys.
//!
//! Both begin with `time`, `level`, `module` and `msg`; the event's fields follow. Strings are escaped as in JSON,
//! which parsers of logfmt read, too, and so that a line stays one line for every reader.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level as Severity, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{Format, Level};
use crate::clock::{Clock, Rfc3339};
use crate::escaped::{is_escaped, write_escaped};

const TIME: &str = "time";
const LEVEL: &str = "level";
const MODULE: &str = "module";
const MESSAGE: &str = "msg";
/// The keys of every line. A field of an event with such a name gets a `_` appended.
const KEYS: [&str; 4] = [TIME, LEVEL, MODULE, MESSAGE];

/// Writes events as lines.
pub(super) struct Line {
    pub(super) format: SharedFormat,
    pub(super) clock: Clock,
}

/// The format of the lines. Clones share it.
#[derive(Clone)]
pub(super) struct SharedFormat(Arc<AtomicBool>);

impl SharedFormat {
    pub(super) fn new(format: Format) -> Self {
        Self(Arc::new(AtomicBool::new(format == Format::Json)))
    }

    pub(super) fn set(&self, format: Format) {
        self.0.store(format == Format::Json, Ordering::Relaxed);
    }

    fn get(&self) -> Format {
        if self.0.load(Ordering::Relaxed) { Format::Json } else { Format::Text }
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut pairs = Pairs::new(self.format.get(), writer);
        pairs.display(TIME, &Rfc3339(self.clock.now()))?;
        pairs.text(LEVEL, name(*metadata.level()))?;
        pairs.text(MODULE, metadata.target())?;
        event.record(&mut pairs);
        pairs.end()
    }
}

/// A line under way.
struct Pairs<'a> {
    format: Format,
    line: Writer<'a>,
    is_empty: bool,
    /// Holds a value while it is examined.
    value: String,
    /// Fields cannot return an error when they are visited.
    visited: fmt::Result,
}

impl<'a> Pairs<'a> {
    fn new(format: Format, line: Writer<'a>) -> Self {
        Self { format, line, is_empty: true, value: String::new(), visited: Ok(()) }
    }

    fn text(&mut self, key: &str, text: &str) -> fmt::Result {
        self.key(key)?;
        if self.format == Format::Json || needs_quotes(text) {
            quote(text, &mut self.line)
        } else {
            self.line.write_str(text)
        }
    }

    fn display(&mut self, key: &str, value: &dyn fmt::Display) -> fmt::Result {
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        write!(text, "{value}")?;
        let written = self.text(key, &text);
        self.value = text;
        written
    }

    /// A number or a boolean, whose `text` is the same in both formats.
    fn bare(&mut self, key: &str, text: &dyn fmt::Display) -> fmt::Result {
        self.key(key)?;
        write!(self.line, "{text}")
    }

    fn key(&mut self, key: &str) -> fmt::Result {
        let first = std::mem::take(&mut self.is_empty);
        match self.format {
            Format::Text => {
                self.line.write_str(if first { "" } else { " " })?;
                key.chars().try_for_each(|c| self.line.write_char(if is_special(c) { '_' } else { c }))?;
                self.line.write_char('=')
            }
            Format::Json => {
                self.line.write_char(if first { '{' } else { ',' })?;
                quote(key, &mut self.line)?;
                self.line.write_char(':')
            }
        }
    }

    fn end(mut self) -> fmt::Result {
        self.visited?;
        self.line.write_str(match self.format {
            Format::Text => "\n",
            Format::Json => "}\n",
        })
    }

    /// Writes a field of the event with `write`.
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Self, &str) -> fmt::Result) {
        let name = field.name().trim_start_matches("r#");
        let written = match name {
            "message" => write(self, MESSAGE),
            taken if KEYS.contains(&taken) => write(self, &format!("{taken}_")),
            name => write(self, name),
        };
        self.visited = self.visited.and(written);
    }
}

impl Visit for Pairs<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |pairs, key| {
            if value.is_finite() { pairs.bare(key, &value) } else { pairs.display(key, &value) }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |pairs, key| pairs.bare(key, &value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |pairs, key| pairs.bare(key, &value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |pairs, key| pairs.bare(key, &value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |pairs, key| pairs.text(key, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |pairs, key| pairs.display(key, &format_args!("{value:?}")));
    }
}

fn name(severity: Severity) -> &'static str {
    let level = Level::ALL.into_iter().find(|level| LevelFilter::from(*level) == severity);
    level.unwrap_or(Level::Info).as_str()
}

/// Whether a value of logfmt needs quotes: an apostrophe does for go-logfmt, on which Loki's parser is built.
fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.chars().any(is_special)
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '"' | '\'') || c.is_whitespace() || is_escaped(c)
}

/// Writes `text` as a JSON string.
fn quote(text: &str, line: &mut impl Write) -> fmt::Result {
    line.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(line, "\\{c}"),
            c => write_escaped(c, line),
        }?;
    }
    line.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut line = String::new();
        quote(text, &mut line).unwrap();
        line
    }

    #[test]
    fn a_value_has_quotes_exactly_where_logfmt_needs_them() {
        for bare in ["cachepulse::prober", "2026-11-26T09:00:00.123Z", "[::1]:6380", "a\\b", "ähm", "{}"] {
            assert!(!needs_quotes(bare), "{bare}");
        }
        for special in
            ["", "a b", "a=b", "\"", "it's", "\n", "\u{1b}[31m", "\u{7f}", "\u{9b}", "a\u{2028}b", "\u{a0}"]
        {
            assert!(needs_quotes(special), "{special:?}");
        }
    }

    #[test]
    fn quotes_backslashes_line_breaks_and_control_characters_are_escaped() {
        assert_eq!(quoted("a \"b\" c\\d"), r#""a \"b\" c\\d""#);
        assert_eq!(quoted("a\nb\r\tc"), r#""a\nb\r\tc""#);
        assert_eq!(quoted("\0\u{1b}[31m\u{7f}\u{85}\u{2028}ü"), r#""\u0000\u001b[31m\u007f\u0085\u2028ü""#);
    }

    #[test]
    fn what_was_quoted_is_read_back_from_json() {
        let all: String = (0..=0x2100).filter_map(char::from_u32).collect();
        assert_eq!(serde_json::from_str::<String>(&quoted(&all)).unwrap(), all);
    }

    #[test]
    fn each_severity_has_the_name_of_its_level() {
        let severities = [Severity::ERROR, Severity::WARN, Severity::INFO, Severity::DEBUG, Severity::TRACE];
        assert_eq!(severities.map(name), Level::ALL.map(Level::as_str));
    }
}
