//! Excerpts of texts from servers, resolvers and identity endpoints. Does not redact secrets; see
//! [`crate::secret::Secret::redact`].

/// Returns whether a terminal obeys `c` or a reader cannot see it: control characters, marks that reverse the direction
/// of text, and characters without width.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// Returns `text` in one line of at most `limit` characters. Invisible characters become spaces, runs of spaces become
/// one. A text that is too long is cut in the middle, marked with `…`, because causes are at its end.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let separators = |c: char| c.is_whitespace() || is_invisible(c);
    let mut line = String::new();
    for word in text.split(separators).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let length = line.chars().count();
    if length <= limit {
        return line;
    }
    let kept = limit.saturating_sub(1);
    let at = |index: usize| line.char_indices().nth(index).map_or(line.len(), |(at, _)| at);
    format!("{}…{}", &line[..at(kept.div_ceil(2))], &line[at(length - kept / 2)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_has_no_character_that_a_reader_cannot_see() {
        assert_eq!(excerpt("ERR \u{202e}abc\u{200b}\u{feff}d", 80), "ERR abc d");
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("  AADSTS70021:\r\n no\t\u{1b}[31mmatch\u{0}\n", 80), "AADSTS70021: no [31mmatch");
        assert_eq!(excerpt("", 80), "");
    }

    #[test]
    fn an_excerpt_never_exceeds_its_limit_and_shows_that_it_was_cut() {
        assert_eq!(excerpt("abcdefgh", 5), "ab…gh");
        assert_eq!(excerpt("äöüäöüäöü", 4), "äö…ü");
        assert_eq!(excerpt(&"x ".repeat(1000), 300).chars().count(), 300);
    }
}
