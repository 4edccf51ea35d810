//! Characters that JSON escapes as two halves of UTF-16, such as `"\ud83d\ude00"`. YAML reads all else that JSON has, but refuses
//! the halves.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::IgnoredAny;

/// Returns `text` with these escapes in YAML's form, such as `"\U0001f600"`, if it is JSON.
pub(super) fn joined(text: &str) -> Cow<'_, str> {
    let has_halves = text.contains("\\ud") || text.contains("\\uD");
    if has_halves && serde_json::from_str::<IgnoredAny>(text).is_ok() { join(text) } else { text.into() }
}

/// Expects JSON, which has backslashes only in strings and nothing but an escape after them.
fn join(text: &str) -> Cow<'_, str> {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        joined.push_str(before);
        let pair = high_and_low(escape).and_then(|halves| char::decode_utf16(halves).next()?.ok());
        rest = if let Some(character) = pair {
            // Writing to a string cannot fail.
            let _ = write!(joined, "\\U{:08x}", u32::from(character));
            &escape[PAIR..]
        } else {
            let kept = 1 + escape.chars().next().map_or(0, char::len_utf8);
            joined.push_str(&rest[before.len()..before.len() + kept]);
            &rest[before.len() + kept..]
        };
    }
    joined.push_str(rest);
    joined.into()
}

/// The length of a pair after its first backslash.
const PAIR: usize = r"ud83d\ude00".len();

/// Parses two escapes, the first one without its backslash.
fn high_and_low(escape: &str) -> Option<[u16; 2]> {
    let (high, low) = escape.get(..PAIR)?.split_once('\\')?;
    let half = |escape: &str| u16::from_str_radix(escape.strip_prefix('u')?, 16).ok();
    Some([half(high)?, half(low)?])
        .filter(|[high, low]| (0xd800..0xdc00).contains(high) && (0xdc00..0xe000).contains(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_in_json_are_joined() {
        assert_eq!(
            joined(r#"["\ud83d\ude00, \\ud83d\\ude00, \u00e9\n\uD83D\uDE00"]"#),
            r#"["\U0001f600, \\ud83d\\ude00, \u00e9\n\U0001f600"]"#
        );
    }

    #[test]
    fn what_is_not_json_is_kept() {
        for text in [
            r"[C:\ud83d\ude00]",
            r"'\ud83d\ude00'",
            r#"["\ud83d"]"#,
            r#"["\ude00\ud83d"]"#,
            r#"["\ud83d\n"]"#,
            "[é]",
        ] {
            assert_eq!(joined(text), text);
        }
    }
}
