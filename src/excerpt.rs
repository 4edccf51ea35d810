//! Excerpts of texts from servers, resolvers and identity endpoints. Does not redact secrets; see
//! [`crate::secret::Secret::redact`].

/// Returns `text` in one line of at most `limit` characters. Control characters become spaces, runs of spaces become
/// one, and a text that was cut ends with `…`.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    let separators = |c: char| c.is_whitespace() || c.is_control();
    for word in text.split(separators).filter(|word| !word.is_empty()) {
        let space = if line.is_empty() { "" } else { " " };
        for c in space.chars().chain(word.chars()) {
            if length + 1 == limit {
                line.push('…');
                return line;
            }
            line.push(c);
            length += 1;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt("  AADSTS70021:\r\n no\t\u{1b}[31mmatch\u{0}\n", 80), "AADSTS70021: no [31mmatch");
        assert_eq!(excerpt("", 80), "");
    }

    #[test]
    fn an_excerpt_never_exceeds_its_limit_and_shows_that_it_was_cut() {
        assert_eq!(excerpt("abcdefgh", 5), "abcd…");
        assert_eq!(excerpt("äöüäöüäöü", 4), "äöü…");
        assert_eq!(excerpt(&"x ".repeat(1000), 300).chars().count(), 300);
    }
}
