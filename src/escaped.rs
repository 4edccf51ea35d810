//! Texts in one line that no terminal obeys: what a reader cannot see is escaped as in JSON strings.

use std::fmt::{self, Write};

use crate::excerpt::is_invisible;

/// Displays a value in one line. Line breaks, control characters and other invisible ones are escaped.
#[derive(Debug)]
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Escapes what is written to it.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| write_escaped(c, &mut self.0))
    }
}

/// Returns `bytes` as text, with `\xNN` for what is not UTF-8.
pub(crate) fn bytes_as_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    text
}

/// Whether a reader might break a line at `c`, or a terminal obey it.
pub(crate) fn is_escaped(c: char) -> bool {
    is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Writes `c`, or the escape for it.
pub(crate) fn write_escaped(c: char, out: &mut impl Write) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if is_escaped(c) => write!(out, "\\u{:04x}", u32::from(c)),
        c => out.write_char(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_one_line_and_is_otherwise_the_same() {
        assert_eq!(Escaped("a \"b\" c\\d ü").to_string(), "a \"b\" c\\d ü");
        assert_eq!(Escaped("a\nb\r\tc\u{1b}[31m\u{2028}").to_string(), "a\\nb\\r\\tc\\u001b[31m\\u2028");
    }
}
